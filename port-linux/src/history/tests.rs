use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::events::What;
use crate::history::past::Past;
use crate::status::tests::{path, report};

const START: u64 = 1_800_000_000_000;
/// From the beginning to the end of time.
const ALWAYS: (u64, u64) = (0, u64::MAX);

fn file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mpt0.history");
    (directory, file)
}

/// A report `n` times ten seconds after the start of mpt: 1 Mbit/s out on the path "dsl", nothing on the path "lte".
fn tick(n: u64) -> Report {
    let mut report = report();
    report.tunnel.uptime_ms = n * 10_000;
    for path in &mut report.connections[0].paths {
        (path.tx_bytes, path.rx_bytes, path.tx_datagrams) = (0, 0, 0);
    }
    report.connections[0].paths[0].tx_bytes = n * 1_250_000;
    report
}

fn ticks(history: &mut History, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        history.record(&tick(n), START + n * 10_000);
    }
}

fn times(past: &Past, path: usize) -> Vec<u64> {
    past.paths[path].records.iter().map(|record| (record.time_ms - START) / 10_000).collect()
}

#[test]
fn each_report_gives_a_record_of_each_path_from_the_first_on() {
    let (_directory, file) = file();
    let mut history = History::open(&file).unwrap();
    ticks(&mut history, 1..=3);
    let past = Past::read(&file, ALWAYS, None).unwrap();
    let names: Vec<&str> = past.paths.iter().map(|path| path.name.as_str()).collect();
    assert_eq!(names, ["pc2/dsl", "pc2/lte"]);
    assert_eq!(times(&past, 0), [1, 2, 3]);
    let record = past.paths[0].records[1];
    assert_eq!((record.span_ms, record.tx_bytes, record.rtt_us), (10_000, 1_250_000, Some(1_250)));
    assert_eq!((past.paths[1].records[1].up_per_mille, past.paths[1].records[1].rtt_us), (0, None));
    let one = Past::read(&file, (START + 10_000, START + 20_000), Some("lte")).unwrap();
    assert_eq!((one.paths.len(), times(&one, 0)), (1, vec![2]));
}

#[test]
fn it_goes_on_after_a_kill_and_a_restart_gives_no_absurd_record() {
    let (_directory, file) = file();
    ticks(&mut History::open(&file).unwrap(), 1..=3);
    let mut history = History::open(&file).unwrap();
    // Counters began anew.
    history.record(&tick(1), START + 50_000);
    let past = Past::read(&file, ALWAYS, None).unwrap();
    assert_eq!(times(&past, 0), [1, 2, 3, 5]);
    assert!(past.paths[0].records.iter().all(|record| record.tx_bytes == 1_250_000));
    // A connection that is set up anew while mpt goes on.
    let mut anew = tick(2);
    anew.connections[0].paths[0].tx_bytes = 9;
    history.record(&anew, START + 60_000);
    assert_eq!(times(&Past::read(&file, ALWAYS, None).unwrap(), 0), [1, 2, 3, 5]);
}

#[test]
fn the_rings_keep_a_day_and_a_month_and_the_file_does_not_grow() {
    let (_directory, file) = file();
    let mut history = History::open(&file).unwrap();
    let size = std::fs::metadata(&file).unwrap().len();
    // Three days.
    ticks(&mut history, 1..=25_920);
    history.end();
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(metadata.len(), size);
    assert!(metadata.blocks() * 512 < 3 << 20, "{} bytes on the disk", metadata.blocks() * 512);
    let past = Past::read(&file, ALWAYS, Some("dsl")).unwrap();
    let records = &past.paths[0].records;
    assert_eq!(records.iter().filter(|record| record.span_ms == 10_000).count(), 8640);
    assert_eq!(records.iter().filter(|record| record.span_ms == 300_000).count(), 2 * 288);
    let total: u64 = records.iter().map(|record| record.tx_bytes).sum();
    assert_eq!(total, 25_920 * 1_250_000, "nothing is missing or counted twice");
    assert!(records.is_sorted_by_key(|record| record.time_ms));
    // Once around, it goes on at the right place after a restart, too.
    drop(history);
    History::open(&file).unwrap().record(&tick(1), START + 25_922 * 10_000);
    let past = Past::read(&file, (START + 25_919 * 10_000, u64::MAX), Some("dsl")).unwrap();
    assert_eq!(times(&past, 0), [25_920, 25_922]);
}

#[test]
fn torn_records_are_skipped() {
    let (_directory, file) = file();
    ticks(&mut History::open(&file).unwrap(), 1..=5);
    let past = Past::read(&file, ALWAYS, None).unwrap();
    let wanted = past.paths[0].records[2].encode(1, 3);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    bytes[at + 20..at + 64].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(times(&Past::read(&file, ALWAYS, None).unwrap(), 0), [1, 2, 4, 5]);
    ticks(&mut History::open(&file).unwrap(), 1..=1);
    assert_eq!(times(&Past::read(&file, ALWAYS, None).unwrap(), 0), [1, 1, 2, 4, 5]);
}

#[test]
fn a_clock_that_jumps_loses_nothing() {
    let (_directory, file) = file();
    let mut history = History::open(&file).unwrap();
    ticks(&mut history, 1..=3);
    let ten_years = 10 * 365 * 86_400_000;
    history.record(&tick(4), START + ten_years);
    history.record(&tick(5), 7);
    history.record(&tick(6), START + 60_000);
    let past = Past::read(&file, ALWAYS, Some("dsl")).unwrap();
    let records = &past.paths[0].records;
    assert_eq!(records.len(), 6);
    assert!(records.iter().all(|record| record.span_ms == 10_000 && record.tx_bytes == 1_250_000));
    let last_hour = Past::read(&file, (START, START + 3_600_000), Some("dsl")).unwrap();
    assert_eq!(times(&last_hour, 0), [1, 2, 3, 6]);
}

#[test]
fn a_path_that_comes_back_goes_on_and_one_that_goes_leaves_its_five_minutes() {
    let (_directory, file) = file();
    let mut history = History::open(&file).unwrap();
    ticks(&mut history, 1..=3);
    let mut without = tick(4);
    without.connections[0].paths.remove(0);
    history.record(&without, START + 40_000);
    ticks(&mut history, 5..=7);
    let past = Past::read(&file, ALWAYS, Some("dsl")).unwrap();
    assert_eq!(times(&past, 0), [1, 2, 3, 6, 7], "what it did before it came back is not known");
    let open = table::open_to_read(&file).unwrap();
    let column =
        table::read_columns(&open).unwrap().into_iter().find(|(_, column)| column.name == "pc2/dsl").unwrap();
    let months = table::read(&open, &column, Span::Month).unwrap();
    assert_eq!(months.iter().map(|record| record.tx_bytes).collect::<Vec<_>>(), [3 * 1_250_000]);
}

#[test]
fn more_paths_than_there_is_room_for_take_the_columns_of_those_that_went() {
    let (_directory, file) = file();
    let mut history = History::open(&file).unwrap();
    let with = |names: std::ops::Range<u8>, n: u64| {
        let mut report = tick(n);
        report.connections[0].paths =
            names.map(|number| path(&format!("p{number}"), number, n * 1_000)).collect();
        report
    };
    history.record(&with(0..40, 1), START + 10_000);
    let read = || Past::read(&file, ALWAYS, None).unwrap();
    assert_eq!(read().paths.len(), MOST);
    history.record(&with(30..40, 2), START + 20_000);
    history.record(&with(30..40, 3), START + 30_000);
    let past = read();
    let names: Vec<&str> = past.paths.iter().map(|path| path.name.as_str()).collect();
    assert!((30..40).all(|number| names.contains(&format!("pc2/p{number}").as_str())), "{names:?}");
    // Those that were there first went first, and nothing of them is taken for their followers'.
    assert!(!names.contains(&"pc2/p0") && names.contains(&"pc2/p29"), "{names:?}");
    let late = past.paths.iter().find(|path| path.name == "pc2/p39").unwrap();
    assert_eq!(late.records.len(), 1);
    drop(history);
    History::open(&file).unwrap();
    assert_eq!(read(), past);
}

#[test]
fn events_are_kept_and_the_oldest_make_room() {
    let (_directory, file) = file();
    let mut history = History::open(&file).unwrap();
    ticks(&mut history, 1..=1);
    for number in 1..=table::MARKS + 5 {
        let what = What::PathUp;
        history.note(&Event {
            number,
            uptime_ms: 0,
            time_ms: START + number,
            level: what.level(),
            connection: Some("pc2".into()),
            path: (number % 2 == 0).then(|| "dsl".into()),
            text: format!("event {number}"),
            what,
        });
    }
    let past = Past::read(&file, ALWAYS, None).unwrap();
    assert_eq!(past.events.len() as u64, table::MARKS);
    assert_eq!((past.events[0].text.as_str(), past.events[0].name.as_str()), ("event 6", "pc2/dsl"));
    let of_dsl = Past::read(&file, ALWAYS, Some("dsl")).unwrap();
    assert_eq!(of_dsl.events, past.events, "those of its connection, too");
    let of_lte = Past::read(&file, ALWAYS, Some("lte")).unwrap();
    assert!(of_lte.events.iter().all(|event| event.name == "pc2"));
}

#[test]
fn a_file_of_another_version_or_size_is_put_aside_and_never_read() {
    for spoil in [0, 1, 2] {
        let (directory, file) = file();
        ticks(&mut History::open(&file).unwrap(), 1..=2);
        let open = OpenOptions::new().write(true).open(&file).unwrap();
        match spoil {
            0 => open.write_all_at(&[9], 16).unwrap(),
            1 => open.set_len(100_000).unwrap(),
            _ => std::fs::write(&file, "something else").unwrap(),
        }
        assert!(
            Past::read(&file, ALWAYS, None).unwrap_err().to_string().contains("is no history"),
            "{spoil}"
        );
        ticks(&mut History::open(&file).unwrap(), 3..=3);
        assert_eq!(times(&Past::read(&file, ALWAYS, None).unwrap(), 0), [3]);
        assert!(directory.path().join("mpt0.history.old").exists());
    }
}

#[test]
fn one_mpt_at_a_time_has_it_and_nobody_else_reads_it() {
    let (directory, file) = file();
    let history = History::open(&file).unwrap();
    assert!(History::open(&file).unwrap_err().to_string().contains("in use by another mpt"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    drop(history);
    History::open(&file).unwrap();
    // The directory is made, but not those above.
    History::open(&directory.path().join("state/mpt0.history")).unwrap();
    assert!(History::open(&directory.path().join("a/b/mpt0.history")).is_err());
    let link = directory.path().join("link.history");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    assert!(History::open(&link).is_err());
}

#[test]
fn a_disk_that_takes_nothing_is_no_failure_of_the_tunnel() {
    let (_directory, file) = file();
    let mut history = History::open(&file).unwrap();
    ticks(&mut history, 1..=2);
    // /dev/full takes nothing.
    history.table.replace_file(OpenOptions::new().read(true).write(true).open("/dev/full").unwrap());
    ticks(&mut history, 3..=4);
    assert!(history.is_failing);
    history.table.replace_file(OpenOptions::new().read(true).write(true).open(&file).unwrap());
    ticks(&mut history, 5..=6);
    assert!(!history.is_failing);
    assert_eq!(times(&Past::read(&file, ALWAYS, None).unwrap(), 0), [1, 2, 5, 6]);
}
