//! Tiers of paths that are others by time of day.
//!
//! What holds follows from the local time of the machine alone, looked at as each minute begins: a clock that is set, and the hour that
//! is left out or comes twice as summer time begins or ends, need nothing else.

use std::time::Duration;

use mpt_proto::{Aspect, Instant};

use super::place::Place;
use super::{Driver, Peer};
use crate::clock;
use crate::config::{Connection, Tier};
use crate::events::What;

/// All such paths.
#[derive(Default)]
pub(super) struct Tiers {
    scheduled: Vec<Scheduled>,
    next_look: Option<Instant>,
}

/// One of them.
struct Scheduled {
    place: Place,
    tier: Tier,
    /// As people were last told; at first, that of the rest of the day.
    told: u8,
}

impl Tiers {
    /// When it is to be looked at.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.next_look
    }

    fn begin(&mut self, configured: &[Connection], now: Instant) {
        let before = std::mem::take(&mut self.scheduled);
        for connection in configured.iter().filter(|connection| connection.policy.has(Aspect::Tier)) {
            for path in connection.paths.iter().filter(|path| !path.tier.times.is_empty()) {
                let is_it =
                    |it: &&Scheduled| it.place.is_of(&connection.name, &path.name) && it.tier == path.tier;
                let told = before.iter().find(is_it).map_or(path.tier.default, |it| it.told);
                let place = Place::new(connection.name.clone(), path.name.clone());
                self.scheduled.push(Scheduled { place, tier: path.tier.clone(), told });
            }
        }
        self.next_look = (!self.scheduled.is_empty()).then_some(now);
    }
}

impl Driver<'_> {
    /// Follows the tiers of another configuration, or of the first one.
    pub(super) fn begin_tiers(&mut self, configured: &[Connection], now: Instant) {
        self.tiers.begin(configured, now);
    }

    /// Looks what time it is, if that is due, and gives paths the tiers of that time.
    pub(super) fn follow_tiers(&mut self, now: Instant) {
        if self.tiers.next_look.is_none_or(|at| at > now) {
            return;
        }
        let seconds = clock::time_of_day() / 1_000_000;
        self.tiers.next_look = Some(now + Duration::from_secs(60 - seconds % 60));
        let minute = minute_of_day(seconds);
        let mut scheduled = std::mem::take(&mut self.tiers.scheduled);
        for it in &mut scheduled {
            let tier = it.tier.at(minute);
            let Some((peer, path, is_new)) = it.place.find(&self.peers) else { continue };
            let before = std::mem::replace(&mut it.told, tier);
            if is_new || before != tier {
                self.mutate(peer, now, |peer| peer.set_tier(path, tier, now));
            }
            if before != tier {
                let what = What::TierChanged { tier, before };
                self.journal.note(now, Some(&it.place.connection), Some(&it.place.path), what);
            }
        }
        self.tiers.scheduled = scheduled;
    }
}

impl Peer<'_> {
    /// A path's tier is this one by its configuration.
    fn set_tier(&mut self, path: usize, tier: u8, now: Instant) {
        self.paths[path].tier = tier;
        self.follow_tier(path, now);
    }

    /// Lets the core know a path's tier.
    pub(super) fn follow_tier(&mut self, path: usize, now: Instant) {
        // The path is there.
        let _ = self.connection.set_tier(self.paths[path].id, self.paths[path].tier(), now);
    }
}

/// Minutes after midnight by the local time of this machine, at this second since 1970.
#[cfg(feature = "program")]
fn minute_of_day(seconds: u64) -> u16 {
    // The zone's rules are kept; once in some minutes it is looked whether its local file is another one.
    minute_in(&jiff::tz::TimeZone::system(), seconds)
}

/// The same by UTC: a host program's configuration has no times of day.
#[cfg(not(feature = "program"))]
const fn minute_of_day(seconds: u64) -> u16 {
    minute_in_utc(seconds)
}

#[cfg(feature = "program")]
fn minute_in(zone: &jiff::tz::TimeZone, seconds: u64) -> u16 {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    // Beyond the years of the calendar.
    let Some(moment) = moment else { return minute_in_utc(seconds) };
    let time = zone.to_datetime(moment);
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

#[allow(clippy::cast_possible_truncation, reason = "a day has 1440 minutes")]
const fn minute_in_utc(seconds: u64) -> u16 {
    (seconds / 60 % (24 * 60)) as u16
}

#[cfg(feature = "program")]
#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::config::Config;

    fn tier(text: &str) -> Tier {
        let text = format!(
            "[tunnel]\naddress = [\"10.0.0.1/24\"]\n[[connection]]\nname = \"vps\"\npeer = [\"10.0.0.2\"]\n[[connection.path]]\n\
             name = \"lte\"\nlocal = \"10.1.1.1\"\nremote = \"10.1.1.2\"\ntier = {text}\n"
        );
        Config::parse(&text, "test").unwrap().connections[0].paths[0].tier.clone()
    }

    /// Changes of a tier, as hours and minutes of UTC after this moment, looked at every minute.
    fn changes(tier: &Tier, begin: &str, hours: u64) -> Vec<(u64, u64, u8)> {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let begin: jiff::Timestamp = begin.parse().unwrap();
        let begin = u64::try_from(begin.as_second()).unwrap();
        let mut changes = Vec::new();
        for minute in 0..hours * 60 {
            let now = tier.at(minute_in(&zone, begin + minute * 60 + 59));
            if changes.last().is_none_or(|(_, _, before)| *before != now) {
                changes.push((minute / 60, minute % 60, now));
            }
        }
        changes
    }

    #[test]
    fn a_night_passes_midnight_by_the_local_time() {
        let night = tier("{ default = 2, \"22:00-06:00\" = 1, \"12:30-13:00\" = 3 }");
        // In Central Europe it is one o'clock then.
        let expected = [(0, 0, 1), (5, 0, 2), (11, 30, 3), (12, 0, 2), (21, 0, 1)];
        assert_eq!(changes(&night, "2026-12-01T00:00:00Z", 24), expected);
    }

    #[test]
    fn the_hour_that_is_left_out_and_the_one_that_comes_twice_are_as_the_clock_shows_them() {
        let early = tier("{ default = 2, \"02:00-03:00\" = 1 }");
        assert_eq!(changes(&early, "2026-03-29T00:00:00Z", 12), [(0, 0, 2)]);
        assert_eq!(changes(&early, "2026-10-24T22:00:00Z", 12), [(0, 0, 2), (2, 0, 1), (4, 0, 2)]);
        let night = tier("{ default = 2, \"22:00-02:30\" = 1 }");
        assert_eq!(changes(&night, "2026-03-29T00:00:00Z", 12), [(0, 0, 1), (1, 0, 2)]);
        let twice = [(0, 0, 1), (2, 30, 2), (3, 0, 1), (3, 30, 2)];
        assert_eq!(changes(&night, "2026-10-24T22:00:00Z", 12), twice);
    }

    #[test]
    fn a_tier_is_written_as_the_file_has_it() {
        for text in ["2", "{ default = 2, \"22:00-06:00\" = 1, \"12:30-13:00\" = 3 }"] {
            assert_eq!(tier(text).to_string(), text);
        }
    }

    #[test]
    fn whatever_the_clock_says_is_a_minute_of_a_day() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for seconds in [0, 59, 86_399, 253_402_300_799, 253_402_300_800, u64::MAX / 1_000_000, u64::MAX] {
            assert!(minute_in(&zone, seconds) < 24 * 60, "{seconds}");
        }
    }
}
