//! UDP sockets: bound to a local address, never fragmenting, in batches on receive.

mod backlog;
mod refusal;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mpt_proto::{Ecn, Instant};
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket as Socket2, Type};

use crate::link::{self, Interface, Missing};
use backlog::Backlog;
pub use refusal::{Question, Refusal};

/// Buffers of one receive call. With receive offload each may hold 64 datagrams, so two bring plenty; with more, one
/// path's packets would run far ahead of those that wait on the other sockets, and fill the reorder buffer.
const RECEIVE_BUFFERS: usize = 2;
/// Bytes of one receive buffer: the largest UDP payload, which is also the most that receive offload joins.
const RECEIVE_BUFFER: usize = 1 << 16;

/// Why a datagram did not leave.
#[derive(Debug)]
pub enum SendError {
    /// The socket's or the interface's queue is full.
    Full,
    /// Larger than the interface's MTU.
    TooBig,
    /// No address, no route or no interface: the link is down.
    Link(io::Error),
    /// Refused, by a firewall or by the remote host: the datagram is lost, the path may live.
    Refused,
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR) => Self::Full,
            Some(Errno::MSGSIZE) => Self::TooBig,
            // EINVAL is what IPv4 says when the address that the socket is bound to is gone.
            Some(
                Errno::NETUNREACH
                | Errno::NETDOWN
                | Errno::HOSTUNREACH
                | Errno::ADDRNOTAVAIL
                | Errno::NODEV
                | Errno::NXIO
                | Errno::INVAL,
            ) => Self::Link(error),
            _ => Self::Refused,
        }
    }
}

/// Ties new sockets to devices.
pub trait Tie: Send + Sync {
    /// Ties a socket, before it has an address and before anything is sent from it, to the device that its path
    /// names, if any.
    ///
    /// # Errors
    /// When there is no such device now, or it may not be used.
    fn tie(&self, socket: BorrowedFd<'_>, device: Option<&str>) -> io::Result<()>;

    /// What of this host keeps datagrams from a path that is down although its link works: a path from an address of `interface`
    /// (`ends.0`) to the peer's (`ends.1`), bound to `device` if it names one.
    fn obstacle(
        &self,
        _interface: &Interface,
        _device: Option<&str>,
        _ends: (IpAddr, IpAddr),
    ) -> Option<Missing> {
        None
    }
}

/// Linux's own way: SO_BINDTODEVICE, for paths that name a device.
#[derive(Debug, Default)]
pub struct ToDevice {
    /// SO_MARK of all sockets, by which policy rules know their datagrams, and the kernel's answers which way these would
    /// take. It needs CAP_NET_ADMIN.
    pub mark: Option<u32>,
}

impl Tie for ToDevice {
    fn tie(&self, socket: BorrowedFd<'_>, device: Option<&str>) -> io::Result<()> {
        let socket = socket2::SockRef::from(&socket);
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        device.map_or(Ok(()), |device| socket.bind_device(Some(device.as_bytes())))
    }

    fn obstacle(
        &self,
        interface: &Interface,
        device: Option<&str>,
        ends: (IpAddr, IpAddr),
    ) -> Option<Missing> {
        link::obstacle(interface, device, ends, self.mark)
    }
}

/// How sockets are made.
#[derive(Clone)]
pub struct Maker {
    /// Bytes of buffer asked for, each way.
    pub buffer: usize,
    /// What ties them to devices.
    pub tie: Arc<dyn Tie>,
    /// Whether many datagrams may leave as one, for the kernel or the device to cut.
    pub offload: bool,
}

impl Maker {
    /// With buffers of `buffer` bytes, tied to devices in Linux's own way.
    pub fn new(buffer: usize) -> Self {
        Self { buffer, tie: Arc::new(ToDevice::default()), offload: true }
    }
}

/// Where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The peer's end.
    pub remote: SocketAddr,
    /// The address of ours that it comes from, where the socket has several; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
}

impl From<SocketAddr> for Destination {
    fn from(remote: SocketAddr) -> Self {
        Self { remote, source: None }
    }
}

/// A bound UDP socket.
#[derive(Debug)]
pub struct Socket {
    socket: Socket2,
    state: UdpSocketState,
    offload: bool,
    /// Bytes that the kernel took.
    sent: AtomicU64,
    backlog: Mutex<Backlog>,
}

impl Socket {
    /// Binds to `local` and, if named, to `device`. IPv4 datagrams carry DF and no IPv6 datagram is fragmented; IPv6
    /// checksums stay on, as the kernel has them.
    ///
    /// # Errors
    /// What the kernel says: `EADDRINUSE`, `EADDRNOTAVAIL`, `ENODEV`.
    pub fn bind(local: SocketAddr, device: Option<&str>, maker: &Maker) -> io::Result<Self> {
        let socket = unconnected(local, device, &*maker.tie)?;
        let buffer = maker.buffer;
        // With the capability the kernel's limits do not bind us; without it, take what it gives.
        if sockopt::set_socket_recv_buffer_size_force(&socket, buffer).is_err() {
            socket.set_recv_buffer_size(buffer)?;
        }
        if sockopt::set_socket_send_buffer_size_force(&socket, buffer).is_err() {
            socket.set_send_buffer_size(buffer)?;
        }
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            socket,
            state,
            offload: maker.offload,
            sent: AtomicU64::default(),
            backlog: Mutex::default(),
        })
    }

    /// Where it is bound to.
    ///
    /// # Errors
    /// As getsockname(2); in practice none.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Bytes granted for receiving and for sending. The kernel doubles what is asked, for its own
    /// bookkeeping; here is the half that was meant.
    pub fn buffer_sizes(&self) -> io::Result<(usize, usize)> {
        Ok((self.socket.recv_buffer_size()? / 2, self.socket.send_buffer_size()? / 2))
    }

    /// Whether the kernel may fragment what we send after all.
    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Most datagrams that may leave in one call: 1 where segmentation offload is missing, was refused or is off.
    pub fn max_run(&self) -> usize {
        if self.offload { self.state.max_gso_segments() } else { 1 }
    }

    /// Sends datagrams of `size` bytes each, the last one of at most that. Never blocks.
    ///
    /// # Errors
    /// [`SendError`]; what did not leave is lost.
    pub fn send(
        &self,
        destination: impl Into<Destination>,
        datagrams: &[u8],
        size: usize,
        ecn: Ecn,
    ) -> Result<(), SendError> {
        let Destination { remote: destination, source: src_ip } = destination.into();
        let ecn = EcnCodepoint::from_bits(ecn.bits());
        let segment_size = (datagrams.len() > size).then_some(size);
        let transmit = Transmit { destination, ecn, contents: datagrams, segment_size, src_ip };
        let Err(error) = self.state.try_send((&self.socket).into(), &transmit) else {
            self.sent.fetch_add(datagrams.len() as u64, Ordering::Relaxed);
            return Ok(());
        };
        if segment_size.is_some() && matches!(Errno::from_io_error(&error), Some(Errno::IO | Errno::INVAL)) {
            // A device that does not segment; from now on `max_run` is 1.
            return datagrams.chunks(size).try_for_each(|contents| {
                let transmit = Transmit { destination, ecn, contents, segment_size: None, src_ip };
                Ok(self.state.try_send((&self.socket).into(), &transmit)?)
            });
        }
        Err(error.into())
    }

    /// Whether a datagram of this many bytes may leave, without making a queue of this host's own too long. If so, it is to be
    /// sent.
    pub fn takes(&self, len: usize, now: Instant) -> bool {
        let queued = || unsent(&self.socket).unwrap_or(0);
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.takes(len as u64, self.sent.load(Ordering::Relaxed), queued, now)
    }

    /// Fills the batch with what has arrived, at most its size. Never blocks.
    ///
    /// # Errors
    /// Errors that earlier sends provoked, such as `ECONNREFUSED`; there is nothing to do about them.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.filled = 0;
        let mut chunks = batch.bytes.chunks_exact_mut(RECEIVE_BUFFER);
        let mut buffers: [_; RECEIVE_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        match self.state.recv((&self.socket).into(), &mut buffers, &mut batch.meta) {
            Ok(filled) => batch.filled = filled,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Bytes of memory that hold what a socket has sent and the link has not taken yet.
fn unsent(socket: &Socket2) -> io::Result<u64> {
    /// SIOCOUTQ of linux/sockios.h, which is TIOCOUTQ: one of the few without a size in its number.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: SIOCOUTQ writes an int, and nothing else.
    #[allow(unsafe_code, reason = "no crate offers this ioctl")]
    let bytes: i32 = unsafe { rustix::ioctl::ioctl(socket, rustix::ioctl::Getter::<SIOCOUTQ, i32>::new()) }?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The address from which a datagram would leave for `remote` now: `local`, or if that is unspecified, the
/// kernel's choice. `None` when it could not leave: the address is not ours, the device does not exist, or
/// there is no route. Sends nothing: connecting a UDP socket only looks the route up.
pub fn source_address(
    local: SocketAddr,
    remote: SocketAddr,
    device: Option<&str>,
    tie: &dyn Tie,
) -> Option<IpAddr> {
    let mut any_port = local;
    any_port.set_port(0);
    let socket = unconnected(any_port, device, tie).ok()?;
    socket.connect(&remote.into()).ok()?;
    Some(socket.local_addr().ok()?.as_socket()?.ip())
}

fn unconnected(local: SocketAddr, device: Option<&str>, tie: &dyn Tie) -> io::Result<Socket2> {
    let socket = Socket2::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    tie.tie(socket.as_fd(), device)?;
    socket.bind(&local.into())?;
    Ok(socket)
}

/// Room for what one receive call brings; allocated once.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    meta: [RecvMeta; RECEIVE_BUFFERS],
    filled: usize,
}

/// Datagrams from one sender, of equal size but the last, as the kernel joined them.
#[derive(Debug)]
pub struct Run<'b> {
    /// Who sent them.
    pub source: SocketAddr,
    /// The address of ours that they were sent to, if the kernel tells.
    pub destination: Option<IpAddr>,
    /// The congestion bits of their outer headers.
    pub ecn: Ecn,
    /// When the kernel got them, since 1970, by the system's clock.
    pub stamp: Option<Duration>,
    stride: usize,
    bytes: &'b mut [u8],
}

impl<'b> Run<'b> {
    fn new(meta: &RecvMeta, buffer: &'b mut [u8]) -> Self {
        Self {
            source: meta.addr,
            destination: meta.dst_ip,
            ecn: Ecn::from_bits(meta.ecn.map_or(0, |ecn| ecn as u8)),
            stamp: meta.timestamp,
            stride: meta.stride.max(1),
            bytes: &mut buffer[..meta.len.min(RECEIVE_BUFFER)],
        }
    }

    /// How many datagrams.
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.stride).max(1)
    }

    /// Bytes of each datagram but the last, which may be shorter.
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// The datagrams, one behind the other.
    pub const fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// The datagrams. An empty one comes alone and is one, too: it is to be counted like any other.
    pub fn datagrams(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let empty = self.bytes.is_empty().then(<&mut [u8]>::default);
        self.bytes.chunks_mut(self.stride).chain(empty)
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; RECEIVE_BUFFERS * RECEIVE_BUFFER],
            meta: [RecvMeta::default(); RECEIVE_BUFFERS],
            filled: 0,
        }
    }

    /// Forgets what the last call brought.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// What the last call brought.
    pub fn runs(&mut self) -> impl Iterator<Item = Run<'_>> {
        let buffers = self.bytes.chunks_exact_mut(RECEIVE_BUFFER);
        self.meta.iter().zip(buffers).take(self.filled).map(|(meta, buffer)| Run::new(meta, buffer))
    }

    /// The [stamps](Run::stamp) of what it brought.
    pub fn stamps(&self) -> impl Iterator<Item = Option<Duration>> {
        self.meta[..self.filled].iter().map(|meta| meta.timestamp)
    }

    /// One of them.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn run(&mut self, index: usize) -> Run<'_> {
        let start = index * RECEIVE_BUFFER;
        Run::new(&self.meta[..self.filled][index], &mut self.bytes[start..start + RECEIVE_BUFFER])
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER: usize = 1 << 16;

    fn pair(address: &str) -> (Socket, Socket, SocketAddr) {
        let local: SocketAddr = address.parse().unwrap();
        let maker = Maker::new(BUFFER);
        let (one, other) =
            (Socket::bind(local, None, &maker).unwrap(), Socket::bind(local, None, &maker).unwrap());
        let to = other.socket.local_addr().unwrap().as_socket().unwrap();
        (one, other, to)
    }

    #[test]
    fn datagrams_and_their_congestion_bits_arrive_over_ipv4_and_ipv6() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (one, other, to) = pair(address);
            one.send(to, b"hello", 5, Ecn::Ect0).unwrap();
            one.send(to, b"again", 5, Ecn::Ce).unwrap();
            let mut batch = Batch::new();
            other.receive(&mut batch).unwrap();
            let mut seen = Vec::new();
            for mut run in batch.runs() {
                let ecn = run.ecn;
                seen.extend(run.datagrams().map(|datagram| (datagram.to_vec(), ecn)));
            }
            assert_eq!(seen, [(b"hello".to_vec(), Ecn::Ect0), (b"again".to_vec(), Ecn::Ce)]);
            other.receive(&mut batch).unwrap();
            assert_eq!(batch.runs().count(), 0, "nothing more, and the old batch is gone");
        }
    }

    #[test]
    fn nothing_is_fragmented() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (one, _other, to) = pair(address);
            assert!(!one.may_fragment());
            // The loopback's MTU is 65,536: its headers leave no room for the largest UDP payload over IPv6.
            let error = one.send(to, &[0; 65_527], 65_527, Ecn::NotEct).unwrap_err();
            assert!(matches!(error, SendError::TooBig), "{error:?}");
        }
    }

    #[test]
    fn the_kernel_chooses_the_source_and_an_address_that_is_not_ours_has_none() {
        let remote = "127.0.0.1:4754".parse().unwrap();
        let source = |local: &str| source_address(local.parse().unwrap(), remote, None, &ToDevice::default());
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(source("127.0.0.1:0"), Some(loopback));
        assert_eq!(source("0.0.0.0:0"), Some(loopback));
        assert_eq!(source("192.0.2.1:0"), None);
    }

    #[test]
    fn datagrams_leave_one_by_one_without_offload() {
        let maker = Maker { offload: false, ..Maker::new(BUFFER) };
        let [alone, joined] = [maker, Maker::new(BUFFER)]
            .map(|maker| Socket::bind("127.0.0.1:0".parse().unwrap(), None, &maker).unwrap().max_run());
        assert_eq!(alone, 1);
        assert!(joined >= 1);
    }

    #[test]
    fn a_socket_is_tied_to_its_device_before_it_has_an_address_and_refused_when_that_fails() {
        struct Note(std::sync::Mutex<Vec<(Option<String>, u16)>>);
        impl Tie for Note {
            fn tie(&self, socket: BorrowedFd<'_>, device: Option<&str>) -> io::Result<()> {
                let socket = socket2::SockRef::from(&socket);
                let port = socket.local_addr()?.as_socket().unwrap().port();
                self.0.lock().unwrap().push((device.map(Into::into), port));
                if device == Some("gone") { Err(Errno::NODEV.into()) } else { Ok(()) }
            }
        }
        let note = Arc::new(Note(std::sync::Mutex::default()));
        let maker = Maker { buffer: BUFFER, tie: note.clone(), offload: true };
        let local = "127.0.0.1:0".parse().unwrap();
        assert!(Socket::bind(local, Some("wifi"), &maker).is_ok());
        assert!(Socket::bind(local, Some("gone"), &maker).is_err());
        assert_eq!(source_address(local, local, Some("gone"), &*maker.tie), None);
        let gone = || (Some("gone".into()), 0);
        assert_eq!(*note.0.lock().unwrap(), [(Some("wifi".into()), 0), gone(), gone()]);
    }
}
