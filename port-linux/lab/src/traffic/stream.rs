//! Byte streams: TCP and Multipath TCP.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::PATIENCE;
use super::meter::{Meter, Received, mbit_per_second};
use super::pattern::Pattern;
use crate::stopwatch::Stopwatch;

/// Bytes per call: a system call costs little against copying these.
pub(super) const CHUNK: usize = 128 * 1024;

/// How long a connection may take to be set up.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// Which protocol carries the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP (RFC 9293)
    Tcp,
    /// Multipath TCP (RFC 8684); falls back to TCP when the peer has none.
    Mptcp,
}

impl Transport {
    fn socket(self, address: SocketAddr) -> anyhow::Result<Socket> {
        let protocol = match self {
            Self::Tcp => Protocol::TCP,
            Self::Mptcp => Protocol::MPTCP,
        };
        Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol)).map_err(|error| {
            let known = matches!(Errno::from_io_error(&error), Some(Errno::PROTONOSUPPORT | Errno::NOPROTOOPT));
            match self {
                Self::Mptcp if known => anyhow::anyhow!(
                    "this kernel has no Multipath TCP, or it is off ({error}): sudo sysctl -w net.mptcp.enabled=1"
                ),
                _ => anyhow::anyhow!("cannot make a socket: {error}"),
            }
        })
    }
}

/// Linux's default. A machine may be set to another one, and may refuse to have a namespace set back: a socket can
/// always choose.
pub const USUAL_CONGESTION: &str = "cubic";

/// A connection's protocol, and how its sender finds its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The protocol.
    pub transport: Transport,
    /// The congestion control, as the kernel calls it: `cubic`, `bbr`; `None`: Linux's default, [`USUAL_CONGESTION`],
    /// or the host's where the kernel has none.
    pub congestion: Option<&'static str>,
    /// What it carries.
    pub payload: Payload,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payload {
    /// Zeros, which cost nothing.
    #[default]
    Zeros,
    /// A [`Pattern`], of which the receiver checks each byte.
    Pattern,
}

impl From<Transport> for Flow {
    fn from(transport: Transport) -> Self {
        Self { transport, congestion: None, payload: Payload::Zeros }
    }
}

/// How much to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// As much as goes in this time.
    Time(Duration),
    /// Exactly so many bytes.
    Bytes(u64),
}

impl Amount {
    /// The length of the next chunk, in bytes, when so many `bytes` went in the time that has `elapsed`; 0 at the end.
    pub(super) fn left(self, bytes: u64, elapsed: Duration) -> usize {
        match self {
            Self::Time(time) if elapsed >= time => 0,
            Self::Time(_) => CHUNK,
            Self::Bytes(all) => usize::try_from(all - bytes).unwrap_or(CHUNK).min(CHUNK),
        }
    }
}

/// The bytes of a stream, for its sender.
#[derive(Debug)]
pub(super) struct Source {
    zeros: Vec<u8>,
    pattern: Option<Pattern>,
}

impl Source {
    pub(super) fn new(payload: Payload) -> Self {
        let pattern = (payload == Payload::Pattern).then(|| Pattern::new(CHUNK));
        Self { zeros: vec![0; CHUNK], pattern }
    }

    /// The next `len` bytes, at most [`CHUNK`], from this position of the stream on.
    pub(super) fn at(&self, position: u64, len: usize) -> &[u8] {
        self.pattern.as_ref().map_or(&self.zeros[..len], |pattern| pattern.at(position, len))
    }
}

/// Checks a stream for its receiver.
#[derive(Debug)]
pub(super) struct Check {
    pattern: Option<Pattern>,
    position: u64,
}

impl Check {
    pub(super) fn new(payload: Payload) -> Self {
        Self { pattern: (payload == Payload::Pattern).then(|| Pattern::new(CHUNK)), position: 0 }
    }

    /// Checks the next bytes of the stream, at most [`CHUNK`].
    ///
    /// # Errors
    /// When they are not what was sent.
    pub(super) fn next(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let position = self.position;
        self.position += bytes.len() as u64;
        let wanted = self.pattern.as_ref().map(|pattern| pattern.at(position, bytes.len()));
        ensure!(
            wanted.is_none_or(|wanted| wanted == bytes),
            "the stream was damaged between byte {position} and byte {}",
            self.position
        );
        Ok(())
    }
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sent {
    /// Bytes of payload.
    pub bytes: u64,
    /// From connecting until the receiver had all and closed.
    pub seconds: f64,
    /// Bytes over seconds, in Mbit/s.
    pub goodput_mbit_s: f64,
}

/// Listens on an address; port 0 takes a free one.
///
/// # Errors
/// When the address is not on this host or the port is taken.
pub fn listen(address: SocketAddr, transport: Transport) -> anyhow::Result<TcpListener> {
    let socket = transport.socket(address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address)).with_context(|| format!("cannot listen on {address}"))?;
    socket.listen(1)?;
    Ok(socket.into())
}

/// Waits at most `patience` for one connection, and reads it to its end.
///
/// # Errors
/// When nobody connects in time, the connection breaks, it is silent for 20 s, or a byte is not what was sent.
pub fn receive(listener: &TcpListener, payload: Payload, patience: Duration) -> anyhow::Result<Received> {
    let timeout = Timespec::try_from(patience).ok();
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    if poll(&mut ready, timeout.as_ref())? == 0 {
        bail!("nobody connected within {} s", patience.as_secs());
    }
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let clock = Stopwatch::start();
    let mut meter = Meter::default();
    let mut buffer = vec![0; CHUNK];
    let mut check = Check::new(payload);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(meter.finish()),
            Ok(bytes) => {
                meter.record(clock.elapsed(), bytes);
                check.next(&buffer[..bytes])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("receiving ended early"),
        }
    }
}

/// Connects.
///
/// # Errors
/// When nobody listens, or does not answer within 5 s, or the kernel does not have the congestion control.
pub fn connect(address: SocketAddr, flow: impl Into<Flow>) -> anyhow::Result<TcpStream> {
    let Flow { transport, congestion, .. } = flow.into();
    let socket = transport.socket(address)?;
    let chosen = socket.set_tcp_congestion(congestion.unwrap_or(USUAL_CONGESTION).as_bytes());
    if let Some(name) = congestion {
        chosen.with_context(|| format!("this kernel does not give us the congestion control {name}"))?;
    }
    socket
        .connect_timeout(&SockAddr::from(address), CONNECT)
        .with_context(|| format!("cannot connect to {address}"))?;
    Ok(socket.into())
}

/// Connects, sends, and waits until the receiver has it all.
///
/// # Errors
/// When the receiver cannot be reached, the connection breaks, or nothing goes for 20 s.
pub fn send(address: SocketAddr, flow: impl Into<Flow>, amount: Amount) -> anyhow::Result<Sent> {
    let flow = flow.into();
    let mut stream = connect(address, flow)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let clock = Stopwatch::start();
    let source = Source::new(flow.payload);
    let mut bytes = 0;
    loop {
        let left = amount.left(bytes, clock.elapsed());
        if left == 0 {
            break;
        }
        match stream.write(source.at(bytes, left)) {
            Ok(written) => bytes += written as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("sending ended early"),
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // The receiver sends nothing; its closing says that it has read everything.
    stream.read(&mut [0]).context("the receiver did not take the rest")?;
    let seconds = clock.elapsed().as_secs_f64();
    Ok(Sent { bytes, seconds, goodput_mbit_s: mbit_per_second(bytes, seconds) })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use super::*;

    #[test]
    fn every_byte_that_is_sent_is_received() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), Transport::Tcp).expect("listens");
        let address = listener.local_addr().expect("an address");

        let sender = thread::spawn(move || send(address, Transport::Tcp, Amount::Bytes(1_000_001)));
        let received = receive(&listener, Payload::Zeros, PATIENCE).expect("receives");
        let sent = sender.join().expect("no panic").expect("sends");

        assert_eq!((sent.bytes, received.bytes), (1_000_001, 1_000_001));
        assert_eq!(received.intervals.iter().sum::<u64>(), received.bytes);
    }

    #[test]
    fn a_damaged_byte_is_found() {
        let flow = Flow { payload: Payload::Pattern, ..Transport::Tcp.into() };
        let carry = |damage: bool| {
            let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), Transport::Tcp).expect("listens");
            let address = listener.local_addr().expect("an address");
            let sender = thread::spawn(move || {
                if !damage {
                    return send(address, flow, Amount::Bytes(3_000_000)).map(|sent| sent.bytes);
                }
                let mut bytes = Pattern::new(CHUNK).at(0, CHUNK).to_vec();
                bytes[70_000] ^= 1;
                connect(address, flow)?.write_all(&bytes)?;
                Ok(0)
            });
            let received = receive(&listener, Payload::Pattern, PATIENCE);
            sender.join().expect("no panic").expect("sends");
            received
        };
        assert_eq!(carry(false).expect("whole").bytes, 3_000_000);
        let error = carry(true).expect_err("damaged").to_string();
        assert!(error.contains("damaged"), "{error}");
    }

    #[test]
    fn a_receiver_that_nobody_calls_gives_up() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), Transport::Tcp).expect("listens");
        let error =
            receive(&listener, Payload::Zeros, Duration::from_millis(10)).expect_err("nobody is there");
        assert!(error.to_string().contains("nobody connected"), "{error}");
    }
}
