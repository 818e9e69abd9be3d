//! Keeps the host's network as wanted while mpt runs: what somebody flushes is put back.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use mpt_proto::Instant;
use rtnetlink::MulticastGroup;
use tokio::sync::oneshot;

use super::netlink::Netlink;
use super::news::News;
use super::{Depth, HostState, Item};
use crate::clock::Clock;
use crate::link::block_on;

/// Between a change that the kernel tells of and the look at it: who flushes a table removes one route after the other.
const SETTLE: Duration = Duration::from_millis(50);
/// Between two looks at least: on a router that gets thousands of routes a second, each of them is news.
const REST: Duration = Duration::from_secs(1);
/// Between two looks at most, and between two that ask other programs for what the kernel does not tell of: it drops news
/// when its queue is full, and the resolver tells nothing.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// Repairs within [`FIGHT_TIME`] that show that somebody removes on purpose what mpt puts back.
const FIGHTS: usize = 3;
/// See [`FIGHTS`].
const FIGHT_TIME: Duration = Duration::from_secs(60);

/// The news that are waited for: what is removed or switched off, and what takes its place.
const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// A host's state that was applied and is kept by a thread of its own. When this is dropped, the thread ends and rules and
/// routes are removed; a kill switch stays with what belongs to it, unless [`Keeper::end`] was called.
#[derive(Debug)]
pub struct Keeper {
    state: HostState,
    /// Whether a kill switch goes as well when this is dropped.
    ends: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Applies a state and starts to keep it.
    ///
    /// # Errors
    /// As [`HostState::apply`], or when the thread or its netlink socket cannot be had. Nothing is left then.
    pub fn start(state: HostState) -> Result<Self> {
        state.apply()?;
        let mut keeper = Self { state, ends: true, stop: None, thread: None };
        keeper.watch()?;
        keeper.ends = false;
        Ok(keeper)
    }

    /// Makes the host as another state of the same interface wants it, and keeps that one.
    ///
    /// # Errors
    /// As [`HostState::apply`]: then everything is as before.
    pub fn replace(&mut self, state: HostState) -> Result<()> {
        if state == self.state {
            return Ok(());
        }
        self.end_watch();
        let outcome = state.apply();
        match outcome {
            Ok(_) => self.state = state,
            // What had to go before the refusal.
            Err(_) => _ = self.state.apply().inspect_err(|error| tracing::error!("{error:#}")),
        }
        if let Err(error) = self.watch() {
            tracing::error!("routes and rules are not watched any more: {error:#}");
        }
        outcome.map(drop)
    }

    fn watch(&mut self) -> Result<()> {
        let (stop, stopped) = oneshot::channel();
        let (ready_sender, ready) = mpsc::channel();
        let state = self.state.clone();
        let work = move || {
            if let Err(error) = block_on(keep(&state, stopped, ready_sender)) {
                tracing::error!("routes and rules are not watched any more: {error:#}");
            }
        };
        let thread = std::thread::Builder::new().name("host-state".into());
        self.thread = Some(thread.spawn(work).context("cannot start a thread")?);
        self.stop = Some(stop);
        ready.recv().context("cannot watch routes and rules through netlink")
    }

    fn end_watch(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has said what made it panic.
            let _ = thread.join();
        }
    }

    /// Ends as asked for: nothing stays, not even a kill switch.
    pub fn end(mut self) {
        self.ends = true;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end_watch();
        let device = &self.state.device;
        if !self.state.outlives_interface() {
            // Addresses and routes vanish with the interface.
        } else if !self.ends && self.state.has_kill_switch() {
            tracing::warn!("the kill switch stays in place until mpt starts again, or `mpt clean {device}`");
        } else if let Err(error) = HostState::nothing(device).apply() {
            tracing::error!("{error:#}; `mpt clean {device}` tries it again");
        }
    }
}

/// Looks whenever something has changed, and puts back what is missing, until it is told to stop or gives up.
async fn keep(state: &HostState, mut stop: oneshot::Receiver<()>, ready: mpsc::Sender<()>) -> Result<()> {
    // Without its handle the connection would end.
    let (connection, _handle, mut changes) = rtnetlink::new_multicast_connection(&GROUPS)?;
    tokio::spawn(connection);
    let _ = ready.send(());
    let netlink = Netlink::open()?;
    let clock = Clock::start();
    let news = News::listen(state)?;
    let mut fights = Fights::default();
    let (mut depth, mut looked) = (Depth::Whole, clock.now());
    loop {
        if repair(state, &netlink, depth).await && fights.note(clock.now()) {
            tracing::error!(
                "routes, rules or settings of {} were removed {FIGHTS} times within {} seconds, and are not put back any more: find out \
                 who removes them (`ip monitor`; systemd-networkd does unless it has ManageForeignRoutes=no and \
                 ManageForeignRoutingPolicyRules=no), and start mpt again",
                state.device,
                FIGHT_TIME.as_secs()
            );
            return Ok(());
        }
        let change = async {
            tokio::time::sleep(REST).await;
            let of_others = pin!(news.next());
            let next = select(changes.next(), of_others);
            let mut depth = Depth::Whole;
            if let Ok(change) = tokio::time::timeout(LOOK_ANYWAY, next).await {
                depth = match change {
                    Either::Left((change, _)) => {
                        change.context("netlink closed")?;
                        Depth::Quick
                    }
                    Either::Right((depth, _)) => depth.context("no news of nft rules and forwarding")?,
                };
                tokio::time::sleep(SETTLE).await;
                while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, changes.next()).await {}
                while let Ok(Ok(further)) = tokio::time::timeout(Duration::ZERO, news.next()).await {
                    depth = depth.max(further);
                }
            }
            anyhow::Ok(depth)
        };
        depth = match select(pin!(change), &mut stop).await {
            Either::Left((depth, _)) => depth?,
            Either::Right(_) => return Ok(()),
        };
        if clock.now().since(looked) >= LOOK_ANYWAY {
            depth = Depth::Whole;
        }
        if depth == Depth::Whole {
            looked = clock.now();
        }
    }
}

/// Puts back what is missing, and says so. Returns whether something was missing.
async fn repair(state: &HostState, netlink: &Netlink, depth: Depth) -> bool {
    // Without the interface mpt is about to end.
    if !matches!(netlink.interface(&state.device).await, Ok(Some(_))) {
        return false;
    }
    let (mut added, outcome) = netlink.repair(state, depth).await;
    // The table is set as a whole.
    if added.iter().all(|item| item.comes_and_goes() || *item == Item::Table) {
        added.clear();
    }
    if !added.is_empty() {
        tracing::warn!("somebody removed, and mpt put back: {}", state.texts(&added).join("; "));
    }
    if let Err(error) = &outcome {
        tracing::warn!("somebody removed what mpt cannot put back: {error:#}");
    }
    !added.is_empty() || outcome.is_err()
}

/// When the last repairs were.
#[derive(Debug, Default)]
struct Fights(VecDeque<Instant>);

impl Fights {
    /// Notes a repair. Returns whether there were too many.
    fn note(&mut self, now: Instant) -> bool {
        self.0.retain(|before| now.since(*before) < FIGHT_TIME);
        self.0.push_back(now);
        self.0.len() >= FIGHTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_repair_within_a_minute_is_the_last() {
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let mut fights = Fights::default();
        assert_eq!(
            [0, 30, 61, 89, 90].map(|seconds| fights.note(at(seconds))),
            [false, false, false, true, true]
        );
        let mut calm = Fights::default();
        assert!((0..100).all(|minute| !calm.note(at(31 * minute))));
    }
}
