//! How large the packets of a path may be, and whether reports say that the large ones stopped to arrive.
//!
//! A hop whose MTU shrinks drops large datagrams and passes small ones. So one large packet at a time is watched: when the report
//! that settles its number names it as lost, the next large packet that leaves is watched. Several that are lost in a row while no
//! packet of their size arrives are no chance. Each of them left after the loss of the one before was known, so that a single
//! outage counts once. Something sent later did arrive each time, or the report would not have named the loss.

use crate::adaptive::tuning::{DOUBT_FOR, LARGE_LOST, SMALL_PACKET};
use crate::time::Instant;
use crate::wire::extension;

/// See the module. Sizes are bytes of the packet inside a datagram. `Default` takes all, and doubts nothing.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::adaptive) struct Sizes {
    /// Largest packet that a datagram of the path has room for.
    room: u16,
    /// Path number and size of the large packet whose fate is awaited.
    watched: Option<(u32, u16)>,
    /// Watched packets lost since a packet of their size arrived, and the smallest of them.
    lost: u8,
    least: u16,
    /// Since when packets of `least` bytes and more seem not to pass.
    doubted: Option<Instant>,
    /// Smallest packet that was lost since one of its size arrived; `u16::MAX`: none was. Beside those that are watched others are lost.
    least_lost: u16,
    /// Largest packet that arrived since it was asked for that.
    arrived: u16,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            room: u16::MAX,
            watched: None,
            lost: 0,
            least: 0,
            doubted: None,
            least_lost: u16::MAX,
            arrived: 0,
        }
    }
}

impl Sizes {
    /// Whether a datagram has room for a packet of `len` bytes.
    pub(in crate::adaptive) const fn takes(&self, len: usize) -> bool {
        len <= self.room as usize
    }

    /// Largest packet that the path takes and that is not doubted to pass.
    pub(in crate::adaptive) const fn trusted(&self) -> u16 {
        match self.doubted {
            Some(_) if self.least <= self.room => self.least.saturating_sub(1),
            _ => self.room,
        }
    }

    /// A datagram has room for packets of up to `room` bytes from now on. Returns whether that is news.
    pub(in crate::adaptive) const fn set_room(&mut self, room: u16) -> bool {
        core::mem::replace(&mut self.room, room) != room
    }

    /// What was lost until now counts no more: the size is known, or what is awaited will not be heard of.
    pub(in crate::adaptive) const fn forget_losses(&mut self) {
        (self.watched, self.lost, self.least, self.doubted) = (None, 0, 0, None);
        self.least_lost = u16::MAX;
    }

    /// The largest packet that arrived since the last call; 0: none.
    pub(in crate::adaptive) const fn take_arrived(&mut self) -> u16 {
        core::mem::replace(&mut self.arrived, 0)
    }

    /// A packet of `len` bytes left with this path number.
    pub(in crate::adaptive) const fn note_sent(&mut self, number: u32, len: u16) {
        if self.watched.is_none() && len > SMALL_PACKET && len >= self.least {
            self.watched = Some((number, len));
        }
    }

    /// A packet of `len` bytes was lost.
    pub(in crate::adaptive) const fn note_lost(&mut self, len: u16) {
        if len > SMALL_PACKET && len < self.least_lost {
            self.least_lost = len;
        }
    }

    /// A packet of `len` bytes arrived.
    pub(in crate::adaptive) const fn note_arrived(&mut self, len: u16) {
        if len > self.arrived {
            self.arrived = len;
        }
        if len >= self.least_lost {
            self.least_lost = u16::MAX;
        }
        if self.lost > 0 && len >= self.least {
            self.forget_losses();
        }
    }

    /// All numbers up to `acked` are settled; `is_lost`: whether the report names a number as missing; `is_sure`: it names all.
    /// Returns whether large packets seem not to pass from now on.
    pub(in crate::adaptive) fn note_settled(
        &mut self,
        acked: u32,
        is_lost: impl Fn(u32) -> bool,
        is_sure: bool,
        now: Instant,
    ) -> bool {
        let Some((number, len)) = self.watched.filter(|(number, _)| extension::distance(*number, acked) <= 0)
        else {
            return false;
        };
        self.watched = None;
        if !is_lost(number) {
            if is_sure {
                self.note_arrived(len);
            }
            return false;
        }
        self.least = if self.lost == 0 { len } else { self.least.min(len) };
        self.lost = self.lost.saturating_add(1);
        if self.lost < LARGE_LOST || self.doubted.is_some() {
            return false;
        }
        self.least = self.least.min(self.least_lost);
        self.doubted = Some(now);
        true
    }

    /// Ends a doubt that nobody answered.
    pub(in crate::adaptive) fn handle_time(&mut self, now: Instant) {
        if self.doubted.is_some_and(|since| now >= since + DOUBT_FOR) {
            self.forget_losses();
        }
    }
}

#[cfg(test)]
mod tests;
