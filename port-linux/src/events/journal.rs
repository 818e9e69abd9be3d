//! The last events, and who gets each of them.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;

use mpt_proto::Instant;

use super::{Event, Level, What};
use crate::clock;

/// Events that are kept for who asks.
const KEPT: usize = 64;

/// Keeps the last events, and hands each to an observer. It never waits.
#[derive(Debug, Default)]
pub struct Journal {
    /// Number of the last event.
    last: u64,
    kept: VecDeque<Event>,
    observer: Option<SyncSender<Event>>,
}

impl Journal {
    /// Hands each event to `observer`, as long as there is room in the channel.
    pub fn new(observer: Option<SyncSender<Event>>) -> Self {
        Self { observer, ..Self::default() }
    }

    /// Logs what happened to a connection or one of its paths, keeps it, and hands it on.
    pub fn note(&mut self, now: Instant, connection: Option<&str>, path: Option<&str>, what: What) {
        let text = what.sentence(connection, path);
        let level = what.level();
        log(&what, level, connection, path, &text);
        self.last += 1;
        let event = Event {
            number: self.last,
            uptime_ms: now.as_micros() / 1000,
            time_ms: clock::time_of_day() / 1000,
            level,
            connection: connection.map(str::to_owned),
            path: path.map(str::to_owned),
            what,
            text,
        };
        if let Some(observer) = &self.observer {
            // One that does not read in time misses it, and sees the gap in the numbers.
            let _ = observer.try_send(event.clone());
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
    }

    /// The last events, the oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &Event> {
        self.kept.iter()
    }
}

/// Logs an event, for the program with its parts.
fn log(what: &What, level: Level, connection: Option<&str>, path: Option<&str>, text: &str) {
    let event = what.name();
    match level {
        _ if cfg!(not(feature = "program")) => tracing::info!("{text}"),
        Level::Info => tracing::info!(event, connection, path, "{text}"),
        Level::Warning => tracing::warn!(event, connection, path, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_an_observer_that_does_not_read_is_not_waited_for() {
        let (sender, receiver) = mpsc::sync_channel(10);
        let mut journal = Journal::new(Some(sender));
        for _ in 0..100 {
            journal.note(Instant::from_micros(5_000), Some("vps"), Some("lte"), What::PathUp);
        }
        let kept: Vec<u64> = journal.kept().map(|event| event.number).collect();
        assert_eq!(kept, (37..=100).collect::<Vec<u64>>());
        let seen: Vec<Event> = receiver.try_iter().collect();
        assert_eq!(seen.iter().map(|event| event.number).collect::<Vec<_>>(), (1..=10).collect::<Vec<u64>>());
        assert_eq!((seen[0].uptime_ms, seen[0].text.as_str()), (5, "path lte of vps is up"));
    }

    #[test]
    fn an_observer_that_went_is_no_trouble() {
        let (sender, receiver) = mpsc::sync_channel(1);
        drop(receiver);
        let mut journal = Journal::new(Some(sender));
        journal.note(Instant::ZERO, None, None, What::PathUp);
        assert_eq!(journal.kept().count(), 1);
    }
}
