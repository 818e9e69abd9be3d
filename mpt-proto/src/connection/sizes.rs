//! What each path carries beyond its first hop: the searches, where they meet the rest of the connection.
//!
//! The search itself is [`PathMtu`]. Here it is told what became of its path, its probes leave, their echoes are taken, and the
//! connection sends what it finds.

use core::time::Duration;

use crate::connection::identity::Identity;
use crate::connection::{Connection, UnknownPath};
use crate::event::Event;
use crate::path::{Due, Path, PathId, PathMtu};
use crate::path_set::{MAX_PATHS, PathSet};
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::control::{Kind, Message};

/// Why the size that a path carries is not searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SearchSizeError {
    /// The path does not exist, or not any more.
    UnknownPath,
    /// No memory was lent for a path of its number by [`Storage::with_path_sizes`](crate::Storage::with_path_sizes).
    NoMemory,
    /// The path is not probed ([`Liveness::Off`](crate::Liveness::Off)): its peer would not answer.
    NotProbed,
}

impl core::fmt::Display for SearchSizeError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::UnknownPath => "there is no such path",
            Self::NoMemory => "there is no memory for the search for the path's size",
            Self::NotProbed => "the path is not probed",
        })
    }
}

impl core::error::Error for SearchSizeError {}

impl From<UnknownPath> for SearchSizeError {
    fn from(_: UnknownPath) -> Self {
        Self::UnknownPath
    }
}

/// Why a datagram could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Unsent {
    /// The interface does not take its size.
    TooLarge,
    /// For any other reason: the queue is full, there is no route.
    Otherwise,
}

/// Memory for the searches on the paths whose [numbers](PathId::index) are below `N`. `Default`: nothing is searched.
#[derive(Debug)]
pub struct PathSizes<const N: usize = MAX_PATHS> {
    /// The paths whose search may have something to send.
    due: PathSet,
    places: [Option<Search>; N],
}

impl<const N: usize> Default for PathSizes<N> {
    fn default() -> Self {
        Self { due: PathSet::default(), places: [const { None }; N] }
    }
}

/// The search on one path.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Search {
    path: PathId,
    mtu: PathMtu,
    /// Of the stamps of probes.
    rng: Rng,
    /// Bytes of the padded probe that is to leave behind the small one.
    padded: Option<u16>,
    /// Large packets are lost on the path, and the answer is awaited.
    is_doubted: bool,
    /// The size that was last told, and the one that was last told as found.
    told: u16,
    found: u16,
}

impl Search {
    /// A search on a path whose interface takes datagrams of so many bytes; `seed` is that of its stamps.
    fn new(path: PathId, (least, ceiling): (u16, u16), seed: u64) -> Self {
        let mtu = PathMtu::new(least, ceiling);
        Self {
            path,
            mtu,
            rng: Rng::new(seed),
            padded: None,
            is_doubted: false,
            told: ceiling,
            found: ceiling,
        }
    }

    /// Whether it has begun: its path is up.
    const fn is_running(&self) -> bool {
        self.mtu.deadline().is_some()
    }

    /// The path's interface takes datagrams of so many bytes from now on.
    fn restart(&mut self, ceiling: u16, now: Instant) {
        let is_running = self.is_running();
        self.mtu.restart(ceiling, now);
        if !is_running {
            self.mtu.pause();
        }
        (self.told, self.found, self.is_doubted) = (ceiling, ceiling, false);
    }

    /// Large packets are lost on the path.
    fn doubt(&mut self, now: Instant) {
        self.mtu.doubt(now);
        self.is_doubted = true;
    }

    /// The probe that is to leave now; sending it is assumed. Lets the connection send what was found.
    fn poll(&mut self, index: usize, connection: &mut Connection<'_>) -> Option<Due> {
        if let Some(padded_to) = self.padded.take()
            && let (_, Some(stamp)) = self.mtu.stamps()
        {
            self.mtu.discount(padded_to);
            return Some(Due { padded_to, ..Due::probe(stamp) });
        }
        let (path, now) = (connection.paths.at(index)?, connection.now);
        let (sent, before) = (path.stats.tx_bytes, path.max_datagram);
        // What arrived before the look began is taken out, and says nothing.
        if let Some(size) = connection.take_carried_on(index) {
            self.mtu.handle_carried(size, now);
        }
        self.padded = self.mtu.handle_timeout(sent, now);
        let size = self.mtu.max_datagram();
        let is_answered = self.is_doubted && self.mtu.is_at_rest();
        if size != before || is_answered {
            self.is_doubted &= !is_answered;
            connection.follow_size(index, size);
        }
        self.padded?;
        let (small, padded) = self.mtu.stamps();
        #[allow(clippy::cast_possible_truncation, reason = "any 32 of 64 random bits do")]
        let mut random = || self.rng.next() as u32;
        let stamps = (small.unwrap_or_else(&mut random), padded.unwrap_or_else(&mut random));
        let rtt = connection.sender.scheduler.rtt(index).map(Duration::from);
        self.mtu.handle_sent(stamps, rtt, now);
        // The small one first: of two that arrive together the peer answers the last.
        Some(Due::probe(stamps.0))
    }

    /// What is to be told of it.
    fn poll_event(&mut self) -> Option<Event> {
        let (size, is_found) = (self.mtu.max_datagram(), self.mtu.is_settled());
        if size == self.told && (!is_found || size == self.found) {
            return None;
        }
        self.told = size;
        if is_found {
            self.found = size;
        }
        Some(Event::PathSize { path: self.path, size, is_found })
    }
}

/// What the connection asks of the searches. It is called through a trait object that [`with_path_sizes`] alone makes, so that a program
/// that never calls that links none of them.
///
/// [`with_path_sizes`]: crate::Storage::with_path_sizes
pub(super) trait Searches: Send + Sync {
    /// The paths whose search may have something to send, and the searches by the numbers of their paths.
    #[cfg(feature = "state")]
    fn parts(&self) -> (PathSet, &[Option<Search>]);
    /// The same, to be changed.
    fn parts_mut(&mut self) -> (&mut PathSet, &mut [Option<Search>]);
    /// The path of this number may have gone down, come up, or gone.
    fn settle(&mut self, index: usize, path: Option<&Path>, now: Instant);
    /// The interface of the path takes datagrams of so many bytes from now on.
    fn restart(&mut self, index: usize, ceiling: u16, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn deadline(&self) -> Instant;
    /// Whether what the path carries is not known yet.
    fn seeks(&self, index: usize) -> bool;
    /// Takes a control message of the peer that came on a path, if it is the echo of a probe of the path's size. Returns whether it is.
    fn takes(&mut self, index: usize, message: &[u8], identity: &Identity, now: Instant) -> bool;
    /// The next probe, and the number of its path. Lets the connection send what was found.
    fn poll(&mut self, connection: &mut Connection<'_>) -> Option<(usize, Due)>;
    /// What is to be told. Paths that are `doubted` to carry large packets, and are searched, are taken out of that set.
    fn poll_event(&mut self, doubted: Option<&mut PathSet>, now: Instant) -> Option<Event>;
}

/// Not by the trait object: a program that never prints it would link the printing.
impl core::fmt::Debug for dyn Searches {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("PathSizes")
    }
}

/// [`PathSizes`] of whatever length. It borrows nothing, so that the connection may live shorter than the memory.
pub(super) type LentSizes<'s> = &'s mut (dyn Searches + 'static);

impl<const N: usize> PathSizes<N> {
    fn at(&mut self, index: usize) -> Option<&mut Search> {
        self.places.get_mut(index)?.as_mut()
    }
}

impl<const N: usize> Searches for PathSizes<N> {
    #[cfg(feature = "state")]
    fn parts(&self) -> (PathSet, &[Option<Search>]) {
        (self.due, &self.places)
    }

    fn parts_mut(&mut self) -> (&mut PathSet, &mut [Option<Search>]) {
        (&mut self.due, &mut self.places)
    }

    fn settle(&mut self, index: usize, path: Option<&Path>, now: Instant) {
        let Some(place) = self.places.get_mut(index) else { return };
        match (path, place) {
            (None, place) => *place = None,
            (Some(path), Some(search)) if path.is_up() != search.is_running() => {
                if path.is_up() {
                    search.mtu.resume(now);
                    self.due.insert(index);
                } else {
                    search.mtu.pause();
                }
            }
            _ => {}
        }
    }

    fn restart(&mut self, index: usize, ceiling: u16, now: Instant) {
        if let Some(search) = self.at(index) {
            search.restart(ceiling, now);
            self.due.insert(index);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for (index, search) in self.places.iter().enumerate() {
            let deadline = search.as_ref().and_then(|search| search.mtu.deadline());
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.due.insert(index);
            }
        }
    }

    fn deadline(&self) -> Instant {
        let deadlines = self.places.iter().flatten().filter_map(|search| search.mtu.deadline());
        deadlines.min().unwrap_or(Instant::NEVER)
    }

    fn seeks(&self, index: usize) -> bool {
        self.places
            .get(index)
            .is_some_and(|place| place.as_ref().is_some_and(|search| !search.mtu.is_settled()))
    }

    fn takes(&mut self, index: usize, message: &[u8], identity: &Identity, now: Instant) -> bool {
        let Ok(message) = Message::parse(message) else { return false };
        let is_echo = message.kind == Kind::Echo && identity.claims(&message) == Some(true);
        let search = self.at(index).filter(|_| is_echo);
        let is_ours = search.is_some_and(|search| search.mtu.handle_echo(message.stamp, now));
        if is_ours {
            self.due.insert(index);
        }
        is_ours
    }

    fn poll(&mut self, connection: &mut Connection<'_>) -> Option<(usize, Due)> {
        while let Some(index) = self.due.into_iter().next() {
            let probe = self.at(index).and_then(|search| search.poll(index, connection));
            // After the padded one it waits for what comes of the two, whatever the time is.
            self.due.set(index, probe.is_some_and(|probe| probe.padded_to == 0));
            if let Some(probe) = probe {
                return Some((index, probe));
            }
        }
        None
    }

    fn poll_event(&mut self, doubted: Option<&mut PathSet>, now: Instant) -> Option<Event> {
        if let Some(doubted) = doubted {
            for index in *doubted {
                if let Some(search) = self.at(index) {
                    search.doubt(now);
                    doubted.set(index, false);
                }
            }
        }
        self.places.iter_mut().flatten().find_map(Search::poll_event)
    }
}

/// As it was lent, for another connection.
pub(super) fn renewed(sizes: LentSizes<'_>) -> LentSizes<'_> {
    let (due, places) = sizes.parts_mut();
    *due = PathSet::default();
    places.fill_with(|| None);
    sizes
}

impl Connection<'_> {
    /// Searches from now on what a path carries beyond its first hop: datagram packetization layer path MTU discovery (RFC 8899).
    ///
    /// The path is first taken to carry [`PathConfig::max_datagram`](crate::PathConfig::max_datagram), or what was last set by
    /// [`set_max_datagram`](Self::set_max_datagram): what its interface takes. Probes of that size leave by
    /// [`poll_transmit`](Self::poll_transmit), as departures that are to be [padded](crate::Departure::padded_to). If they do not arrive
    /// though small ones do, the size that passes is found within seconds. Packets that do not fit take other paths meanwhile, or are split.
    /// [`Event::PathSize`] tells what was found. ICMP is not needed, nor believed. A path that is searched already stays as it is.
    ///
    /// `least` is the UDP payload in bytes that every link of the kind carries: less is not tried. `seed` is that of the numbers by which the
    /// peer's answers are known: nobody on the network may guess it.
    ///
    /// # Errors
    /// There is no such path, it is not probed, or no memory was lent for it.
    pub fn search_size(
        &mut self,
        path: PathId,
        least: u16,
        seed: u64,
        now: Instant,
    ) -> Result<(), SearchSizeError> {
        self.tick(now);
        let path = self.paths.find(path)?;
        if !path.is_probed() {
            return Err(SearchSizeError::NotProbed);
        }
        let index = path.id.index();
        let sizes = self.sizes.as_mut().ok_or(SearchSizeError::NoMemory)?;
        let place = sizes.parts_mut().1.get_mut(index).ok_or(SearchSizeError::NoMemory)?;
        place.get_or_insert_with(|| Search::new(path.id, (least, path.max_datagram), seed));
        sizes.settle(index, Some(path), self.now);
        Ok(())
    }

    /// The datagram that was to be [padded](crate::Departure::padded_to) and was last handed out for a path did not leave.
    ///
    /// # Errors
    /// There is no such path.
    pub fn handle_unsent(&mut self, path: PathId, why: Unsent, now: Instant) -> Result<(), UnknownPath> {
        self.tick(now);
        let index = self.paths.find(path)?.id.index();
        let Some((due, places)) = self.sizes.as_mut().map(|sizes| sizes.parts_mut()) else { return Ok(()) };
        if let Some(Some(search)) = places.get_mut(index) {
            match why {
                Unsent::TooLarge => search.mtu.handle_refused(self.now),
                Unsent::Otherwise => search.mtu.handle_unsent(self.now),
            }
            due.insert(index);
        }
        Ok(())
    }

    /// Bytes of the largest datagram that is sent on a path now.
    ///
    /// # Errors
    /// There is no such path.
    pub fn max_datagram(&self, path: PathId) -> Result<u16, UnknownPath> {
        self.paths.find(path).map(|path| path.max_datagram)
    }

    /// Whether the size that a path carries is being searched: [`max_datagram`](Self::max_datagram) is not the last word.
    ///
    /// # Errors
    /// There is no such path.
    pub fn seeks_size(&self, path: PathId) -> Result<bool, UnknownPath> {
        let index = self.paths.find(path)?.id.index();
        Ok(self.sizes.as_ref().is_some_and(|sizes| sizes.seeks(index)))
    }

    /// The next probe of a path's size.
    pub(super) fn poll_size_probe(&mut self) -> Option<(usize, Due)> {
        let sizes = self.sizes.take()?;
        let probe = sizes.poll(self);
        self.sizes = Some(sizes);
        probe
    }

    /// What the searches have found.
    pub(super) fn poll_size_event(&mut self) -> Option<Event> {
        let doubted = self.extension.as_mut().map(|extension| &mut extension.adaptive.state.doubted);
        self.sizes.as_mut()?.poll_event(doubted, self.now)
    }
}
