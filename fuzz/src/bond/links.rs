//! Links as a line of text, the way `mpt lab --links` takes them.

use std::time::Duration;

use mpt_proto::{Config, Liveness, PathConfig, Policy, Probing, ReorderConfig};

use super::{OUTER, PathSetup, Sizes};
use crate::link::{LinkConfig, Loss, Rate};
use crate::rng::MILLION;

/// Bytes that wait in front of a link are this much of its rate, unless it says otherwise: what routers have.
const BUFFER: Duration = Duration::from_millis(150);
/// The longest inner packet of a bond, with room for headers.
const CELL: usize = 1600;

/// Links from text: separated by commas, each a rate and in any order a delay, a jitter, a loss, a burst length and a
/// buffer: `"100mbit 5ms, 50mbit 30ms jitter3ms, 20mbit 80ms 1% burst8 buffer60ms"`. Or `"shared0"`, a path over the
/// link of the first. The weight of each is its rate.
///
/// # Panics
/// A word means nothing.
pub fn links(text: &str) -> Vec<PathSetup> {
    text.split(',').map(path).collect()
}

fn path(text: &str) -> PathSetup {
    match text.trim().strip_prefix("shared") {
        Some(number) => {
            let number = number.parse().unwrap_or_else(|_| panic!("{text:?} names no path"));
            PathSetup { shares: Some(number), ..setup(LinkConfig::default()) }
        }
        None => setup(parse(text)),
    }
}

/// A path over a link, both ways.
pub fn setup(link: LinkConfig) -> PathSetup {
    let megabits = link.rate.map_or(1, |rate| rate.bits_per_second / 1_000_000);
    let weight = u16::try_from(megabits.clamp(1, 10_000)).unwrap_or(1);
    let liveness = Liveness::Probe(Probing::LAB);
    PathSetup::symmetric(PathConfig { weight, liveness, ..PathConfig::default() }, link)
}

/// A link of a rate and a delay, with the usual buffer and headers.
pub fn link(bits_per_second: u64, delay: Duration, buffer: Duration) -> LinkConfig {
    let bytes = u128::from(bits_per_second) * buffer.as_micros() / 8_000_000;
    // At least a few packets, however slow it is.
    let queue = usize::try_from(bytes).unwrap_or(usize::MAX).max(10 * CELL);
    let rate = Some(Rate { bits_per_second, queue, mark_above: None });
    LinkConfig { delay, rate, overhead: OUTER, ..LinkConfig::default() }
}

/// Random loss, or bursts of so many if that is more than one.
pub fn loss(per_million: u32, burst: u32) -> Loss {
    if per_million == 0 {
        Loss::None
    } else if burst <= 1 {
        Loss::Random(per_million)
    } else {
        let end = MILLION / burst;
        let begin = u64::from(end) * u64::from(per_million) / u64::from(MILLION - per_million);
        Loss::Bursts { begin: u32::try_from(begin).unwrap_or(MILLION), end }
    }
}

/// The sum of the rates of the links that leave the first end.
pub fn sum(paths: &[PathSetup]) -> u64 {
    paths.iter().filter_map(|path| path.link[0].rate).map(|rate| rate.bits_per_second).sum()
}

/// Of [`sum`], what the links do not lose.
pub fn sum_delivered(paths: &[PathSetup]) -> u64 {
    paths.iter().map(|path| path.link[0]).map(delivered).sum()
}

/// Of a link's rate, what it does not lose.
pub fn delivered(link: LinkConfig) -> u64 {
    let rate = link.rate.map_or(0, |rate| rate.bits_per_second);
    let lost = match link.loss {
        Loss::None => 0,
        Loss::Random(chance) => u64::from(chance),
        Loss::Bursts { begin, end } => {
            u64::from(MILLION) * u64::from(begin) / (u64::from(begin) + u64::from(end)).max(1)
        }
    };
    rate - rate * lost / u64::from(MILLION)
}

/// What a bond over these links needs: a policy, and a reorder buffer for their rates and delays.
pub fn config(policy: Policy) -> Config {
    let reorder = ReorderConfig { window: u16::MAX, ..ReorderConfig::default() };
    Config { policy, reorder, ..Config::default() }
}

/// Memory for [`config`]: twice what the links carry in the longest delay and a quarter of a second.
pub fn sizes(paths: &[PathSetup]) -> Sizes {
    let longest = paths.iter().map(|path| path.link[0].delay).max().unwrap_or_default();
    let time = longest + Duration::from_millis(250);
    let bytes = u128::from(sum(paths)) * time.as_micros() / 8_000_000;
    let slots = usize::try_from(2 * bytes / 1400).unwrap_or(usize::MAX).clamp(1024, usize::from(u16::MAX));
    Sizes {
        reorder_slots: slots + 1,
        reorder_cell: CELL,
        adaptive_slots: slots,
        adaptive_cell: CELL,
        ..Sizes::default()
    }
}

fn parse(text: &str) -> LinkConfig {
    let [mut rate, mut delay, mut jitter, mut buffer] = [0, 0, 0, micros(BUFFER)];
    let [mut per_million, mut burst] = [0, 1];
    for word in text.split_whitespace() {
        let known = [
            ("", "mbit", 1e6, &mut rate),
            ("", "%", 1e4, &mut per_million),
            ("burst", "", 1.0, &mut burst),
            ("jitter", "ms", 1e3, &mut jitter),
            ("buffer", "ms", 1e3, &mut buffer),
            ("", "ms", 1e3, &mut delay),
        ];
        let found = known.into_iter().find_map(|(prefix, suffix, unit, target)| {
            let number = word.strip_prefix(prefix)?.strip_suffix(suffix)?.parse::<f64>().ok()?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
            let value = (number * unit).round() as u64;
            *target = value;
            Some(())
        });
        assert!(found.is_some(), "{word:?} in {text:?} is no rate, delay, jitter, loss, burst or buffer");
    }
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let (delay, buffer) = (Duration::from_micros(delay), Duration::from_micros(buffer));
    LinkConfig {
        jitter: Duration::from_micros(jitter),
        loss: loss(small(per_million), small(burst)),
        ..link(rate, delay, buffer)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
