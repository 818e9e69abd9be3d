//! The core with its entrances: the only way by which the event loop changes a connection, so that a recording misses nothing.
//!
//! What only looks at a connection needs no entrance: [`Core`] can be read as a [`Connection`].

use std::ops::Deref;

use mpt_proto::wire::ip::Flow;
use mpt_proto::{
    AddPathError, CONTROL_MAX, Connection, Departure, Ecn, EncapsulateError, Event, Instant, Link, MAX_PATHS,
    PathConfig, PathId, PinFlowError, Received, SearchSizeError, Storage, UnknownPath, Unsent,
};

use super::{Change, Decision, Input, Recorder, Recordings, Subject};

/// The names of a connection's paths, by number.
pub type Names = [Option<Box<str>>; MAX_PATHS];

/// A connection, and what records it. Without a recorder an entrance costs one comparison.
pub struct Core<'s> {
    connection: Connection<'s>,
    recorder: Option<Box<Recorder>>,
    names: Names,
}

impl<'s> From<Connection<'s>> for Core<'s> {
    fn from(connection: Connection<'s>) -> Self {
        Self { connection, recorder: None, names: Names::default() }
    }
}

impl<'s> Deref for Core<'s> {
    type Target = Connection<'s>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl<'s> Core<'s> {
    /// A connection without paths that was not used yet, and what records it from now on.
    pub fn recorded(connection: Connection<'s>, recorder: Box<Recorder>) -> Self {
        Self { connection, recorder: Some(recorder), names: Names::default() }
    }

    /// Records it from now on, as it is. Returns whether it is recorded.
    pub fn record(&mut self, recordings: &mut Recordings, subject: Subject<'_>) -> bool {
        // A recording ends before another one of the same name begins.
        self.recorder = None;
        self.recorder = recordings.begin(&Subject { core: Some((&self.connection, &self.names)), ..subject });
        self.recorder.is_some()
    }

    /// What records it.
    pub fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_deref_mut()
    }

    /// Whether something records it.
    pub fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// Ends the recording. Returns whether there was one.
    pub fn stop_recording(&mut self) -> bool {
        self.recorder.take().is_some()
    }

    /// Ends the connection: its memory serves another one.
    pub fn into_storage(self) -> Storage<'s> {
        self.connection.into_storage()
    }

    /// Lets the recording go on in another segment if it is time for that: asked where inputs are many.
    #[inline]
    fn turn_over(&mut self) {
        if let Some(recorder) = self.recorder.as_deref_mut().filter(|recorder| recorder.is_due()) {
            recorder.begin_segment(&self.connection, &self.names);
        }
    }

    fn note(&mut self, input: &Input<'_>, now: Option<Instant>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(input, now);
        }
    }

    fn note_change(&mut self, change: impl FnOnce() -> Change, now: Option<Instant>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(&Input::Change(change()), now);
        }
    }

    /// As [`note_change`](Self::note_change), for what is done to a path, which may not be there any more: then only time passes.
    fn note_path(&mut self, path: PathId, change: impl FnOnce(u8) -> Change, now: Option<Instant>) {
        let Some(recorder) = &mut self.recorder else { return };
        match u8::try_from(path.index()).ok().filter(|_| self.connection.path_state(path).is_ok()) {
            Some(place) => recorder.input(&Input::Change(change(place)), now),
            None => recorder.input(&Input::Tick, now),
        }
    }

    /// [`Connection::add_path`]; people know the path by this name.
    ///
    /// # Errors
    /// As there.
    pub fn add_path(&mut self, name: &str, config: PathConfig, now: Instant) -> Result<PathId, AddPathError> {
        self.note_change(|| Change::AddPath { name: name.to_owned(), settings: config.into() }, Some(now));
        let id = self.connection.add_path(config, now)?;
        if let Some(place) = self.names.get_mut(id.index()) {
            *place = Some(name.into());
        }
        Ok(id)
    }

    /// [`Connection::remove_path`].
    ///
    /// # Errors
    /// As there.
    pub fn remove_path(&mut self, path: PathId, now: Instant) -> Result<(), UnknownPath> {
        self.note_path(path, Change::RemovePath, Some(now));
        self.connection.remove_path(path, now)?;
        if let Some(place) = self.names.get_mut(path.index()) {
            *place = None;
        }
        Ok(())
    }

    /// [`Connection::set_enabled`].
    ///
    /// # Errors
    /// As there.
    pub fn set_enabled(&mut self, path: PathId, enabled: bool, now: Instant) -> Result<(), UnknownPath> {
        self.note_path(path, |path| Change::Enabled { path, enabled }, Some(now));
        self.connection.set_enabled(path, enabled, now)
    }

    /// [`Connection::handle_link`].
    ///
    /// # Errors
    /// As there.
    pub fn handle_link(&mut self, path: PathId, link: Link, now: Instant) -> Result<(), UnknownPath> {
        self.note_path(path, |path| Change::Link { path, is_up: link == Link::Up }, Some(now));
        self.connection.handle_link(path, link, now)
    }

    /// [`Connection::set_max_datagram`].
    ///
    /// # Errors
    /// As there.
    pub fn set_max_datagram(&mut self, path: PathId, size: u16, now: Instant) -> Result<(), UnknownPath> {
        self.note_path(path, |path| Change::MaxDatagram { path, size }, Some(now));
        self.connection.set_max_datagram(path, size, now)
    }

    /// [`Connection::search_size`].
    ///
    /// # Errors
    /// As there.
    pub fn search_size(
        &mut self,
        path: PathId,
        least: u16,
        seed: u64,
        now: Instant,
    ) -> Result<(), SearchSizeError> {
        self.note_path(path, |path| Change::SearchSize { path, least, seed }, Some(now));
        self.connection.search_size(path, least, seed, now)
    }

    /// [`Connection::handle_unsent`].
    ///
    /// # Errors
    /// As there.
    pub fn handle_unsent(&mut self, path: PathId, why: Unsent, now: Instant) -> Result<(), UnknownPath> {
        let is_too_large = why == Unsent::TooLarge;
        self.note_path(path, |path| Change::Unsent { path, is_too_large }, Some(now));
        self.connection.handle_unsent(path, why, now)
    }

    /// [`Connection::take_carried`], for the player of a recording.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "program")]
    pub(super) fn take_carried(&mut self, path: PathId) -> Result<Option<u16>, UnknownPath> {
        self.note_path(path, Change::TakeCarried, None);
        let carried = self.connection.take_carried(path);
        self.decide(|| Decision::Carried(carried.ok().flatten()));
        carried
    }

    /// [`Connection::probe`].
    ///
    /// # Errors
    /// As there.
    pub fn probe(&mut self, path: PathId, now: Instant) -> Result<(), UnknownPath> {
        self.note_path(path, Change::Probe, Some(now));
        self.connection.probe(path, now)
    }

    /// [`Connection::challenge`].
    ///
    /// # Errors
    /// As there.
    pub fn challenge<'b>(
        &mut self,
        path: PathId,
        stamp: u32,
        buffer: &'b mut [u8; CONTROL_MAX],
        now: Instant,
    ) -> Result<Departure<'b>, UnknownPath> {
        self.note_path(path, |path| Change::Challenge { path, stamp }, Some(now));
        let challenge = self.connection.challenge(path, stamp, buffer, now);
        if let (Some(recorder), Ok(challenge)) = (&mut self.recorder, &challenge) {
            recorder.decide(&Decision::Departure(challenge, self.connection.header_len()));
        }
        challenge
    }

    /// [`Connection::set_limit`].
    pub fn set_limit(&mut self, bytes: u64) {
        self.note_change(|| Change::Limit(bytes), None);
        self.connection.set_limit(bytes);
    }

    /// [`Connection::set_turn`].
    pub fn set_turn(&mut self, is_its: bool) {
        if self.connection.set_turn(is_its) {
            self.note_change(|| Change::Turn(is_its), None);
        }
    }

    /// [`Connection::set_share`].
    pub fn set_share(&mut self, bytes: Option<u32>) {
        if self.connection.set_share(bytes) {
            self.note_change(|| Change::Share(bytes), None);
        }
    }

    /// [`Connection::ask`].
    pub fn ask(&mut self, bytes: Option<u32>) {
        if self.connection.ask(bytes) {
            self.note_change(|| Change::Ask(bytes), None);
        }
    }

    /// [`Connection::set_tier`].
    ///
    /// # Errors
    /// As there.
    pub fn set_tier(&mut self, path: PathId, tier: u8, now: Instant) -> Result<(), UnknownPath> {
        self.note_path(path, |path| Change::Tier { path, tier }, Some(now));
        self.connection.set_tier(path, tier, now)
    }

    /// [`Connection::pin_flow`].
    ///
    /// # Errors
    /// As there.
    pub fn pin_flow(
        &mut self,
        ports: (u16, u16),
        path: PathId,
        until: Instant,
        now: Instant,
    ) -> Result<(), PinFlowError> {
        self.note_path(path, |path| Change::PinFlow { ports, path, until: until.as_micros() }, Some(now));
        self.connection.pin_flow(ports, path, until, now)
    }

    /// [`Connection::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.turn_over();
        self.note(&Input::Timeout, Some(now));
        self.connection.handle_timeout(now);
    }

    /// Time passes, and nothing else: as a call for a path that is not there any more lets it.
    #[cfg(feature = "program")]
    pub(super) fn tick(&mut self, now: Instant) {
        // No connection has so many paths.
        let none = self.connection.add_path(PathConfig { weight: 0, ..PathConfig::default() }, now);
        debug_assert!(none.is_err(), "a weight of zero is refused after the time was noted");
    }

    /// [`Connection::decapsulate_arrived`].
    ///
    /// # Errors
    /// As there.
    pub fn decapsulate_arrived<'d>(
        &mut self,
        path: PathId,
        datagram: &'d mut [u8],
        ecn: Ecn,
        arrived: Instant,
        now: Instant,
    ) -> Result<Received<'d>, UnknownPath> {
        self.turn_over();
        if let Some(recorder) = &mut self.recorder {
            match u8::try_from(path.index()).ok().filter(|_| self.connection.path_state(path).is_ok()) {
                Some(path) => recorder.input(&Input::Datagram { path, datagram, ecn, arrived }, Some(now)),
                None => recorder.input(&Input::Tick, Some(now)),
            }
        }
        let received = self.connection.decapsulate_arrived(path, datagram, ecn, arrived, now);
        if let (Some(recorder), Ok(received)) = (&mut self.recorder, &received) {
            recorder.decide(&Decision::Received(received));
        }
        received
    }

    /// [`Connection::poll_packet`].
    pub fn poll_packet(&mut self) -> Option<&[u8]> {
        self.note(&Input::PollPacket, None);
        let Self { connection, recorder, .. } = self;
        let packet = connection.poll_packet();
        if let Some(recorder) = recorder {
            recorder.decide(&Decision::Packet(packet));
        }
        packet
    }

    /// [`Connection::poll_event`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.note(&Input::PollEvent, None);
        let event = self.connection.poll_event();
        self.decide(|| Decision::Event(event));
        event
    }

    /// [`Connection::poll_transmit`].
    pub fn poll_transmit<'b>(&'b mut self, buffer: &'b mut [u8; CONTROL_MAX]) -> Option<Departure<'b>> {
        self.note(&Input::PollTransmit, None);
        let Self { connection, recorder, .. } = self;
        let header_len = connection.header_len();
        let departure = connection.poll_transmit(buffer);
        if let (Some(recorder), Some(departure)) = (recorder, &departure) {
            recorder.decide(&Decision::Departure(departure, header_len));
        }
        departure
    }

    /// [`Connection::encapsulate`]; `each` is told of each datagram that carries the packet.
    ///
    /// # Errors
    /// As there.
    pub fn encapsulate(
        &mut self,
        buffer: &mut [u8],
        now: Instant,
        each: impl FnMut(&Departure<'_>),
    ) -> Result<(), EncapsulateError> {
        self.turn_over();
        let Self { connection, recorder, .. } = self;
        if let Some(recorder) = recorder {
            recorder.input(&Input::packet(buffer, connection), Some(now));
        }
        let header_len = connection.header_len();
        depart(connection.encapsulate(buffer, now), recorder.as_deref_mut(), header_len, each)
    }

    /// [`Connection::encapsulate_flow`], for the player of a recording.
    #[cfg(feature = "program")]
    pub(super) fn encapsulate_flow(
        &mut self,
        buffer: &mut [u8],
        flow: &Flow,
        now: Instant,
        each: impl FnMut(&Departure<'_>),
    ) -> Result<(), EncapsulateError> {
        let Self { connection, recorder, .. } = self;
        let header_len = connection.header_len();
        depart(connection.encapsulate_flow(buffer, flow, now), recorder.as_deref_mut(), header_len, each)
    }

    /// [`Connection::encapsulate_slice`]; `each` is told of each datagram that carries the slice.
    ///
    /// # Errors
    /// As there.
    pub fn encapsulate_slice(
        &mut self,
        buffer: &mut [u8],
        flow: &Flow,
        now: Instant,
        each: impl FnMut(&Departure<'_>),
    ) -> Result<(), EncapsulateError> {
        self.turn_over();
        let Self { connection, recorder, .. } = self;
        if let Some(recorder) = recorder {
            recorder.input(&Input::slice(buffer, flow), Some(now));
        }
        let header_len = connection.header_len();
        depart(connection.encapsulate_slice(buffer, flow, now), recorder.as_deref_mut(), header_len, each)
    }

    fn decide<'d>(&mut self, decision: impl FnOnce() -> Decision<'d>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.decide(&decision());
        }
    }
}

/// Hands on the datagrams that carry a packet.
#[inline]
fn depart(
    departures: Result<mpt_proto::Departures<'_>, EncapsulateError>,
    mut recorder: Option<&mut Recorder>,
    header_len: usize,
    mut each: impl FnMut(&Departure<'_>),
) -> Result<(), EncapsulateError> {
    match departures {
        Ok(mut departures) => {
            while let Some(departure) = departures.next() {
                if let Some(recorder) = recorder.as_deref_mut() {
                    recorder.decide(&Decision::Departure(&departure, header_len));
                }
                each(&departure);
            }
            Ok(())
        }
        Err(error) => {
            if let Some(recorder) = recorder {
                recorder.decide(&Decision::Refused(error));
            }
            Err(error)
        }
    }
}
