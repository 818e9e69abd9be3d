//! `mpt ping` and `mpt speed`: the tunnel to a peer, measured from inside, and what answers at the other end.
//!
//! What is measured are ordinary packets between the tunnel addresses of the two hosts: they are sealed, scheduled, kept in order
//! and cut as all others are. The other end is the responder, a few threads of `mpt run`. To measure one path by itself, both
//! ends pin the flows of the test to it for a while ([`Command::Pin`](crate::control::Command::Pin)).

use std::io;

mod delays;
pub mod ping;
mod pinger;
mod protocol;
pub mod responder;
pub mod speed;
mod target;
pub mod versions;

/// Whether nothing came, or could leave, in time; or a signal came.
fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// The UDP and TCP port of the responder, inside the tunnel: one behind those of GRE in UDP, and nobody's at IANA.
pub const PORT: u16 = 4756;
