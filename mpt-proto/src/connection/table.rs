//! The paths of a connection by number, and the sets that follow from their states.

use crate::config::PathConfig;
use crate::connection::paths::{AddPathError, UnknownPath, common_size};
use crate::connection::{Connection, Event};
use crate::ecn::Ecn;
use crate::path::{self, Due, Path, PathId};
use crate::path_set::{MAX_PATHS, PathSet};
use crate::rng::Rng;
use crate::schedule::PathView;
use crate::time::Instant;

/// See the module. Who changes a path goes through [`Connection::change_path`] or one of its kind, so that no set is ever behind.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct PathTable {
    places: [Option<Path>; MAX_PATHS],
    /// One more than the highest number ever given to a path: what lies behind need not be searched.
    used: usize,
    /// How often each number was given to a new path.
    generations: [u8; MAX_PATHS],
    up: PathSet,
    /// The paths that our control messages say we hear.
    hears: PathSet,
    /// The paths whose state may be another than was last told by an event.
    changed: PathSet,
    /// The paths that may have a control message to send.
    due: PathSet,
    /// Until when paths that are dead are wanted.
    wanted_until: Instant,
    /// Largest datagram that every path that is up carries, and their [`common_size`].
    smallest_datagram: u16,
    common_datagram: u16,
}

/// What a change of a path may mean for others.
struct News {
    is_up: bool,
    /// Whether we hear it, which was not so before, or do not hear it any more.
    hears_otherwise: bool,
}

impl PathTable {
    /// Without paths.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            places: [const { None }; MAX_PATHS],
            used: 0,
            generations: [0; MAX_PATHS],
            up: PathSet(0),
            hears: PathSet(0),
            changed: PathSet(0),
            due: PathSet(0),
            wanted_until: now,
            smallest_datagram: 0,
            common_datagram: 0,
        }
    }

    /// Whether each path is where its number says.
    #[cfg(feature = "state")]
    pub(super) fn is_sound(&self) -> bool {
        let mut places = (0..).zip(&self.places).zip(&self.generations);
        let is_own = |((index, path), generation): ((u8, &Option<Path>), &u8)| {
            path.as_ref().is_none_or(|path| path.id == PathId { index, generation: *generation })
        };
        self.used <= MAX_PATHS && places.all(is_own)
    }

    /// The paths that packets may take.
    pub(super) const fn up(&self) -> PathSet {
        self.up
    }

    /// The paths that our control messages say we hear.
    pub(super) const fn hears(&self) -> PathSet {
        self.hears
    }

    /// Bytes of the largest datagram that every path that is up carries, and of the largest that all but those that are far narrower than
    /// others carry. Zero: no path is up.
    pub(super) const fn sizes(&self) -> (u16, u16) {
        (self.smallest_datagram, self.common_datagram)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> + Clone {
        self.places.get(..self.used).unwrap_or_default().iter().filter_map(Option::as_ref)
    }

    pub(super) fn at(&self, index: usize) -> Option<&Path> {
        self.places.get(index)?.as_ref()
    }

    // Most calls of the interface begin with it: there once, it makes a firmware smaller by some 200 bytes.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn find(&self, id: PathId) -> Result<&Path, UnknownPath> {
        self.at(id.index()).filter(|path| path.id == id).ok_or(UnknownPath)
    }

    fn at_mut(&mut self, index: usize) -> Option<&mut Path> {
        self.places.get_mut(index)?.as_mut()
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut Path> {
        self.places.get_mut(..self.used).unwrap_or_default().iter_mut().filter_map(Option::as_mut)
    }

    /// A new path, at the first number that is free.
    fn insert(&mut self, config: PathConfig, now: Instant) -> Result<PathId, AddPathError> {
        let free =
            self.places.iter_mut().zip(&self.generations).enumerate().find(|(_, (path, _))| path.is_none());
        let (number, (place, generation)) = free.ok_or(AddPathError::Full)?;
        let index = u8::try_from(number).map_err(|_| AddPathError::Full)?;
        let id = PathId { index, generation: *generation };
        *place = Some(Path::new(id, config, now));
        self.used = self.used.max(number + 1);
        Ok(id)
    }

    fn remove(&mut self, index: usize) {
        if let (Some(place), Some(generation)) = (self.places.get_mut(index), self.generations.get_mut(index))
        {
            *place = None;
            *generation = generation.wrapping_add(1);
        }
    }

    /// Brings the sets to what a path is now.
    fn note(&mut self, index: usize) -> News {
        let (is_up, hears) = self.at(index).map_or((false, false), |path| (path.is_up(), path.hears()));
        let went_down = self.up.contains(index) && !is_up;
        if let Some(path) = self.at_mut(index).filter(|_| went_down) {
            path.stats.downs = path.stats.downs.saturating_add(1);
        }
        self.up.set(index, is_up);
        self.changed.insert(index);
        self.due.insert(index);
        let sizes = self.up.into_iter().filter_map(|index| self.at(index)).map(|path| path.max_datagram);
        let smallest = sizes.clone().min().unwrap_or(0);
        (self.smallest_datagram, self.common_datagram) = (smallest, common_size(sizes).unwrap_or(0));
        let hears_otherwise = self.hears.contains(index) != hears;
        self.hears.set(index, hears);
        News { is_up, hears_otherwise }
    }

    /// Tells the peer at once what we hear, on every path that may reach it.
    fn probe_all(&mut self) {
        self.due = PathSet(u16::MAX);
        self.each_mut().for_each(Path::probe_now);
    }

    /// Probes a path at once, if it is probed at all.
    pub(super) fn probe(&mut self, id: PathId) -> Result<(), UnknownPath> {
        let index = self.find(id)?.id.index();
        self.due.insert(index);
        self.at_mut(index).into_iter().for_each(Path::probe_now);
        Ok(())
    }

    /// There is something to send: paths that are dead are wanted.
    pub(super) fn want(&mut self, now: Instant) {
        if self.wanted_until <= now {
            self.each_mut().for_each(|path| path.handle_wanted(now));
        }
        self.wanted_until = now + path::IN_USE;
    }

    /// So many datagrams leave on a path, of so many bytes together. `None`: there is no such path.
    pub(super) fn count_sent(&mut self, index: usize, datagrams: u64, bytes: u64) -> Option<PathId> {
        let path = self.at_mut(index)?;
        path.stats.tx_datagrams += datagrams;
        path.stats.tx_bytes += bytes;
        Some(path.id)
    }

    /// A datagram of so many bytes arrived on a path.
    pub(super) fn count_received(&mut self, index: usize, bytes: u64) {
        if let Some(path) = self.at_mut(index) {
            path.stats.rx_datagrams += 1;
            path.stats.rx_bytes += bytes;
        }
    }

    /// A packet leaves on a path: it is in use.
    pub(super) fn handle_used(&mut self, index: usize, now: Instant) {
        if let Some(path) = self.at_mut(index) {
            path.handle_used(now);
        }
    }

    /// The marks of the outer header of a packet with these marks that leaves on a path.
    pub(super) fn outer_ecn(&mut self, index: usize, inner: Ecn) -> Ecn {
        self.at_mut(index).map_or(Ecn::NotEct, |path| path.outer_ecn(inner))
    }

    /// The control message that is to be sent now, and on which path.
    pub(super) fn poll_due(&mut self, now: Instant, rng: &mut Rng) -> Option<(usize, Due)> {
        let is_wanted = now < self.wanted_until;
        loop {
            let index = self.due.into_iter().next()?;
            if let Some(due) = self.at_mut(index).and_then(|path| path.poll_due(now, is_wanted, rng)) {
                // A probe may find a fault of ECN.
                self.changed.insert(index);
                return Some((index, due));
            }
            self.due.set(index, false);
        }
    }

    /// What people are to be told of a path.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        while let Some(index) = self.changed.pop() {
            let Some(path) = self.at_mut(index) else { continue };
            if let Some(fault) = path.ecn_news() {
                let path = path.id;
                self.changed.insert(index);
                return Some(Event::Ecn { path, fault });
            }
            let state = path.state();
            if core::mem::replace(&mut path.told, state) != state {
                return Some(Event::Path { path: path.id, state });
            }
        }
        None
    }

    /// When a path has something to do.
    pub(super) fn deadline(&self) -> Instant {
        let mut soonest = Instant::NEVER;
        for path in self.iter() {
            soonest = soonest.min(path.deadline());
        }
        soonest
    }
}

/// Changes of paths, with what follows from them for the rest of the connection.
impl Connection<'_> {
    pub(super) fn insert_path(&mut self, config: PathConfig) -> Result<PathId, AddPathError> {
        let id = self.paths.insert(config, self.now)?;
        let PathConfig { weight, rank, tier, .. } = config;
        let view = PathView { weight, rank, tier, ..PathView::default() };
        self.sender.scheduler.set_path(id.index(), Some(view));
        if let Some(engine) = self.engine() {
            engine.set_path(self, id.index(), tier);
        }
        self.settle(id.index());
        Ok(id)
    }

    pub(super) fn take_path_out(&mut self, index: usize) {
        self.paths.remove(index);
        self.sender.scheduler.set_path(index, None);
        self.sender.flow_pins.forget(index);
        self.settle(index);
        if let Some(engine) = self.engine() {
            engine.set_path(self, index, 0);
        }
    }

    /// Changes a path, if it is there.
    pub(super) fn change_path(&mut self, index: usize, change: impl FnOnce(&mut Path)) {
        if let Some(path) = self.paths.at_mut(index) {
            change(path);
        }
        self.settle(index);
    }

    /// Changes all paths, and only then looks at what follows.
    pub(super) fn change_paths(&mut self, change: impl FnMut(&mut Path)) {
        self.paths.each_mut().for_each(change);
        for index in 0..self.paths.used {
            self.settle(index);
        }
    }

    /// Something valid came on a path: a packet (`used`) or a control message.
    pub(super) fn heard(&mut self, index: usize, used: bool) {
        let now = self.now;
        let Some(path) = self.paths.at_mut(index) else { return };
        if used {
            path.handle_used(now);
        }
        let heard_before = path.hears();
        path.handle_heard(now);
        if !heard_before {
            self.settle(index);
        }
    }

    /// Carries what changed in a path to all that depends on it.
    fn settle(&mut self, index: usize) {
        let news = self.paths.note(index);
        if let Some(sizes) = &mut self.sizes {
            sizes.settle(index, self.paths.at(index), self.now);
        }
        if let Some(engine) = self.engine() {
            engine.settle_path(self, index, news.is_up);
        }
        if news.hears_otherwise {
            self.refresh_live();
            self.paths.probe_all();
        }
    }
}
