//! Data plans of paths: what each has used, and what follows: a warning, the last place among the paths, and none at all.
//!
//! Whoever takes a path into use, or out of use, by hand after that has the last word, until the plan is renewed.

use std::time::Duration;

use mpt_proto::{Aspect, Instant};

use super::place::Place;
use super::{Driver, Peer, Role};
use crate::clock;
use crate::config::{Connection, DataPlan};
use crate::control::Answer;
use crate::data::{Ahead, ClockNews, Counts, DataReport, Level, Meter, Store};
use crate::events::What;
use crate::mtu;
use crate::report::VERSION;

/// How often it is looked what was carried, though the loop has nothing else to do; and while it has, at most.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// See [`LOOK_EACH`].
const LOOK_AT_MOST_EACH: Duration = Duration::from_millis(40);
/// Bytes by which the file is wrong, from which on it is written after [`SOME_AFTER`].
const SOME: u64 = 100_000;
/// See [`SOME`].
const SOME_AFTER: Duration = Duration::from_secs(10);
/// When it is written for fewer bytes than [`SOME`], as of the probes of a path that rests: a memory card lives longer if that is seldom.
const LITTLE_AFTER: Duration = Duration::from_secs(600);
/// The last tier.
pub(super) const LAST_TIER: u8 = 8;

/// All data plans, and the file that keeps what they have used.
#[derive(Default)]
pub struct Data {
    store: Option<Store>,
    /// Of paths that have no plan now, too.
    counts: Counts,
    plans: Vec<Plan>,
    /// When it is looked at the latest, and not before the time behind that.
    next_look: Option<(Instant, Instant)>,
    written_at: Instant,
}

/// One path's plan.
struct Plan {
    place: Place,
    plan: DataPlan,
    meter: Meter,
    /// How far the file is from what is used.
    ahead: Ahead,
    /// As people were last told.
    told: Level,
    /// What was last done about it.
    done: Use,
    /// The path was taken out of use for it, and nobody said otherwise.
    is_held: bool,
}

/// How a path is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    AsConfigured,
    Last,
    Not,
}

impl Data {
    /// Keeps what is used in this store.
    pub fn new(store: Store) -> Self {
        let counts = store.read();
        Self { store: Some(store), counts, ..Self::default() }
    }

    /// When it is to be looked at.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_look.map(|(at, _)| at)
    }

    /// The paths of another configuration, or of the first one. Connections that are in `anew` are others than before.
    fn begin(&mut self, configured: &[Connection], anew: &[String], now: Instant) {
        let clock = seconds();
        self.keep(None);
        let mut before = std::mem::take(&mut self.plans);
        for connection in configured {
            for path in &connection.paths {
                let Some(plan) = path.data else { continue };
                let is_it = |it: &Plan| it.place.is_of(&connection.name, &path.name) && it.plan == plan;
                if let Some(place) = before.iter().position(is_it) {
                    let mut plan = before.swap_remove(place);
                    if anew.contains(&connection.name) {
                        plan.place.forget();
                    }
                    self.plans.push(plan);
                    continue;
                }
                let count = self.counts.get(&format!("{}/{}", connection.name, path.name)).cloned();
                self.plans.push(Plan {
                    place: Place::new(connection.name.clone(), path.name.clone()),
                    plan,
                    meter: Meter::new(plan, count, clock),
                    ahead: Ahead::default(),
                    told: Level::Ok,
                    done: Use::AsConfigured,
                    is_held: false,
                });
            }
        }
        self.next_look = (!self.plans.is_empty()).then_some((now, now));
    }

    /// Takes what the meters say over into what is kept. It is ahead of them as it goes on after the time `since` it was written; `None`: it
    /// is what they say.
    fn keep(&mut self, since: Option<Duration>) {
        for it in &mut self.plans {
            let ahead = since.map_or(0, |since| it.ahead.write(since));
            self.counts.insert(format!("{}/{}", it.place.connection, it.place.path), it.meter.kept(ahead));
        }
    }

    /// Writes the file; `goes_on`: bytes come until it is written again.
    fn write(&mut self, goes_on: bool, now: Instant) {
        self.keep(goes_on.then(|| now.since(self.written_at)));
        self.written_at = now;
        if let Some(store) = &self.store {
            store.write(self.counts.clone());
        }
    }

    fn find(&mut self, connection: &str, path: &str) -> Option<&mut Plan> {
        self.plans.iter_mut().find(|it| it.place.is_of(connection, path))
    }

    /// Somebody has taken the path into use, or out of use.
    pub(super) fn note_hand(&mut self, connection: &str, path: &str) {
        if let Some(it) = self.find(connection, path) {
            it.is_held = false;
        }
    }

    /// For the status.
    pub(super) fn report(&self, connection: &str, path: &str) -> Option<DataReport> {
        let it = self.plans.iter().find(|it| it.place.is_of(connection, path))?;
        Some(it.meter.report(seconds()))
    }
}

impl Plan {
    fn wanted(&self) -> Use {
        match self.meter.level() {
            Level::Ok | Level::Warned => Use::AsConfigured,
            Level::Demoted => Use::Last,
            Level::Reached => Use::Not,
        }
    }

    fn what(&self, before: Level) -> Option<What> {
        let (used_bytes, size_bytes) = self.meter.used();
        let level = self.meter.level();
        Some(match level {
            _ if level == before => return None,
            _ if level < before => What::DataRenewed { used_bytes, size_bytes },
            Level::Ok => return None,
            Level::Warned => What::DataWarned { used_bytes, size_bytes },
            Level::Demoted => What::DataDemoted { used_bytes, size_bytes },
            Level::Reached => What::DataReached { used_bytes, size_bytes },
        })
    }
}

impl Driver<'_> {
    /// Counts for the paths of another configuration, or of the first one. Connections that are in `anew` are others than before.
    pub(super) fn begin_data(&mut self, configured: &[Connection], anew: &[String], now: Instant) {
        self.data.begin(configured, anew, now);
    }

    /// Looks at what was carried, if that is due, and does what follows.
    pub(super) fn follow_data(&mut self, now: Instant) {
        if self.data.next_look.is_none_or(|(_, from)| from > now) {
            return;
        }
        self.data.next_look = Some((now + LOOK_EACH, now + LOOK_AT_MOST_EACH));
        let clock = seconds();
        let mut is_news = false;
        let mut plans = std::mem::take(&mut self.data.plans);
        for it in &mut plans {
            let before = it.meter.used().0;
            let news = it.meter.follow_clock(clock, now);
            is_news |= news.is_some();
            self.tell_clock(it, news, now);
            self.count(it);
            it.ahead.carry(it.meter.used().0.saturating_sub(before));
            is_news |= self.follow_level(it, now);
        }
        self.data.plans = plans;
        let error: u64 = self.data.plans.iter().map(|it| it.ahead.error()).sum();
        let since = now.since(self.data.written_at);
        if is_news
            || self.data.plans.iter().any(|it| it.ahead.is_behind())
            || error >= SOME && since >= SOME_AFTER
            || error > 0 && since >= LITTLE_AFTER
        {
            self.data.write(true, now);
        }
    }

    /// Writes everything: the loop ends.
    pub(super) fn end_data(&mut self) {
        let mut plans = std::mem::take(&mut self.data.plans);
        plans.iter_mut().for_each(|it| self.count(it));
        self.data.plans = plans;
        if !self.data.plans.is_empty() {
            self.data.write(false, self.clock.now());
        }
        if let Some(store) = &self.data.store {
            store.end();
        }
    }

    /// What its path has carried: both directions, as the provider sees it.
    fn count(&self, it: &mut Plan) {
        let Some((peer, path, is_new)) = it.place.find(&self.peers) else { return };
        if is_new {
            // What follows is to be done to this one.
            (it.done, it.is_held) = (Use::AsConfigured, false);
        }
        let peer = &self.peers[peer];
        let Ok(stats) = peer.connection.path_stats(peer.paths[path].id) else { return };
        let each = u64::from(mtu::headers(peer.config.paths[path].local) + self.resources.sealing);
        let datagrams = stats.tx_datagrams + stats.rx_datagrams;
        it.meter.count(stats.tx_bytes + stats.rx_bytes + datagrams * each);
    }

    /// Tells people of a level, and uses the path accordingly. Returns whether it is another one than before.
    fn follow_level(&mut self, it: &mut Plan, now: Instant) -> bool {
        let told = std::mem::replace(&mut it.told, it.meter.level());
        if let Some(what) = it.what(told) {
            self.journal.note(now, Some(&it.place.connection), Some(&it.place.path), what);
        }
        let wanted = it.wanted();
        if wanted != it.done
            && let Some((peer, path)) = it.place.last()
        {
            let before = std::mem::replace(&mut it.done, wanted);
            let is_held = std::mem::take(&mut it.is_held);
            it.is_held = self.mutate(peer, now, |peer| peer.use_as(path, (before, wanted), is_held, now));
        }
        told != it.told
    }

    fn tell_clock(&mut self, it: &mut Plan, news: Option<ClockNews>, now: Instant) {
        let began = it.meter.began();
        let (used_bytes, size_bytes) = it.meter.used();
        let what = match news {
            None => return,
            // If it was used less before, that is told as such.
            Some(ClockNews::Renewed) if it.told > Level::Ok => return,
            Some(ClockNews::Renewed) => What::DataRenewed { used_bytes, size_bytes },
            Some(ClockNews::Doubted(days)) => What::DataClock {
                why: format!(
                    "the clock is {days} days later than when it was last used: the month that began on {began} goes on for an hour; \
                     `mpt data set` ends it now"
                ),
            },
            Some(ClockNews::Restored) => What::DataClock {
                why: format!("the clock has gone back: the month that began on {began} goes on"),
            },
        };
        self.journal.note(now, Some(&it.place.connection), Some(&it.place.path), what);
    }

    /// What is used is this, or more may be used.
    pub(super) fn answer_data(&mut self, wanted: &str, change: impl FnOnce(&mut Meter, u64)) -> Answer {
        let (peer, path) = match self.find_path(wanted) {
            Ok(found) => found,
            Err(error) => return Answer::error(error),
        };
        let config = &self.peers[peer].config;
        let (connection, path) = (config.name.clone(), config.paths[path].name.clone());
        let name = format!("{connection}/{path}");
        let now = self.clock.now();
        let mut plans = std::mem::take(&mut self.data.plans);
        let found = plans.iter_mut().find(|it| it.place.is_of(&connection, &path));
        let report = found.map(|it| {
            // What was carried until now is part of the provider's figure.
            self.count(it);
            change(&mut it.meter, seconds());
            self.follow_level(it, now);
            it.meter.report(seconds())
        });
        self.data.plans = plans;
        let Some(data) = report else {
            return Answer::error(format!(
                "{name} has no data plan: data = {{ month = \"50GB\", reset_day = 7 }} in its [[connection.path]] is one"
            ));
        };
        self.data.write(true, now);
        Answer::Data { version: VERSION, path: name, data }
    }
}

impl Peer<'_> {
    /// Uses a path otherwise than before. `is_held`: it was taken out of use for its plan. Returns whether it is now.
    fn use_as(&mut self, path: usize, (before, wanted): (Use, Use), is_held: bool, now: Instant) -> bool {
        let has_tiers = self.config.policy.has(Aspect::Tier);
        if has_tiers {
            self.paths[path].is_last = wanted != Use::AsConfigured;
            self.follow_tier(path, now);
        }
        let is_spare = self.is_spare(path);
        let is_used = self.is_enabled(path) || is_spare;
        // It gets back what people have said of it.
        let name = &self.config.paths[path].name;
        let by_hand = self.roles.get(name).copied().unwrap_or(Role::Member);
        let role = match wanted {
            Use::Not if is_used => Some(Role::Unused),
            // Without tiers the last place is that of one that stands by.
            Use::Last if !has_tiers && (is_used || is_held) => Some(Role::Spare),
            Use::Last if is_held => Some(by_hand),
            Use::AsConfigured if is_held || before == Use::Last && !has_tiers && is_spare => Some(by_hand),
            _ => None,
        };
        if let Some(role) = role {
            let _ = self.set_role(path, role, now);
        }
        wanted == Use::Not && is_used
    }
}

/// By the system's clock, since 1970.
fn seconds() -> u64 {
    clock::time_of_day() / 1_000_000
}
