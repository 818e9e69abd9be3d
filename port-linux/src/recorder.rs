//! The flight recorder: what entered the core goes to a file, from which the same core does the same again.
//!
//! The core is a function of its inputs: it has no clock, no sockets and no randomness but a seed. So what is recorded are the calls that
//! change a connection ([`Input`], [`Change`]), with their times, and of packets and datagrams only what the core reads (`head`): no payload, no
//! addresses, no keys. What the core puts out is not written down but counted into one running hash ([`Decisions`]), which stands at the
//! end of each block of the file: a replay that comes to the same hash has decided the same, bit for bit.
//!
//! ```text
//!  event loop ── Core ── Connection          the same thread: columns of numbers in memory, no system call
//!                  └─ Recorder ── Encoder
//!                        │ a block each second, or each 64 KiB; never waits
//!                        v
//!                  thread "record": packs, appends to the ring of files
//! ```
//!
//! The files are a ring of segments (`ring`). Each begins with the state of the core as [`Connection::save`] writes it, so that the
//! oldest can go when there is no room, and so that a recording can begin at any time. A replay begins with the first of them; at each that
//! follows its own state has to be the same, byte for byte.
//!
//! [`Connection::save`]: mpt_proto::Connection::save

#[cfg(not(feature = "program"))]
mod absent;
mod change;
mod core;
mod decision;
mod input;

#[cfg(feature = "program")]
mod columns;
#[cfg(feature = "program")]
mod decode;
#[cfg(feature = "program")]
mod encode;
#[cfg(feature = "program")]
pub mod file;
#[cfg(feature = "program")]
mod head;
#[cfg(feature = "program")]
pub mod play;
#[cfg(feature = "program")]
pub mod ring;
#[cfg(feature = "program")]
mod settings;
#[cfg(feature = "program")]
mod tape;
#[cfg(all(test, feature = "program"))]
mod tests;

#[cfg(not(feature = "program"))]
pub use absent::{Recorder, Recordings};
pub use change::Change;
pub use core::{Core, Names};
pub use decision::{Decision, Decisions};
pub use input::Input;
#[cfg(feature = "program")]
pub use tape::{Recorder, Recordings};

/// What a recording is of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Name of the connection.
    pub connection: &'a str,
    /// Bytes that its files may have.
    pub limit: u64,
    /// What the core was made with; of one that lives already, seeds and all that may change since do not count.
    pub config: &'a mpt_proto::Config,
    /// The memory that it was lent: packets that may wait for earlier ones, bytes of the largest datagram and of the largest inner packet,
    /// packets that may wait for a path, and bytes for each of them.
    pub memory: [usize; 5],
    /// When it was made, or the time now.
    pub now: mpt_proto::Instant,
    /// The core and the names of its paths, if it lives already.
    pub core: Option<(&'a mpt_proto::Connection<'a>, &'a Names)>,
}

/// What people are told of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where its files are.
    pub directory: std::path::PathBuf,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that the writer was handed.
    pub handed: u64,
    /// Blocks of these that are in the files.
    pub written: u64,
    /// It has ended: the files cannot be written.
    pub is_over: bool,
}
