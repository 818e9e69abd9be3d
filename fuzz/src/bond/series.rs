//! What was measured, over time. All times are since the beginning of the run.

use std::ops::Range;
use std::time::Duration;

use super::SAMPLE;

/// Bytes are summed up over this.
const BIN: Duration = Duration::from_millis(10);
/// Shorter gaps are not noted.
const LEAST_GAP: Duration = Duration::from_millis(1);

fn bin(at: Duration) -> usize {
    usize::try_from(at.as_micros() / BIN.as_micros()).unwrap_or(usize::MAX)
}

/// Bytes over time, and when there were none.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    bins: Vec<u64>,
    bytes: u64,
    gaps: Gaps,
}

impl Meter {
    pub(super) fn note(&mut self, bytes: u64, at: Duration) {
        let bin = bin(at);
        if self.bins.len() <= bin {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += bytes;
        self.bytes += bytes;
    }

    /// Something came, whether it could be used yet or not.
    pub(super) fn note_arrival(&mut self, at: Duration) {
        self.gaps.note(at);
    }

    /// All bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Mbit/s within a time, whole hundredths of a second.
    pub fn rate(&self, within: &Range<Duration>) -> f64 {
        let bins = bin(within.start)..bin(within.end);
        let bytes: u64 = self.bins.iter().take(bins.end).skip(bins.start).sum();
        bytes as f64 * 8.0 / (within.end - within.start).as_secs_f64() / 1e6
    }

    /// When nothing came.
    pub const fn gaps(&self) -> &Gaps {
        &self.gaps
    }
}

/// Times without an arrival.
#[derive(Debug, Clone, Default)]
pub struct Gaps {
    /// Longer than the least, each with its end.
    gaps: Vec<(Duration, Duration)>,
    last: Option<Duration>,
}

impl Gaps {
    fn note(&mut self, at: Duration) {
        if let Some(last) = self.last.replace(at) {
            let gap = at.saturating_sub(last);
            if gap > LEAST_GAP {
                self.gaps.push((at, gap));
            }
        }
    }

    /// The longest gap that ended within a time, or that had not ended at its end; zero if all were shorter than a
    /// millisecond.
    pub fn longest(&self, within: &Range<Duration>) -> Duration {
        let ended = self.gaps.iter().filter(|(end, _)| within.contains(end)).map(|(_, gap)| *gap);
        // A gap that spans the end of the time counts up to there.
        let spanning = self.gaps.iter().find(|(end, _)| *end >= within.end);
        let open = match spanning {
            Some((end, gap)) => within.end.saturating_sub(end.saturating_sub(*gap)),
            None => self.last.map_or(Duration::ZERO, |last| within.end.saturating_sub(last)),
        };
        ended.max().unwrap_or_default().max(open)
    }
}

/// How long packets took, in the order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<(Duration, Duration)>);

impl Latencies {
    pub(super) fn note(&mut self, at: Duration, took: Duration) {
        self.0.push((at, took));
    }

    /// How many arrived within a time.
    pub fn count(&self, within: &Range<Duration>) -> usize {
        self.0.iter().filter(|(at, _)| within.contains(at)).count()
    }

    /// How many arrived within a time and took longer than this.
    pub fn count_above(&self, took: Duration, within: &Range<Duration>) -> usize {
        self.0.iter().filter(|(at, it)| within.contains(at) && *it > took).count()
    }

    /// So many hundredths of what arrived within a time took no longer than this; zero if nothing did.
    pub fn percentile(&self, hundredths: usize, within: &Range<Duration>) -> Duration {
        percentile(self.0.iter().filter(|(at, _)| within.contains(at)).map(|(_, took)| *took), hundredths)
    }
}

/// A link's queue, and what the tunnel sent on it, every [`SAMPLE`].
#[derive(Debug, Clone, Default)]
pub struct PathSeries {
    backlog: Vec<Duration>,
    sent: Vec<u64>,
}

impl PathSeries {
    pub(super) fn note(&mut self, backlog: Duration, sent: u64) {
        self.backlog.push(backlog);
        self.sent.push(sent);
    }

    /// How long a datagram would have waited in the link's queue, so many hundredths of the time at most.
    pub fn backlog(&self, hundredths: usize, within: &Range<Duration>) -> Duration {
        percentile(self.backlog[samples(within, self.backlog.len())].iter().copied(), hundredths)
    }

    /// Bytes of UDP payloads that were sent, dropped ones included.
    pub fn sent(&self, within: &Range<Duration>) -> u64 {
        let sent = &self.sent[samples(within, self.sent.len())];
        sent.last().zip(sent.first()).map_or(0, |(last, first)| last - first)
    }

    /// Mbit/s of UDP payloads that were sent.
    pub fn rate(&self, within: &Range<Duration>) -> f64 {
        self.sent(within) as f64 * 8.0 / (within.end - within.start).as_secs_f64() / 1e6
    }
}

/// The samples of a time, its end included.
fn samples(within: &Range<Duration>, len: usize) -> Range<usize> {
    let index = |at: Duration| usize::try_from(at.as_micros() / SAMPLE.as_micros()).unwrap_or(usize::MAX);
    let end = index(within.end).saturating_add(1).min(len);
    index(within.start).min(end)..end
}

fn percentile(values: impl Iterator<Item = Duration>, hundredths: usize) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
    let at = (values.len() * hundredths / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}
