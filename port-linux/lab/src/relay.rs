//! Links with a rate, a queue, a delay, jitter and losses, made in user space: Linux has netem for that, where it is
//! built in; this needs nothing but tap interfaces.
//!
//! Both ends of a link are tap interfaces, one on each host. What a host sends comes out of its descriptor here, goes
//! through a [`mpt_link::Pipe`], and is written to the other host's descriptor when it is due. One thread does that for all
//! links, at real-time priority where the kernel allows it: it sleeps until the next frame is due, to the microsecond,
//! and how late it was is counted.

pub mod link;

use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use mpt_link::Pipe;
use mpt_link::pipe::damage;
use port_linux::wake::Waker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::gettid;
use serde::Serialize;

use self::link::{Counts, Link};
use super::host;
use super::sample::percentile;
use super::stopwatch::Stopwatch;

/// The largest frame of a tap interface whose MTU is 1,500 bytes, with some room.
const FRAME: usize = 2048;
/// Bytes of a frame before the packet in it: they are never corrupted, as a check sequence would show it.
const ETHERNET: usize = 14;

/// Frames taken from one interface in a row, so that one that floods does not hold up what is due elsewhere.
const MOST_AT_ONCE: usize = 32;

/// Low among the real-time priorities: above all ordinary threads is enough.
const PRIORITY: &str = "10";

/// Lateness is counted by microseconds, up to this; what is later counts as this.
const LATEST_US: usize = 100_000;

/// The running relay. Its links are gone when it is dropped.
#[derive(Debug)]
pub struct Relay {
    state: Arc<Mutex<State>>,
    stop: Waker,
    thread: Option<JoinHandle<()>>,
    tid: i32,
    real_time: bool,
}

/// What the relay did since it was started.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether it runs at real-time priority.
    pub real_time: bool,
    /// How much later than due a frame was passed on, in microseconds: median, 99th percentile, and the worst (100,000
    /// stands for all that is more).
    pub late_us: [f64; 3],
    /// For each link, from the first host to the second and back.
    pub links: Vec<[Counts; 2]>,
}

/// What the thread and its owner share; the owner looks into it between transfers only, except for cuts.
#[derive(Debug)]
struct State {
    /// For each link, from the first end to the second and back.
    pipes: Vec<[Pipe<Vec<u8>>; 2]>,
    /// Frames by how many microseconds they were late.
    late: Vec<u64>,
}

impl Relay {
    /// Starts it with links and their ends, which are descriptors of tap interfaces, non-blocking; each direction of
    /// each link draws from a seed of its own, made from `seed`.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left.
    pub fn start(links: Vec<(Link, [OwnedFd; 2])>, seed: u64) -> anyhow::Result<Self> {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let pipes = links.iter().map(|(link, _)| {
            let [there, back] = [seeds.u64(..), seeds.u64(..)];
            let spec = link.spec();
            // Both directions have their dips and steps at the same times.
            [Pipe::new(spec.forward, there), Pipe::new(spec.back, back).with_weather(there)]
        });
        let pipes = pipes.collect();
        let ends: Vec<_> = links.into_iter().map(|(_, ends)| ends).collect();
        let state = Arc::new(Mutex::new(State { pipes, late: vec![0; LATEST_US + 1] }));
        let stop = Waker::new()?;
        let (announce, announced) = mpsc::channel();
        let thread = thread::Builder::new().name("relay".to_owned()).spawn({
            let (state, stop) = (state.clone(), stop.clone());
            move || {
                let _ = announce.send(gettid().as_raw_nonzero().get());
                pass_on(&ends, &state, &stop);
            }
        })?;
        let tid = announced.recv().context("the relay ended at once")?;
        let real_time =
            host::run(Command::new("chrt").args(["--fifo", "--pid", PRIORITY, &tid.to_string()])).is_ok();
        Ok(Self { state, stop, thread: Some(thread), tid, real_time })
    }

    /// Cuts a link, counted from 0, silently: what is on it is lost. Or repairs it.
    pub fn set_cut(&self, link: usize, is_cut: bool) {
        lock(&self.state).pipes[link].iter_mut().for_each(|pipe| pipe.set_cut(is_cut));
    }

    /// The thread's number, for [`super::cpu::thread`].
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// What it did so far.
    pub fn report(&self) -> Report {
        let state = lock(&self.state);
        let late = [0.5, 0.99, 1.0].map(|share| percentile(&state.late, share) as f64);
        let links =
            state.pipes.iter().map(|pipes| pipes.each_ref().map(|pipe| Counts::from(pipe.stats()))).collect();
        Report { real_time: self.real_time, late_us: late, links }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.wake();
        if let Some(thread) = self.thread.take() {
            // Its panic was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl State {
    /// When the next frame is due on any link.
    fn due(&self) -> Option<Duration> {
        self.pipes.iter().flatten().filter_map(Pipe::due).min()
    }
}

/// Locks even after the other thread panicked: the counts may be short of one packet, nothing worse.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread: passes frames on until it is told to stop.
fn pass_on(links: &[[OwnedFd; 2]], state: &Mutex<State>, stop: &Waker) {
    // Wakes on time without a real-time priority, too; where it is refused the count of lateness shows it.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let clock = Stopwatch::start();
    let mut frame = [0; FRAME];
    let mut ready = vec![PollFd::new(stop, PollFlags::IN)];
    ready.extend(links.iter().flatten().map(|end| PollFd::new(end, PollFlags::IN)));
    loop {
        let patience = lock(state).due().map(|due| due.saturating_sub(clock.elapsed()));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        // Fails on a signal at most; then it looks around and sleeps again.
        let _ = poll(&mut ready, patience.as_ref());
        if !ready[0].revents().is_empty() {
            return;
        }
        let mut state = lock(state);
        let State { pipes, late } = &mut *state;
        for ((ends, pipes), ready) in links.iter().zip(pipes).zip(ready[1..].chunks_exact(2)) {
            for (from, (pipe, ready)) in pipes.iter_mut().zip(ready).enumerate() {
                if ready.revents().contains(PollFlags::IN) {
                    take_in(&ends[from], pipe, &clock, &mut frame);
                }
                let now = clock.elapsed();
                while let Some(mut arrival) = pipe.take(now) {
                    let us = usize::try_from((now - arrival.at).as_micros()).unwrap_or(LATEST_US);
                    late[us.min(LATEST_US)] += 1;
                    if let (Some(random), Some(packet)) = (arrival.damage, arrival.frame.get_mut(ETHERNET..))
                    {
                        damage(packet, random);
                    }
                    // An interface that is down takes nothing: the frame is lost, as on a real link.
                    let _ = rustix::io::write(&ends[1 - from], &arrival.frame);
                }
            }
        }
    }
}

/// Takes what a host has sent into a link.
fn take_in(end: &OwnedFd, pipe: &mut Pipe<Vec<u8>>, clock: &Stopwatch, buffer: &mut [u8]) {
    for _ in 0..MOST_AT_ONCE {
        match rustix::io::read(end, &mut *buffer) {
            Ok(bytes) => pipe.offer(buffer[..bytes].to_vec(), bytes, false, clock.elapsed()),
            Err(Errno::INTR) => {}
            // Nothing more, or the interface is gone, which the hosts notice before us.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
