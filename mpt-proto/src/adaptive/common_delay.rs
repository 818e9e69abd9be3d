//! The common delay: how long ordered packets are held at the receiver, so that a flow over paths of different delay
//! sees one delay, and which paths fit it.
//!
//! A path carries ordered packets only if its delay fits the common one. That is raised, slowly, only while packets
//! wait in the ingress queue for longer than they should: the time they spend there turns into time spent on slower
//! paths, and the flow above sees no change. When nothing waits any more it sinks again, so that a lone transfer has
//! the delay of the fastest path, but not below what it takes to carry what is sent. A step up would be taken for
//! congestion by the transport above, a step down for reordering.
//!
//! A flow that paces itself, as under BBR, may fill the open paths and leave no queue. It has about twice of its shortest
//! round trip on the way at most, so that the delay may rise by nearly as much as that unnoticed, and the flow learns the
//! longer one when it next looks.
//!
//! Of several paths those are held for as well whose delay wanders, for a while: TCP then sees about one delay, and neither ends its
//! slow start when the latest packets come nor takes the delay of the luckiest for that of the way.
//!
//! [`Frame`] is what the paths allow, [`Load`] what is sent, [`decide`] what follows.

use core::time::Duration;

use crate::adaptive::tuning::{
    ALLOWANCE, CLOSING_NOISE, DELAY_NOISE, FALL, FILLED, FILLED_FOR, HELD_NOISE, LEAST_SHARE, LIFT,
    MAIN_SHARE, MEMORY, MOST_SPREAD, NO_HOLD, PERSISTS, REMEMBERED, RESTS, RISE, RUSH, STANDING, START_RATE,
    TOLERANCE, WINDOW_SHARE,
};
use crate::path_set::{MAX_PATHS, PathSet};
use crate::time::Instant;

/// What the common delay needs to know of a path. Delays are in microseconds against the connection's reference.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathDelay {
    /// Delay without a queue.
    pub(super) base: f32,
    /// Its standard deviation.
    pub(super) deviation: f32,
    /// What the queue adds.
    pub(super) queue: f32,
    /// Bytes a second.
    pub(super) rate: f32,
    /// Time from sending to hearing of it.
    pub(super) feedback: f32,
    /// Since when nothing may take it; `None`: it is in use.
    pub(super) unusable_since: Option<Instant>,
}

impl PathDelay {
    /// The common delay at which nearly all packets of the path come in time.
    fn need(&self) -> f32 {
        self.base + DELAY_NOISE * self.deviation + ALLOWANCE
    }

    /// Whether it is worth to wait for the path, where all carry `whole` bytes a second.
    fn is_worth_it(&self, whole: f32) -> bool {
        self.rate >= LEAST_SHARE * whole
    }
}

/// What is known of each path, by number.
pub(super) type PathDelays = [Option<PathDelay>; MAX_PATHS];

/// See the module. `Default` is fresh.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct CommonDelay {
    /// In microseconds against the reference.
    delay: f32,
    updated: Instant,
    waits: Waits,
    sent: Sent,
    /// Least delay beyond that of the fastest path, in each of the last seconds.
    spreads: [f32; MEMORY],
    /// When packets last waited.
    busy_at: Instant,
    /// There are paths that it does not reach yet: packets may wait for longer, so that it rises.
    pub(super) may_rise: bool,
    /// Ordered packets were sent lately.
    pub(super) is_used: bool,
    /// Paths that may carry ordered packets.
    pub(super) open: PathSet,
    /// Paths that are closed as they carry next to nothing: copies of what leaves on others show when they carry more.
    pub(super) tried: PathSet,
    /// Until how long after their stamp ordered packets are held, against the reference; `None`: nothing is held.
    pub(super) hold: Option<f32>,
}

/// How long packets wait in the ingress queue: those of the flow that waits longest, as one that sends little has its own turn,
/// and never waits.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Waits {
    /// Longest sojourn since the last report, and whether the queue was empty meanwhile.
    longest: Option<u32>,
    was_empty: bool,
    /// Least of them in this window, and of the window before.
    least: Option<u32>,
    standing: u32,
    since: Instant,
    /// For how long a queue has stood, less the time in which none did; in microseconds, twice of [`PERSISTS`] at most.
    stood: f32,
}

/// Ordered bytes that leave.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Sent {
    bytes: f32,
    since: Instant,
    /// Bytes a second, in the last whole second.
    rate: f32,
    /// Since when the open paths have been full.
    full_since: Option<Instant>,
}

/// What the paths allow. Delays are in microseconds against the reference.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Least delay: what the paths with the main share of the rate need, as far as no flow would feel a step.
    floor: f32,
    /// Most that the receiver can hold, or that is worth it.
    most: f32,
    /// What the slowest path needs that is within that, paths that were lost lately included.
    ceiling: f32,
    /// What the next slower path needs; `None`: there is none.
    next: Option<f32>,
    /// Least delay whose paths carry what was sent in the last second, and are not full.
    enough: f32,
    /// What a flow that paces itself bears unnoticed.
    lifted: f32,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Ordered packets were sent lately.
    is_used: bool,
    /// Nothing has waited for a while.
    rests: bool,
    /// A queue stands, in which packets wait for this many microseconds.
    standing: Option<u32>,
    /// The open paths have been full for long.
    is_filled: bool,
}

/// What happens to the common delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// To the floor at once: no flow would feel it, or the fast path is gone.
    Jump,
    /// Up towards the next path.
    Rise,
    /// As [`Rise`](Self::Rise), and faster: packets wait for longer than that path takes longer.
    Rush,
    /// Up for a flow that leaves no queue.
    Lift,
    /// Down, as far as what is sent allows.
    Sink,
    Stay,
}

fn decide(delay: f32, frame: &Frame, load: &Load) -> Verdict {
    let may_rise = delay < frame.ceiling - 100.0;
    if delay < frame.floor || load.rests && !load.is_used {
        return Verdict::Jump;
    }
    match load.standing.filter(|_| may_rise) {
        Some(standing) if frame.next.is_some_and(|next| next - delay < standing as f32) => Verdict::Rush,
        Some(_) => Verdict::Rise,
        None if delay < frame.lifted && !load.rests && load.is_filled => Verdict::Lift,
        None if delay > frame.floor && load.rests || frame.ceiling < delay - 3_000.0 => Verdict::Sink,
        None => Verdict::Stay,
    }
}

impl CommonDelay {
    /// A bulk packet left the ingress queue after this many microseconds.
    pub(super) fn note_sojourn(&mut self, sojourn: u32) {
        self.waits.longest = self.waits.longest.max(Some(sojourn));
    }

    /// The ingress queue is empty.
    pub(super) const fn note_empty(&mut self) {
        self.waits.was_empty = true;
    }

    /// An ordered packet leaves for the first time.
    pub(super) fn note_sent(&mut self, len: usize) {
        self.sent.bytes += len as f32;
    }

    /// By how much ordered packets are delayed beyond the fastest path.
    pub(super) fn spread(&self, fastest: f32) -> f32 {
        self.hold.map_or(0.0, |hold| (hold - fastest).max(0.0))
    }

    /// Decides anew, after a report. `window`: packets that the receiver can hold.
    pub(super) fn update(
        &mut self,
        paths: &PathDelays,
        up: PathSet,
        backlog: bool,
        window: f32,
        now: Instant,
    ) {
        let micros = now.micros_since(self.updated).min(50_000) as f32;
        self.updated = now;
        let Some(frame) = self.frame(paths, up, window, now) else { return };
        self.waits.judge(self.delay - frame.floor, now);
        if self.sent.judge(self.open, paths, now) {
            self.spreads.rotate_right(1);
            self.spreads[0] = MOST_SPREAD;
        }
        if backlog {
            self.busy_at = now;
        }
        let load = Load {
            is_used: self.is_used,
            rests: now > self.busy_at + RESTS,
            standing: self.waits.standing(),
            is_filled: self.sent.full_since.is_some_and(|since| now.since(since) >= FILLED_FOR),
        };
        self.may_rise = self.delay < frame.ceiling - 100.0;
        let up_to_next = frame.next.unwrap_or(self.delay).min(frame.most);
        self.delay = match decide(self.delay, &frame, &load) {
            Verdict::Jump => frame.floor,
            Verdict::Rise => (self.delay + RISE * micros).min(up_to_next),
            Verdict::Rush => (self.delay + RUSH * micros).min(up_to_next),
            Verdict::Lift => (self.delay + RISE * micros).min(frame.lifted),
            Verdict::Sink => (self.delay - FALL * micros).max(frame.enough.min(self.delay)),
            Verdict::Stay => self.delay,
        };
        self.choose(paths, up);
    }

    /// What the paths allow; `None`: nothing is known of any that can be used.
    fn frame(&mut self, paths: &PathDelays, up: PathSet, window: f32, now: Instant) -> Option<Frame> {
        let usable = || usable(paths, up).map(|(_, path)| path);
        let rate = whole_rate(paths, up);
        let up_to =
            |most: f32| usable().filter(|path| path.need() <= most).map(|path| path.rate).sum::<f32>();
        let least_of = |wanted: &dyn Fn(f32) -> bool| {
            usable().map(PathDelay::need).filter(|need| wanted(*need)).reduce(f32::min)
        };
        let fastest = least_of(&|_| true)?;
        let main = least_of(&|need| up_to(need) >= (MAIN_SHARE * rate).min(START_RATE))?;
        // A step up under a running flow would look like congestion to it.
        let floor = if self.is_used { fastest.max(self.delay.min(main)) } else { main };
        let most = floor + (WINDOW_SHARE * window * 1_400.0 * 1e6 / rate.max(1.0)).min(MOST_SPREAD);
        let remembered = |path: &&PathDelay| {
            path.unusable_since.is_none_or(|since| (now.micros_since(since) as f32) < REMEMBERED)
        };
        let is_worth_it = |path: &&PathDelay| path.is_worth_it(rate);
        let worth_it = paths.iter().flatten().filter(remembered).filter(is_worth_it);
        let needs = worth_it.map(PathDelay::need);
        let ceiling = needs.filter(|need| *need <= most + TOLERANCE).fold(floor, f32::max);
        let enough = least_of(&|need| FILLED * up_to(need) >= self.sent.rate).unwrap_or(ceiling);
        let slower = usable().filter(is_worth_it).map(PathDelay::need);
        let next = slower.filter(|need| *need > self.delay + 100.0).reduce(f32::min);
        let round_trips = usable().map(|path| (path.feedback - path.queue).max(0.0));
        let round_trip = round_trips.reduce(f32::min).unwrap_or(0.0);
        let spread = self.note_spread((self.delay - fastest).max(0.0));
        let lifted = (fastest + spread + (LIFT - 1.0) * (round_trip + spread)).min(ceiling);
        Some(Frame { floor, most, ceiling, next, enough: enough.min(ceiling).max(floor), lifted })
    }

    /// The least spread that a flow may remember, this one included.
    fn note_spread(&mut self, spread: f32) -> f32 {
        self.spreads[0] = self.spreads[0].min(spread);
        self.spreads.into_iter().fold(spread, f32::min)
    }

    fn choose(&mut self, paths: &PathDelays, up: PathSet) {
        let mut open = PathSet::default();
        let mut best: Option<(f32, usize)> = None;
        let mut near: Option<&PathDelay> = None;
        for (index, path) in usable(paths, up) {
            let delay = path.base + path.queue;
            if best.is_none_or(|(least, _)| delay < least) {
                best = Some((delay, index));
            }
            near = near.filter(|near| near.need() <= path.need()).or(Some(path));
            let late = self.delay + TOLERANCE + CLOSING_NOISE * path.deviation;
            if delay <= late && path.need() <= late + TOLERANCE {
                open.insert(index);
            }
        }
        if let (true, Some((_, index))) = (open.is_empty(), best) {
            open.insert(index);
        }
        self.open = open;
        let rate = whole_rate(paths, up);
        self.tried = PathSet::default();
        for (index, path) in usable(paths, up) {
            self.tried.set(index, !open.contains(index) && !path.is_worth_it(rate));
        }
        let is_alone = usable(paths, up).nth(1).is_none();
        self.hold = near.and_then(|near| {
            let beyond = (self.delay - near.need()).max(0.0);
            // All of the noise is held for where slower paths are waited for as long.
            let noise = (DELAY_NOISE * near.deviation).min(HELD_NOISE + beyond);
            let held = if is_alone && beyond <= NO_HOLD { 0.0 } else { noise + beyond };
            (held > NO_HOLD).then_some(near.base + held)
        });
    }
}

/// The paths that are up and alive, and what is known of them.
fn usable(paths: &PathDelays, up: PathSet) -> impl Iterator<Item = (usize, &PathDelay)> {
    let known = up.into_iter().filter_map(|index| Some((index, paths.get(index)?.as_ref()?)));
    known.filter(|(_, path)| path.unusable_since.is_none())
}

/// Bytes a second that they carry together.
fn whole_rate(paths: &PathDelays, up: PathSet) -> f32 {
    usable(paths, up).map(|(_, path)| path.rate).sum()
}

impl Waits {
    /// A report: whether the queue stands is judged over windows of a round trip. `spread`: the common delay beyond the least.
    fn judge(&mut self, spread: f32, now: Instant) {
        let longest = self.longest.take();
        let waited = if core::mem::take(&mut self.was_empty) { Some(0) } else { longest };
        self.least = match (self.least, waited) {
            (Some(least), Some(waited)) => Some(least.min(waited)),
            (least, waited) => least.or(waited),
        };
        if self.since == Instant::ZERO {
            // The first window is a whole one as well.
            self.since = now;
        }
        let window = now.micros_since(self.since) as f32;
        if window > 1.2 * spread + 50_000.0 {
            self.standing = self.least.take().unwrap_or(0);
            let more = if self.standing > STANDING { window } else { -window };
            self.stood = (self.stood + more).clamp(0.0, 2.0 * PERSISTS);
            self.since = now;
        }
    }

    /// How long packets wait, if a queue stands for long enough.
    fn standing(&self) -> Option<u32> {
        Some(self.standing).filter(|standing| *standing > STANDING && self.stood >= PERSISTS)
    }
}

impl Sent {
    /// A report: whether the open paths were full in the last second. Returns whether a second is over.
    fn judge(&mut self, open: PathSet, paths: &PathDelays, now: Instant) -> bool {
        let passed = now.since(self.since);
        if passed < Duration::from_secs(1) {
            return false;
        }
        self.rate = self.bytes / passed.as_secs_f32();
        let known = open.into_iter().filter_map(|index| paths.get(index)?.as_ref());
        let carries: f32 = known.map(|path| path.rate).sum();
        let since = self.full_since.unwrap_or(self.since);
        self.full_since = (carries > 0.0 && self.rate >= FILLED * carries).then_some(since);
        (self.bytes, self.since) = (0.0, now);
        true
    }
}

#[cfg(test)]
mod tests;
