//! The tunnel's security: none. `sealed.rs` has the same names and keys.

use mpt_proto::adapt::embassy::Runner;
use mpt_proto::{Instant, PathId};

use crate::socket::PathSocket;

/// Bytes that each datagram has more on the wire.
pub const OVERHEAD: usize = 0;
/// What carries one path.
pub type Link = PathSocket;

/// Nothing.
#[derive(Clone, Copy)]
pub struct Security;

impl Security {
    /// Needs nothing.
    pub fn new(_: Instant) -> Self {
        Self
    }

    /// A path's socket.
    pub fn wrap(self, socket: PathSocket, _: PathId) -> Link {
        socket
    }

    /// Carries packets until something happens, and logs it.
    pub async fn run<const MTU: usize>(self, runner: &mut Runner<'_, '_, Link, MTU>) {
        defmt::info!("{}", runner.next_event().await);
    }

    /// There is nothing to log.
    pub fn log(self) {}
}
