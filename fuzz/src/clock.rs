//! An end's clock, which need not be right.

use std::time::Duration;

use mpt_proto::Instant;

const MILLION: i128 = 1_000_000;

/// A clock that began at another value and runs at another speed than the time of the run.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    offset: u64,
    ppm: i32,
}

impl Clock {
    /// A clock that is right.
    pub const RIGHT: Self = Self { origin: Instant::ZERO, offset: 0, ppm: 0 };

    /// A clock that shows `offset` microseconds more at `origin` and gains `ppm` microseconds a second.
    pub const fn new(origin: Instant, offset: u64, ppm: i32) -> Self {
        Self { origin, offset, ppm }
    }

    /// The same clock after a jump.
    #[must_use]
    pub fn ahead(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self { offset: self.offset.saturating_add(by), ..self }
    }

    /// What the clock shows at a time not before its origin.
    pub fn local(self, time: Instant) -> Instant {
        if self.ppm == 0 && self.offset == 0 {
            return time;
        }
        let elapsed = i128::from(time.as_micros()) - i128::from(self.origin.as_micros());
        let shown = elapsed + elapsed * i128::from(self.ppm) / MILLION;
        let base = i128::from(self.origin.as_micros()) + i128::from(self.offset);
        Instant::from_micros(u64::try_from(base + shown).unwrap_or(0))
    }

    /// The first time at which the clock shows this or more.
    pub fn time(self, local: Instant) -> Instant {
        if self.ppm == 0 && self.offset == 0 {
            return local;
        }
        let base = i128::from(self.origin.as_micros()) + i128::from(self.offset);
        let shown = i128::from(local.as_micros()) - base;
        let elapsed = shown * MILLION / (MILLION + i128::from(self.ppm));
        let guess = u64::try_from(i128::from(self.origin.as_micros()) + elapsed).unwrap_or(0);
        let mut time = guess.saturating_sub(2);
        while self.local(Instant::from_micros(time)) < local {
            time += 1;
        }
        Instant::from_micros(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_due_at_the_first_time_at_which_the_clock_shows_it() {
        let origin = Instant::from_micros(1_000_000);
        for ppm in [-200, 0, 200] {
            let clock = Clock::new(origin, 77_000_000, ppm);
            assert_eq!(clock.local(origin), Instant::from_micros(78_000_000));
            for elapsed in (0..50_000_000).step_by(99_991) {
                let deadline = Instant::from_micros(78_000_000 + elapsed);
                let due = clock.time(deadline);
                assert!(clock.local(due) >= deadline);
                assert!(clock.local(Instant::from_micros(due.as_micros() - 1)) < deadline, "{elapsed}");
            }
            let gained = clock.local(Instant::from_micros(11_000_000)).as_micros() as i64 - 88_000_000;
            assert_eq!(gained, i64::from(ppm) * 10);
        }
    }
}
