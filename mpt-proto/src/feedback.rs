//! What a receiver measures on each path, and the reports that tell the sender.
//!
//! Path numbers that are missing are named as soon as they have been missing for longer than packets of that path
//! were seen to overtake each other, three times, as reports get lost as well. Numbers that come from far behind are of a
//! header that was made up or of a sender that started anew: a run of them makes the path start again there.

use core::time::Duration;

use heapless::Vec;

use crate::path_set::{MAX_PATHS, PathSet, PerPath};
use crate::seq::Seq;
use crate::time::{Instant, Micros};
use crate::wire::extension::{self, Header};
use crate::wire::report::{self, Gap, PathReport, Report};

/// Between reports while packets come: short against what a hand-over may take, 0.1 % of a fast path's packets.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);
/// Between a lone packet and the report of it: others may follow.
const SOON: Duration = Duration::from_millis(5);
/// Between reports that gaps ask for.
const SHORTEST: Duration = Duration::from_millis(1);
/// So many packets ask for a report as well, from 600 Mbit/s on: what the sender keeps of them then stays in its caches.
const MANY: u32 = 512;
/// How late a packet of one path may be against its successors before it is named as missing, to begin with:
/// network cards with several queues reorder by less.
const TOLERANCE: u32 = 1_000;
/// And at most, however late packets come: the repair must not wait for longer. In virtual time 20 ms are too short where
/// delays deviate by 17 ms, as repairs of what is only late use up their share; 60 ms holds up what other paths bring.
const MOST_TOLERANCE: u32 = 30_000;
/// So many numbers in a row from behind mean another sequence.
const STRAYS: u8 = 32;
/// Gaps that are remembered.
const GAPS: usize = 64;
/// After a report of so many packets and more, so many follow though nothing comes: that it is late tells the sender that the path
/// fell silent.
const LOAD: u32 = 4;
const AFTER: u8 = 4;
/// Reports that name a gap, at least.
pub(crate) const TELLINGS: u8 = 3;
/// And for how long they go on to: reports that leave at once are lost together.
const TOLD_FOR: u32 = 15_000;

/// What arrived on one path.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Meter {
    started: bool,
    /// Something arrived since the last report.
    fresh: bool,
    strays: u8,
    highest: u32,
    packets: u32,
    bytes: u32,
    /// Of the packet with the highest number: stamp, and when it came.
    stamp: u32,
    arrived: u32,
    /// Delay of the latest packet; sixteen times the mean difference.
    delay: u32,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    jitter: u32,
    /// Since the last report: the first delay, and against it the least and the sum.
    anchor: u32,
    least: i32,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    sum: i64,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    count: u32,
    tolerance: u32,
}

impl Meter {
    /// A packet that left at `stamp` came, in order or late.
    #[allow(clippy::cast_possible_wrap, reason = "a difference of stamps")]
    fn measure(&mut self, stamp: u32, now: Instant) {
        let delay = now.stamp().wrapping_sub(stamp);
        if self.count == 0 {
            (self.anchor, self.least, self.sum) = (delay, 0, 0);
        } else {
            let step = (delay.wrapping_sub(self.delay) as i32).unsigned_abs().min(1 << 24);
            self.jitter = self.jitter - self.jitter / 16 + step;
        }
        let relative = delay.wrapping_sub(self.anchor) as i32;
        self.least = self.least.min(relative);
        self.sum += i64::from(relative);
        self.count += 1;
        self.delay = delay;
    }

    /// Least and mean delay since the last report; the mean is given as what it exceeds the least by.
    fn delays(&self) -> (u32, u32) {
        let mean = self.sum.checked_div(i64::from(self.count)).unwrap_or(0);
        let excess = u32::try_from(mean - i64::from(self.least)).unwrap_or(0);
        (self.anchor.wrapping_add_signed(self.least), excess)
    }
}

/// Where reports leave.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) paths: PathSet,
    /// Least time between two reports, in microseconds, as the widest of the paths carries no more.
    pub(crate) pause: Micros,
}

/// Numbers that did not come yet.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Missing {
    path: usize,
    first: u32,
    count: u16,
    since: u32,
    told: u8,
}

impl Missing {
    fn contains(&self, path: usize, number: u32) -> bool {
        let ahead = extension::distance(number, self.first);
        self.path == path && (0..i32::from(self.count)).contains(&ahead)
    }
}

/// See the module.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Feedback {
    meters: PerPath<Meter>,
    missing: Vec<Missing, GAPS>,
    /// The path after the last one reported on.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    turn: usize,
    last: Instant,
    /// Least time between two reports in turn; see [`Ways::pause`].
    pause: Micros,
    due: Option<Instant>,
    count: Seq,
    /// Packets since the last report.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    packets: u32,
    /// Reports that are due though nothing comes.
    after: u8,
    /// What the peer is to send at most, in bytes a second.
    pub(crate) most: Option<u32>,
    /// A report that still has to leave on these paths.
    leaving: Option<(Report, PathSet)>,
}

impl Feedback {
    /// A datagram of `len` bytes came on a path, at `arrived`. `wanted`: the sender should hear of it soon.
    pub(crate) fn handle(
        &mut self,
        path: usize,
        header: &Header,
        len: usize,
        wanted: bool,
        arrived: Instant,
        now: Instant,
    ) {
        let Some(meter) = self.meters.get_mut(path) else { return };
        let ahead = if meter.started { extension::distance(header.number, meter.highest) } else { 1 };
        if ahead <= 0 {
            if !self.fill(path, header.number, now) {
                self.handle_stray(path, header.number);
                return;
            }
        } else {
            if !meter.started {
                *meter = Meter { started: true, tolerance: TOLERANCE, ..Meter::default() };
            }
            meter.strays = 0;
            (meter.highest, meter.stamp, meter.arrived) = (header.number, header.stamp, arrived.stamp());
            if ahead > 1 {
                let count = u16::try_from(ahead - 1).unwrap_or(u16::MAX);
                let first = header.number.wrapping_sub(u32::from(count));
                let tolerance = Micros(meter.tolerance);
                self.miss(Missing { path, first, count, since: now.stamp(), told: 0 });
                self.ask((now + tolerance).max(self.last + SHORTEST));
            }
        }
        if let Some(meter) = self.meters.get_mut(path) {
            meter.packets = meter.packets.wrapping_add(1);
            meter.bytes = meter.bytes.wrapping_add(u32::try_from(len).unwrap_or(0));
            meter.fresh = true;
            meter.measure(header.stamp, arrived);
        }
        if wanted {
            self.packets += 1;
            let is_urgent = self.packets >= MANY;
            let in_turn = self.next().max(now + SOON);
            self.ask(if is_urgent { self.last + SHORTEST } else { in_turn });
        }
    }

    /// When the next report in turn may leave.
    fn next(&self) -> Instant {
        (self.last + INTERVAL).max(self.last + self.pause)
    }

    /// A report shall leave by then.
    pub(crate) fn ask(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn miss(&mut self, missing: Missing) {
        if self.missing.is_full() {
            // Or else the oldest, which never will be told in time.
            let often = self.missing.iter().position(|missing| missing.told >= TELLINGS);
            self.missing.remove(often.unwrap_or(0));
        }
        let _ = self.missing.push(missing);
    }

    /// Takes a number out of the gap it belongs to; `false`: it belongs to none.
    fn fill(&mut self, path: usize, number: u32, now: Instant) -> bool {
        let Some(index) = self.missing.iter().position(|missing| missing.contains(path, number)) else {
            return false;
        };
        let Some(gap) = self.missing.get_mut(index) else { return false };
        let before = extension::distance(number, gap.first);
        let behind = i32::from(gap.count) - before - 1;
        let late = now.stamp().wrapping_sub(gap.since);
        let rest =
            Missing { first: number.wrapping_add(1), count: u16::try_from(behind).unwrap_or(0), ..*gap };
        gap.count = u16::try_from(before).unwrap_or(0);
        if gap.count == 0 {
            self.missing.remove(index);
        }
        if rest.count > 0 {
            self.miss(rest);
        }
        if let Some(meter) = self.meters.get_mut(path) {
            meter.tolerance = meter.tolerance.max(late.saturating_add(late / 2).min(MOST_TOLERANCE));
        }
        true
    }

    fn handle_stray(&mut self, path: usize, number: u32) {
        let Some(meter) = self.meters.get_mut(path) else { return };
        meter.strays += 1;
        if meter.strays >= STRAYS {
            meter.strays = 0;
            meter.highest = number;
            self.missing.retain(|missing| missing.path != path);
        }
    }

    /// The peer or the path is another one: its numbers start anew.
    pub(crate) fn restart(&mut self, paths: PathSet) {
        for path in paths {
            if let Some(meter) = self.meters.get_mut(path) {
                *meter = Meter::default();
            }
        }
        self.missing.retain(|missing| !paths.contains(missing.path));
    }

    /// By how many microseconds longer than at first a number of a path is waited for before it is named, as packets overtake each
    /// other there.
    pub(crate) fn reordering(&self, path: usize) -> u32 {
        self.meters.get(path).map_or(0, |meter| meter.tolerance.saturating_sub(TOLERANCE))
    }

    /// When [`handle_timeout`](Self::handle_timeout) writes a report.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Writes a report if one is due, to leave on `ways`. `hold` and `open` go into it; `number_of` gives the
    /// number that the peer gives a path.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        instance: u32,
        (hold, open, repairs): (Option<u32>, PathSet, bool),
        ways: Ways,
        number_of: impl Fn(usize) -> Option<u8>,
    ) {
        if self.due.is_none_or(|due| due > now) || ways.paths.is_empty() {
            return;
        }
        self.pause = ways.pause;
        let (count, most) = (self.count, self.most);
        let mut report = Report { instance, count, hold, open: open.0, repairs, most, ..Report::default() };
        self.count = self.count + 1;
        self.last = now;
        self.after = if self.packets >= LOAD { AFTER } else { self.after.saturating_sub(1) };
        self.packets = 0;
        self.due = None;
        let told = self.choose(&number_of);
        self.tell_gaps(&mut report, told, now, &number_of);
        for path in told {
            let (Some(number), settled) = (number_of(path), self.settled(path)) else { continue };
            let Some(meter) = self.meters.get_mut(path) else { continue };
            let (delay, excess) = meter.delays();
            let block = PathReport {
                path: number,
                settled,
                packets: meter.packets,
                bytes: meter.bytes,
                stamp: meter.stamp,
                age: now.stamp().wrapping_sub(meter.arrived),
                jitter: meter.jitter / 16,
                delay,
                excess,
            };
            meter.fresh = false;
            meter.count = 0;
            meter.tolerance = (meter.tolerance - meter.tolerance / 256).max(TOLERANCE);
            let _ = report.paths.push(block);
        }
        // Of a path whose number is not known nothing can be told yet: what comes on it asks again.
        let known = |path: usize| number_of(path).is_some();
        if self.meters.iter().enumerate().any(|(path, meter)| meter.fresh && known(path)) {
            self.ask(now + SHORTEST);
        } else if self.after > 0 || self.missing.iter().any(|missing| missing.told > 0 && known(missing.path))
        {
            self.ask(self.next());
        }
        self.leaving = Some((report, ways.paths));
    }

    /// The paths whose turn it is to be reported on: those with news.
    fn choose(&mut self, number_of: impl Fn(usize) -> Option<u8>) -> PathSet {
        let mut told = PathSet::default();
        let mut count = 0;
        let turn = self.turn;
        for path in (0..MAX_PATHS).map(|step| (turn + step) % MAX_PATHS) {
            let fresh = self.meters.get(path).is_some_and(|meter| meter.fresh);
            let has_gap = || self.missing.iter().any(|missing| missing.path == path);
            if count == report::MAX_PATHS || number_of(path).is_none() || !(fresh || has_gap()) {
                continue;
            }
            told.insert(path);
            count += 1;
            if count == report::MAX_PATHS {
                self.turn = (path + 1) % MAX_PATHS;
            }
        }
        told
    }

    /// Names gaps of the paths that are reported on, if they are old enough, and forgets those that were named
    /// often enough.
    fn tell_gaps(
        &mut self,
        report: &mut Report,
        told: PathSet,
        now: Instant,
        number_of: impl Fn(usize) -> Option<u8>,
    ) {
        let Self { meters, missing, .. } = self;
        let age = |missing: &Missing| now.stamp().wrapping_sub(missing.since);
        let tolerance = |missing: &Missing| meters.get(missing.path).map_or(0, |meter| meter.tolerance);
        let wait = |missing: &Missing| tolerance(missing).saturating_sub(age(missing));
        // What was named often enough takes the room that is left.
        for often in [false, true] {
            let is_turn = |missing: &&mut Missing| {
                told.contains(missing.path) && (missing.told >= TELLINGS) == often && wait(missing) == 0
            };
            for missing in missing.iter_mut().filter(is_turn) {
                let Some(path) = number_of(missing.path) else { continue };
                let gap = Gap { path, first: missing.first & 0x00ff_ffff, count: missing.count };
                if report.gaps.contains(&gap) {
                    continue;
                }
                if report.gaps.push(gap).is_err() {
                    break;
                }
                missing.told = missing.told.saturating_add(1);
            }
        }
        let is_recent = |missing: &Missing| age(missing) < tolerance(missing).saturating_add(TOLD_FOR);
        missing.retain(|missing| missing.told < TELLINGS || is_recent(missing));
        let untold = |missing: &&Missing| missing.told == 0 && number_of(missing.path).is_some();
        let next = missing.iter().filter(untold).map(wait).min();
        if let Some(wait) = next {
            self.ask((now + Micros(wait)).max(now + SHORTEST));
        }
    }

    /// All numbers up to this one came, or have been named as missing.
    fn settled(&self, path: usize) -> u32 {
        let highest = self.meters.get(path).map_or(0, |meter| meter.highest);
        // Not the first of them that is remembered: what is left of a gap in which a number came stands behind later ones.
        let untold = self.missing.iter().filter(|missing| missing.path == path && missing.told == 0);
        let before = untold.map(|missing| extension::distance(missing.first, highest) - 1).fold(0, i32::min);
        highest.wrapping_add_signed(before) & 0x00ff_ffff
    }

    /// The report that is to leave now, and on which path.
    pub(crate) fn poll(&mut self) -> Option<(usize, &Report)> {
        let (report, paths) = self.leaving.as_mut()?;
        let path = paths.pop()?;
        Some((path, report))
    }
}

const _: () = assert!(report::MAX_GAPS <= GAPS);

#[cfg(test)]
mod tests;
