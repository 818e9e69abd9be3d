//! All that the tunnel needs to know of embassy-net: how its UDP socket carries one path.

use core::task::{Context, Poll};

use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{IpEndpoint, Stack};
use mpt_proto::adapt::embassy::DatagramSocket;

/// Room for `COUNT` datagrams of up to `SIZE` bytes, in each direction. All zero, so that it takes no flash: the
/// places of [`Meta`] are not.
pub type Bytes<const COUNT: usize, const SIZE: usize> = [[[u8; SIZE]; COUNT]; 2];
/// Lengths and addresses of the datagrams in [`Bytes`].
pub type Meta<const COUNT: usize> = [[PacketMetadata; COUNT]; 2];

/// A socket bound to our end of a path, and the peer's end.
pub struct PathSocket {
    socket: UdpSocket<'static>,
    peer: IpEndpoint,
}

impl PathSocket {
    /// Between a port of ours and the peer's.
    pub fn new<const COUNT: usize, const SIZE: usize>(
        stack: Stack<'static>,
        (meta, bytes): (&'static mut Meta<COUNT>, &'static mut Bytes<COUNT, SIZE>),
        port: u16,
        peer: IpEndpoint,
    ) -> Self {
        let ([rx_meta, tx_meta], [rx, tx]) = (meta, bytes);
        let mut socket =
            UdpSocket::new(stack, rx_meta, rx.as_flattened_mut(), tx_meta, tx.as_flattened_mut());
        defmt::unwrap!(socket.bind(port).ok());
        Self { socket, peer }
    }
}

impl DatagramSocket for PathSocket {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_send_ready(cx)
    }

    fn send(&self, datagram: &[u8], cx: &mut Context<'_>) {
        let _ = self.socket.poll_send_to(datagram, self.peer, cx);
    }

    fn poll_receive(&self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Option<usize>> {
        self.socket.poll_recv_from(buffer, cx).map(|result| {
            let (len, from) = result.ok()?;
            (from.endpoint == self.peer).then_some(len)
        })
    }
}
