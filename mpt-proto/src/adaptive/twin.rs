//! Packets that leave twice: the last try of a repair, what is protected, and what shows the rate of a path that carries next to nothing.

use crate::adaptive::Adaptive;
use crate::adaptive::bulk::Usable;
use crate::adaptive::class::Travel;
use crate::adaptive::model::Model;
use crate::adaptive::pool::{Index, List};
use crate::adaptive::send::Leaving;
use crate::adaptive::tuning::{
    COPY_AFTER, DEADLINE_NOISE, LOSSY, MOST_COPIES, MOVED, OVERDRAW_BYTES, REPAIRED, RESERVED_CREDIT, SILENT,
    STALLING,
};
use crate::time::{Instant, Micros};
use crate::wire::extension::Kind;

/// A packet that has left, and is to leave once more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twin {
    index: Index,
    /// The path that it took.
    path: usize,
    cause: Cause,
    /// Microseconds in which the copy should arrive.
    left: u32,
}

impl Twin {
    /// A copy is worth something whenever it arrives.
    pub(super) const fn new(index: Index, path: usize, cause: Cause) -> Self {
        Self { index, path, cause, left: u32::MAX }
    }
}

#[cfg(feature = "state")]
impl Twin {
    pub(super) const fn within(self, left: u32) -> Self {
        Self { left, ..self }
    }

    pub(super) const fn left(&self) -> u32 {
        self.left
    }

    pub(super) const fn index(&self) -> Index {
        self.index
    }

    pub(super) const fn path(&self) -> usize {
        self.path
    }

    pub(super) const fn cause(&self) -> Cause {
        self.cause
    }
}

/// Why a packet leaves twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Cause {
    /// It was sent again, and the receiver will not wait for another time.
    LastTry,
    /// It is protected.
    Protected,
    /// It shows what a path carries that is not worth waiting for.
    Trial,
}

/// Whether a packet may come later than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// As any other on this path: its delay varies, or it loses packets or stands still now and then.
    Lasting,
    /// For what was seen just now.
    Acute,
}

/// Whether something was not longer ago than this.
fn is_within(at: Option<Instant>, time: Micros, now: Instant) -> bool {
    at.is_some_and(|at| now < at + time)
}

impl Adaptive<'_> {
    /// The copy that a packet is to have which leaves on `path` for the first time, if a rule protects it.
    pub(super) fn copy_of(&mut self, index: Index, path: usize, now: Instant) -> Option<Twin> {
        let slot = self.pool.slot(index)?;
        let travel = self.state.travel(slot.rule);
        let share = travel.copies();
        let (came, model) = (slot.since, self.state.models.get(path).filter(|_| share > 0)?);
        // Where copies are dear, those are made that the next loss of a burst may take.
        let is_plenty = share >= 100 || self.state.copy_credit >= MOST_COPIES / 2;
        let twin = Twin::new(index, path, Cause::Protected);
        let Travel::Timely { deadline, .. } = travel else {
            return (is_plenty || is_within(model.lost_at, COPY_AFTER, now)).then_some(twin);
        };
        let left = (u32::from(deadline) * 1_000).saturating_sub(now.stamp().wrapping_sub(came));
        let doubt = self.doubt(path, left as f32, now);
        (doubt == Doubt::Acute || doubt == Doubt::Lasting && is_plenty).then_some(Twin { left, ..twin })
    }

    /// Whether a packet that leaves on `path` now may take longer than `left` microseconds.
    fn doubt(&mut self, path: usize, left: f32, now: Instant) -> Doubt {
        let usual = self.takes_time(path, now);
        let Self { state, pool, .. } = self;
        let (Some(model), Some(usual)) = (state.models.get_mut(path), usual) else { return Doubt::Lasting };
        let noise = DEADLINE_NOISE * model.deviation();
        // A packet that others overtook is lost, and no sign that the path stands still.
        let oldest = state.in_flight.get(path).and_then(List::first).and_then(|it| pool.slot(it));
        let oldest = oldest.filter(|slot| !model.has_arrived_since(slot.sent));
        let unheard = oldest.map_or(0.0, |slot| now.stamp().wrapping_sub(slot.sent) as f32);
        let is_silent = unheard > model.feedback + SILENT + noise;
        if is_silent {
            model.silent_at = Some(now);
        }
        let lost = |time| is_within(model.lost_at, time, now) && usual + model.feedback + REPAIRED > left;
        let stalls = |time| is_within(model.silent_at, time, now) && usual + model.feedback + MOVED > left;
        if usual > left || lost(COPY_AFTER) || stalls(Micros(1)) {
            Doubt::Acute
        } else if usual + noise > left || lost(LOSSY) || stalls(STALLING) {
            Doubt::Lasting
        } else {
            Doubt::None
        }
    }

    /// What a packet that leaves on `path` now probably takes one way, in microseconds.
    fn takes_time(&self, path: usize, now: Instant) -> Option<f32> {
        let (model, way) = (self.state.models.get(path)?, self.state.way?);
        Some(way + model.base()? + model.queue() + model.wait(now) as f32)
    }

    /// Finds out what delays against the reference lack to the time of the way: the clocks do not tell, so that of the nearest path it is
    /// taken for half of its round trip.
    pub(super) fn refresh_way(&mut self) {
        let known = self.state.models.iter().filter(|model| model.is_alive());
        let known = known.filter_map(|model| model.base().map(|base| (model.feedback, base, model.queue())));
        let nearest = known.reduce(|best, other| if other.0 < best.0 { other } else { best });
        self.state.way = nearest.map(|(feedback, base, queue)| (feedback - queue).max(0.0) / 2.0 - base);
    }

    /// For how long the receiver will still wait for a packet that was sent first at `since`, in microseconds, and a little
    /// longer: it begins when it notices.
    fn time_left(&self, since: u32, now: Instant) -> f32 {
        self.repair_time(self.state.delay.open).as_micros() as f32 - now.stamp().wrapping_sub(since) as f32
    }

    /// Whether it will not wait for another repair, if this one is lost on this path.
    pub(super) fn is_last_try(&self, path: usize, index: Index, now: Instant) -> bool {
        let (model, slot) =
            (self.state.models.get(path), self.pool.slot(index).filter(|slot| !slot.unordered));
        let left = slot.map(|slot| self.time_left(slot.since, now));
        model.zip(left).is_some_and(|(model, left)| (0.0..model.feedback).contains(&left))
    }

    /// The packet that has just left leaves once more: at the last time that helps on another path if that is in time, or else on the
    /// same; if it is protected, on another path only.
    pub(super) fn poll_twin(&mut self, usable: Usable, now: Instant) -> Option<Leaving> {
        let Twin { index, path: taken, cause, left } = self.state.twin.take()?;
        let slot = *self.pool.slot(index).filter(|slot| slot.tries > 0 && slot.sent == now.stamp())?;
        let mut others = self.within(slot.tier, usable);
        others.set(taken, false);
        let len = usize::from(slot.len);
        let other = self.first_to_deliver(self.fitting(others, len), now).map(|(path, _)| path);
        let other = other.filter(|path| self.takes(*path, len));
        let path = match cause {
            Cause::LastTry => {
                let latest = self.delivery(taken, now)? + self.time_left(slot.since, now);
                let in_time =
                    other.filter(|path| self.delivery(*path, now).is_some_and(|delay| delay <= latest));
                in_time.unwrap_or(taken)
            }
            Cause::Protected if left == u32::MAX => other?,
            Cause::Protected => {
                other.filter(|path| self.takes_time(*path, now).is_some_and(|time| time <= left as f32))?
            }
            Cause::Trial => self.tried(taken, now).filter(|path| self.takes(*path, len))?,
        };
        let model = self.state.models.get(path).filter(|_| usable.alive.contains(path))?;
        if model.wait(now) > model.time_of(OVERDRAW_BYTES) {
            return None;
        }
        // What a path that is tried carries is next to nothing, and costs no credit.
        let credit = match cause {
            Cause::LastTry => Some((&mut self.state.credit, RESERVED_CREDIT)),
            Cause::Protected => Some((&mut self.state.copy_credit, 0)),
            Cause::Trial => None,
        };
        if let Some((credit, least)) = credit {
            *credit = credit.checked_sub(u32::from(slot.len)).filter(|rest| *rest >= least)?;
        }
        self.state.resent += u64::from(cause == Cause::LastTry);
        self.state.copied += u64::from(cause == Cause::Protected);
        let kind = if slot.unordered { Kind::Unordered } else { Kind::Ordered };
        let header = self.stamp(path, kind, true, len, now)?;
        Some(Leaving { path, slot: index, header, seq: slot.seq })
    }

    /// The path that is to be tried with a packet that takes path `taken`, and is ready: none that is paid for what another one carries.
    pub(super) fn tried(&self, taken: usize, now: Instant) -> Option<usize> {
        let tier = self.state.models.get(taken)?.tier;
        let is_ready = |model: &Model| model.tier <= tier && model.is_alive() && model.is_ready(now);
        let mut tried = self.state.delay.tried.into_iter();
        tried.find(|index| self.state.models.get(*index).is_some_and(is_ready))
    }
}
