//! Rates that change over time, as a list of opportunities to send.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::rng::Rng;

/// Bytes that one opportunity carries.
pub(crate) const OPPORTUNITY: u64 = 1_500;
/// How long a generated trace runs before it repeats.
const MADE: Duration = Duration::from_secs(60);
/// The rate of a generated trace is drawn anew at this interval, in milliseconds...
const BLOCK_MS: u64 = 50;
/// ...and of its deviation from the mean this much stays: the correlation falls to 1/e in a second.
const STAYS: f64 = 0.951_229;
/// A generated rate does not fall below this part of the mean.
const LEAST: f64 = 0.05;

/// A rate that changes over time: opportunities to send 1,500 bytes each, which repeat. An opportunity that comes when
/// nothing waits is wasted.
///
/// It is cheap to copy: a trace stays in memory until the process ends, once for each source.
#[derive(Debug, Clone, Copy)]
pub struct Trace(&'static Inner);

#[derive(Debug)]
struct Inner {
    source: Source,
    /// Of each opportunity, in milliseconds from the begin. They do not fall; the last is the period.
    times: Vec<u32>,
}

/// Where a trace comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A file in mahimahi's format.
    File(String),
    /// Generated: mean rate in bits per second, variability in parts of a million.
    Made(u64, u32),
}

impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Trace {}

impl Trace {
    /// Reads a trace from a file in the format of mahimahi: a line for each opportunity, its time in milliseconds. A file
    /// is read once in a process.
    ///
    /// # Errors
    /// The file cannot be read, or is no trace; the text says why.
    pub fn open(path: &str) -> Result<Self, String> {
        Self::interned(Source::File(path.to_owned()), || {
            let text = std::fs::read_to_string(path).map_err(|error| format!("trace `{path}`: {error}"))?;
            times(&text).map_err(|error| format!("trace `{path}`: {error}"))
        })
    }

    /// A generated trace of 60 s: its mean is `bits_per_second`, its standard deviation that times `variability` (in
    /// parts of a million), its correlation time one second. Always the same for the same numbers.
    ///
    /// # Errors
    /// The rate is so low that there is no opportunity to send in a minute.
    pub fn made(bits_per_second: u64, variability: u32) -> Result<Self, String> {
        Self::interned(Source::Made(bits_per_second, variability), || {
            times(&Self::synthetic(1, bits_per_second, variability, MADE))
        })
    }

    /// Writes a synthetic trace in the format of mahimahi: `bits_per_second` is its exact mean over `length`, `variability`
    /// (in parts of a million) its standard deviation as a part of the mean, a second its correlation time. The rate
    /// stays above a twentieth of the mean.
    pub fn synthetic(seed: u64, bits_per_second: u64, variability: u32, length: Duration) -> String {
        let mut rng = Rng::new(seed);
        let milliseconds = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let (mut deviation, spread) = (rng.normal(), f64::from(variability) * 1e-6);
        let mut sum = 0.0;
        let sums: Vec<f64> = (0..milliseconds)
            .map(|at| {
                if at % BLOCK_MS == 0 {
                    deviation = STAYS * deviation + (1.0 - STAYS * STAYS).sqrt() * rng.normal();
                }
                sum += (1.0 + spread * deviation).max(LEAST);
                sum
            })
            .collect();
        let bits = u128::from(bits_per_second) * length.as_millis() / 1000;
        let count = u64::try_from(bits / u128::from(OPPORTUNITY * 8)).unwrap_or(u64::MAX);
        let mut text = String::new();
        let mut written = 0;
        for (at, reached) in (1..).zip(&sums) {
            // The last line stands at the end, as it is the period.
            let due = if at == milliseconds { count as f64 } else { reached / sum * count as f64 };
            while written < count && (written + 1) as f64 <= due {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{at}");
                written += 1;
            }
        }
        text
    }

    /// Mean rate in bits per second.
    pub fn mean(self) -> u64 {
        self.0.times.len() as u64 * OPPORTUNITY * 8 * 1000 / self.period_ms()
    }

    /// When the opportunities begin to repeat.
    pub fn period(self) -> Duration {
        Duration::from_millis(self.period_ms())
    }

    /// Whether it was generated, not read.
    pub(crate) fn is_made(self) -> bool {
        matches!(self.0.source, Source::Made(..))
    }

    pub(crate) fn source(self) -> &'static Source {
        &self.0.source
    }

    /// When the opportunity with this number comes, counted from 0 and over all repetitions.
    pub(crate) fn at(self, number: u64) -> Duration {
        let len = self.0.times.len() as u64;
        let index = usize::try_from(number % len).unwrap_or(0);
        Duration::from_millis(number / len * self.period_ms() + u64::from(self.0.times[index]))
    }

    /// The first opportunity that does not come before a time.
    pub(crate) fn first_from(self, time: Duration) -> u64 {
        let ms = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        // What comes at the end of a period is the last of it, not the first of the next.
        let (rounds, rest) =
            (ms.saturating_sub(1) / self.period_ms(), ms.saturating_sub(1) % self.period_ms());
        let rest = if ms == 0 { 0 } else { rest + 1 };
        let before = self.0.times.partition_point(|at| u64::from(*at) < rest);
        rounds * self.0.times.len() as u64 + before as u64
    }

    fn period_ms(self) -> u64 {
        self.0.times.last().map_or(1, |last| u64::from(*last))
    }

    fn interned(source: Source, read: impl FnOnce() -> Result<Vec<u32>, String>) -> Result<Self, String> {
        static KNOWN: OnceLock<Mutex<BTreeMap<Source, Trace>>> = OnceLock::new();
        let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trace) = known.get(&source) {
            return Ok(*trace);
        }
        let trace = Self(Box::leak(Box::new(Inner { source: source.clone(), times: read()? })));
        known.insert(source, trace);
        Ok(trace)
    }
}

/// The times of a trace's opportunities.
fn times(text: &str) -> Result<Vec<u32>, String> {
    let mut times = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let time: u32 = line
            .trim()
            .parse()
            .map_err(|_| format!("line {number} is `{line}`, which is not a time in whole milliseconds"))?;
        if times.last().is_some_and(|before| *before > time) {
            return Err(format!("line {number}: {time} ms is before the line above it"));
        }
        times.push(time);
    }
    match times.last() {
        None => Err("it has no line, so nothing would ever be sent".to_owned()),
        Some(0) => Err("its last time is 0, and it repeats after that".to_owned()),
        Some(_) => Ok(times),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn trace(name: &str, text: &str) -> Result<Trace, String> {
        Trace::interned(Source::File(name.to_owned()), || times(text))
    }

    #[test]
    fn a_trace_repeats_from_its_begin_at_its_end() {
        let trace = trace("repeats", "0\n2\n2\n10\n").unwrap();
        let at: Vec<u64> =
            (0..9).map(|number| u64::try_from(trace.at(number).as_millis()).unwrap()).collect();
        assert_eq!(at, [0, 2, 2, 10, 10, 12, 12, 20, 20]);
        assert_eq!(trace.mean(), 4 * 1500 * 8 * 100);
        let from = [0, 1, 2, 3, 10, 11, 12, 13, 20, 21].map(|at| trace.first_from(ms(at)));
        assert_eq!(from, [0, 1, 1, 3, 3, 5, 5, 7, 7, 9]);
        assert_eq!(trace.first_from(Duration::from_micros(2001)), 3);
    }

    #[test]
    fn what_is_no_trace_is_refused_with_the_line() {
        for (text, why) in
            [("", "no line"), ("0\n0\n", "repeats"), ("3\n2\n", "line 2: 2 ms"), ("1\nx\n", "line 2 is `x`")]
        {
            let error = trace(text, text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(Trace::open("/nowhere").unwrap_err().contains("trace `/nowhere`"));
    }

    #[test]
    fn a_synthetic_trace_has_its_mean_and_varies_as_much_as_it_should() {
        for (rate, variability) in [(8_000_000, 400_000), (1_000_000, 0), (50_000_000, 200_000)] {
            let text = Trace::synthetic(5, rate, variability, Duration::from_secs(100));
            let trace = trace(&format!("{rate} {variability}"), &text).unwrap();
            assert_eq!(
                (trace.mean() + 6000) / 12_000,
                (rate + 6000) / 12_000,
                "exact to an opportunity in a second"
            );
            let per_half_second: Vec<f64> = (0..200)
                .map(|half| {
                    (trace.first_from(ms(half * 500 + 501)) - trace.first_from(ms(half * 500 + 1))) as f64
                })
                .collect();
            let mean = per_half_second.iter().sum::<f64>() / 200.0;
            let square = per_half_second.iter().map(|it| (it / mean - 1.0) * (it / mean - 1.0)).sum::<f64>();
            let (found, wanted) = ((square / 200.0).sqrt(), f64::from(variability) * 1e-6);
            // Averaged over half a second, some of the variability is gone.
            assert!((0.6 * wanted - 0.02..1.15 * wanted + 0.02).contains(&found), "{found} for {wanted}");
        }
    }

    #[test]
    fn the_example_traces_are_what_the_generator_writes() {
        for (name, seed, rate) in [("breathing.down", 1, 8_000_000), ("breathing.up", 2, 2_000_000)] {
            let path = format!("{}/traces/{name}", env!("CARGO_MANIFEST_DIR"));
            let made = Trace::synthetic(seed, rate, 400_000, Duration::from_secs(20));
            if std::env::var("MPT_BLESS").is_ok() {
                std::fs::write(&path, &made).unwrap();
            }
            assert!(std::fs::read_to_string(&path).unwrap() == made, "{name}");
            let mean = Trace::open(&path).unwrap().mean();
            assert!(mean <= rate && mean + 1000 > rate, "whole opportunities of it: {mean}");
        }
    }
}
