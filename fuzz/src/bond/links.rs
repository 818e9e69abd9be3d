//! Links as a line of text, in the grammar of `docs/links.md`.

use std::time::Duration;

use mpt_link::{LinkSpec, queue_bytes};
use mpt_proto::{Config, Liveness, PathConfig, Policy, Probing, ReorderConfig};

use super::{OUTER, PathSetup, Sizes};
use crate::link::{LinkConfig, Rate};

/// The longest inner packet of a bond, with room for headers.
const CELL: usize = 1600;

/// Links from text: separated by commas, each in the grammar of [`mpt_link::GRAMMAR`]: `"100mbit 5ms, 50mbit 33ms 3ms,
/// 20mbit 80ms 1% burst 8 queue 60ms back 2mbit, lte"`. Or `"shared0"`, a path over the link of the first. The forward
/// direction is that from end A; the weight of each path is its rate there.
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
        None => {
            let spec: LinkSpec = text.parse().unwrap_or_else(|error| panic!("{:?}: {error}", text.trim()));
            let LinkSpec { forward, back } = spec.with_overhead(OUTER);
            PathSetup { link: [forward, back], ..setup(forward) }
        }
    }
}

/// A path over a link that is the same both ways.
pub fn setup(link: LinkConfig) -> PathSetup {
    let weight = u16::try_from((link.capacity() / 1_000_000).clamp(1, 10_000)).unwrap_or(1);
    let liveness = Liveness::Probe(Probing::LAB);
    PathSetup::symmetric(PathConfig { weight, liveness, ..PathConfig::default() }, link)
}

/// A link of a rate and a delay, with the usual headers, whose queue is emptied in a time.
pub fn link(bits_per_second: u64, delay: Duration, queue: Duration) -> LinkConfig {
    let rate = Some(Rate { bits_per_second, queue: queue_bytes(bits_per_second, queue), mark_above: None });
    LinkConfig { delay, rate, overhead: OUTER, ..LinkConfig::default() }
}

/// The sum of what the links that leave the first end carry: of a trace its mean, dips taken off, and no more than a
/// policer lets pass.
pub fn sum(paths: &[PathSetup]) -> u64 {
    paths.iter().map(|path| path.link[0].capacity()).sum()
}

/// Of [`sum`], what the links do not lose.
pub fn sum_delivered(paths: &[PathSetup]) -> u64 {
    paths.iter().map(|path| path.link[0].delivered()).sum()
}

/// What a bond over these links needs: a policy, and a reorder buffer for their rates and delays.
pub fn config(policy: Policy) -> Config {
    let reorder = ReorderConfig { window: u16::MAX, ..ReorderConfig::default() };
    Config { policy, reorder, ..Config::default() }
}

/// Memory for [`config`]: twice what the links carry in the longest delay and a quarter of a second.
pub fn sizes(paths: &[PathSetup]) -> Sizes {
    let longest = paths.iter().map(|path| path.link[0].longest_delay()).max().unwrap_or_default();
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
