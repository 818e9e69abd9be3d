//! The paths: they come, go and change, and what follows from that for the rest of the connection.

use core::time::Duration;

use crate::config::PathConfig;
use crate::connection::Connection;
use crate::path::{Path, PathId, PathState};
use crate::stats::PathStats;
use crate::time::Instant;
use crate::wire::extension;

/// The caller named a path that does not exist, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownPath;

impl core::fmt::Display for UnknownPath {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("there is no such path")
    }
}

impl core::error::Error for UnknownPath {}

/// Why a path was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AddPathError {
    /// All [`MAX_PATHS`](crate::MAX_PATHS) are taken.
    Full,
    /// The weight is not 1 to 10,000.
    Weight,
}

impl core::fmt::Display for AddPathError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::Full => "there is no room for another path",
            Self::Weight => "the weight of a path is 1 to 10,000",
        })
    }
}

impl core::error::Error for AddPathError {}

/// Whether the link below a path works, as the caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Link {
    /// It works.
    Up,
    /// It does not: no carrier, no address, no route.
    Down,
}

/// Weights that [`PathConfig`] may have.
const WEIGHTS: core::ops::RangeInclusive<u16> = 1..=10_000;

/// Paths that carry less than this part of what the widest does are left out where one size is chosen for all: with half the size, headers
/// cost 3 % more, which is more than such a path mostly adds. Large packets take the others.
const FAR_NARROWER: u16 = 2;

/// Largest of these sizes of paths that every path takes, but for those that take less than half of what the widest does. `None`:
/// there is no path.
pub fn common_size(sizes: impl Iterator<Item = u16> + Clone) -> Option<u16> {
    let widest = sizes.clone().max()?;
    sizes.filter(|size| *size >= widest / FAR_NARROWER).min()
}

impl Connection<'_> {
    /// Adds a path.
    ///
    /// # Errors
    /// All 16 are taken, or the weight is out of range.
    pub fn add_path(&mut self, config: PathConfig, now: Instant) -> Result<PathId, AddPathError> {
        self.tick(now);
        if !WEIGHTS.contains(&config.weight) {
            return Err(AddPathError::Weight);
        }
        self.insert_path(config)
    }

    /// Removes a path.
    ///
    /// # Errors
    /// There is no such path.
    pub fn remove_path(&mut self, path: PathId, now: Instant) -> Result<(), UnknownPath> {
        self.tick(now);
        let index = self.paths.find(path)?.id.index();
        self.take_path_out(index);
        Ok(())
    }

    /// Enables or disables a path (`mpt path up|down`). The peer is told.
    ///
    /// # Errors
    /// There is no such path.
    pub fn set_enabled(&mut self, path: PathId, enabled: bool, now: Instant) -> Result<(), UnknownPath> {
        self.switch(path, now, |path, now| path.set_enabled(enabled, now))
    }

    /// The path has another tier from now on, as in [`PathConfig::tier`](crate::PathConfig::tier).
    ///
    /// # Errors
    /// There is no such path.
    pub fn set_tier(&mut self, path: PathId, tier: u8, now: Instant) -> Result<(), UnknownPath> {
        let index = self.paths.find(path)?.id.index();
        self.tick(now);
        self.sender.scheduler.set_tier(index, tier);
        if let Some(extension) = &mut self.extension {
            extension.adaptive.set_tier(index, tier);
        }
        Ok(())
    }

    /// The caller saw the path's link go or come. The peer is told.
    ///
    /// # Errors
    /// There is no such path.
    pub fn handle_link(&mut self, path: PathId, link: Link, now: Instant) -> Result<(), UnknownPath> {
        self.switch(path, now, |path, now| path.set_link(link == Link::Up, now))
    }

    /// The path carries larger or smaller datagrams from now on, or as large ones as before, which answers
    /// [`Event::LargeLost`](crate::Event::LargeLost). As [`PathConfig::max_datagram`](crate::PathConfig::max_datagram), in bytes. If it is
    /// [searched](Self::search_size) what hops beyond the first carry, the search begins anew.
    ///
    /// # Errors
    /// There is no such path.
    pub fn set_max_datagram(
        &mut self,
        path: PathId,
        max_datagram: u16,
        now: Instant,
    ) -> Result<(), UnknownPath> {
        self.tick(now);
        let index = self.paths.find(path)?.id.index();
        if let Some(sizes) = &mut self.sizes {
            sizes.restart(index, max_datagram, self.now);
        }
        self.follow_size(index, max_datagram);
        Ok(())
    }

    /// Datagrams of the path may have so many bytes from now on.
    pub(super) fn follow_size(&mut self, index: usize, max_datagram: u16) {
        self.change_path(index, |path| path.max_datagram = max_datagram);
        if let Some(engine) = self.engine() {
            engine.settle_size(self, index);
        }
    }

    /// Bytes of the largest datagram that reports say arrived on the path since the last call, for a caller who finds out by himself what
    /// hops beyond the first carry. `None`: none, or the policy knows of none.
    ///
    /// # Errors
    /// There is no such path.
    pub fn take_carried(&mut self, path: PathId) -> Result<Option<u16>, UnknownPath> {
        let index = self.paths.find(path)?.id.index();
        Ok(self.take_carried_on(index))
    }

    /// The same for the path of this number.
    pub(super) fn take_carried_on(&mut self, index: usize) -> Option<u16> {
        let headers = self.layout.header_len() + extension::LEN;
        let arrived = self.extension.as_mut().map_or(0, |extension| extension.adaptive.take_arrived(index));
        let size = u16::try_from(usize::from(arrived) + headers).unwrap_or(u16::MAX);
        (arrived > 0).then_some(size)
    }

    fn switch(
        &mut self,
        id: PathId,
        now: Instant,
        change: impl FnOnce(&mut Path, Instant),
    ) -> Result<(), UnknownPath> {
        self.tick(now);
        let (index, now) = (self.paths.find(id)?.id.index(), self.now);
        self.change_path(index, |path| change(path, now));
        self.handle_timeout(now);
        Ok(())
    }

    /// The connection's paths, by number.
    pub fn paths(&self) -> impl Iterator<Item = PathId> + '_ {
        self.paths.iter().map(|path| path.id)
    }

    /// A path's state.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_state(&self, path: PathId) -> Result<PathState, UnknownPath> {
        self.paths.find(path).map(Path::state)
    }

    /// A path's counters.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_stats(&self, path: PathId) -> Result<&PathStats, UnknownPath> {
        self.paths.find(path).map(|path| &path.stats)
    }

    /// A path's smoothed round-trip time (RFC 6298), once known.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_rtt(&self, path: PathId) -> Result<Option<Duration>, UnknownPath> {
        self.paths.find(path).map(|path| self.sender.scheduler.rtt(path.id.index()).map(Duration::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_far_narrower_than_the_widest_does_not_decide_for_all() {
        let of = |sizes: &[u16]| common_size(sizes.iter().copied());
        assert_eq!(of(&[1472, 1464]), Some(1464));
        assert_eq!(of(&[1472, 548]), Some(1472));
        assert_eq!(of(&[548]), Some(548));
        assert_eq!(of(&[]), None);
    }
}
