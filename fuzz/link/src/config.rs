//! What one direction of a link does to packets.

use std::time::Duration;

use crate::rng::MILLION;
use crate::trace::Trace;

/// One direction of a link. The default is a perfect wire, which does nothing to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkConfig {
    /// Mean one-way delay from the end of the queue to the receiver.
    pub delay: Duration,
    /// The delay of each packet differs from [`delay`](Self::delay) by at most this, evenly distributed on both sides.
    pub jitter: Duration,
    /// Whether a packet may overtake another because its delay is shorter. If not, it arrives with the one before it.
    pub reorder: bool,
    /// Bytes that each packet is longer on the link than what is offered: outer headers, or an Ethernet frame's preamble.
    pub overhead: usize,
    /// Bottleneck of the link. `None`: unlimited rate, no queue.
    pub rate: Option<Rate>,
    /// Opportunities to send that replace the constant rate. [`Rate::bits_per_second`] is then their mean.
    pub trace: Option<Trace>,
    /// Token bucket in front of the queue.
    pub policer: Option<Policer>,
    /// Times at which the link serves nothing.
    pub dip: Option<Dip>,
    /// Packets leave the queue only at multiples of this time, as Wi-Fi's aggregates and LTE's grants do. Zero: each
    /// for itself.
    pub batch: Duration,
    /// Which packets are lost after the queue.
    pub loss: Loss,
    /// Packets of a million that arrive twice.
    pub duplicate: u32,
    /// Packets that arrive much later than the others.
    pub straggle: Straggle,
    /// Random deviation of the delay.
    pub wander: Option<Wander>,
    /// Base delay that takes another value from time to time.
    pub step: Option<Step>,
    /// Blocks of packets that change places.
    pub swap: Option<Swap>,
    /// Packets of a million that have one byte changed.
    pub corrupt: u32,
    /// Bytes of the largest packet that passes a hop behind the queue; larger ones vanish without a word. `None`: all pass. Has no word
    /// in the grammar.
    pub mtu: Option<usize>,
}

/// A bottleneck and the queue in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits per second, [`LinkConfig::overhead`] included. 0 counts as 1.
    pub bits_per_second: u64,
    /// Bytes that may wait, with the packet that is being sent; a packet that does not fit is dropped.
    pub queue: usize,
    /// A packet that finds more bytes than this waiting, and is capable of ECN, is marked (RFC 3168). `None`: never.
    /// Has no word in the grammar.
    pub mark_above: Option<usize>,
}

/// Which packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each packet with this chance in a million, independent of the others.
    Random(u32),
    /// Several packets in a row (Gilbert 1960): in the good state none is lost, in the bad state all are.
    Bursts {
        /// Packets of a million that are lost in the long run, from 1 to 999,999.
        share: u32,
        /// Mean number of packets lost in a row, from 1.
        length: u32,
    },
}

/// A token bucket at the entrance of a link: a packet that finds too few tokens is dropped at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policer {
    /// Tokens that come in, in bits per second.
    pub bits_per_second: u64,
    /// The most tokens that the bucket holds, in bytes. It is full at the start.
    pub bucket: u64,
}

/// Times at which nothing is served, while the queue holds what waits: a change of satellite or cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dip {
    /// The shortest of them.
    pub shortest: Duration,
    /// The longest of them. Lengths between both are equally likely.
    pub longest: Duration,
    /// From the begin of one to the begin of the next. When the first begins follows from the seed.
    pub each: Duration,
}

/// Random deviation of the delay, with mean zero. A delay that would be negative is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wander {
    /// Standard deviation of the delay.
    pub deviation: Duration,
    /// How long the delay stays at a value (with [`smooth`](Self::smooth): its correlation time). Zero: each packet
    /// draws its own.
    pub each: Duration,
    /// The deviation has a Pareto distribution in place of the normal one: mostly a little early, seldom very late.
    pub heavy: bool,
    /// The delay drifts rather than jumps: an autoregressive process of order one whose correlation falls to 1/e within
    /// [`each`](Self::each).
    pub smooth: bool,
}

/// A base delay that takes another value from time to time, as when a path is routed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The new value differs from [`LinkConfig::delay`] by at most this, evenly distributed on both sides.
    pub within: Duration,
    /// From one change to the next. When the first comes follows from the seed, and is that of a [`Dip`] with the same
    /// period.
    pub each: Duration,
}

/// Packets that arrive later than they should, overtaken by those that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Straggle {
    /// Packets of a million.
    pub share: u32,
    /// How much later than the others they arrive.
    pub by: Duration,
}

/// Blocks of packets that change places: what leaves in the first [`block`](Self::block) of each period arrives after
/// what leaves in the time of the same length that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swap {
    /// Length of a block.
    pub block: Duration,
    /// The period, at least two blocks.
    pub each: Duration,
}

impl Loss {
    /// Losses of a share in a million, in bursts of a mean length if that is more than one.
    pub const fn new(share: u32, length: u32) -> Self {
        match (share, length) {
            (0, _) => Self::None,
            (_, 0 | 1) => Self::Random(share),
            _ => Self::Bursts { share, length },
        }
    }

    /// Packets of a million that are lost in the long run.
    pub const fn share(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Random(share) | Self::Bursts { share, .. } => share,
        }
    }
}

impl Dip {
    /// Part of the time in which nothing is served, in millionths.
    fn share(self) -> u64 {
        let mean = u128::midpoint(self.shortest.as_nanos(), self.longest.as_nanos());
        let share = mean * u128::from(MILLION) / self.each.as_nanos().max(1);
        u64::try_from(share).unwrap_or(u64::MAX).min(u64::from(MILLION))
    }
}

impl LinkConfig {
    /// Bits per second that enter the wire in the long run when more is offered: the mean of a rate or trace without its
    /// dips, or what the policer lets pass if that is less. 0 if nothing limits the link. Losses are not taken off.
    pub fn capacity(&self) -> u64 {
        let served = self.rate.map(|rate| {
            let dips = self.dip.map_or(0, Dip::share);
            rate.bits_per_second - part(rate.bits_per_second, dips)
        });
        let policed = self.policer.map(|policer| policer.bits_per_second);
        served.into_iter().chain(policed).min().unwrap_or(0)
    }

    /// Of [`capacity`](Self::capacity), the bits per second that arrive: losses are taken off, duplicates not added.
    pub fn delivered(&self) -> u64 {
        let capacity = self.capacity();
        capacity - part(capacity, u64::from(self.loss.share()))
    }

    /// The longest delay that packets see now and then, without the wait in the queue: with five standard deviations of
    /// wander, the farthest step and the longest dip.
    pub fn longest_delay(&self) -> Duration {
        let wander = self.wander.map_or(Duration::ZERO, |wander| 5 * wander.deviation);
        let step = self.step.map_or(Duration::ZERO, |step| step.within);
        let dip = self.dip.map_or(Duration::ZERO, |dip| dip.longest);
        self.delay + self.jitter + wander + step + dip + self.batch
    }
}

/// `parts` millionths of a rate.
fn part(rate: u64, parts: u64) -> u64 {
    let part = u128::from(rate) * u128::from(parts) / u128::from(MILLION);
    u64::try_from(part).unwrap_or(rate)
}
