//! The thread that asks the daemon: a stuck one does not hold up the keyboard.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::Clock;
use crate::control::{Command, ask, first_line, report};
use crate::report::Report;

/// Between two reports.
const INTERVAL: Duration = Duration::from_secs(1);

/// The least share of time in which the daemon is not asked, in units of what an answer took: one with a thousand peers has more to do
/// than to tell of them.
const REST: u32 = 20;

/// What the daemon said.
#[derive(Debug)]
pub(super) enum News {
    /// How things are.
    Report(Box<Report>),
    /// Nothing; why, as a sentence.
    Away(String),
    /// It did what it was asked for.
    Done,
    /// It did not; why not.
    Refused(String),
}

/// The way to the thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Asking {
    commands: Sender<Command>,
    news: Receiver<News>,
}

impl Asking {
    /// Starts it.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn start(socket: PathBuf) -> Result<Self> {
        let (commands, wanted) = mpsc::channel();
        let (sender, news) = mpsc::channel();
        let work = move || ask_again_and_again(&socket, &wanted, &sender);
        std::thread::Builder::new().name("asking".into()).spawn(work).context("cannot start a thread")?;
        Ok(Self { commands, news })
    }

    /// Has this asked next.
    pub(super) fn ask(&self, command: Command) {
        // The thread lives as long as this.
        let _ = self.commands.send(command);
    }

    /// What the daemon has said since the last look.
    pub(super) fn news(&self) -> impl Iterator<Item = News> {
        self.news.try_iter()
    }
}

fn ask_again_and_again(socket: &Path, wanted: &Receiver<Command>, news: &Sender<News>) {
    let clock = Clock::start();
    let mut wait = Duration::ZERO;
    loop {
        let asked = match wanted.recv_timeout(wait) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Some(command) = asked {
            let told = match ask(Some(socket), command) {
                Ok(_) => News::Done,
                Err(error) => News::Refused(first_line(&error)),
            };
            if news.send(told).is_err() {
                return;
            }
        }
        // Also after a command, so that what it changed is seen at once.
        let start = clock.now();
        let told = match report(Some(socket)) {
            Ok(report) => News::Report(Box::new(report)),
            Err(error) => News::Away(first_line(&error)),
        };
        let took = clock.now().since(start);
        wait = INTERVAL.saturating_sub(took).max(took.saturating_mul(REST));
        if matches!(told, News::Away(_)) {
            wait = INTERVAL;
        }
        if news.send(told).is_err() {
            return;
        }
    }
}
