//! Which version of mpt the peers run: each is asked through the tunnel, all at once.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use mpt_proto::Instant;
use socket2::{Protocol, Type};

use super::protocol::{ECHO_LEN, Echo, PROGRAM_LEN, Refusal, program, which_program};
use super::target::{bound, ends};
use super::{PORT, is_timeout};
use crate::clock::Clock;
use crate::report::{Report, State};

/// How often each peer is asked, and how long after another.
const TRIES: u32 = 3;
/// See [`TRIES`].
const BETWEEN: Duration = Duration::from_millis(330);

/// What a peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Its version.
    Version(String),
    /// It answers other questions, and not this one, which came later.
    NotThat,
    /// It speaks another version of the questions.
    OtherQuestions,
    /// Nothing: it has no responder, or no packets pass.
    Nothing,
}

/// A peer that is asked, by its tunnel address.
#[derive(Debug)]
struct Asked {
    connection: String,
    said: Said,
}

/// Asks each peer that is up, and returns what it says by the name of its connection. Takes a second if one does not answer.
pub fn ask(report: &Report) -> Vec<(String, Said)> {
    let mut peers: HashMap<IpAddr, HashMap<IpAddr, Asked>> = HashMap::new();
    for connection in &report.connections {
        let is_up = connection.paths.iter().any(|path| path.state == State::Up);
        if !is_up || connection.used == Some(false) {
            continue;
        }
        if let Some((address, local)) = ends(&report.tunnel, connection, None) {
            let asked = Asked { connection: connection.name.clone(), said: Said::Nothing };
            peers.entry(local).or_default().insert(address, asked);
        }
    }
    let device = &report.tunnel.name;
    std::thread::scope(|scope| {
        for (local, peers) in &mut peers {
            scope.spawn(|| {
                // Where the tunnel has gone meanwhile, nobody says anything.
                if let Ok(socket) = bound(*local, device, Type::DGRAM, Protocol::UDP) {
                    ask_through(&socket.into(), peers);
                }
            });
        }
    });
    let mut said: Vec<_> =
        peers.into_values().flat_map(HashMap::into_values).map(|it| (it.connection, it.said)).collect();
    said.sort_by(|(one, _), (other, _)| one.cmp(other));
    said
}

/// Asks through one socket.
fn ask_through(socket: &UdpSocket, peers: &mut HashMap<IpAddr, Asked>) {
    let (clock, session) = (Clock::start(), fastrand::u32(..));
    let mut echo = [0; ECHO_LEN];
    Echo { path: None, session, sequence: 1, stamp: 0 }.write(&mut echo);
    let question = which_program(session);
    for tried in 1..=TRIES {
        for (address, _) in peers.iter().filter(|(_, asked)| !asked.said.is_known()) {
            let to = SocketAddr::new(*address, PORT);
            // An earlier responder answers the first alone. What cannot leave is lost, as others are.
            let _ = socket.send_to(&echo, to).and_then(|_| socket.send_to(&question, to));
        }
        listen(socket, session, peers, &clock, Instant::ZERO + BETWEEN * tried);
    }
}

/// Takes answers until then, or until all have come.
fn listen(
    socket: &UdpSocket,
    session: u32,
    peers: &mut HashMap<IpAddr, Asked>,
    clock: &Clock,
    until: Instant,
) {
    let mut arrived = [0; PROGRAM_LEN];
    while peers.values().any(|asked| !asked.said.is_known()) {
        let left = until.since(clock.now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            return;
        }
        let (len, from) = match socket.recv_from(&mut arrived) {
            Ok(received) => received,
            Err(error) if is_timeout(&error) => continue,
            Err(_) => return,
        };
        let Some(asked) = peers.get_mut(&from.ip()).filter(|_| from.port() == PORT) else { continue };
        asked.said.hear(&arrived[..len], session);
    }
}

impl Said {
    /// Whether more answers tell nothing more.
    const fn is_known(&self) -> bool {
        matches!(self, Self::Version(_) | Self::OtherQuestions)
    }

    /// A datagram of the peer's responder.
    fn hear(&mut self, datagram: &[u8], session: u32) {
        if let Some((_, version)) = program(datagram).filter(|(of, _)| *of == session) {
            *self = Self::Version(version.to_owned());
        }
        match Echo::answered(datagram).filter(|(echo, _)| echo.session == session) {
            Some((_, Err(Refusal::Version))) if !self.is_known() => *self = Self::OtherQuestions,
            Some(_) if !self.is_known() => *self = Self::NotThat,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{answer, answer_program};
    use super::*;

    #[test]
    fn a_peer_says_its_version_or_that_it_does_not_know_the_question() {
        let mut echo = [0; ECHO_LEN];
        Echo { path: None, session: 7, sequence: 1, stamp: 0 }.write(&mut echo);
        answer(&mut echo, None);
        let mut told = which_program(7);
        answer_program(&mut told, "1.2.3");
        let mut refusal = echo;
        answer(&mut refusal, Some(Refusal::Version));
        let hears = |datagrams: &[&[u8]], session| {
            let mut said = Said::Nothing;
            datagrams.iter().for_each(|datagram| said.hear(datagram, session));
            said
        };
        assert_eq!(hears(&[&echo, &told], 7), Said::Version("1.2.3".into()));
        assert_eq!(hears(&[&told, &echo], 7), Said::Version("1.2.3".into()));
        assert_eq!(hears(&[&echo, &echo], 7), Said::NotThat);
        assert_eq!(hears(&[&refusal], 7), Said::OtherQuestions);
        assert_eq!(hears(&[&echo, &told, &refusal, b"mptp"], 8), Said::Nothing, "answers to somebody else");
    }
}
