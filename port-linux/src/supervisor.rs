//! What systemd is told: that the tunnel is up, how many paths work, and that the event loop still turns; and what it
//! tells.
//! Nothing is said when mpt was not started by a service of `Type=notify`.

use std::time::Duration;

use mpt_proto::Instant;
use sd_notify::NotifyState;

/// Signs of life per watchdog interval: sd_watchdog_enabled(3) asks for two.
const SIGNS_PER_INTERVAL: u32 = 2;

/// The service manager, seen from the event loop.
#[derive(Debug)]
pub struct Supervisor {
    /// Between signs of life; `None`: nobody waits for them.
    interval: Option<Duration>,
    next_sign: Option<Instant>,
    /// Paths that are up, and how many there are, as last told.
    told: Option<(u32, u32)>,
}

impl Supervisor {
    /// As the environment says (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub fn from_environment() -> Self {
        Self::with_watchdog(sd_notify::watchdog_enabled())
    }

    fn with_watchdog(watchdog: Option<Duration>) -> Self {
        Self { interval: watchdog.map(|patience| patience / SIGNS_PER_INTERVAL), next_sign: None, told: None }
    }

    /// The tunnel is up.
    pub fn ready(&mut self, now: Instant) {
        notify(&[NotifyState::Ready]);
        self.next_sign = self.interval.map(|_| now);
    }

    /// The tunnel ends.
    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// How many paths of how many are up; told when it is news.
    pub fn paths(&mut self, up: u32, all: u32) {
        if self.told.replace((up, all)) != Some((up, all)) {
            notify(&[NotifyState::Status(&format!("{up} of {all} paths are up"))]);
        }
    }

    /// When the next sign of life is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_sign
    }

    /// Gives the sign of life that is due. Returns whether one was.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let (Some(interval), Some(due)) = (self.interval, self.next_sign) else { return false };
        if due > now {
            return false;
        }
        notify(&[NotifyState::Watchdog]);
        self.next_sign = Some(now + interval);
        true
    }
}

/// Whether this process was started by systemd because the service has ended otherwise than asked for
/// (`$SERVICE_RESULT` of systemd.exec(5), which ExecStopPost= has).
#[cfg(feature = "program")]
pub fn service_failed() -> bool {
    std::env::var_os("SERVICE_RESULT").is_some_and(|result| result != "success")
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("telling systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn signs_of_life_come_twice_per_watchdog_interval_once_the_tunnel_is_up() {
        let start = Instant::ZERO + SECOND;
        let mut supervisor = Supervisor::with_watchdog(Some(10 * SECOND));

        assert_eq!(supervisor.poll_timeout(), None, "not yet ready");
        supervisor.ready(start);

        assert!(supervisor.handle_timeout(start));
        assert!(!supervisor.handle_timeout(start + 4 * SECOND));
        assert_eq!(supervisor.poll_timeout(), Some(start + 5 * SECOND));
        assert!(supervisor.handle_timeout(start + 6 * SECOND));
        assert_eq!(supervisor.poll_timeout(), Some(start + 11 * SECOND), "late signs do not pile up");
    }

    #[test]
    fn without_a_watchdog_nothing_is_due() {
        let mut supervisor = Supervisor::with_watchdog(None);
        supervisor.ready(Instant::ZERO);
        assert_eq!(supervisor.poll_timeout(), None);
        assert!(!supervisor.handle_timeout(Instant::ZERO + SECOND));
    }
}
