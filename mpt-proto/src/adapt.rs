//! The tunnel as a network interface of IP stacks that need no operating system: leaves over the core's public
//! interface, one for each stack, each behind the feature of its name.

#[cfg(feature = "embassy")]
pub mod embassy;
#[cfg(feature = "smoltcp")]
pub mod smoltcp;

use core::ops::Range;

use crate::{Connection, Ecn, HEADROOM, Instant, PathId, Received};

/// Bytes of the largest inner packet for which a buffer has room, headroom included.
const fn mtu(buffer: &[u8]) -> usize {
    buffer.len().saturating_sub(HEADROOM)
}

/// Brings inner packets out of a connection into a buffer, and says where in it they lie. What is larger than the
/// buffer's [`mtu`] is dropped and counted.
#[derive(Debug, Default)]
struct Intake {
    oversized: u64,
}

impl Intake {
    /// The next packet that waited in the connection.
    fn poll_packet(&mut self, connection: &mut Connection<'_>, buffer: &mut [u8]) -> Option<Range<usize>> {
        loop {
            let packet = connection.poll_packet()?;
            if packet.len() <= mtu(buffer)
                && let Some(place) = buffer.get_mut(..packet.len())
            {
                place.copy_from_slice(packet);
                return Some(0..packet.len());
            }
            self.oversized += 1;
        }
    }

    /// The packet in the datagram that is the first `len` bytes of the buffer, if it is next in order.
    fn decapsulate(
        &mut self,
        connection: &mut Connection<'_>,
        buffer: &mut [u8],
        (path, len, ecn): (PathId, usize, Ecn),
        now: Instant,
    ) -> Option<Range<usize>> {
        let mtu = mtu(buffer);
        let datagram = buffer.get_mut(..len)?;
        let start = datagram.as_ptr().addr();
        // A path that was removed has nothing to say.
        let Ok(Received::Packet(packet)) = connection.decapsulate(path, datagram, ecn, now) else {
            return None;
        };
        if packet.len() > mtu {
            self.oversized += 1;
            return None;
        }
        let start = packet.as_ptr().addr().checked_sub(start)?;
        Some(start..start + packet.len())
    }
}
