//! An independent TCP, smoltcp's with CUBIC, over the tunnel over two emulated links. Virtual time, no randomness
//! but of a fixed seed: the throughputs are exact, and kept in `snapshots/tcp.txt`.
//!
//! After a change that is meant to change them: `MPT_BLESS=1 cargo test -p mpt-fuzz --test tcp`.

mod stack;

use std::fmt::Write as _;
use std::time::Duration;

use mpt_fuzz::link::{LinkConfig, Loss, Rate};
use mpt_proto::{Config, Policy, ReorderConfig};
use stack::{Path, World};

const SEED: u64 = 1;
/// Long against the start of a TCP connection.
const TIME: Duration = Duration::from_secs(4);
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/tcp.txt");

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A path of some Mbit/s and delay, whose weight is its rate.
fn path(megabits: u16, delay: u64) -> Path {
    let bits_per_second = u64::from(megabits) * 1_000_000;
    let rate = Some(Rate { bits_per_second, queue: 512 * 1024, mark_above: None });
    Path { weight: megabits, link: LinkConfig { delay: ms(delay), rate, ..LinkConfig::default() } }
}

fn with(path: Path, change: impl FnOnce(&mut LinkConfig)) -> Path {
    let mut path = path;
    change(&mut path.link);
    path
}

fn lossy(path: Path, per_million: u32) -> Path {
    with(path, |link| link.loss = Loss::Random(per_million))
}

fn reordering(path: Path) -> Path {
    with(path, |link| (link.delay, link.jitter, link.reorder) = (link.delay + ms(5) / 2, ms(5) / 2, true))
}

/// Mbit/s of TCP payload.
fn throughput(config: &Config, paths: &[Path]) -> f64 {
    let (received, took) = World::new(SEED, config, paths).transfer(usize::MAX, TIME, |_, _| ());
    received as f64 * 8.0 / took.as_secs_f64() / 1e6
}

/// One line of the table: each path alone, then both.
fn line(table: &mut String, name: &str, config: &Config, paths: [Path; 2]) {
    let [one, other] = paths.map(|path| throughput(config, &[path]));
    let both = throughput(config, &paths);
    let share = both / (one + other) * 100.0;
    let _ = writeln!(table, "{name:<38}{one:>9.2}{other:>9.2}{both:>9.2}{share:>8.0} %");
}

fn table() -> String {
    let default = Config::default();
    let straggling = Config {
        reorder: ReorderConfig { paths_in_order: false, ..ReorderConfig::default() },
        ..Config::default()
    };
    let unordered =
        Config { reorder: ReorderConfig { window: 0, ..ReorderConfig::default() }, ..Config::default() };
    let redundant = Config { policy: Policy::Redundant, ..Config::default() };
    let equal = [path(4, 10), path(4, 10)];
    let unequal = [path(4, 10), path(1, 30)];
    let far = [path(4, 5), path(4, 25)];
    let mut table = format!(
        "TCP payload in Mbit/s over {} s, smoltcp with CUBIC over the tunnel, seed {SEED}\n\n{:<38}{:>9}{:>9}{:>9}{:>10}\n",
        TIME.as_secs(),
        "",
        "path 1",
        "path 2",
        "both",
        "of sum"
    );
    line(&mut table, "equal, 4 + 4 Mbit/s, 10 + 10 ms", &default, equal);
    line(&mut table, "unequal, 4 + 1 Mbit/s, 10 + 30 ms", &default, unequal);
    line(&mut table, "delays far apart, 4 + 4, 5 + 25 ms", &default, far);
    line(&mut table, "the same, without reorder buffer", &unordered, far);
    line(&mut table, "one in 10,000 lost", &default, equal.map(|path| lossy(path, 100)));
    line(&mut table, "one in 100 lost on path 2", &default, [equal[0], lossy(equal[1], 10_000)]);
    line(&mut table, "the same, redundant", &redundant, [equal[0], lossy(equal[1], 10_000)]);
    line(&mut table, "paths reorder, paths_in_order off", &straggling, equal.map(reordering));
    line(&mut table, "paths reorder, paths_in_order on", &default, equal.map(reordering));
    table
}

#[test]
fn tcp_over_two_links_is_as_fast_as_the_snapshot_says() {
    let table = table();
    if std::env::var_os("MPT_BLESS").is_some() {
        std::fs::write(SNAPSHOT, &table).unwrap();
    }
    let expected = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert_eq!(table, expected, "\nis:\n{table}\nwas:\n{expected}\nMPT_BLESS=1 takes it over");
}

#[test]
fn a_transfer_outlives_each_path_in_turn() {
    let bytes = 2_000_000;
    let mut world = World::new(SEED, &Config::default(), &[path(4, 10), path(4, 10)]);
    // One path is cut at a quarter and mended at a half; then the other, until three quarters.
    let (received, took) = world.transfer(bytes, Duration::from_secs(60), |world, received| {
        let quarter = received * 4 / bytes;
        world.set_cut(0, quarter == 1);
        world.set_cut(1, quarter == 2);
    });
    assert_eq!(received, bytes);
    // Half of it over both paths, half over one: 3 s at the rates of the links. Each cut costs TCP a timeout or two.
    assert!(took < ms(6_000), "{took:?}");
}

#[test]
fn the_size_that_a_narrow_link_carries_is_found_without_code_of_the_adapter() {
    let narrow = with(path(4, 10), |link| link.mtu = Some(1100));
    let mut world = World::new(SEED, &Config::default(), &[narrow]);
    let bytes = 4_000_000;
    let (received, took) = world.transfer(bytes, Duration::from_secs(20), |_, _| ());
    let sizes = world.sizes();
    assert!(sizes.iter().all(|(size, _)| (1093..=1100).contains(size)), "{sizes:?}");
    // 8 s at the rate of the link. Until the size is known, its packets are lost.
    assert!(received == bytes && took < ms(12_000), "{received} in {took:?}");

    // What the adapters' buffers have no room for is not sent.
    let wide = with(path(4, 10), |link| link.mtu = Some(1500));
    let mut world = World::new(SEED, &Config::default(), &[wide]);
    let bytes = 1_000_000;
    let (received, took) = world.transfer(bytes, Duration::from_secs(20), |_, _| ());
    let room = stack::ROOM;
    let sizes = world.sizes();
    assert!(sizes.iter().all(|(size, _)| (room - 7..=room).contains(&usize::from(*size))), "{sizes:?}");
    assert!(received == bytes && took < ms(4_000), "{received} in {took:?}");
}
