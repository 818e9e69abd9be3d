//! Two connections over emulated links, in the order of a tunnel's life.
//!
//! Each test prints its seed; `MPT_SEED=N cargo test -p mpt-fuzz --test scenarios NAME` replays it.

mod adaptive;
mod hostile;
mod hurt;
mod life;
mod order;
mod sizes;

use std::time::Duration;

use mpt_fuzz::link::LinkConfig;
use mpt_fuzz::pair::{Pair, PathSetup};
use mpt_proto::{Config, DropReason, Liveness, PathConfig, Policy, Probing, ReorderConfig};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A path with the fast preset.
fn lab(link: LinkConfig) -> PathSetup {
    let config = PathConfig { liveness: Liveness::Probe(Probing::LAB), ..PathConfig::default() };
    PathSetup::symmetric(config, link)
}

/// A path that is not probed.
fn unprobed(link: LinkConfig) -> PathSetup {
    PathSetup::symmetric(PathConfig { liveness: Liveness::Off, ..PathConfig::default() }, link)
}

/// A link that only takes time.
fn delay(delay: Duration) -> LinkConfig {
    LinkConfig { delay, ..LinkConfig::default() }
}

/// By weights: what these scenarios count on, but for those of the adaptive policy.
fn weighted() -> Config {
    Config { policy: Policy::Weighted, ..Config::default() }
}

/// As [`weighted`], with this delay of the reorder buffer.
fn waiting(delay: Duration) -> Config {
    Config { reorder: ReorderConfig { delay, ..ReorderConfig::default() }, ..weighted() }
}

/// Brings all paths up.
fn bring_up(pair: &mut Pair) {
    let took = pair.run_until(10 * SECOND, Pair::all_up);
    assert!(took.is_some(), "the paths did not come up");
}

/// What an end dropped, all reasons together.
fn dropped(pair: &Pair, end: usize) -> u64 {
    pair.end(end).stats().dropped.iter().sum()
}

/// What an end dropped for a reason.
fn dropped_for(pair: &Pair, end: usize, reason: DropReason) -> u64 {
    pair.end(end).stats().dropped(reason)
}

/// Datagrams that an end took, whatever became of them then.
fn taken(pair: &Pair, end: usize) -> u64 {
    let connection = pair.end(end);
    connection.paths().map(|path| connection.path_stats(path).map_or(0, |stats| stats.rx_datagrams)).sum()
}
