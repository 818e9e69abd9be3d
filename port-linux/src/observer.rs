//! A thread beside the loop that gets each event, and a report now and then: for hooks and whoever else wants to know. The loop never
//! waits for it.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::Clock;
use crate::control::{Answer, Asked, Command, Query, relay};
use crate::events::Event;
use crate::report::Report;
use crate::wake::Waker;

/// Events that may wait: as many as a server's peers have when all of them go at once.
const WAITING: usize = 1024;
/// Between two reports.
pub const REPORT_EACH: Duration = Duration::from_secs(10);
/// How long the end of mpt waits for observers: for disks, and for hooks that run.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// Somebody who wants to know what happens. What it does may take its time, but holds the other observers up meanwhile.
pub trait Observe: Send {
    /// Something happened.
    fn handle_event(&mut self, _event: &Event) {}

    /// How things are; every [`REPORT_EACH`], if some observer [wants](Self::wants_reports) that.
    fn handle_report(&mut self, _report: &Report) {}

    /// Whether reports are wanted.
    fn wants_reports(&self) -> bool {
        false
    }

    /// mpt ends: what waits for a disk is written.
    fn end(&mut self) {}
}

/// See the module.
#[derive(Default)]
pub struct Observer {
    observers: Vec<Box<dyn Observe>>,
}

impl Observer {
    /// For nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// For this one, too.
    pub fn add(&mut self, observer: impl Observe + 'static) {
        self.observers.push(Box::new(observer));
    }

    /// Starts the thread. Events go into the channel; reports are asked for through `queries`, of which `bell` tells the loop.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(
        self,
        clock: Clock,
        queries: mpsc::Sender<Query>,
        bell: Waker,
    ) -> Result<(SyncSender<Event>, Observing)> {
        let (sender, events) = mpsc::sync_channel(WAITING);
        let (end, ended) = mpsc::channel();
        let mut observers = self.observers;
        let work = move || {
            observe(&mut observers, clock, &events, || {
                match relay(Asked::Command(Command::Status), &queries, &bell) {
                    Answer::Report(report) => Some(*report),
                    _ => None,
                }
            });
            let _ = end.send(());
        };
        std::thread::Builder::new().name("observer".into()).spawn(work).context("cannot start a thread")?;
        Ok((sender, Observing { ended }))
    }
}

/// The thread.
#[derive(Debug)]
pub struct Observing {
    ended: Receiver<()>,
}

impl Observing {
    /// Waits for the end, for a while; the loop must have ended.
    pub fn end(self) {
        let _ = self.ended.recv_timeout(END_PATIENCE);
    }
}

fn observe(
    observers: &mut [Box<dyn Observe>],
    clock: Clock,
    events: &Receiver<Event>,
    report: impl Fn() -> Option<Report>,
) {
    let wants_reports = observers.iter().any(|observer| observer.wants_reports());
    let mut next = clock.now() + REPORT_EACH;
    loop {
        // Before the next event: many of them do not keep reports away.
        if wants_reports && next <= clock.now() {
            next = clock.now() + REPORT_EACH;
            if let Some(report) = report() {
                observers.iter_mut().for_each(|observer| observer.handle_report(&report));
            }
        }
        let event = if wants_reports {
            events.recv_timeout(next.since(clock.now()))
        } else {
            events.recv().map_err(RecvTimeoutError::from)
        };
        match event {
            Ok(event) => observers.iter_mut().for_each(|observer| observer.handle_event(&event)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    observers.iter_mut().for_each(|observer| observer.end());
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use mpt_proto::Instant;

    use super::*;
    use crate::events::{Journal, What};

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl Observe for Seen {
        fn handle_event(&mut self, event: &Event) {
            self.0.lock().unwrap().push(event.what.name().to_owned());
        }

        fn end(&mut self) {
            self.0.lock().unwrap().push("end".to_owned());
        }
    }

    #[test]
    fn each_observer_gets_each_event_and_is_told_of_the_end() {
        let (one, two) = (Seen::default(), Seen::default());
        let mut observer = Observer::new();
        observer.add(one.clone());
        observer.add(two.clone());
        let (queries, _loop) = mpsc::channel();
        let (events, observing) = observer.start(Clock::start(), queries, Waker::new().unwrap()).unwrap();
        let mut journal = Journal::new(Some(events));
        journal.note(Instant::ZERO, Some("vps"), None, What::PeerUp);
        journal.note(Instant::ZERO, Some("vps"), None, What::PeerDown);
        drop(journal);
        observing.end();
        for seen in [one, two] {
            assert_eq!(*seen.0.lock().unwrap(), ["peer_up", "peer_down", "end"]);
        }
    }
}
