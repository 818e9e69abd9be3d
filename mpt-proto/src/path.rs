//! Paths.
/// Most paths of one connection: path numbers fit a 16-bit mask.
pub const MAX_PATHS: usize = 16;
/// Names a path of a connection. A removed path's id is never another path's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathId { pub(crate) index: u8, pub(crate) generation: u8 }
impl PathId {
    /// The path's number within its connection, 0 to 15: what the wire carries.
    pub const fn index(self) -> usize { self.index as usize }
}
/// Whether packets may take a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathState { 
    /// Packets may take it.
    Up,
    /// No packets take it.
    Down(DownReason) }
/// Why a path is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// Disabled by [`Connection::set_enabled`](crate::Connection::set_enabled).
    Disabled,
    /// Its link is down, as [`Connection::handle_link`](crate::Connection::handle_link) said.
    Link,
    /// The peer has not been heard on it yet.
    Unheard,
    /// The peer was heard but has been silent for too long.
    Silent,
    /// The peer says that it does not hear us on it.
    Deaf,
}
