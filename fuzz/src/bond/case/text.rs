//! A case as the options of a command.

use std::fmt;
use std::iter::Peekable;
use std::str::FromStr;
use std::time::Duration;

use mpt_link::LinkSpec;
use mpt_proto::Policy;

use super::{Case, Happening, What};
use crate::bond::{TcpSetup, Traffic};
use crate::joined::{A, B};

/// The options that a case has, for the help of a command.
pub const OPTIONS: &str = "\
--links TEXT        links, separated by commas, as below, or shared0 for a path over the link of the first: \"100mbit 5ms,
                    50mbit 33ms 3ms, 20mbit 80ms 1% burst 8 queue 60ms, lte\"; or het, hom (default het)
--policy NAME       adaptive (the default), weighted, flow, backup, redundant, minrtt
--cc NAME           cubic, reno, bbr, quic (a threshold of three), quic-udp (the same in UDP), ecn (cubic that
                    is marked), none; bulk in UDP: http3, http3-bbr (QUIC's packets), wireguard, wireguard-bbr (TCP
                    inside), utp (LEDBAT); or several, separated by commas, or 1000xcubic
--opposite NAME     flows the other way, likewise (none)
--ping              a ping each 10 ms beside it
--stream MBIT       a stream of UDP at a constant rate; or several, separated by commas
--paced MBIT        a flow of CUBIC whose application has no more to send; or several
--beside TEXT       other traffic, each with its figures, separated by commas, as below: \"call, conference 4mbit, game,
                    dns, thin 120x400kbit, syn 40000\"
--protect PERCENT   calls leave on two paths, as far as copies are so much of what is sent
--deadline MS       with --protect: only those packets of calls do that may take longer
--at \"TIME WHAT\"    what happens, any number of: \"5s freeze 0\", \"5s cut 0\", \"6s mend 0\", \"7s rate 0 10\" (Mbit/s),
                    \"7s delay 0 50\" (ms), \"7s hold 0 400\" (ms: nothing arrives, then all at once), \"7s clock 1 300\"
                    (ms: the clock of end 1 jumps ahead); freeze, rate, delay and hold for one direction with
                    `forward` (from end 0) or `back` behind
--time SECONDS      of virtual time (20)
--warm SECONDS      left out of the summary (a third)
--seed N            (1)
--drift PPM         how fast the other end's clock runs (0)
--reverse           the far end sends
--only PATH         all other paths are cut from the begin
--plain PATH        the flows run on the link of a path, beside the tunnel";

/// From this number on equal flows are told by their number.
const MANY: usize = 10;

impl Case {
    /// Takes an option with its values from what follows it. `false`: it is not one of [`OPTIONS`].
    ///
    /// # Errors
    /// A value is missing or means nothing.
    pub fn take(
        &mut self,
        option: &str,
        words: &mut Peekable<impl Iterator<Item = String>>,
    ) -> Result<bool, String> {
        match option {
            "--ping" => self.ping = true,
            "--reverse" => self.from = B,
            "--at" => {
                while let Some(text) = words.next_if(|word| !word.starts_with("--")) {
                    self.events.push(text.parse()?);
                }
                self.events.sort_by_key(|it| it.at);
            }
            _ => {
                let mut value = || words.next().ok_or_else(|| format!("{option} wants a value"));
                match option {
                    "--links" => self.links = links(&value()?)?,
                    "--policy" => self.policy = policy(&value()?)?,
                    "--cc" => self.flows = names(&value()?)?,
                    "--opposite" => self.opposite = names(&value()?)?,
                    "--stream" => self.streams = numbers(&value()?)?,
                    "--paced" => self.paced = numbers(&value()?)?,
                    "--beside" => self.traffic = traffic(&value()?)?,
                    "--protect" => self.protect = Some(number(&value()?)?),
                    "--deadline" => self.deadline = Some(number(&value()?)?),
                    "--time" => self.time = seconds(&value()?)?,
                    "--warm" => self.warm = Some(seconds(&value()?)?),
                    "--seed" => self.seed = number(&value()?)?,
                    "--drift" => self.drift = number(&value()?)?,
                    "--only" => self.only = Some(number(&value()?)?),
                    "--plain" => self.plain = Some(number(&value()?)?),
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

impl FromStr for Case {
    type Err = String;

    /// From options as a shell takes them: words with blanks stand in double quotes.
    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        for (index, part) in line.split('"').enumerate() {
            match index % 2 {
                0 => words.extend(part.split_whitespace().map(String::from)),
                _ => words.push(part.into()),
            }
        }
        let mut case = Self::new("100mbit 5ms");
        let mut words = words.into_iter().peekable();
        while let Some(option) = words.next() {
            if !case.take(&option, &mut words)? {
                return Err(format!("no such option: {option}"));
            }
        }
        Ok(case)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--links \"{}\"", self.links)?;
        if self.policy != Policy::Adaptive {
            write!(f, " --policy {}", self.policy.name())?;
        }
        match self.flows.is_empty() {
            true => write!(f, " --cc none")?,
            false => write!(f, " --cc {}", joined(&self.flows))?,
        }
        if !self.opposite.is_empty() {
            write!(f, " --opposite {}", self.opposite.join(","))?;
        }
        if self.ping {
            write!(f, " --ping")?;
        }
        for (option, rates) in [("--stream", &self.streams), ("--paced", &self.paced)] {
            if !rates.is_empty() {
                let rates: Vec<_> = rates.iter().map(ToString::to_string).collect();
                write!(f, " {option} {}", rates.join(","))?;
            }
        }
        if !self.traffic.is_empty() {
            let traffic: Vec<_> = self.traffic.iter().map(ToString::to_string).collect();
            write!(f, " --beside \"{}\"", traffic.join(", "))?;
        }
        if let Some(share) = self.protect {
            write!(f, " --protect {share}")?;
        }
        if let Some(deadline) = self.deadline {
            write!(f, " --deadline {deadline}")?;
        }
        if !self.events.is_empty() {
            write!(f, " --at")?;
        }
        for event in &self.events {
            write!(f, " \"{event}\"")?;
        }
        write!(f, " --time {}", self.time.as_secs_f64())?;
        if let Some(warm) = self.warm {
            write!(f, " --warm {}", warm.as_secs_f64())?;
        }
        write!(f, " --seed {}", self.seed)?;
        if self.drift != 0 {
            write!(f, " --drift {}", self.drift)?;
        }
        if self.from != A {
            write!(f, " --reverse")?;
        }
        for (option, path) in [("--only", self.only), ("--plain", self.plain)] {
            if let Some(path) = path {
                write!(f, " {option} {path}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Happening {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let from = match words.last() {
            Some(&"forward") => Some(A),
            Some(&"back") => Some(B),
            _ => None,
        };
        words.truncate(words.len() - usize::from(from.is_some()));
        let millis = |text: &str| seconds(text).map(|time| time / 1000);
        let (what, path) = match words[1..] {
            ["freeze", path] => (What::Freeze, path),
            ["cut", path] => (What::Cut, path),
            ["mend", path] => (What::Mend, path),
            ["rate", path, rate] => (What::Rate(number(rate)?), path),
            ["delay", path, delay] => (What::Delay(millis(delay)?), path),
            ["hold", path, time] => (What::Hold(millis(time)?), path),
            ["clock", end, by] => (What::Clock(millis(by)?), end),
            _ => return Err(format!("{text:?} is nothing that happens")),
        };
        if from.is_some() && matches!(what, What::Cut | What::Mend | What::Clock(_)) {
            return Err(format!("{text:?} has no direction"));
        }
        Ok(Self { at: seconds(words[0].trim_end_matches('s'))?, what, path: number(path)?, from })
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, path) = (self.at.as_secs_f64(), self.path);
        let millis = |time: Duration| time.as_micros() as f64 / 1000.0;
        match self.what {
            What::Freeze => write!(f, "{at}s freeze {path}"),
            What::Cut => write!(f, "{at}s cut {path}"),
            What::Mend => write!(f, "{at}s mend {path}"),
            What::Rate(rate) => write!(f, "{at}s rate {path} {rate}"),
            What::Delay(delay) => write!(f, "{at}s delay {path} {}", millis(delay)),
            What::Hold(time) => write!(f, "{at}s hold {path} {}", millis(time)),
            What::Clock(by) => write!(f, "{at}s clock {path} {}", millis(by)),
        }?;
        match self.from {
            None => Ok(()),
            Some(A) => write!(f, " forward"),
            Some(_) => write!(f, " back"),
        }
    }
}

fn links(text: &str) -> Result<String, String> {
    let text = match text {
        "het" => "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%".into(),
        "hom" => ["100mbit 5ms"; 4].join(", "),
        _ => text.to_string(),
    };
    for link in text.split(',').map(str::trim).filter(|link| !link.starts_with("shared")) {
        link.parse::<LinkSpec>().map_err(|error| format!("{link:?}: {error}"))?;
    }
    Ok(text)
}

fn policy(name: &str) -> Result<Policy, String> {
    let known = Policy::ALL.iter().find(|policy| policy.name() == name);
    known.copied().ok_or_else(|| format!("no such policy: {name}"))
}

fn names(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for word in text.split(',').filter(|name| *name != "none") {
        let many = word.split_once('x').and_then(|(count, name)| Some((count.parse().ok()?, name)));
        let (count, name) = many.unwrap_or((1, word));
        TcpSetup::named(name).ok_or_else(|| format!("no such TCP: {name}"))?;
        all.extend(std::iter::repeat_n(name.to_string(), count));
    }
    Ok(all)
}

/// The names again, those of many equal flows with their number.
fn joined(names: &[String]) -> String {
    match names {
        [first, ..] if names.len() >= MANY && names.iter().all(|name| name == first) => {
            format!("{}x{first}", names.len())
        }
        _ => names.join(","),
    }
}

fn traffic(text: &str) -> Result<Vec<Traffic>, String> {
    text.split(',').map(str::trim).filter(|it| *it != "none").map(str::parse).collect()
}

fn numbers(text: &str) -> Result<Vec<f64>, String> {
    text.split(',').map(number).collect()
}

fn seconds(text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(text)?).map_err(|error| format!("{text:?}: {error}"))
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}
