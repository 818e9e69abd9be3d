//! What the program writes to standard error while it works: for people, for the journal, or as JSON for collectors.

mod limit;
mod line;

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use rustix::fs::fstat;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::clock::Clock;
use crate::output;
use limit::{Limits, Verdict};
use line::Line;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// With time and level, for people
    Text,
    /// With a priority, as journald reads it: `<4>` for warnings
    Journal,
    /// One JSON object a line
    Json,
}

impl Form {
    /// What standard error is made for: journald says in `JOURNAL_STREAM` which file it reads.
    fn of_stderr() -> Self {
        let file = fstat(stderr()).ok().map(|file| format!("{}:{}", file.st_dev, file.st_ino));
        let journal = std::env::var("JOURNAL_STREAM").ok();
        if file.is_some() && journal == file { Self::Journal } else { Self::Text }
    }
}

/// How lines of a kind are kept from filling a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// A few a minute are written, then how many more there were: for what runs for years.
    Limited,
    /// All are written.
    Written,
}

/// Writes log lines to standard error from now on, in the form that it is made for unless another one is wanted. Returns the form.
pub fn start(verbose: u8, form: Option<Form>, flood: Flood) -> Form {
    let level = ["info", "debug", "trace"][usize::from(verbose.min(2))];
    // Of messages that netlink_proto does not know, as of IP settings that change, nobody can do anything.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,mpt={level},port_linux={level},netlink_proto=off")));
    let form = form.unwrap_or_else(Form::of_stderr);
    let limits = (flood == Flood::Limited).then(|| Arc::new(Mutex::new(Limits::default())));
    let is_coloured = stderr().is_terminal() && output::wants_colours();
    let lines = Lines { form, is_coloured, clock: Clock::start(), limits };
    Registry::default().with(filter).with(lines).init();
    form
}

#[derive(Clone)]
struct Lines {
    form: Form,
    is_coloured: bool,
    clock: Clock,
    limits: Option<Arc<Mutex<Limits>>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::new(event);
        let limits = self.limits.as_ref().filter(|_| *event.metadata().level() <= tracing::Level::INFO);
        let Some(limits) = limits else { return self.write(&line) };
        let verdict = lock(limits).judge(&line, &event.metadata().callsite(), self.clock.now());
        match verdict {
            Verdict::Write => self.write(&line),
            Verdict::LeaveOut { is_first: false } => {}
            Verdict::LeaveOut { is_first: true } => self.tell_later(Arc::clone(limits)),
        }
    }
}

impl Lines {
    fn write(&self, line: &Line) {
        let mut time = String::new();
        if SystemTime.format_time(&mut Writer::new(&mut time)).is_err() {
            time.clear();
        }
        let text = match self.form {
            Form::Text => line.text(&time, self.is_coloured),
            Form::Journal => line.journal(),
            Form::Json => line.json(&time),
        };
        // Nobody can be told of a full disk here.
        let _ = stderr().write_all(text.as_bytes());
    }

    /// Tells how many lines were left out, when it is time, from a thread that ends when there are no more.
    fn tell_later(&self, limits: Arc<Mutex<Limits>>) {
        let lines = self.clone();
        let work = move || {
            loop {
                let wait = match lock(&limits).next() {
                    Some(at) => at.since(lines.clock.now()),
                    None => return,
                };
                std::thread::sleep(wait);
                let left_out = lock(&limits).take_left_out(lines.clock.now());
                left_out.iter().for_each(|line| lines.write(line));
            }
        };
        // Without a thread only that is not told.
        let _ = std::thread::Builder::new().name("log".into()).spawn(work);
    }
}

fn lock(limits: &Mutex<Limits>) -> MutexGuard<'_, Limits> {
    limits.lock().unwrap_or_else(PoisonError::into_inner)
}
