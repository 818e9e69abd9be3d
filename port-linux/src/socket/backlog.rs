//! How much of what a socket has sent waits in this host's own queues: in queueing disciplines and drivers, before the link.
//!
//! Without a bound these queues grow to the socket's buffer, which is seconds of a slow link. The bound is what leaves within
//! [`TARGET`], so that what enters waits for about as long, whatever the link's rate. Until something has waited for that long,
//! the link may be a fast one that has little to send, and [`ENOUGH`] may wait in any case.

use std::collections::VecDeque;
use std::time::Duration;

use mpt_proto::Instant;

/// How long bytes may wait: 100 ms. It is more than what TCP sends in one piece on a link of 10 Mbit/s (64 KB), and what a busy
/// machine or a radio takes between two turns; and half of what people notice in a call.
const TARGET: Duration = Duration::from_millis(100);

/// Between two looks: 100 us, in which 20 Gbit/s are [`ENOUGH`].
const LOOK_EACH: Duration = Duration::from_micros(100);

/// Between two notes of what has left: a twentieth of [`TARGET`].
const NOTE_EACH: Duration = Duration::from_millis(5);

/// Bytes that may wait where nothing is known of the link: 256 KB, which the program hands over in one go.
const ENOUGH: u64 = 256 << 10;

/// Bytes that may always wait: some packets, so that a link of less than 1 Mbit/s has the next one.
const FLOOR: u64 = 8192;

/// At each note the bound falls by a 64th, if less has left: by half in 220 ms, so that a radio that pauses is not taken for a
/// slow one.
const FALL: u64 = 64;

/// What had left at some time.
#[derive(Debug, Clone, Copy)]
struct Note {
    at: Instant,
    sent: u64,
    left: u64,
}

/// The bytes of one socket that this host's queues hold.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// When it was looked last how much waits, and how many more bytes may be sent since.
    looked: Option<Instant>,
    room: u64,
    /// Of the last [`TARGET`] since something waits, oldest first.
    notes: VecDeque<Note>,
    /// Bytes that have left.
    left: u64,
    /// Most bytes that may wait; known once something has waited for [`TARGET`], until nothing waits.
    bound: Option<u64>,
}

impl Backlog {
    /// Whether `len` bytes more may be sent, which then is to be done, after the `sent` so far. `queued` tells how many of them wait,
    /// or fewer: the kernel counts its own bookkeeping, too.
    pub(super) fn takes(&mut self, len: u64, sent: u64, queued: impl FnOnce() -> u64, now: Instant) -> bool {
        if self.looked.is_none_or(|looked| now.since(looked) >= LOOK_EACH) {
            self.looked = Some(now);
            self.room = self.room(sent, queued(), now);
        }
        let rest = self.room.checked_sub(len);
        self.room = rest.unwrap_or(self.room);
        rest.is_some()
    }

    /// How many more bytes may be sent until the next look.
    fn room(&mut self, sent: u64, queued: u64, now: Instant) -> u64 {
        self.left = self.left.max(sent.saturating_sub(queued));
        if queued == 0 {
            self.notes.clear();
            self.bound = None;
            return u64::MAX;
        }
        if self.notes.back().is_none_or(|note| now.since(note.at) >= NOTE_EACH) {
            self.notes.push_back(Note { at: now, sent, left: self.left });
            self.bound = self.bound.map(|bound| bound - bound / FALL);
        }
        while self.notes.get(1).is_some_and(|note| now.since(note.at) >= TARGET) {
            self.notes.pop_front();
        }
        let oldest = self.notes.front();
        let leaves = oldest.map_or(0, |note| self.left - note.left);
        if oldest.is_some_and(|note| now.since(note.at) >= TARGET && self.left < note.sent) {
            self.bound = self.bound.or(Some(FLOOR));
        }
        self.bound = self.bound.map(|bound| bound.max(leaves).max(FLOOR));
        self.bound.unwrap_or(leaves.max(ENOUGH)).saturating_sub(queued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of `rate` bytes a millisecond that is offered `offered` bytes each millisecond, in pieces of 1 KB: how long, in ms,
    /// the byte that enters last waits, at most and at least, in the second half of 6 s.
    fn waits(rate: u64, offered: impl Fn(u64) -> u64) -> (u64, u64) {
        let (mut backlog, mut sent, mut queued) = (Backlog::default(), 0, 0_u64);
        let (mut longest, mut shortest) = (0, u64::MAX);
        for ms in 0..6000 {
            queued = queued.saturating_sub(rate);
            let mut room = backlog.room(sent, queued, Instant::from_micros(ms * 1000));
            for _ in 0..offered(ms) / 1000 {
                if let Some(less) = room.checked_sub(1000) {
                    (room, sent, queued) = (less, sent + 1000, queued + 1000);
                }
            }
            assert!(backlog.notes.len() <= 22, "{backlog:?}");
            if ms >= 3000 {
                (longest, shortest) = (longest.max(queued / rate), shortest.min(queued / rate));
            }
        }
        (longest, shortest)
    }

    #[test]
    fn a_queue_is_bounded_by_time_whatever_the_rate_and_does_not_run_empty() {
        // 1 Mbit/s, 10 Mbit/s, 1 Gbit/s; twice to 100 times what they carry.
        for rate in [125, 1250, 125_000] {
            for factor in [8, 20, 100] {
                let (longest, shortest) = waits(rate, |_| factor * rate);
                assert!(longest <= 110 && shortest >= 50, "{rate} {factor}: {shortest} to {longest} ms");
            }
        }
    }

    #[test]
    fn a_link_that_carries_what_it_is_offered_has_no_bound() {
        assert_eq!(waits(2000, |_| 2000), (1, 1));
        // Bursts of 80 ms, ten times a second.
        let (longest, _) = waits(1000, |ms| if ms % 100 == 0 { 80_000 } else { 0 });
        assert_eq!(longest, 80, "all of a burst enters");
    }

    #[test]
    fn what_has_room_is_taken_until_the_next_look() {
        let mut backlog = Backlog::default();
        let mut looks = 0;
        let mut takes = |len, queued, us| {
            let queued = || {
                looks += 1;
                queued
            };
            backlog.takes(len, 1_000_000, queued, Instant::from_micros(us))
        };
        assert!(takes(1_000_000, 0, 1), "nothing waits");
        assert!(takes(1, 10_000, 200), "another look");
        assert!(takes(ENOUGH - 10_001, 0, 299) && !takes(1, 0, 299), "all the room");
        assert!(takes(1, 0, 300));
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_driver_that_tells_late_what_left_is_no_queue() {
        let mut backlog = Backlog::default();
        for ms in 0..10_000 {
            // 1 KB each millisecond, of which the last 20 are not told of.
            let room = backlog.room(1000 * ms, 20_000.min(1000 * ms), Instant::from_micros(ms * 1000));
            assert!(room >= ENOUGH - 20_000, "{ms} ms: {room}");
        }
    }

    #[test]
    fn a_link_that_pauses_keeps_half_its_bound_for_two_tenths_of_a_second() {
        let mut backlog = Backlog::default();
        let mut room = |sent, queued, ms: u64| backlog.room(sent, queued, Instant::from_micros(ms * 1000));
        // 1 KB leaves each millisecond.
        for ms in 0..=1000 {
            room(150_000 + 1000 * ms, 150_000, ms);
        }
        assert_eq!(
            room(1_150_000, 90_000, 1001),
            70_000,
            "as much as has left in 100 ms, and 60 KB at once now"
        );
        for ms in 1002..1320 {
            room(1_150_000, 90_000, ms);
        }
        assert!((70_000..90_000).contains(&room(1_150_000, 1, 1320)));
    }
}
