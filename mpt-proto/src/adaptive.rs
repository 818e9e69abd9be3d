//! The adaptive policy: unequal paths bonded as if they were one good link.
//!
//! ```text
//!   packet -> queue by flow -> a path pulls it when its pace allows -> kept until the receiver has settled it
//!             (queue, codel)   (model: how fast; common_delay: which paths)    (pool), sent again if it was lost
//! ```
//!
//! Packets are bound to a path as late as possible: nothing waits behind a path, so a change of mind costs nothing, and
//! the flows above see one queue that is managed well. The design is in `docs/adaptive.md`, the numbers are in [`tuning`].

mod accepted;
mod bulk;
mod class;
mod codel;
mod common_delay;
mod fit;
mod model;
mod named;
mod once;
mod pool;
mod queue;
mod repair;
mod room;
mod send;
#[cfg(feature = "state")]
mod state;
mod tuning;
mod twin;
mod watch;

use crate::feedback::Feedback;
use crate::path_set::{MAX_PATHS, PathSet, PerPath};
use crate::seq::Seq;
use crate::time::{Instant, Micros};

pub use class::{ClassRule, ClassRules, MAX_CLASS_RULES, Travel, names_bulk};
use codel::Accepted;
pub use codel::{Bounds, Codel};
use common_delay::CommonDelay;
use fit::Pieces;
pub use model::{LimitedBy, Phase};
use model::{Model, Place, Sizes};
use once::Once;
pub use pool::PacketSlot;
use pool::{Index, List, Pool};
pub use queue::FlowSlot;
use queue::Queue;
use repair::Lost;
pub(crate) use send::Leaving;
#[cfg(feature = "state")]
pub(crate) use state::{Restore, Saved};
use tuning::{EXPRESS_QUANTUM, MOST_CREDIT, QUANTUM, TRAIN};
use twin::Twin;

/// What a report was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Fresh,
    /// It, or a later one, came before on another path.
    Old,
    /// It claims what cannot be.
    Impossible,
}

/// How an adaptive connection sends at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Mode {
    /// By what it measures.
    Adaptive,
    /// By weights, as the peer does not speak the extension.
    PeerCannot,
    /// By weights, as no memory was lent for it, or sequence numbers are off.
    NoMemory,
    /// By weights, as the peer announced the extension but does not report.
    NoReports,
}

/// What is known of a path. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PathModel {
    /// Bytes a second that it carries, headers included.
    pub rate: u32,
    /// What the sender does to find that out.
    pub phase: Phase,
    /// Delay beyond that of the fastest path, without queues.
    pub extra_delay: u32,
    /// What the queue on it adds.
    pub queue: u32,
    /// Standard deviation of its delay without a queue.
    pub jitter: u32,
    /// Datagrams that did not arrive.
    pub lost: u64,
    /// Packets that left on it and had left before, on whichever path: repairs of losses, and copies that protect.
    pub resent: u64,
    /// Whether it carries ordered packets.
    pub open: bool,
    /// Whether it seems to have stopped to deliver.
    pub suspect: bool,
    /// Why it carries no more.
    pub limited_by: LimitedBy,
}

/// Memory of the adaptive policy that does not depend on the number of packets. `Default` is fresh.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct AdaptiveState {
    models: PerPath<Model>,
    /// As in [`Config`](crate::Config).
    pub(crate) rules: ClassRules,
    /// Packets that leave on the path that is named for them with the next poll, and the paths that have some.
    #[cfg_attr(feature = "state", serde(skip))]
    named: PerPath<List>,
    #[cfg_attr(feature = "state", serde(skip))]
    named_on: PathSet,
    #[cfg_attr(feature = "state", serde(skip))]
    in_flight: PerPath<List>,
    lost: Lost,
    delay: CommonDelay,
    pub(crate) feedback: Feedback,
    pub(crate) once: Once,
    next_unordered: Seq,
    credit: u32,
    /// As of the last report; `None`: to be found out anew.
    accepted: Option<Accepted>,
    /// Delays are measured against this raw one.
    reference: Option<u32>,
    last_count: Option<Seq>,
    /// Until then there may be gaps that are not known.
    doubt_until: Instant,
    last_sojourn: u32,
    /// Packets wait for what the connection may send, not for paths.
    is_limited: bool,
    /// When packets were last taken or seen, and ordered ones sent; since when no report came although they were.
    active_at: Option<Instant>,
    ordered_at: Option<Instant>,
    waiting_since: Option<Instant>,
    /// For how long may none come.
    deafness: Option<Micros>,
    markers: PathSet,
    /// Paths whose train may have more to leave.
    trains: PathSet,
    /// The path that the bulk took last, and when.
    run: Option<(usize, Instant)>,
    /// By how many bytes, for each flow, the express flows are ahead of the bulk.
    express_lead: i32,
    /// By how many bytes, for each flow, the bulk that is bound to a tier is ahead of the other, on paths that both may take.
    bound_lead: i32,
    /// The packet that left last, if it is to leave once more.
    #[cfg_attr(feature = "state", serde(skip))]
    twin: Option<Twin>,
    /// What a delay against the reference lacks to the time of the way there, in microseconds.
    way: Option<f32>,
    /// Bytes that copies of what is protected may have.
    copy_credit: u32,
    /// Per cent of what leaves that is added to it.
    copy_share: u8,
    /// The packet of the bulk whose turn it is, if it waits for a path that takes it: in no list.
    #[cfg_attr(feature = "state", serde(skip))]
    parked: Option<Index>,
    /// The packet that leaves in pieces: in no list.
    #[cfg_attr(feature = "state", serde(skip))]
    pub(crate) pieces: Option<Pieces>,
    /// Bytes of the largest packet that every path that is up takes, and is not doubted to pass.
    trusted: u16,
    /// Paths where large packets seem not to pass any more, which is still to be told.
    pub(crate) doubted: PathSet,
    /// The open paths as last told.
    told: PathSet,
    /// How the peer wants ordered packets held, and the paths where they may come, by its numbers.
    pub(crate) hold: Option<u32>,
    pub(crate) open: Option<PathSet>,
    queue_counts: queue::Counts,
    /// Packets for which there was no room, that waited too long, or that a later one replaced.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    refused: u64,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    resent: u64,
    /// Packets that left twice at once, as a rule protects them.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    copied: u64,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    bad_reports: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Adaptive<'s> {
    pub(crate) state: &'s mut AdaptiveState,
    pool: Pool<'s>,
    /// Packets that are not held, by flow.
    express: Queue<'s>,
    /// The bulk, by flow.
    queue: Queue<'s>,
    /// The connection sends by this policy.
    pub(crate) is_chosen: bool,
    /// As in [`Config`](crate::Config).
    pub(crate) resends: bool,
    pub(crate) order_udp: bool,
    /// Packets that the peer can hold.
    pub(crate) peer_window: u16,
    random: u32,
}

impl<'s> Adaptive<'s> {
    pub(crate) fn new(
        state: &'s mut AdaptiveState,
        slots: &'s mut [PacketSlot],
        bytes: &'s mut [u8],
        flows: &'s mut [FlowSlot],
    ) -> Self {
        let (express, bulk) = flows.split_at_mut(flows.len() / 2);
        Self::over(state, (slots, bytes), express, bulk)
    }

    /// As it was lent, for another connection.
    pub(crate) fn renewed(self) -> Self {
        let Self { state, pool, express, queue, .. } = self;
        Self::over(state, pool.into_memory(), express.into_memory(), queue.into_memory())
    }

    fn over(
        state: &'s mut AdaptiveState,
        (slots, bytes): (&'s mut [PacketSlot], &'s mut [u8]),
        express: &'s mut [FlowSlot],
        bulk: &'s mut [FlowSlot],
    ) -> Self {
        *state = AdaptiveState { credit: MOST_CREDIT, ..AdaptiveState::default() };
        Self {
            state,
            pool: Pool::new(slots, bytes),
            express: Queue::new(express, EXPRESS_QUANTUM),
            queue: Queue::new(bulk, QUANTUM),
            is_chosen: false,
            resends: false,
            order_udp: false,
            peer_window: 0,
            random: 1,
        }
    }

    /// Whether there is memory to send by it.
    pub(crate) fn can_send(&self) -> bool {
        self.pool.len() > 0
    }

    /// Whether a packet of so many bytes can be kept.
    pub(crate) const fn fits(&self, len: usize) -> bool {
        self.pool.fits(len)
    }

    /// A path went down or came up, or is another one.
    pub(crate) fn set_up(&mut self, path: usize, is_up: bool, up: PathSet, now: Instant) {
        let Some(model) = self.state.models.get_mut(path) else { return };
        match (model.down, is_up) {
            (None, false) => {
                model.down = Some(now);
                self.hand_over(path, now);
            }
            (Some(_), true) => {
                model.handle_up();
                if self.is_chosen && !model.is_reported() {
                    model.begin_train(TRAIN);
                    self.state.trains.insert(path);
                }
            }
            _ => return,
        }
        self.update(up, now);
    }

    /// The path of this number is a new one, of this tier.
    pub(crate) fn set_path(&mut self, path: usize, tier: u8, now: Instant) {
        self.hand_over(path, now);
        (self.state.run, self.state.twin) = (None, None);
        if let Some(model) = self.state.models.get_mut(path) {
            (model.tier, model.down) = (tier, Some(now));
            model.reset();
            model.sizes = Sizes::default();
        }
        self.state.doubted.set(path, false);
        self.state.feedback.restart(PathSet::of(path));
    }

    /// The path costs more or less from now on; what was measured of it holds.
    pub(crate) fn set_tier(&mut self, path: usize, tier: u8) {
        (self.state.run, self.state.twin) = (None, None);
        if let Some(model) = self.state.models.get_mut(path) {
            model.tier = tier;
        }
    }

    /// The peer starts anew: all that was measured with the former one is void.
    pub(crate) fn restart(&mut self) {
        for path in 0..MAX_PATHS {
            let Self { state, pool, .. } = self;
            if let (Some(list), Some(model)) = (state.in_flight.get_mut(path), state.models.get_mut(path)) {
                while let Some(index) = pool.pop(list) {
                    pool.release(index);
                }
                model.reset();
            }
        }
        for among in [queue::Among::Free, queue::Among::Bound] {
            while let Some(index) = self.state.lost.pop(among, &mut self.pool) {
                self.pool.release(index);
            }
        }
        if let Some(index) = self.state.parked.take() {
            self.pool.release(index);
        }
        self.end_pieces();
        (self.state.run, self.state.twin) = (None, None);
        self.state.reference = None;
        self.state.last_count = None;
        (self.state.waiting_since, self.state.deafness) = (None, None);
        self.state.delay = CommonDelay::default();
        (self.state.accepted, self.state.way) = (None, None);
        self.state.once.restart();
        (self.state.hold, self.state.open) = (None, None);
        self.state.feedback.restart(PathSet(u16::MAX));
    }

    /// What is known of a path.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(crate) fn path_model(&self, path: usize, now: Instant) -> PathModel {
        let Some(model) = self.state.models.get(path) else { return PathModel::default() };
        let bases = self.state.models.iter().filter(|model| model.is_alive()).filter_map(Model::base);
        let fastest = bases.reduce(f32::min);
        let open = self.state.delay.open;
        let is_cheaper = |index: usize| self.state.models.get(index).is_some_and(|it| it.tier < model.tier);
        let place = Place {
            is_closed: !open.is_empty() && !open.contains(path),
            is_spare: open.into_iter().any(is_cheaper),
        };
        PathModel {
            rate: model.rate() as u32,
            phase: model.phase(),
            extra_delay: model.base().zip(fastest).map_or(0, |(base, fastest)| (base - fastest) as u32),
            queue: model.queue() as u32,
            jitter: model.deviation() as u32,
            lost: u64::from(model.missing()),
            resent: u64::from(model.resent),
            open: open.contains(path),
            suspect: model.suspect_since().is_some(),
            limited_by: model.limited_by(place, now),
        }
    }

    fn random(&mut self) -> f32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random >> 8) as f32 / (1 << 24) as f32
    }

    pub(crate) const fn counts(&self) -> Counts {
        let queue = self.state.queue_counts;
        Counts {
            dropped: queue.dropped + self.state.refused,
            marked: queue.marked,
            resent: self.state.resent,
            copied: self.state.copied,
            bad_reports: self.state.bad_reports,
            missing: self.state.once.missing(),
        }
    }

    /// Packets leave by another policy: the paths are watched all the same.
    pub(crate) const fn note_active(&mut self, now: Instant) {
        self.state.active_at = Some(now);
    }
}

/// What happened to packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) dropped: u64,
    pub(crate) marked: u64,
    pub(crate) resent: u64,
    pub(crate) copied: u64,
    pub(crate) bad_reports: u64,
    /// Packets out of order by right that did not come.
    pub(crate) missing: u64,
}
