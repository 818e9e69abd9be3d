//! Whether somebody says why datagrams do not arrive: the ICMP answer to one datagram.
//!
//! It leaves from a socket of its own, which is connected, so that the kernel tells it what came back. On the sockets of
//! paths the kernel would report such answers by failing the next send, of whichever peer, and anybody on the way can make them up.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{TransportErrorPayload, UdpSocketState};
use rustix::io::Errno;
use socket2::Socket as Socket2;

use super::{Tie, unconnected};

/// What was said of a datagram that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// This host's own firewall lets no such datagram leave.
    OwnFirewall,
    /// The host itself: nobody listens on the port. A firewall may say so, too.
    NobodyListens,
    /// The host itself, in other words: its firewall forbids it.
    Forbidden,
    /// Nobody on the link has the address: the question for it (ARP, neighbour discovery) got no answer.
    NotOnLink,
    /// This router cannot reach the address, or may not.
    Router(IpAddr),
}

/// A datagram under way, and the socket that hears what becomes of it.
#[derive(Debug)]
pub struct Question {
    socket: Socket2,
    state: UdpSocketState,
    local: IpAddr,
    remote: SocketAddr,
}

impl Question {
    /// Sends an empty datagram to a port, from an address of ours and a port of the kernel's choice. Never blocks.
    ///
    /// # Errors
    /// What the kernel says at once.
    pub fn ask(
        local: SocketAddr,
        remote: SocketAddr,
        device: Option<&str>,
        tie: &dyn Tie,
    ) -> io::Result<Self> {
        let mut any_port = local;
        any_port.set_port(0);
        let socket = unconnected(any_port, device, tie)?;
        // Non-blocking from here on.
        let state = UdpSocketState::new((&socket).into())?;
        state.enable_transport_errors((&socket).into())?;
        socket.connect(&remote.into())?;
        socket.send(&[])?;
        Ok(Self { socket, state, local: local.ip(), remote })
    }

    /// Sends the same once more: a lost datagram gets no answer, and few refusals come a second.
    pub fn repeat(&self) {
        // What the kernel says here is of the datagram before, and is told by the answer.
        let _ = self.socket.send(&[]);
    }

    /// What has come back.
    pub fn answer(&self) -> Option<Refusal> {
        let error = self.state.recv_transport_error((&self.socket).into()).ok()??;
        if !matches!(error.payload, TransportErrorPayload::Unreachable | TransportErrorPayload::Other) {
            return None;
        }
        let by = error.addr.map(|address| address.ip());
        let is_refused = error.raw_errno == Errno::CONNREFUSED.raw_os_error();
        Some(match by {
            Some(by) if by == self.remote.ip() && is_refused => Refusal::NobodyListens,
            Some(by) if by == self.remote.ip() => Refusal::Forbidden,
            Some(by) if by != self.local => Refusal::Router(by),
            _ => Refusal::NotOnLink,
        })
    }
}

impl Refusal {
    /// Why a question could not even be asked; `None`: for a reason that does not concern the way to the peer.
    pub fn of_send(error: &io::Error) -> Option<Self> {
        matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::ACCESS)).then_some(Self::OwnFirewall)
    }

    /// As a sentence about datagrams to `remote`.
    pub fn about(self, remote: SocketAddr) -> impl fmt::Display {
        let (host, port) = (remote.ip(), remote.port());
        match self {
            Self::OwnFirewall => {
                format!(
                    "this host's own firewall lets no UDP to port {port} leave: see `sudo nft list ruleset`, chains with `hook output`"
                )
            }
            Self::NobodyListens => format!(
                "host {host} says that nobody listens on UDP port {port}: mpt does not run there, has another `port`, or has no path with \
                 this address as its `local`; or a firewall there says so, and is to let UDP port {port} in"
            ),
            Self::Forbidden => {
                format!("host {host} says that its firewall forbids it: let UDP port {port} in there")
            }
            Self::NotOnLink => format!(
                "no host on the link answers to the address {host}: it is off, or has another address, or a router is missing in between"
            ),
            Self::Router(router) => {
                format!(
                    "router {router} says that it cannot reach {host}, or must not let UDP port {port} through"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::super::ToDevice;
    use super::*;

    #[test]
    fn a_port_without_a_listener_is_told_from_one_with() {
        let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let local = "127.0.0.1:4754".parse().unwrap();
        let ask = |remote| Question::ask(local, remote, None, &ToDevice::default()).unwrap();
        let (heard, refused) = (ask(taken), ask(free));
        // On the loopback interface the answer is there when the call returns, or nearly so.
        let answer = (0..100).find_map(|_| {
            refused.answer().or_else(|| {
                thread::sleep(Duration::from_millis(10));
                None
            })
        });
        assert_eq!(answer, Some(Refusal::NobodyListens));
        assert_eq!(heard.answer(), None);
        assert!(
            answer
                .unwrap()
                .about(free)
                .to_string()
                .contains(&format!("nobody listens on UDP port {}", free.port()))
        );
        assert_eq!(listener.recv(&mut [0; 9]).unwrap(), 0, "the question is empty");
    }
}
