//! The terminal, taken and given back as it was: at the end, in a panic, and at a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// After a signal, how long the main thread has to end by itself. It may be stuck in a terminal that takes nothing, or read from one
/// that is gone.
const GRACE: Duration = Duration::from_millis(500);

/// The terminal while it is ours.
pub(super) struct Terminal {
    screen: DefaultTerminal,
    ends: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes it: another screen, keys one by one. From now on a panic gives it back first.
    ///
    /// # Errors
    /// When the terminal refuses, or there are no signals or threads.
    pub(super) fn take() -> Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("signal handler")?;
        let ending = Arc::clone(&ends);
        let wait = move || {
            if signals.forever().next().is_none() {
                return;
            }
            ending.store(true, Ordering::Relaxed);
            std::thread::sleep(GRACE);
            // A terminal that takes nothing holds up this thread, and not the end.
            std::thread::spawn(ratatui::restore);
            std::thread::sleep(GRACE);
            std::process::exit(0);
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start a thread")?;
        let screen = ratatui::try_init().inspect_err(|_| ratatui::restore()).context("the terminal")?;
        Ok(Self { screen, ends })
    }

    /// Whether a signal asked to end.
    pub(super) fn is_to_end(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Shows this.
    ///
    /// # Errors
    /// When the terminal takes it not.
    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut Frame<'_>)) -> std::io::Result<()> {
        self.screen.draw(paint).map(drop)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = ratatui::try_restore();
    }
}
