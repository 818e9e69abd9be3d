//! `mpt replay`: does a recording again, says whether the core decides as it did, and shows what happened.

mod course;
mod figures;
mod packets;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::tz::TimeZone;
use mpt_proto::Policy;
use serde::Serialize;

use crate::failure::misconfigured;
use crate::output;
use crate::recorder::file::{End, Header};
use crate::recorder::play::{self, Otherwise, Verdict};
use crate::recorder::ring;
use crate::status;
use crate::units::{clock_time, milliseconds};
use course::{Course, Part, Row};
use packets::Packets;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The recording: a file, or a directory of segments.
    pub file: PathBuf,
    /// The part that is shown, since the beginning; all by default.
    pub from: Option<Duration>,
    /// See `from`.
    pub to: Option<Duration>,
    /// Length of an interval.
    pub each: Option<Duration>,
    /// Every datagram on a line.
    pub packets: bool,
    /// One line of JSON for each interval.
    pub json: bool,
    /// A file for the figure.
    pub svg: Option<PathBuf>,
    /// Another policy.
    pub policy: Option<Policy>,
    /// Paths that are never used.
    pub without: Vec<String>,
    /// A file without its ending, for a test.
    pub test: Option<PathBuf>,
}

/// What cannot be known of what would have been.
const WOULD_HAVE_BEEN: &str = "What follows would have been, as far as that can be known: what came from the peer and what applications sent is as \
    recorded. That they would have answered otherwise, and that another load makes other queues and losses, is not known: it shows \
    what this end would have decided, not what would have arrived.\n";

/// The same of a recording that begins in the middle.
const HAD_LEARNED: &str = "The recording begins in the middle of the connection: what the core had learned and kept by then is as it was.\n";

/// Runs `mpt replay`.
///
/// # Errors
/// The file is no recording, or damaged; or the core decides otherwise than it did.
pub fn replay(wanted: &Wanted) -> Result<()> {
    let name = wanted.file.display();
    let open = || ring::open(&wanted.file).with_context(|| format!("cannot open {name}"));
    let header = play::header(open()?).with_context(|| name.to_string())?;
    if let Some(test) = &wanted.test {
        let mut bytes = Vec::new();
        open()?.read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
        return make_test(&bytes, wanted, test);
    }
    let otherwise = Otherwise { policy: wanted.policy, without: wanted.without.clone(), goes_on: false };
    let mut course = Course::new(header.now, part(wanted)?);
    let verdict = if wanted.packets {
        let mut packets = Packets::new(&mut course, header.now, part(wanted)?);
        let verdict = play::play(open()?, &otherwise, &mut packets);
        packets.print();
        verdict
    } else {
        play::play(open()?, &otherwise, &mut course)
    };
    let (_, verdict) = verdict.with_context(|| name.to_string())?;
    let is_known = |name: &String| course.paths.iter().any(|(_, known)| known == name);
    if let Some(unknown) = wanted.without.iter().find(|name| !is_known(name)) {
        return Err(misconfigured(format!(
            "no path is named {unknown}; there are {}",
            course.names().join(", ")
        )));
    }
    let rows = course.rows(wanted.each);
    let is_other = wanted.policy.is_some() || !wanted.without.is_empty();
    if wanted.json {
        print_json(&header, &verdict, is_other, &course, &rows)?;
    } else if !wanted.packets {
        let what = if is_other { WOULD_HAVE_BEEN } else { "" };
        let learned = if is_other && verdict.had_begun { HAD_LEARNED } else { "" };
        output::print(&format!(
            "{}{what}{learned}{}",
            facts(&header, &verdict, is_other),
            table(&course, &rows)
        ))?;
    }
    if let Some(svg) = &wanted.svg {
        fs::write(svg, figures::svg(&course, &rows)?)
            .with_context(|| format!("cannot write {}", svg.display()))?;
    }
    match verdict.differs {
        Some((since, until)) => bail!("{}", differs(&header, since, until)),
        None => Ok(()),
    }
}

fn part(wanted: &Wanted) -> Result<Part> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let part = Part { from: wanted.from.map_or(0, micros), to: wanted.to.map_or(u64::MAX, micros) };
    if part.from >= part.to {
        return Err(misconfigured("--to is not after --from"));
    }
    Ok(part)
}

/// What is said of the recording before the table.
fn facts(header: &Header, verdict: &Verdict, is_other: bool) -> String {
    let end = match verdict.end {
        _ if verdict.differs.is_some() => "",
        End::Closed => "",
        End::Full => ", then there was no more room",
        End::Saved => ", until it was saved",
        End::GoesOn => ", then it goes on in the next segment",
        End::Cut => ", then the file is cut",
    };
    let agrees = match verdict.differs {
        _ if is_other => String::new(),
        Some(_) => String::new(),
        None => format!(
            "Every decision is the recorded one: {} of them, compared at {} places.\n",
            verdict.decisions, verdict.blocks
        ),
    };
    format!(
        "{} of {}, recorded by mpt {} on {} UTC: {}{end}.\n{agrees}",
        header.connection,
        header.tunnel,
        header.program,
        clock_time(header.began / 1000, &TimeZone::UTC),
        clock(verdict.length),
    )
}

fn differs(header: &Header, since: u64, until: u64) -> String {
    let by = env!("CARGO_PKG_VERSION");
    format!(
        "between {} and {} the core decides otherwise than it did: another build of mpt has recorded (it says {}, this is {by}), or the \
         recording was changed",
        clock(since),
        clock(until),
        header.program
    )
}

/// The course as a table.
fn table(course: &Course, rows: &[Row]) -> String {
    let mut text = String::new();
    let mut cells = Vec::new();
    for row in rows {
        for (place, path) in row.paths.iter().enumerate() {
            let of_all = |text: String| if place == 0 { text } else { String::new() };
            let number = |count: u64| if count == 0 { "-".to_owned() } else { count.to_string() };
            let time = |us: u64| if us == 0 { "-".to_owned() } else { milliseconds(us) };
            cells.push([
                of_all(clock(row.from_us)),
                of_all(bit_rate(row.tx_bps)),
                of_all(bit_rate(row.rx_bps)),
                path.name.clone(),
                path.state.to_owned(),
                bit_rate(path.tx_bps),
                format!("{} %", path.tx_share),
                bit_rate(path.rx_bps),
                bit_rate(path.rate_bps),
                time(path.queue_us.into()),
                time(path.extra_delay_us.into()),
                path.rtt_us.map_or_else(|| "-".to_owned(), milliseconds),
                number(path.lost),
                if path.rate_bps == 0 { "-".to_owned() } else { path.phase.to_owned() },
                if path.rate_bps == 0 { "-".to_owned() } else { path.limited_by.to_owned() },
                of_all(number(row.tx_resent)),
                of_all(number(row.tx_dropped)),
                of_all(number(row.rx_lost)),
            ]);
        }
    }
    let head = [
        "FROM",
        "OUT",
        "IN",
        "PATH",
        "STATE",
        "SENT",
        "SHARE",
        "CAME",
        "CARRIES",
        "QUEUE",
        "LATER BY",
        "RTT",
        "LOST",
        "PHASE",
        "LIMITED BY",
        "SENT AGAIN",
        "DROPPED",
        "GIVEN UP",
    ];
    text += &status::aligned(head, &cells, |_, cell| cell);
    for (at, what) in &course.events {
        text += &format!("  {}  {what}\n", clock(*at));
    }
    text
}

#[derive(Serialize)]
struct Facts<'a> {
    tunnel: &'a str,
    connection: &'a str,
    program: &'a str,
    began_us: u64,
    length_us: u64,
    decisions: u64,
    end: &'a str,
    /// Whether every decision is the recorded one; absent where something was done otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    agrees: Option<bool>,
    events: Vec<(u64, &'a str)>,
}

fn print_json(
    header: &Header,
    verdict: &Verdict,
    is_other: bool,
    course: &Course,
    rows: &[Row],
) -> Result<()> {
    let facts = Facts {
        tunnel: &header.tunnel,
        connection: &header.connection,
        program: &header.program,
        began_us: header.began,
        length_us: verdict.length,
        decisions: verdict.decisions,
        end: match verdict.end {
            End::Closed => "closed",
            End::Full => "full",
            End::Saved => "saved",
            End::GoesOn => "goes_on",
            End::Cut => "cut",
        },
        agrees: (!is_other).then_some(verdict.differs.is_none()),
        events: course.events.iter().map(|(at, what)| (*at, what.as_str())).collect(),
    };
    let mut text = serde_json::to_string(&facts)? + "\n";
    for row in rows {
        text += &serde_json::to_string(row)?;
        text.push('\n');
    }
    output::print(&text).map(drop)
}

/// What the present core makes of a recording that was made into a test: the table, and whether it decides as it did then.
///
/// # Errors
/// It is no recording, or damaged.
pub fn outcome(recording: impl Read + Clone) -> Result<String> {
    let header = play::header(recording.clone())?;
    let mut course = Course::new(header.now, Part { from: 0, to: u64::MAX });
    let otherwise = Otherwise { goes_on: true, ..Otherwise::default() };
    let (_, verdict) = play::play(recording, &otherwise, &mut course)?;
    let agrees = match verdict.differs {
        None => "as recorded".to_owned(),
        Some((since, _)) => format!("otherwise than recorded, from {} on", clock(since)),
    };
    Ok(format!("decides {agrees}\n{}", table(&course, &course.rows(None))))
}

/// Makes a test of a recording: the file up to where people wanted, and beside it what the core makes of it.
fn make_test(recording: &[u8], wanted: &Wanted, test: &Path) -> Result<()> {
    let until = part(wanted)?.to;
    let cut = play::cut(recording, until).with_context(|| wanted.file.display().to_string())?;
    let outcome = outcome(&cut[..])?;
    for (ending, bytes) in [("mptrec", &cut[..]), ("txt", outcome.as_bytes())] {
        let file = test.with_extension(ending);
        fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        output::print(&format!("{}\n", file.display()))?;
    }
    Ok(())
}

/// `12:34.5`, minutes and seconds.
fn clock(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    format!("{}:{:02}.{}", seconds / 60, seconds % 60, micros / 100_000 % 10)
}

fn bit_rate(bits: u64) -> String {
    match bits {
        0 => "-".to_owned(),
        1..100_000 => format!("{} k", bits.div_ceil(1000)),
        _ => format!("{}.{} M", bits / 1_000_000, bits / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_recording_have_minutes_and_seconds() {
        assert_eq!(clock(754_567_890), "12:34.5");
    }
}
