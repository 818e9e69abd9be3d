//! What the file says to be used before it is, so that mpt may be killed at any time: a file that is written at each megabyte would be
//! written a hundred times a second on a fast link.

use std::time::Duration;

/// Bytes beyond what the file says, from which on it has to be written: with what comes until the next look less than a megabyte, which is
/// what may be lost.
const MUCH: u64 = 400_000;
/// The file is ahead by what comes in so much time.
const FOR: Duration = Duration::from_secs(1);

/// How far the file is from what is used, of one path.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Bytes that were carried since it was written.
    carried: u64,
    /// Bytes that it was ahead then.
    ahead: u64,
}

impl Ahead {
    /// The path has carried so many bytes more.
    pub fn carry(&mut self, bytes: u64) {
        self.carried = self.carried.saturating_add(bytes);
    }

    /// Whether so much would be lost, if mpt ended now, that the file has to be written.
    pub fn is_behind(&self) -> bool {
        self.carried >= self.ahead.saturating_add(MUCH)
    }

    /// Bytes by which the file says more, or less, than is used.
    pub fn error(&self) -> u64 {
        self.carried.abs_diff(self.ahead)
    }

    /// The file is written, `since` after it was written before. Returns how far ahead it is to be: as much as comes in a second at this rate.
    pub fn write(&mut self, since: Duration) -> u64 {
        let micros = since.as_micros().max(1);
        let ahead = u128::from(self.carried) * FOR.as_micros().min(micros * 100) / micros;
        *self = Self { carried: 0, ahead: u64::try_from(ahead).unwrap_or(u64::MAX) };
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_megabyte_is_lost_whenever_it_ends_and_the_file_is_written_twice_a_second_at_most() {
        const LOOK: Duration = Duration::from_millis(40);
        for megabits in [0, 1, 8, 20, 50, 100] {
            let (mut ahead, mut since, mut writes) = (Ahead::default(), Duration::from_secs(100), 0);
            let each = megabits * 125_000 / 25;
            // Before each look, and after it.
            for _ in 0..250 {
                ahead.carry(each);
                since += LOOK;
                assert!(ahead.carried.saturating_sub(ahead.ahead) < 1_000_000, "{megabits} Mbit/s");
                if ahead.is_behind() {
                    ahead.write(since);
                    (since, writes) = (Duration::ZERO, writes + 1);
                }
                assert!(ahead.error() <= MUCH + 2 * megabits * 125_000, "{megabits} Mbit/s: {ahead:?}");
            }
            assert!(writes <= 20, "{megabits} Mbit/s: {writes} in ten seconds");
            // Nothing comes any more: what is written then is right.
            ahead.write(since + Duration::from_secs(10));
            ahead.write(Duration::from_secs(10));
            assert_eq!(ahead.error(), 0);
        }
    }

    #[test]
    fn what_comes_at_once_after_a_pause_is_not_taken_for_a_rate_without_end() {
        let mut ahead = Ahead::default();
        ahead.carry(u64::MAX);
        assert_eq!(ahead.write(Duration::ZERO), u64::MAX);
        let mut ahead = Ahead::default();
        ahead.carry(1_000_000);
        assert_eq!(ahead.write(Duration::from_micros(10)), 100_000_000, "a hundred times as much at most");
    }
}
