//! `mpt ping`: the round trip to a peer through the tunnel, over all paths as the policy says, or over one of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::delays::{Delays, Summary, lost_percent};
use super::pinger::{Answered, Pinger};
use super::target::Target;
use crate::output;
use crate::report::VERSION;
use crate::units::measured_milliseconds;

/// How long the last answers are waited for, at least; and as a multiple of the longest round trip so far.
const LINGER: Duration = Duration::from_secs(1);
/// See [`LINGER`].
const LINGER_ROUND_TRIPS: u32 = 2;
/// How often it is looked whether a signal came.
const GLANCE: Duration = Duration::from_millis(100);

/// What `mpt ping` is to do.
#[derive(Debug)]
pub struct Ping {
    /// The peer's name or tunnel address.
    pub peer: String,
    /// Over this path alone.
    pub path: Option<String>,
    /// How many questions; `None`: until a signal comes.
    pub count: Option<u32>,
    /// Between two of them.
    pub interval: Duration,
    /// Bytes of each.
    pub size: usize,
    /// Statistics alone.
    pub quiet: bool,
    /// One line of JSON in the end.
    pub json: bool,
    /// Control socket of the mpt to ask.
    pub control: Option<PathBuf>,
}

/// What came of it, as JSON. Field names are stable.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    version: u32,
    peer: &'a str,
    address: String,
    path: Option<&'a str>,
    size: usize,
    sent: u32,
    received: usize,
    lost_percent: f64,
    rtt: Option<Summary>,
}

impl Ping {
    /// Runs it.
    ///
    /// # Errors
    /// The peer cannot be measured, or nothing came back.
    pub fn run(&self) -> Result<()> {
        let target = Target::find(&self.peer, self.control.as_deref())?;
        let mut pinger = Pinger::new(&target, self.path.as_deref(), self.size)?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop)).context("signal handler")?;
        }
        let shows = !self.json && !self.quiet;
        if !self.json {
            output::print(&self.headline(&target))?;
        }
        let (begin, mut delays) = (pinger.now(), Delays::default());
        let mut next = begin;
        let mut longest = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) && self.count.is_none_or(|count| pinger.sent() < count) {
            pinger.ask()?;
            next = next + self.interval;
            let is_last = self.count == Some(pinger.sent());
            let mut until =
                if is_last { pinger.now() + LINGER.max(longest * LINGER_ROUND_TRIPS) } else { next };
            while !stop.load(Ordering::Relaxed) && pinger.now() < until {
                let Some(answered) = pinger.wait(until.min(pinger.now() + GLANCE))? else { continue };
                delays.add(answered.delay);
                longest = longest.max(answered.delay);
                if shows && !output::print(&self.line(&target, answered))? {
                    return Ok(());
                }
                if is_last && delays.len() >= pinger.sent() as usize {
                    until = pinger.now();
                }
            }
            // After the machine slept, questions are not made up for.
            next = next.max(pinger.now() - self.interval);
        }
        self.end(&target, pinger.sent(), &delays, pinger.now().since(begin))
    }

    fn headline(&self, target: &Target) -> String {
        format!(
            "PING {} ({}) through {}: {} bytes\n",
            target.connection.name,
            target.address,
            self.path
                .as_ref()
                .map_or_else(|| "the tunnel".to_owned(), |path| format!("the tunnel, over {path} alone")),
            self.size
        )
    }

    fn line(&self, target: &Target, answered: Answered) -> String {
        let over = self.path.as_ref().map_or_else(String::new, |path| format!(" path={path}"));
        format!(
            "{} bytes from {}: seq={}{over} time={} ms\n",
            answered.len,
            target.address,
            answered.sequence,
            measured_milliseconds(answered.delay.as_secs_f64() * 1000.0)
        )
    }

    fn end(&self, target: &Target, sent: u32, delays: &Delays, time: Duration) -> Result<()> {
        let (received, summary) = (delays.len(), delays.summary());
        let lost_percent = lost_percent(sent.into(), received as u64);
        let name = &target.connection.name;
        if self.json {
            let outcome = Outcome {
                version: VERSION,
                peer: name,
                address: target.address.to_string(),
                path: self.path.as_deref(),
                size: self.size,
                sent,
                received,
                lost_percent,
                rtt: summary,
            };
            output::print(&format!("{}\n", serde_json::to_string(&outcome)?))?;
        } else {
            let mut text = format!(
                "\n--- {name} ping statistics ---\n{sent} sent, {received} received, {lost_percent:.1} % lost, {:.1} s\n",
                time.as_secs_f64()
            );
            if let Some(rtt) = &summary {
                text += &statistics(rtt);
            }
            output::print(&text)?;
        }
        if received == 0 && sent > 0 { Err(target.silent()) } else { Ok(()) }
    }
}

fn statistics(rtt: &Summary) -> String {
    let list =
        |values: &[f64]| values.iter().map(|ms| measured_milliseconds(*ms)).collect::<Vec<_>>().join("/");
    format!(
        "rtt min/avg/max/mdev = {} ms\nrtt 50/95/99 % = {} ms\n",
        list(&[rtt.min_ms, rtt.avg_ms, rtt.max_ms, rtt.mdev_ms]),
        list(&[rtt.p50_ms, rtt.p95_ms, rtt.p99_ms])
    )
}
