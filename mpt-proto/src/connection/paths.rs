//! The paths: they come, go and change, and what follows from that for the rest of the connection.

use core::time::Duration;

use crate::config::PathConfig;
use crate::connection::Connection;
use crate::path::{Path, PathId, PathState};
use crate::path_set::PathSet;
use crate::schedule::PathView;
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
        let free =
            self.paths.iter_mut().zip(&self.generations).enumerate().find(|(_, (path, _))| path.is_none());
        let (index, (place, generation)) = free.ok_or(AddPathError::Full)?;
        let id =
            PathId { index: u8::try_from(index).map_err(|_| AddPathError::Full)?, generation: *generation };
        *place = Some(Path::new(id, config, self.now));
        self.places = self.places.max(index + 1);
        let PathConfig { weight, rank, tier, .. } = config;
        self.scheduler.set_path(index, Some(PathView { weight, rank, tier, ..PathView::default() }));
        if let Some(calls) = self.extension_calls() {
            (calls.set_path)(self, index, tier);
        }
        self.refresh(index);
        Ok(id)
    }

    /// Removes a path.
    ///
    /// # Errors
    /// There is no such path.
    pub fn remove_path(&mut self, path: PathId, now: Instant) -> Result<(), UnknownPath> {
        self.tick(now);
        let index = self.path(path)?.id.index();
        if let (Some(place), Some(generation)) = (self.paths.get_mut(index), self.generations.get_mut(index))
        {
            *place = None;
            *generation = generation.wrapping_add(1);
        }
        self.scheduler.set_path(index, None);
        self.flow_pins.forget(index);
        self.refresh(index);
        if let Some(calls) = self.extension_calls() {
            (calls.set_path)(self, index, 0);
        }
        Ok(())
    }

    /// Enables or disables a path (`mpt path up|down`). The peer is told.
    ///
    /// # Errors
    /// There is no such path.
    pub fn set_enabled(&mut self, path: PathId, enabled: bool, now: Instant) -> Result<(), UnknownPath> {
        self.change(path, now, |path| core::mem::replace(&mut path.enabled, enabled) != enabled && enabled)
    }

    /// The path has another tier from now on, as in [`PathConfig::tier`](crate::PathConfig::tier).
    ///
    /// # Errors
    /// There is no such path.
    pub fn set_tier(&mut self, path: PathId, tier: u8, now: Instant) -> Result<(), UnknownPath> {
        let index = self.path(path)?.id.index();
        self.now = now;
        self.scheduler.set_tier(index, tier);
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
        let up = link == Link::Up;
        self.change(path, now, |path| core::mem::replace(&mut path.link_up, up) != up && up)
    }

    /// The path carries larger or smaller datagrams from now on, or as large ones as before, which answers
    /// [`Event::LargeLost`](crate::Event::LargeLost). As [`PathConfig::max_datagram`](crate::PathConfig::max_datagram), in bytes.
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
        self.path_mut(path)?.max_datagram = max_datagram;
        self.refresh(path.index());
        let now = self.now;
        if let Some(extension) = &mut self.extension {
            extension.adaptive.settle_size(path.index(), now);
        }
        Ok(())
    }

    /// Bytes of the largest datagram that reports say arrived on the path since the last call. `None`: none, or the policy knows of none.
    ///
    /// # Errors
    /// There is no such path.
    pub fn take_carried(&mut self, path: PathId) -> Result<Option<u16>, UnknownPath> {
        let index = self.path(path)?.id.index();
        let headers = self.layout.header_len() + extension::LEN;
        let arrived = self.extension.as_mut().map_or(0, |extension| extension.adaptive.take_arrived(index));
        let size = u16::try_from(usize::from(arrived) + headers).unwrap_or(u16::MAX);
        Ok((arrived > 0).then_some(size))
    }

    fn change(
        &mut self,
        id: PathId,
        now: Instant,
        revives: impl FnOnce(&mut Path) -> bool,
    ) -> Result<(), UnknownPath> {
        self.tick(now);
        let now = self.now;
        let path = self.path_mut(id)?;
        if revives(path) {
            path.revive(now);
        }
        self.refresh(id.index());
        self.handle_timeout(now);
        Ok(())
    }

    /// The connection's paths, by number.
    pub fn paths(&self) -> impl Iterator<Item = PathId> + '_ {
        self.known_paths().map(|path| path.id)
    }

    /// A path's state.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_state(&self, path: PathId) -> Result<PathState, UnknownPath> {
        self.path(path).map(Path::state)
    }

    /// A path's counters.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_stats(&self, path: PathId) -> Result<&PathStats, UnknownPath> {
        self.path(path).map(|path| &path.stats)
    }

    /// A path's smoothed round-trip time (RFC 6298), once known.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_rtt(&self, path: PathId) -> Result<Option<Duration>, UnknownPath> {
        self.path(path).map(|path| self.scheduler.rtt(path.id.index()).map(Duration::from))
    }

    pub(super) fn known_paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.get(..self.places).unwrap_or_default().iter().filter_map(Option::as_ref)
    }

    pub(super) fn each_path(&mut self) -> impl Iterator<Item = &mut Path> {
        self.paths.get_mut(..self.places).unwrap_or_default().iter_mut().filter_map(Option::as_mut)
    }

    pub(super) fn at(&self, index: usize) -> Option<&Path> {
        self.paths.get(index)?.as_ref()
    }

    pub(super) fn at_mut(&mut self, index: usize) -> Option<&mut Path> {
        self.paths.get_mut(index)?.as_mut()
    }

    pub(super) fn path(&self, id: PathId) -> Result<&Path, UnknownPath> {
        self.at(id.index()).filter(|path| path.id == id).ok_or(UnknownPath)
    }

    pub(super) fn path_mut(&mut self, id: PathId) -> Result<&mut Path, UnknownPath> {
        self.at_mut(id.index()).filter(|path| path.id == id).ok_or(UnknownPath)
    }

    /// Carries what changed in a path's state to all that depend on it.
    pub(super) fn refresh(&mut self, index: usize) {
        let (up, hears) = self.at(index).map_or((false, false), |path| (path.is_up(), path.hears()));
        let went_down = self.up.contains(index) && !up;
        if let Some(path) = self.at_mut(index).filter(|_| went_down) {
            path.stats.downs = path.stats.downs.saturating_add(1);
        }
        self.up.set(index, up);
        self.changed.insert(index);
        self.due.insert(index);
        let sizes = self.up.into_iter().filter_map(|index| self.at(index)).map(|path| path.max_datagram);
        let smallest = sizes.clone().min().unwrap_or(0);
        (self.smallest_datagram, self.common_datagram) = (smallest, common_size(sizes).unwrap_or(0));
        if let Some(calls) = self.extension_calls() {
            (calls.refresh)(self, index, up);
        }
        if self.hears.contains(index) != hears {
            self.hears.set(index, hears);
            self.refresh_live();
            // The peer learns at once, on every path that may reach it.
            self.due = PathSet(u16::MAX);
            for path in self.each_path() {
                path.probe_now();
            }
        }
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
