//! How many bytes may pass in a time: a token bucket, kept as the time at which all that has passed is paid for (GCRA).

use crate::time::Instant;

/// How far a queue that is let out at the rate may be ahead of it: wakes a caller that comes late at no loss, and is no delay that
/// anybody feels. In nanoseconds; 10 ms, as much as a busy machine with two processors was seen to be late.
const QUEUE_AHEAD: u64 = 10_000_000;

/// Between two looks at a queue that waits, so that packets leave in runs and not each with a wake-up of its own. In microseconds.
const GATHER: u64 = 1_000;

/// How far what is not queued may be ahead of the rate: a TCP whose round trip is up to that long fills it. In nanoseconds.
const BURST: u64 = 100_000_000;

/// The least of that, in bytes: twenty packets, below which a TCP times out after a drop.
const LEAST_BURST: u64 = 32_768;

/// A second, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// How finely the time of a byte is known: parts of a nanosecond, as a power of two.
const FINE: u32 = 16;

/// A rate, and what has passed at it. `Default` lets everything pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Limit {
    /// Time of a byte, in 2^-[`FINE`] nanoseconds; zero: there is no limit.
    cost: u64,
    /// When what has passed is paid for, in nanoseconds.
    paid: u64,
}

impl Limit {
    /// So many bytes a second, from 1,000; zero: no limit.
    pub fn new(bytes: u64) -> Self {
        Self {
            cost: (SECOND << FINE).checked_div(bytes.max(1_000)).filter(|_| bytes > 0).unwrap_or(0),
            paid: 0,
        }
    }

    /// Goes on with another rate. What has passed is forgotten.
    pub fn set(&mut self, bytes: u64) {
        *self = Self::new(bytes);
    }

    /// Goes on with another rate. What has passed is not forgotten, but takes a tenth of a second at most.
    pub fn adjust(&mut self, bytes: u64, now: Instant) {
        let paid = self.paid.min(nanos(now).saturating_add(BURST));
        *self = Self { paid, ..Self::new(bytes) };
    }

    /// Bytes a second; `None`: there is no limit.
    pub(crate) fn rate(&self) -> Option<f32> {
        (self.cost > 0).then(|| 1e9 * (1u64 << FINE) as f32 / self.cost as f32)
    }

    /// Whether a packet that is not queued passes. If it does not, it is to be dropped.
    pub(crate) fn passes(&mut self, len: usize, now: Instant) -> bool {
        if self.cost == 0 {
            return true;
        }
        let ahead = BURST.max(self.time_of(LEAST_BURST));
        let passes = self.paid <= nanos(now).saturating_add(ahead);
        if passes {
            self.charge(len, now);
        }
        passes
    }

    /// Whether a packet of a queue may leave.
    pub fn is_open(&self, now: Instant) -> bool {
        self.cost == 0 || self.paid <= nanos(now).saturating_add(QUEUE_AHEAD)
    }

    /// Whether more waits than the rate lets out, rather than for anything else.
    pub(crate) fn is_felt(&self, now: Instant) -> bool {
        self.cost > 0 && self.paid > nanos(now).saturating_add(QUEUE_AHEAD / 2)
    }

    /// When a queue is to be looked at again of which nothing may leave; not before `now`.
    pub fn opens_at(&self, now: Instant) -> Instant {
        if self.is_open(now) {
            return now;
        }
        let micros = self.paid.saturating_sub(QUEUE_AHEAD).div_ceil(1000);
        now.max(Instant::from_micros(micros.saturating_add(GATHER)))
    }

    /// A packet leaves the queue.
    pub fn charge(&mut self, len: usize, now: Instant) {
        if self.cost > 0 {
            self.paid = self.paid.max(nanos(now)).saturating_add(self.time_of(len as u64));
        }
    }

    /// How long so many bytes take, in nanoseconds.
    const fn time_of(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(self.cost) >> FINE
    }
}

/// Nanoseconds; a time that does not fit stays the latest.
const fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 50 Mbit/s.
    const RATE: u64 = 6_250_000;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(1_000_000 + micros)
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let mut limit = Limit::default();
        assert_eq!((limit, limit.rate()), (Limit::new(0), None));
        assert!(
            (0..100_000)
                .all(|_| limit.passes(65_535, at(0)) && limit.is_open(at(0)) && !limit.is_felt(at(0)))
        );
    }

    #[test]
    fn what_is_not_queued_passes_at_the_rate_with_a_burst_of_a_tenth_of_a_second() {
        for rate in [1_000, 125_000, RATE, 12_500_000_000] {
            let mut limit = Limit::new(rate);
            let within = |limit: &mut Limit, micros: u64| -> u64 {
                // As fast as a packet each 100 ns, or as many as come to four times the rate.
                let step = (1500 * 1_000_000 / (4 * rate)).max(1);
                let packets = (4 * rate * step / 1_000_000).max(1500) / 1500;
                let times = (0..micros).step_by(usize::try_from(step).unwrap());
                times
                    .map(|time| (0..packets).filter(|_| limit.passes(1500, at(time))).count() as u64 * 1500)
                    .sum()
            };
            let seconds = 10;
            let passed = within(&mut limit, seconds * 1_000_000);
            let burst = (rate / 10).max(LEAST_BURST);
            let allowed = rate * seconds + burst;
            assert!(passed <= allowed + 3000 + allowed / 100, "{rate}: {passed} of {allowed}");
            assert!(passed + 3000 >= allowed - allowed / 100, "{rate}: {passed} of {allowed}");
            assert!((limit.rate().unwrap() / rate as f32 - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn a_queue_leaves_at_the_rate_when_it_is_looked_at_as_it_asks_and_little_at_once() {
        let mut limit = Limit::new(RATE);
        let (mut now, mut left, mut looks) = (at(0), 0u64, 0);
        while now < at(1_000_000) {
            while limit.is_open(now) {
                limit.charge(1500, now);
                left += 1500;
            }
            assert!(limit.is_felt(now));
            let next = limit.opens_at(now);
            assert!(next > now && limit.is_open(next));
            now = next;
            looks += 1;
        }
        let ahead = RATE / 100;
        assert!((RATE + ahead - 9_000..=RATE + ahead + 9_000).contains(&left), "{left}");
        assert!((500..=1000).contains(&looks), "{looks}");
        // Nothing waits for it while less is sent than the rate.
        for packet in 0..1000 {
            let now = at(2_000_000 + packet * 500);
            limit.charge(1500, now);
            assert!(limit.is_open(now) && !limit.is_felt(now) && limit.opens_at(now) == now);
        }
    }

    #[test]
    fn another_rate_holds_at_once() {
        let mut limit = Limit::new(1_000);
        (0..100).for_each(|_| limit.charge(1500, at(0)));
        assert!(!limit.is_open(at(1_000_000)));
        limit.set(RATE);
        assert!(limit.is_open(at(0)));
        limit.set(0);
        assert_eq!(limit, Limit::default());
    }
}
