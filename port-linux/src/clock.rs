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

    /// The time since the start, in whole microseconds.
    pub fn now(&self) -> Instant {
        Instant::ZERO + since_boot().saturating_sub(self.start)
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now().since(Instant::ZERO)
    }
}

/// Microseconds since 1970 by the system's clock, which somebody may step; 0 before 1970.
pub fn time_of_day() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}

#[allow(clippy::disallowed_methods, reason = "this module is the one that reads the clock")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// How far the two clocks may seem to move against each other between two looks before that is a step: 1 ms. Reading one after
/// the other takes less than a microsecond, and a delay that is wrong by 1 ms for one batch is within the noise of most paths.
/// Slewing (adjtimex(2)) moves both alike.
const STEP: Duration = Duration::from_millis(1);

/// A step of this size is one that somebody made: an interruption between reading the two clocks is shorter, as a rule.
const REAL_STEP: Duration = Duration::from_millis(100);

/// Turns the kernel's receive stamps into moments of a [`Clock`].
///
/// The kernel stamps datagrams by the system's clock alone, which somebody may step while they wait in a socket. What it is
/// ahead of the time since boot changes by nothing else, so a step is known by that. Stamps from before a step tell nothing
/// any more, and their datagrams count as arrived now.
#[derive(Debug)]
pub struct Stamps {
    clock: Clock,
    /// The system's clock less the [`Clock`], at the last look.
    ahead: Duration,
    /// When the last step was noticed: stamps are from before it if they seem to be.
    stepped: Instant,
    now: Instant,
    /// How many steps of [`REAL_STEP`] or more were noticed.
    steps: u64,
}

impl Stamps {
    /// For stamps of datagrams that arrive from now on.
    pub fn start(clock: Clock) -> Self {
        let mut stamps =
            Self { clock, ahead: Duration::ZERO, stepped: Instant::ZERO, now: Instant::ZERO, steps: 0 };
        stamps.look();
        stamps.steps = 0;
        stamps
    }

    /// Looks at both clocks, and returns the time. To be called between receiving datagrams and asking for their arrival.
    pub fn look(&mut self) -> Instant {
        // In this order: an interruption between the two makes arrivals later, which is taken for a step, and not earlier,
        // which would be taken for a queue.
        let system = since_epoch();
        let now = self.clock.now();
        self.note(system, now)
    }

    fn note(&mut self, system: Duration, now: Instant) -> Instant {
        let ahead = system.saturating_sub(now.since(Instant::ZERO));
        if ahead.abs_diff(self.ahead) > STEP {
            self.stepped = now;
        }
        if ahead.abs_diff(self.ahead) >= REAL_STEP {
            self.steps += 1;
        }
        (self.ahead, self.now) = (ahead, now);
        now
    }

    /// How often the system's clock was set, by a tenth of a second or more.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// When a datagram with this stamp, the time since 1970, arrived.
    pub fn arrival(&self, stamp: Duration) -> Instant {
        let arrived = Instant::ZERO + stamp.saturating_sub(self.ahead);
        if arrived > self.stepped && arrived < self.now { arrived } else { self.now }
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

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Stamps whose clocks have run for a second, with the system's at 1,000 s, and a look each millisecond.
    fn running() -> (Stamps, Duration, Instant) {
        let mut stamps = Stamps::start(Clock::start());
        let (mut system, mut now) = (Duration::from_secs(1000), Instant::ZERO);
        for _ in 0..1000 {
            (system, now) = (system + MILLISECOND, now + MILLISECOND);
            assert_eq!(stamps.note(system, now), now);
        }
        (stamps, system, now)
    }

    #[test]
    fn a_stamp_tells_how_long_a_datagram_waited_even_if_that_is_long() {
        let (mut stamps, system, now) = running();
        for waited in [0, 1, 20, 990].map(Duration::from_millis) {
            assert_eq!(stamps.arrival(system - waited), now - waited, "{waited:?}");
        }
        // The process was stopped meanwhile.
        let pause = Duration::from_secs(5);
        let later = stamps.note(system + pause, now + pause);
        assert_eq!(stamps.arrival(system), later - pause);
    }

    #[test]
    fn a_step_of_the_clock_is_no_wait() {
        for step in [2, 100, 300, 1000, 60_000].map(Duration::from_millis) {
            for forwards in [true, false] {
                let (mut stamps, system, now) = running();
                let stepped =
                    |time: Duration| if forwards { time + step } else { time.checked_sub(step).unwrap() };
                // Of three datagrams that waited, one was stamped before the step.
                let now = stamps.note(stepped(system + MILLISECOND), now + MILLISECOND);
                for stamp in [system, stepped(system), stepped(system + MILLISECOND)] {
                    assert_eq!(stamps.arrival(stamp), now, "{step:?}, forwards: {forwards}");
                }
                // Stragglers of another socket, and then those stamped by the clock as it is now.
                let now = stamps.note(stepped(system + 2 * MILLISECOND), now + MILLISECOND);
                assert_eq!(stamps.arrival(system), now, "{step:?}, forwards: {forwards}");
                let now = stamps.note(stepped(system + 9 * MILLISECOND), now + 7 * MILLISECOND);
                assert_eq!(stamps.arrival(stepped(system + 5 * MILLISECOND)), now - 4 * MILLISECOND);
            }
        }
    }

    #[test]
    fn a_stamp_from_the_future_is_now() {
        let (stamps, system, now) = running();
        assert_eq!(stamps.arrival(system + Duration::from_secs(3600)), now);
        assert_eq!(stamps.arrival(Duration::ZERO), now, "nor from before the start");
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
