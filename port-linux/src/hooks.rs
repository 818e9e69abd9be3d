//! Programs that are run when something happens (`[[hook]]`): by threads of their own, few at once, and never for long.
//!
//! Each hook is run for one event after the other, in their order, so that what it switches on at one event and off at the next is as the
//! last one said. Different hooks run at once.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::child::{self, Child, Ending, Start};
use crate::clock::Clock;
use crate::config::Hook;
use crate::events::Event;
use crate::observer::Observe;

/// Programs that run at once.
const AT_ONCE: usize = 4;
/// Events that wait for a program, of all hooks.
const WAITING: usize = 64;
/// How long the end of mpt waits for programs that run, before it kills them.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The hooks that are wanted now; a reload changes them.
#[derive(Debug, Clone)]
pub struct Wanted(Arc<Mutex<Vec<Arc<Hook>>>>);

impl Wanted {
    /// These.
    pub fn new(hooks: &[Hook]) -> Self {
        let wanted = Self(Arc::default());
        wanted.set(hooks);
        wanted
    }

    /// These, from now on.
    pub fn set(&self, hooks: &[Hook]) {
        let mut wanted = lock(&self.0);
        // One that stays the same goes on: what waits for it keeps its order.
        let before = std::mem::take(&mut *wanted);
        let kept = |hook: &Hook| before.iter().find(|before| ***before == *hook).cloned();
        *wanted = hooks.iter().map(|hook| kept(hook).unwrap_or_else(|| Arc::new(hook.clone()))).collect();
    }

    fn of(&self, event: &str) -> Vec<Arc<Hook>> {
        lock(&self.0).iter().filter(|hook| hook.is_on(event)).cloned().collect()
    }
}

/// See the module.
pub struct Hooks {
    wanted: Wanted,
    tunnel: String,
    host: String,
    pool: Arc<Pool>,
}

/// What a program finds on its standard input.
#[derive(Serialize)]
struct Told<'a> {
    version: u32,
    tunnel: &'a str,
    host: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

impl Hooks {
    /// Runs hooks for events of the tunnel interface with this name.
    pub fn new(wanted: Wanted, clock: Clock, tunnel: &str) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let pool = Arc::new(Pool { clock, state: Mutex::default(), some_ended: Condvar::new() });
        Self { wanted, tunnel: tunnel.to_owned(), host, pool }
    }
}

impl Observe for Hooks {
    fn handle_event(&mut self, event: &Event) {
        let name = event.what.name();
        for hook in self.wanted.of(name) {
            let told =
                Told { version: crate::report::VERSION, tunnel: &self.tunnel, host: &self.host, event };
            let Ok(mut input) = serde_json::to_string(&told) else { continue };
            input.push('\n');
            self.pool.push(Job { hook, event: name, tunnel: self.tunnel.clone(), input });
        }
    }

    fn end(&mut self) {
        self.pool.end();
    }
}

/// One run of a program.
struct Job {
    hook: Arc<Hook>,
    event: &'static str,
    tunnel: String,
    input: String,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Hooks whose program runs, each by a thread.
    running: Vec<Arc<Hook>>,
    /// Events for which there was no room since the last time that there was.
    left_out: u64,
    ends: bool,
}

struct Pool {
    clock: Clock,
    state: Mutex<State>,
    some_ended: Condvar,
}

impl Pool {
    fn push(self: &Arc<Self>, job: Job) {
        let mut state = lock(&self.state);
        if state.ends {
            return;
        }
        if state.waiting.len() == WAITING {
            if state.left_out == 0 {
                tracing::warn!(
                    "hooks are not run for some events: {WAITING} wait already for {}",
                    job.hook.run[0]
                );
            }
            state.left_out += 1;
            // What a hook is told last is how things are: its oldest event makes room.
            let oldest = state.waiting.iter().position(|waiting| Arc::ptr_eq(&waiting.hook, &job.hook));
            let Some(oldest) = oldest else { return };
            state.waiting.remove(oldest);
        } else if std::mem::take(&mut state.left_out) > 1 {
            tracing::warn!("hooks are run for each event again");
        }
        state.waiting.push_back(job);
        let Some(job) = next(&mut state) else { return };
        let (pool, hook) = (Arc::clone(self), Arc::clone(&job.hook));
        let work = move || pool.work(job);
        if let Err(error) = std::thread::Builder::new().name("hook".into()).spawn(work) {
            tracing::warn!("hook {}: no thread can be had: {error}", hook.run[0]);
            state.running.retain(|running| !Arc::ptr_eq(running, &hook));
        }
    }

    /// Runs a job, and then what can be run in its place.
    fn work(&self, first: Job) {
        let mut next_job = Some(first);
        while let Some(job) = next_job {
            self.run(&job);
            let mut state = lock(&self.state);
            state.running.retain(|running| !Arc::ptr_eq(running, &job.hook));
            next_job = if state.ends { None } else { next(&mut state) };
            self.some_ended.notify_all();
        }
    }

    /// Runs one program to its end, and tells people if that is not a good one.
    fn run(&self, job: &Job) {
        let program = &job.hook.run[0];
        let environment = [("MPT_EVENT", job.event), ("MPT_TUNNEL", job.tunnel.as_str())];
        let start = Start { environment: &environment, input: &job.input, ..Start::default() };
        let ended = Child::start(&job.hook.run, start)
            .map(|mut child| child.wait(self.clock, job.hook.timeout, || lock(&self.state).ends));
        match ended {
            Ok(Ending::Good) => tracing::debug!("hook {program} for {} is done", job.event),
            Ok(Ending::Bad { status, said }) => {
                tracing::warn!("hook {program} for {}: {status}{said}", job.event);
            }
            Ok(Ending::TooLong) => tracing::warn!(
                "hook {program} for {} is killed after {} s: timeout allows it more",
                job.event,
                job.hook.timeout.as_secs()
            ),
            Ok(Ending::Stopped) => tracing::debug!("hook {program} for {} is killed, as mpt ends", job.event),
            Err(error) => tracing::warn!("hook {program} for {} cannot be run: {error}", job.event),
        }
    }

    /// Waits for what runs, for a while, and kills it then.
    fn end(&self) {
        let state = lock(&self.state);
        let is_busy = |state: &mut State| !state.running.is_empty();
        let waited = self.some_ended.wait_timeout_while(state, END_PATIENCE, is_busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.ends = true;
        let rest = self.some_ended.wait_timeout_while(state, child::GLANCE_MAX * 4, is_busy);
        drop(rest);
    }
}

/// The first job whose hook does not run, if one more program may: it counts as running then.
fn next(state: &mut State) -> Option<Job> {
    if state.running.len() == AT_ONCE {
        return None;
    }
    let runs = |job: &Job| state.running.iter().any(|hook| Arc::ptr_eq(hook, &job.hook));
    let place = state.waiting.iter().position(|job| !runs(job))?;
    let job = state.waiting.remove(place)?;
    state.running.push(Arc::clone(&job.hook));
    Some(job)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
