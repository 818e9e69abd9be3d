//! Captive portals in the way of paths on which nothing comes back: looked for beside the loop, at ever longer intervals.

use std::time::Duration;

use mpt_proto::{Handle, Instant, PathState};

use super::path::PeerPath;
use super::{Driver, Peer};
use crate::config;
use crate::events::What;
use crate::link::Missing;
use crate::portal::{Access, Address, Check, Finding, Portal, Question};

/// How long nothing comes back on a path until its network is looked at.
const FIRST: Duration = Duration::from_secs(3);
/// Between two looks; the last is for all that follow.
const WAITS: [Duration; 5] = [
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(240),
    Duration::from_secs(300),
];
/// How long an answer is waited for: longer than all that is asked may take.
const GIVEN_UP: Duration = Duration::from_secs(120);
/// Looks that may be under way, of all paths.
const AT_ONCE: usize = 4;
/// Until it is tried again where so many are.
const LATER: Duration = Duration::from_secs(5);

/// How portals are looked for.
#[derive(Default)]
pub struct Portals {
    check: Option<Box<dyn Check>>,
    config: config::Portal,
    /// Of the last question.
    number: u64,
    /// What is asked and not answered: the question's number, and until when its answer is waited for.
    asked: Vec<(u64, Instant)>,
}

impl Portals {
    /// Those who ask by `check`, as a configuration says it.
    pub fn new(check: Box<dyn Check>, config: config::Portal) -> Self {
        Self { check: Some(check), config, ..Self::default() }
    }

    /// Asks as another configuration says it.
    pub(super) fn follow(&mut self, config: &config::Portal) {
        self.config.clone_from(config);
    }
}

/// What is known of the network of a path on which nothing comes back, or came back until somebody logged in.
#[derive(Debug)]
pub(super) struct Watch {
    /// When it is looked at next; `None`: not again.
    due: Option<Instant>,
    /// How often it was.
    times: usize,
    /// The question that is asked.
    number: Option<u64>,
    found: Option<Portal>,
    /// The page that people were told of.
    told: Option<Address>,
    /// What the network's API has said last, and when.
    access: Option<(Access, Instant)>,
    /// Whether packets pass: the API alone is asked, once more, what the login has brought.
    works: bool,
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self {
            due: Some(now + FIRST),
            times: 0,
            number: None,
            found: None,
            told: None,
            access: None,
            works: false,
        }
    }

    /// Packets pass. Returns whether there is still something to know.
    fn note_works(&mut self, now: Instant) -> bool {
        if !self.works {
            (self.works, self.found, self.number, self.due) = (true, None, None, Some(now + FIRST));
        }
        self.access.is_some()
    }

    /// What the network's API has said, as of now.
    fn access(&self, now: Instant) -> Option<Access> {
        self.access.as_ref().map(|(access, then)| access.after(now.since(*then)))
    }

    /// It is asked now.
    fn note_asked(&mut self, number: u64, now: Instant) {
        let wait = WAITS.get(self.times).or(WAITS.last()).copied().unwrap_or(GIVEN_UP);
        self.due = (!self.works).then_some(now + wait);
        (self.number, self.times) = (Some(number), self.times.saturating_add(1));
    }

    /// An answer. Returns what people are to be told.
    fn note_found(&mut self, finding: Finding, access: Option<Access>, now: Instant) -> Option<Portal> {
        self.number = None;
        // One that does not answer any more says nothing of now.
        self.access = access.map(|access| (access, now));
        match finding {
            _ if self.works => {}
            Finding::Free => self.found = None,
            // A page that was there may be slow.
            Finding::Unknown => {}
            Finding::Portal(portal) => {
                let is_told = self.told.as_ref().is_some_and(|told| told.origin() == portal.url.origin());
                self.found = Some(portal.clone());
                if !is_told {
                    self.told = Some(portal.url.clone());
                    return Some(portal);
                }
            }
        }
        None
    }
}

impl Driver<'_> {
    /// Looks at the networks of a connection's paths on which nothing comes back.
    pub(super) fn follow_portals(&mut self, peer: Handle, now: Instant) {
        if self.portals.check.is_none() {
            return;
        }
        for path in 0..self.peers[peer].paths.len() {
            let it = &mut self.peers[peer];
            let waits = it.may_have_portal(path);
            let works = it.connection.path_state(it.paths[path].id).is_ok_and(|state| state == PathState::Up);
            let planned = &mut it.paths[path];
            let before = planned.portal.take();
            planned.portal = if waits {
                before.filter(|watch| !watch.works).or_else(|| Some(Box::new(Watch::new(now))))
            } else {
                before.and_then(|mut watch| (works && watch.note_works(now)).then_some(watch))
            };
            if planned.portal_at().is_some_and(|due| due <= now) {
                self.ask_for_portal(peer, path, now);
            }
        }
    }

    fn ask_for_portal(&mut self, peer: Handle, path: usize, now: Instant) {
        let it = &mut self.peers[peer];
        let may_ask = it.may_ask(path, &self.portals.config);
        let planned = &mut it.paths[path];
        let interface = planned.ends.candidate(&self.interfaces).filter(|interface| interface.running);
        let Some(watch) = &mut planned.portal else { return };
        let portals = &mut self.portals;
        portals.asked.retain(|(_, until)| *until > now);
        let (Some(interface), Some(check), true) = (interface, &portals.check, portals.asked.len() < AT_ONCE)
        else {
            watch.due = Some(now + LATER);
            return;
        };
        portals.number += 1;
        portals.asked.push((portals.number, now + GIVEN_UP));
        watch.note_asked(portals.number, now);
        check.ask(Question {
            number: portals.number,
            interface: interface.clone(),
            local: planned.ends.local,
            http: (may_ask && !watch.works).then(|| portals.config.clone()),
            api: may_ask,
        });
    }

    /// Takes what was found over.
    pub(super) fn handle_portals(&mut self, now: Instant) {
        let found = self.portals.check.as_ref().map(|check| check.found()).unwrap_or_default();
        for found in found {
            self.portals.asked.retain(|(number, _)| *number != found.number);
            for peer in self.peers.handles() {
                let Some(it) = self.peers.get_mut(peer) else { continue };
                let paths = it.paths.iter_mut().enumerate();
                let watches = paths.filter_map(|(path, planned)| Some((path, planned.portal.as_mut()?)));
                let of_it = watches.into_iter().find(|(_, watch)| watch.number == Some(found.number));
                let Some((path, watch)) = of_it else { continue };
                if let Some(Portal { url, by }) = watch.note_found(found.what, found.access, now) {
                    let (connection, path) = (it.config.name.clone(), it.config.paths[path].name.clone());
                    self.journal.note(now, Some(&connection), Some(&path), What::PathPortal { url, by });
                }
                break;
            }
        }
    }
}

impl Peer<'_> {
    /// Whether nothing comes back on a path although its link is there, or its peer cannot be looked up there.
    fn may_have_portal(&self, path: usize) -> bool {
        let waits_for_name = self.paths.get(path).is_some_and(|planned| {
            planned.is_there() && matches!(planned.missing, Some(Missing::Name(_))) && self.is_enabled(path)
        });
        waits_for_name || self.waits_for_answer(path)
    }

    /// Whether something may be asked for over the link of a path, which takes some of what it is paid for.
    fn may_ask(&self, path: usize, config: &config::Portal) -> bool {
        let (planned, said) = (&self.paths[path], &self.config.paths[path]);
        said.portal_check.unwrap_or(config.check && said.data.is_none() && planned.tier == 1)
    }
}

impl PeerPath {
    /// When its network is to be looked at.
    pub(super) fn portal_at(&self) -> Option<Instant> {
        self.portal.as_ref()?.due
    }

    /// The portal that is in its way.
    pub(super) fn portal_found(&self) -> Option<&Portal> {
        self.portal.as_ref()?.found.as_ref()
    }

    /// What the API of its network says.
    pub(super) fn portal_access(&self, now: Instant) -> Option<Access> {
        self.portal.as_ref()?.access(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::By;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn portal(url: &str) -> Portal {
        Portal { url: Address::new(url.as_bytes()).unwrap(), by: By::Http }
    }

    #[test]
    fn a_network_is_looked_at_after_three_seconds_and_then_ever_more_seldom() {
        let mut watch = Watch::new(at(0));
        let mut asked = Vec::new();
        for second in 0..2000 {
            if watch.due.is_some_and(|due| due <= at(second)) {
                watch.note_asked(second, at(second));
                asked.push(second);
                assert_eq!(watch.note_found(Finding::Unknown, None, at(second)), None);
            }
        }
        assert_eq!(asked, [3, 33, 93, 213, 453, 753, 1053, 1353, 1653, 1953]);
    }

    #[test]
    fn people_are_told_once_of_a_page_that_is_named_anew_each_time() {
        let told = |watch: &mut Watch, finding| watch.note_found(finding, None, at(5));
        let mut watch = Watch::new(at(0));
        let first = portal("http://login.example/?id=1");
        assert_eq!(told(&mut watch, Finding::Portal(first.clone())), Some(first.clone()));
        assert_eq!(told(&mut watch, Finding::Unknown), None);
        assert_eq!(watch.found, Some(first));
        let second = portal("http://login.example/?id=2");
        assert_eq!(told(&mut watch, Finding::Portal(second.clone())), None);
        assert_eq!(watch.found, Some(second));
        let other = portal("http://other.example/");
        assert_eq!(told(&mut watch, Finding::Portal(other.clone())), Some(other));
        assert_eq!(told(&mut watch, Finding::Free), None);
        assert_eq!(watch.found, None);
    }

    #[test]
    fn an_api_is_asked_once_more_when_packets_pass_and_what_it_grants_runs_out() {
        let granted = |seconds| Access {
            captive: false,
            seconds_left: Some(seconds),
            bytes_left: Some(7),
            venue: None,
        };
        let mut watch = Watch::new(at(0));
        assert!(!watch.note_works(at(1)), "nothing is known of an API");
        let mut watch = Watch::new(at(0));
        watch.note_asked(1, at(3));
        let wanted = Access { captive: true, seconds_left: None, bytes_left: None, venue: None };
        let page = portal("http://login.example/");
        assert_eq!(watch.note_found(Finding::Portal(page.clone()), Some(wanted), at(4)), Some(page.clone()));
        assert_eq!((watch.found.is_some(), watch.due), (true, Some(at(33))));

        assert!(watch.note_works(at(20)));
        assert_eq!((watch.found.clone(), watch.due), (None, Some(at(23))));
        assert!(watch.note_works(at(22)));
        assert_eq!(watch.due, Some(at(23)));
        watch.note_asked(2, at(23));
        // DHCP names a page still.
        assert_eq!(watch.note_found(Finding::Portal(page), Some(granted(60)), at(24)), None);
        assert_eq!((watch.found.clone(), watch.due), (None, None));
        assert_eq!(watch.access(at(24)), Some(granted(60)));
        assert_eq!(watch.access(at(34)), Some(granted(50)));
        assert_eq!(watch.access(at(1000)), Some(granted(0)));
        let text = watch.access(at(34)).map(|access| access.to_string());
        assert_eq!(text.as_deref(), Some("no login is wanted, 50 s left, 7 B left"));
    }
}
