//! What connections may send to this host: found out from what they sent, and told to their other ends, which keep to it.
//!
//! Ten times a second the downlink is shared among those that sent something. Who uses what it was told it may wants more; whoever else
//! wants what it sends, and a little more. All are told the same number, which is more than most of them want: whoever begins has its
//! share at once.

use std::time::Duration;

use mpt_proto::{Handle, Instant};

use super::{level, shared};
use crate::table::Table;

/// Between two sharings.
const INTERVAL: Duration = Duration::from_millis(100);
/// Who sends this part of what it may send would send more.
const HUNGRY: f64 = 0.8;
/// Others may begin to send so much more.
const GROWTH: f64 = 1.25;
/// How much of what a connection has sent before counts in the next interval: packets come in bursts.
const KEPT: f64 = 0.6;
/// Who sends less, in bytes a second, is not looked at until it sends again.
const SILENT: f64 = 100.0;

/// A connection.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    is_active: bool,
    /// Bytes that came since the last sharing.
    came: u64,
    /// Bytes a second that it sends.
    sends: f64,
    /// Most that it was told to send.
    told: Option<f64>,
}

/// See the module.
#[derive(Debug)]
pub struct Downlink {
    rate: f64,
    /// What all may send at most, in bytes a second.
    level: f64,
    /// Those that sent something. Some may have gone.
    active: Vec<Handle>,
    since: Instant,
    places: Table<Place>,
    /// Kept for its memory.
    wants: Vec<f64>,
}

impl Downlink {
    /// Of so many bits a second.
    pub fn new(bits: u64) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let rate = shared(bits) as f64;
        Self {
            rate,
            level: rate,
            active: Vec::new(),
            since: Instant::ZERO,
            places: Table::default(),
            wants: Vec::new(),
        }
    }

    /// A datagram of so many bytes, with its headers, came. Returns whether the connection is to be [told](Self::told) what it may send, as
    /// it sent nothing for a while.
    pub fn note(&mut self, connection: Handle, len: usize, now: Instant) -> bool {
        let place = self.places.entry(connection);
        place.came += len as u64;
        if place.is_active {
            return false;
        }
        (place.is_active, place.told) = (true, Some(self.level));
        if self.active.is_empty() {
            self.since = now;
        }
        self.active.push(connection);
        true
    }

    /// When [`share`](Self::share) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.active.is_empty()).then(|| self.since + INTERVAL)
    }

    /// Shares it anew; who is then active is to be [told](Self::told). `ceiling` is what a connection may send in any case.
    pub fn share(&mut self, ceiling: impl Fn(Handle) -> Option<u64>, now: Instant) {
        let seconds = now.since(self.since).as_secs_f64().max(1e-3);
        self.since = now;
        self.wants.clear();
        let Self { places, active, wants, .. } = self;
        #[allow(clippy::cast_precision_loss, reason = "rates")]
        active.retain(|&connection| {
            let Some(place) = places.get_mut(connection) else { return false };
            place.sends = (std::mem::take(&mut place.came) as f64 / seconds).max(place.sends * KEPT);
            let ceiling = ceiling(connection).map_or(f64::INFINITY, |bytes| bytes as f64);
            let is_hungry = place.told.is_some_and(|told| place.sends >= told * HUNGRY);
            let want = if is_hungry { f64::INFINITY } else { place.sends * GROWTH };
            wants.push(want.min(ceiling));
            place.told = Some(ceiling);
            place.is_active = place.sends >= SILENT;
            if !place.is_active {
                *place = Place::default();
            }
            place.is_active
        });
        self.level = level(self.rate, wants);
        for &connection in active.iter() {
            if let Some(place) = places.get_mut(connection) {
                place.told = place.told.map(|ceiling| ceiling.min(self.level));
            }
        }
    }

    /// Those that sent something. Some may have gone since it was shared.
    pub fn active(&self) -> &[Handle] {
        &self.active
    }

    /// Bytes a second that a connection may send, if it sends.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub fn told(&self, connection: Handle) -> Option<u32> {
        self.places.get(connection).and_then(|place| place.told).map(|told| told as u32)
    }

    /// The connection goes.
    pub fn remove(&mut self, connection: Handle) {
        self.places.remove(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing::handles;

    /// 80 Mbit/s: 9.5 MB/s are shared.
    const BITS: u64 = 80_000_000;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(1_000_000 + millis * 1000)
    }

    /// Lets connections send what they want, in bytes a second, as far as they were told that they may, for a second from then on. What
    /// each sends at the end, in bytes a second.
    fn run(downlink: &mut Downlink, wants: &[u32], from: u64) -> Vec<u32> {
        let (mut sent, handles) = (Vec::new(), handles(wants.len().max(4)));
        for step in 0..10 {
            let now = at(from + step * 100);
            let may =
                |connection: usize, want: u32| want.min(downlink.told(handles[connection]).unwrap_or(want));
            sent = wants.iter().enumerate().map(|(connection, want)| may(connection, *want)).collect();
            for (connection, rate) in sent.iter().enumerate().filter(|(_, rate)| **rate > 0) {
                downlink.note(handles[connection], *rate as usize / 10, now);
            }
            downlink.share(|connection| (connection == handles[3]).then_some(300_000), now + INTERVAL);
        }
        sent
    }

    #[test]
    fn a_downlink_that_is_full_is_shared_and_one_that_is_not_leaves_everybody_room() {
        let mut downlink = Downlink::new(BITS);
        let sent = run(&mut downlink, &[100_000, 200_000, 5_000_000, 5_000_000, 5_000_000, 5_000_000], 0);
        // The fourth has a limit of its own; three share the rest. Who wants little may want a quarter more.
        assert_eq!(sent[..2], [100_000, 200_000]);
        assert_eq!(sent[3], 300_000);
        let share = (9_500_000 - 125_000 - 250_000 - 300_000) / 3;
        for other in [sent[2], sent[4], sent[5]] {
            assert!(other.abs_diff(share) < 1_000, "{sent:?}");
        }
        // A newcomer has as much at once, and the others make room.
        let sent = run(&mut downlink, &[100_000, 0, 5_000_000, 0, 5_000_000, 5_000_000, 5_000_000], 1_000);
        let share = (9_500_000 - 125_000) / 4;
        for other in [sent[2], sent[4], sent[5], sent[6]] {
            assert!(other.abs_diff(share) < 20_000, "{sent:?}");
        }
        // They stop: the only one that stays has all, and nobody is looked at who sends nothing.
        let sent = run(&mut downlink, &[9_500_000], 2_000);
        assert!(sent[0] > 9_200_000, "{sent:?}");
        run(&mut downlink, &[], 3_000);
        run(&mut downlink, &[], 4_000);
        run(&mut downlink, &[], 5_000);
        assert!(downlink.active().is_empty() && downlink.poll_timeout().is_none());
    }

    #[test]
    fn many_that_begin_at_once_share_after_an_interval() {
        let mut downlink = Downlink::new(BITS);
        let handles = handles(50);
        for &connection in &handles {
            assert!(downlink.note(connection, 100_000, at(0)));
            assert!(!downlink.note(connection, 0, at(0)));
        }
        assert_eq!(downlink.poll_timeout(), Some(at(100)));
        downlink.share(|_| None, at(100));
        for &connection in &handles {
            assert_eq!(downlink.told(connection), Some(190_000));
        }
        downlink.remove(handles[7]);
        assert!(downlink.told(handles[7]).is_none());
        downlink.share(|_| None, at(200));
        assert_eq!(downlink.active().len(), 49);
    }
}
