//! The clock: the only place of this crate that reads one.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use mpt_proto::Instant;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// Counts from its start, monotonically, and goes on while the machine is suspended: a peer that was not heard
/// meanwhile is silent, whatever the reason.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Duration,
}

impl Clock {
    /// Starts counting at [`Instant::ZERO`].
    pub fn start() -> Self {
        Self { start: since_boot() }
    }

    /// The moment of a time stamp of the system's clock, given as the time since 1970. A stamp from the future, or of
    /// more than a second ago, is of a clock that was set meanwhile: it counts as now.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn at(&self, stamp: Duration) -> Instant {
        let stamp = SystemTime::UNIX_EPOCH + stamp;
        let age = SystemTime::now().duration_since(stamp).unwrap_or_default();
        self.now() - if age <= Duration::from_secs(1) { age } else { Duration::ZERO }
    }

    /// The time since the start, in whole microseconds.
    pub fn now(&self) -> Instant {
        Instant::ZERO + since_boot().saturating_sub(self.start)
    }
}

/// Ends a long wait in time by this clock: what the kernel's waits count stands still while the machine is suspended,
/// so after that they would go on long after their deadlines.
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
    set: Cell<Option<Instant>>,
}

impl Alarm {
    /// Not set.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { timer: timerfd_create(TimerfdClockId::Boottime, flags)?, set: Cell::new(None) })
    }

    /// Makes the descriptor readable at `deadline`, or before: an earlier alarm stays, so that deadlines which move
    /// away again and again cost nothing.
    pub fn set(&self, deadline: Instant, clock: &Clock) {
        if self.set.get().is_some_and(|set| set <= deadline) {
            return;
        }
        let at = clock.start + deadline.since(Instant::ZERO);
        let Ok(it_value) = Timespec::try_from(at) else { return };
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        if timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).is_ok() {
            self.set.set(Some(deadline));
        }
    }

    /// After it has become readable: makes it unreadable, and not set.
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.set.set(None);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

fn since_boot() -> Duration {
    // A time since boot is never negative.
    clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_kernels_time_since_boot_which_counts_suspend() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let ahead = since_boot().as_secs_f64() - uptime;
        assert!((-0.02..60.0).contains(&ahead), "{ahead} s after /proc/uptime");
    }

    #[test]
    fn it_starts_at_zero_and_goes_on() {
        let clock = Clock::start();
        let first = clock.now();
        std::thread::sleep(Duration::from_millis(5));
        let passed = clock.now().since(first);
        assert!(passed >= Duration::from_millis(5), "{passed:?}");
    }

    #[test]
    fn an_alarm_rings_at_the_earliest_deadline_it_was_set_to_and_is_quiet_after_that() {
        let rings = |alarm: &Alarm, ms: i64| {
            let wait = Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
            let mut polled = [rustix::event::PollFd::new(alarm, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut polled, Some(&wait)).unwrap() == 1
        };
        let (clock, alarm) = (Clock::start(), Alarm::new().unwrap());
        assert!(!rings(&alarm, 0));
        alarm.set(clock.now() + Duration::from_secs(60), &clock);
        alarm.set(clock.now() + Duration::from_millis(20), &clock);
        alarm.set(clock.now() + Duration::from_secs(60), &clock);
        let before = clock.now();
        assert!(rings(&alarm, 900), "an earlier deadline counts");
        assert!(clock.now().since(before) >= Duration::from_millis(10));
        alarm.silence();
        assert!(!rings(&alarm, 50), "once");
        alarm.set(clock.now(), &clock);
        assert!(rings(&alarm, 900), "and again");
    }
}
