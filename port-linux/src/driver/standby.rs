//! Connections that stand by for another one: which of them packets take.
//!
//! All of them are there all the time, with keys and paths that are probed, so that it is known who answers. Only what comes from the
//! tunnel interface goes to one of them.

use std::collections::BTreeMap;
use std::time::Duration;

use mpt_proto::Instant;

use super::Driver;
use crate::config::{Connection, Share, Standby};
use crate::events::What;
use crate::routes::Routes;

/// Connections of which packets take one, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Group {
    members: Vec<Member>,
    /// The place of the one in use.
    used: usize,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// `None`: the one that comes first.
    standby: Option<Standby>,
    is_up: bool,
    /// Since when it is up, or down.
    since: Instant,
}

impl Group {
    /// Takes note of who is up. Returns the place of the one that packets take from now on, if it is another one than before.
    fn handle_states(&mut self, is_up: impl Fn(&str) -> bool, now: Instant) -> Option<usize> {
        for member in &mut self.members {
            let is_up = is_up(&member.name);
            if is_up != member.is_up {
                (member.is_up, member.since) = (is_up, now);
            }
        }
        let next = self.next(now).filter(|(_, at)| *at <= now).map(|(place, _)| place)?;
        self.used = next;
        Some(next)
    }

    /// The next one to be used, as it is now, and when.
    fn next(&self, now: Instant) -> Option<(usize, Instant)> {
        let used = self.members.get(self.used)?;
        let up =
            || self.members.iter().enumerate().filter(|(place, member)| *place != self.used && member.is_up);
        // One that comes before, after it was up for some time.
        let back = used.standby.as_ref().and_then(|standby| standby.back);
        let before = back.and_then(|back| {
            let before = up().take_while(|(place, _)| *place < self.used);
            before.map(|(place, member)| (place, member.since + back)).min_by_key(|(_, at)| *at)
        });
        let over = up()
            .filter(|_| !used.is_up)
            .map(|(place, member)| (place, used.since + self.after(member)))
            .next();
        [before, over].into_iter().flatten().min_by_key(|(_, at)| (*at).max(now))
    }

    /// How long the one in use must be down until this one takes over.
    fn after(&self, member: &Member) -> Duration {
        let standby = member.standby.as_ref().or_else(|| self.members.get(self.used)?.standby.as_ref());
        standby.map_or(Duration::ZERO, |standby| standby.after)
    }
}

/// All groups, by the name of the connection that comes first.
pub(super) type Groups = BTreeMap<String, Group>;

impl Driver<'_> {
    /// Forms the groups of the present connections anew; of each, the connection that was in use stays so.
    pub(super) fn begin_standbys(&mut self, configured: &[Connection], now: Instant) {
        let before = std::mem::take(&mut self.standbys);
        let firsts = configured.iter().filter_map(|connection| Some(connection.standby.as_ref()?.of.clone()));
        for first in firsts {
            if self.standbys.contains_key(&first) {
                continue;
            }
            let old = before.get(&first);
            let known = |name: &str| old?.members.iter().find(|member| member.name == name);
            let is_member =
                |it: &&Connection| it.name == first || it.standby.as_ref().is_some_and(|it| it.of == first);
            let members: Vec<Member> = configured
                .iter()
                .filter(is_member)
                .map(|it| Member {
                    name: it.name.clone(),
                    standby: it.standby.clone(),
                    is_up: known(&it.name).is_some_and(|known| known.is_up),
                    since: known(&it.name).map_or(now, |known| known.since),
                })
                .collect();
            let used = old.and_then(|old| old.members.get(old.used)).map(|used| used.name.clone());
            let used = used.and_then(|used| members.iter().position(|member| member.name == used));
            self.standbys.insert(first, Group { members, used: used.unwrap_or(0) });
        }
    }

    /// When a connection may take over.
    pub(super) fn next_standby(&self, now: Instant) -> Option<Instant> {
        self.standbys.values().filter_map(|group| group.next(now)).map(|(_, at)| at).min()
    }

    /// Lets packets take the connections that they are to take now.
    pub(super) fn follow_standbys(&mut self, now: Instant) {
        let Self { standbys, peers, journal, .. } = self;
        let mut is_changed = false;
        for group in standbys.values_mut() {
            let used = group.used;
            let is_up = |name: &str| peers.iter().any(|peer| peer.config.name == name && peer.paths_up() > 0);
            let Some(next) = group.handle_states(is_up, now) else { continue };
            let (Some(before), Some(after)) = (group.members.get(used), group.members.get(next)) else {
                continue;
            };
            let seconds = now.since(if before.is_up { after.since } else { before.since }).as_secs();
            let what = What::Standby { before: before.name.clone(), is_back: before.is_up, seconds };
            journal.note(now, Some(&after.name), None, what);
            is_changed = true;
        }
        if is_changed {
            let share = self.reload.as_ref().map(|reload| reload.config.tunnel.share.clone());
            self.inside.routes = self.routes(&self.tunnel.addresses, &share.unwrap_or_default());
        }
    }

    /// Who carries what now.
    pub(super) fn routes(&self, addresses: &[ipnet::IpNet], share: &[Share]) -> Routes {
        let mut connections: Vec<_> = self.peers.iter().map(|peer| (peer.handle, &peer.config)).collect();
        // Of those that have the same networks, the one in use comes first.
        connections.sort_by_key(|(_, config)| self.is_used(&config.name) == Some(false));
        Routes::new(addresses, share, connections.into_iter())
    }

    /// Whether packets take a connection, if it stands by for another one, or another one for it.
    pub(super) fn is_used(&self, name: &str) -> Option<bool> {
        let of = |group: &Group| {
            let place = group.members.iter().position(|member| member.name == name)?;
            Some(place == group.used)
        };
        self.standbys.values().find_map(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn group(back: Option<u64>) -> Group {
        let member =
            |name: &str, standby| Member { name: name.into(), standby, is_up: false, since: at(100) };
        let standby =
            Standby { of: "one".into(), after: Duration::from_secs(10), back: back.map(Duration::from_secs) };
        let members =
            vec![member("one", None), member("two", Some(standby.clone())), member("three", Some(standby))];
        Group { members, used: 0 }
    }

    fn see(group: &mut Group, seconds: u64, up: &[&str]) -> Option<usize> {
        group.handle_states(|name| up.contains(&name), at(seconds))
    }

    #[test]
    fn another_one_that_is_up_takes_over_after_ten_seconds() {
        let mut group = group(Some(60));
        assert_eq!(see(&mut group, 101, &["two", "three"]), None);
        assert_eq!(group.next(at(101)), Some((1, at(110))), "also at the start");
        assert_eq!(see(&mut group, 110, &["two", "three"]), Some(1));
        assert_eq!(see(&mut group, 200, &["three"]), None);
        assert_eq!(see(&mut group, 210, &["three"]), Some(2));
        assert_eq!(see(&mut group, 300, &[]), None);
        assert_eq!(group.next(at(300)), None, "nobody is there");
        assert_eq!(see(&mut group, 320, &["one"]), Some(0), "it was down for long enough");
        assert_eq!(see(&mut group, 321, &["one", "two"]), None);
        assert_eq!(see(&mut group, 330, &["two"]), None);
        assert_eq!(see(&mut group, 335, &["one", "two"]), None, "it was down for five seconds only");
        assert_eq!(group.next(at(335)), None);
    }

    #[test]
    fn one_that_comes_before_is_used_again_when_it_was_up_for_a_minute() {
        let mut group = group(Some(60));
        see(&mut group, 101, &["two"]);
        assert_eq!(see(&mut group, 110, &["two"]), Some(1));
        assert_eq!(see(&mut group, 200, &["one", "two"]), None);
        assert_eq!(see(&mut group, 250, &["two"]), None);
        assert_eq!(see(&mut group, 260, &["one", "two"]), None, "it counts anew");
        assert_eq!(group.next(at(260)), Some((0, at(320))));
        assert_eq!(see(&mut group, 320, &["one", "two"]), Some(0));
        assert_eq!(see(&mut group, 900, &["one", "two", "three"]), None, "later ones are no reason");
    }

    #[test]
    fn it_may_stay_with_the_one_that_took_over() {
        let mut group = group(None);
        see(&mut group, 101, &["two"]);
        assert_eq!(see(&mut group, 110, &["two"]), Some(1));
        assert_eq!(see(&mut group, 9000, &["one", "two"]), None);
        assert_eq!(see(&mut group, 9001, &["one"]), None);
        assert_eq!(see(&mut group, 9011, &["one"]), Some(0));
    }
}
