//! `mpt speed`: what the paths to a peer carry, each by itself and all together, in both directions, and what that does to a ping
//! beside it.

mod costs;
mod grade;
mod streams;
mod table;

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use self::grade::grade;
use self::streams::Streams;
use super::delays::{Delays, lost_percent};
use super::pinger::Pinger;
use super::protocol::{MOST_SECONDS, Way};
use super::target::Target;
use crate::failure::misconfigured;
use crate::output;
use crate::report::{ConnectionReport, PathReport, State, VERSION};
use crate::units::bytes;

/// Between two pings, with and without load: a responder answers 200 a second.
const PING: Duration = Duration::from_millis(20);
/// How long pings are measured without load.
const IDLE: Duration = Duration::from_millis(1000);
/// Bytes of a ping: those of a call's packet.
const PING_SIZE: usize = 100;
/// This part of the time is the start of TCP, which is left out.
const START_PART: u32 = 5;
/// Between two tests: what waits on the way is gone by then.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the last pings are waited for at most.
const LINGER: Duration = Duration::from_secs(2);

/// The most TCP connections of one test; a responder allows a peer twice as many.
pub const MOST_STREAMS: u8 = 8;
/// The longest test in one direction, in seconds.
pub const MOST_TIME: u16 = MOST_SECONDS;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A path by itself.
    Path(String),
    /// Each path by itself.
    Each,
    /// All paths together.
    Bond,
    /// Each path by itself, and all together.
    All,
}

/// What `mpt speed` is to do.
#[derive(Debug)]
pub struct Speed {
    /// The peer's name or tunnel address.
    pub peer: String,
    /// What is to be measured.
    pub subject: Subject,
    /// Also paths that are paid for by volume.
    pub paid: bool,
    /// For how many seconds in each direction; [`MOST_TIME`] at most.
    pub seconds: u16,
    /// Over how many TCP connections; [`MOST_STREAMS`] at most.
    pub streams: u8,
    /// The result as one line of JSON.
    pub json: bool,
    /// Control socket of the mpt to ask.
    pub control: Option<PathBuf>,
}

/// What was measured, as JSON. Field names are stable.
#[derive(Debug, Serialize)]
struct Outcome {
    version: u32,
    peer: String,
    address: String,
    seconds: u16,
    streams: u8,
    /// Each path by itself.
    paths: Vec<Row>,
    /// What these come to.
    sum: Option<Sum>,
    /// All together.
    bond: Option<Row>,
    /// What was left out, and why.
    left_out: Vec<String>,
    /// What the test has taken of each path, both directions, as UDP payload.
    data: Vec<Data>,
}

/// One path, or all.
#[derive(Debug, Clone, Serialize)]
struct Row {
    /// The path's name; `bond` for all.
    name: String,
    /// Median of the round trip without load.
    idle_ms: f64,
    /// From the peer.
    down: Direction,
    /// To the peer.
    up: Direction,
    /// What the load does to the delay, from A+ to F.
    grade: &'static str,
}

/// One direction of it.
#[derive(Debug, Clone, Serialize)]
struct Direction {
    /// Bits of TCP payload a second.
    bps: f64,
    /// What the load adds to the round trip, in the mean.
    added_ms: f64,
    /// Of the pings beside it, in either direction.
    lost_percent: f64,
    /// Of the sum of the paths, where all were measured; of the bond alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_percent: Option<f64>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Sum {
    down_bps: f64,
    up_bps: f64,
}

#[derive(Debug, Serialize)]
struct Data {
    path: String,
    bytes: u64,
}

/// What is going to be measured.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    paths: Vec<String>,
    bond: bool,
    left_out: Vec<String>,
}

impl Speed {
    /// Runs it.
    ///
    /// # Errors
    /// The peer cannot be measured, or what is asked for would cost and was not allowed.
    pub fn run(&self) -> Result<()> {
        let target = Target::find(&self.peer, self.control.as_deref())?;
        if let Subject::Path(name) = &self.subject {
            target.path(name)?;
        }
        let plan = self.plan(&target.connection)?;
        output::complain(&self.announcement(&plan, &target.connection));
        // Tests of single paths leave queues, and the adaptive policy with less certainty of its paths: the bond comes first.
        let bond = plan.bond.then(|| self.measure(&target, None)).transpose()?;
        let paths: Vec<Row> =
            plan.paths.iter().map(|path| self.measure(&target, Some(path))).collect::<Result<_>>()?;
        let after = target.look()?;
        let covers_all =
            plan.left_out.is_empty() && !paths.is_empty() && !matches!(self.subject, Subject::Path(_));
        let sum = covers_all.then(|| Sum {
            down_bps: paths.iter().map(|row| row.down.bps).sum(),
            up_bps: paths.iter().map(|row| row.up.bps).sum(),
        });
        let outcome = Outcome {
            version: VERSION,
            peer: target.connection.name.clone(),
            address: target.address.to_string(),
            seconds: self.seconds,
            streams: self.streams,
            paths,
            sum,
            bond: bond.map(|bond| with_share(bond, sum)),
            left_out: plan.left_out,
            data: data(&target.connection, &after),
        };
        let text = if self.json { serde_json::to_string(&outcome)? + "\n" } else { table::text(&outcome) };
        output::print(&text).map(drop)
    }

    fn plan(&self, connection: &ConnectionReport) -> Result<Plan> {
        let up: Vec<&PathReport> = connection.paths.iter().filter(|path| path.state == State::Up).collect();
        if up.is_empty() {
            bail!("none of the paths of {} is up (see mpt status)", connection.name);
        }
        let costs = |path: &PathReport| costs::costs(path, connection).filter(|_| !self.paid);
        let paid: Vec<(&str, String)> =
            up.iter().filter_map(|path| Some((path.name.as_str(), costs(path)?))).collect();
        let mut plan = Plan::default();
        if let Subject::Path(name) = &self.subject {
            // Who names it knows.
            let name = name.strip_prefix(&format!("{}/", connection.name)).unwrap_or(name);
            plan.paths.push(name.to_owned());
            return Ok(plan);
        }
        let reasons: Vec<String> = paid.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        if matches!(self.subject, Subject::Each | Subject::All) {
            let is_free = |path: &&&PathReport| paid.iter().all(|(name, _)| *name != path.name);
            plan.paths = up.iter().filter(is_free).map(|path| path.name.clone()).collect();
            plan.left_out =
                reasons.iter().map(|reason| format!("{reason}: --all or --path measures it")).collect();
        }
        if matches!(self.subject, Subject::Bond | Subject::All) {
            plan.bond = paid.is_empty();
            let why = format!("the bond would take {} as well: --all allows that", reasons.join(" and "));
            if !plan.bond && self.subject == Subject::Bond {
                return Err(misconfigured(why));
            }
            plan.left_out.extend((!plan.bond).then_some(why));
        }
        Ok(plan)
    }

    /// What the test will take, said before.
    fn announcement(&self, plan: &Plan, connection: &ConnectionReport) -> String {
        let count = plan.paths.len() + usize::from(plan.bond);
        let each = IDLE + PAUSE * 2 + Duration::from_secs(self.seconds.into()) * 2;
        let seconds = (each * u32::try_from(count).unwrap_or(0)).as_secs();
        let per_mbit = bytes(u64::from(self.seconds) * 125_000);
        let times = |name: &str| u64::from(plan.bond) + u64::from(plan.paths.iter().any(|path| path == name));
        let known = connection
            .paths
            .iter()
            .filter_map(|path| Some(path.measured()?.rate / 8 * u64::from(self.seconds) * times(&path.name)));
        let known: u64 = known.sum();
        let up = if known > 0 {
            format!(": up about {}, as fast as the paths are known to be", bytes(known))
        } else {
            String::new()
        };
        format!(
            "This takes about {seconds} s and what the links carry: in each direction {per_mbit} for each Mbit/s of a path, each time \
             that it is measured{up}.\n"
        )
    }

    /// One path, or all, in both directions.
    fn measure(&self, target: &Target, path: Option<&str>) -> Result<Row> {
        let name = path.unwrap_or("bond");
        let mut pinger = Pinger::new(target, path, PING_SIZE)?;
        progress(&format!("{name}: idle"));
        let idle = ping(&mut pinger, IDLE, Duration::ZERO)?;
        let idle = idle.delays.summary().ok_or_else(|| target.silent())?.p50_ms;
        let mut direction = |way: Way, what: &str| -> Result<Direction> {
            progress(&format!("{name}: {what}"));
            let outcome =
                self.load(target, path, way, &mut pinger, idle).with_context(|| format!("{name}, {what}"));
            sleep(PAUSE);
            outcome
        };
        let (down, up) = (direction(Way::Down, "down")?, direction(Way::Up, "up")?);
        progress("");
        let grade = grade(f64::midpoint(down.added_ms, up.added_ms));
        Ok(Row { name: name.to_owned(), idle_ms: idle, down, up, grade })
    }

    /// One direction, with pings beside it.
    fn load(
        &self,
        target: &Target,
        path: Option<&str>,
        way: Way,
        pinger: &mut Pinger<'_>,
        idle: f64,
    ) -> Result<Direction> {
        let time = Duration::from_secs(self.seconds.into());
        let start = time / START_PART;
        let streams = Streams { target, path, way, count: self.streams, time, start };
        let (rate, pings) = scope(|scope| {
            let pings = scope.spawn(|| ping(pinger, time, start));
            let rate = streams.run();
            (rate, pings.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (rate, pings) = (rate?, pings?);
        let loaded = pings.delays.summary().context("no ping came back under load")?;
        Ok(Direction {
            bps: rate,
            added_ms: (loaded.avg_ms - idle).max(0.0),
            lost_percent: lost_percent(pings.sent, pings.delays.len() as u64),
            share_percent: None,
        })
    }
}

/// Pings that were sent, and how long those took that came back.
struct Pings {
    sent: u64,
    delays: Delays,
}

/// Pings for a while; those of the start are not counted.
fn ping(pinger: &mut Pinger<'_>, time: Duration, start: Duration) -> Result<Pings> {
    let begin = pinger.now();
    let mut pings = Pings { sent: 0, delays: Delays::default() };
    let (mut next, mut first) = (begin, None);
    while pinger.now().since(begin) < time {
        pinger.ask()?;
        if pinger.now().since(begin) >= start {
            first.get_or_insert(pinger.sent());
            pings.sent += 1;
        }
        next = (next + PING).max(pinger.now());
        while let Some(answered) = pinger.wait(next)? {
            if first.is_some_and(|first| answered.sequence >= first) {
                pings.delays.add(answered.delay);
            }
        }
    }
    let end = pinger.now() + LINGER;
    while (pings.delays.len() as u64) < pings.sent && pinger.now() < end {
        let Some(answered) = pinger.wait(end)? else { continue };
        if first.is_some_and(|first| answered.sequence >= first) {
            pings.delays.add(answered.delay);
        }
    }
    Ok(pings)
}

/// The bond with what it is of the sum of its paths.
fn with_share(mut bond: Row, sum: Option<Sum>) -> Row {
    let share = |bps: f64, sum: f64| (sum > 0.0).then(|| 100.0 * bps / sum);
    if let Some(sum) = sum {
        bond.down.share_percent = share(bond.down.bps, sum.down_bps);
        bond.up.share_percent = share(bond.up.bps, sum.up_bps);
    }
    bond
}

/// What passed over each path between two looks.
fn data(before: &ConnectionReport, after: &ConnectionReport) -> Vec<Data> {
    let paths = after.paths.iter().map(|path| {
        let earlier = before.paths.iter().find(|earlier| earlier.name == path.name);
        let earlier = earlier.map_or(0, |earlier| earlier.tx_bytes + earlier.rx_bytes);
        Data { path: path.name.clone(), bytes: (path.tx_bytes + path.rx_bytes).saturating_sub(earlier) }
    });
    paths.collect()
}

/// What is done now, where somebody watches.
fn progress(what: &str) {
    if stderr().is_terminal() {
        output::complain(&format!("\r\x1b[K{what}"));
    }
}

#[cfg(test)]
mod tests;
