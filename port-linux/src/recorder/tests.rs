//! Two connections in virtual time, of which one is recorded: what is played from the file is what happened.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "what is made up here fits")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use mpt_proto::{
    CONTROL_MAX, Config, Connection, Departure, Ecn, HEADROOM, Instant, Link, PathConfig, PathId, Policy,
    Received, Unsent,
};

use super::file::End;
use super::play::{Otherwise, Verdict, Watch, play};
use super::ring::Joined;
use super::{Core, Recordings, Subject};
use crate::memory::{Memory, MemorySize};

const SIZES: [usize; 5] = [4096, 1500, 9216, 4096, 1500];
const NAMES: [&str; 2] = ["dsl", "lte"];
/// Bytes of the largest datagram that passes on the second path.
const NARROW: usize = 1300;

/// What must not be in any file.
const ADDRESS: [u8; 4] = [203, 0, 113, 77];
const PAYLOAD: [u8; 4] = [0xa5; 4];

/// One end, and what is on its way to it.
struct Side<'s> {
    core: Core<'s>,
    paths: Vec<PathId>,
    coming: BTreeMap<(u64, u64), (usize, Ecn, Vec<u8>)>,
    delivered: u64,
}

/// What leaves within a call, to be put on its way after it.
type Left = Vec<(usize, Ecn, Vec<u8>)>;

fn note(left: &mut Left, departure: &Departure<'_>) {
    let mut room = [0; 2000];
    let datagram = departure.padded(&mut room).unwrap().to_vec();
    left.push((departure.path.index(), departure.ecn, datagram));
}

impl Side<'_> {
    fn add_paths(&mut self, now: Instant) {
        for name in NAMES {
            let path = self.core.add_path(name, PathConfig::default(), now).unwrap();
            self.core.search_size(path, 548, 99, now).unwrap();
            self.paths.push(path);
        }
    }

    fn settle(&mut self, now: Instant, left: &mut Left) {
        if self.core.poll_timeout().is_some_and(|due| due <= now) {
            self.core.handle_timeout(now);
        }
        while self.core.poll_packet().is_some() {
            self.delivered += 1;
        }
        let mut buffer = [0; CONTROL_MAX];
        while let Some(departure) = self.core.poll_transmit(&mut buffer) {
            note(left, &departure);
        }
        while self.core.poll_event().is_some() {}
    }

    fn receive(&mut self, now: Instant) {
        while let Some(first) = self.coming.first_entry().filter(|first| first.key().0 <= now.as_micros()) {
            let arrived = Instant::from_micros(first.key().0);
            let (path, ecn, mut datagram) = first.remove();
            let received = self.core.decapsulate_arrived(self.paths[path], &mut datagram, ecn, arrived, now);
            self.delivered += u64::from(matches!(received, Ok(Received::Packet(_))));
            while self.core.poll_packet().is_some() {
                self.delivered += 1;
            }
        }
    }
}

/// A packet of TCP with data, or an acknowledgement, or one of UDP.
fn packet(number: u64) -> Vec<u8> {
    let (protocol, len) =
        [(6, 1400), (6, 1400), (6, 1400), (6, 40), (17, 200)][usize::try_from(number % 5).unwrap()];
    let mut packet = vec![0; HEADROOM + len];
    let inner = &mut packet[HEADROOM..];
    inner[0] = 0x45;
    inner[1] = u8::from(number.is_multiple_of(7)) * 2;
    inner[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    inner[9] = protocol;
    inner[12..16].copy_from_slice(&ADDRESS);
    inner[16..20].copy_from_slice(&[10, 0, (number % 3) as u8, 2]);
    inner[20..24].copy_from_slice(&[0x30, 0x39, 0, 80 + (number % 4) as u8]);
    inner[28..32].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    inner[32..34].copy_from_slice(&[0x50, 0x10]);
    inner[40..].fill(PAYLOAD[0]);
    packet
}

/// A slice of a large packet.
fn slice(number: u64, index: u8) -> Vec<u8> {
    let mut slice = vec![PAYLOAD[0]; HEADROOM + 8 + 1000];
    slice[HEADROOM..HEADROOM + 8].copy_from_slice(&[0xe0, index, 0, number as u8, 0x2e, 0xe0, 3, 0xe8]);
    slice
}

/// Bytes of a recording in which `seconds` pass.
fn record(seconds: u64, limit: u64, policy: Policy) -> Vec<u8> {
    let directory = record_from(0, seconds, limit, policy);
    joined(&directory)
}

fn joined(directory: &tempfile::TempDir) -> Vec<u8> {
    let mut bytes = Vec::new();
    Joined::open(&directory.path().join("mpt0-c"), End::Cut).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A recording of so many seconds, which begins after so many of the connection.
fn record_from(begins: u64, seconds: u64, limit: u64, policy: Policy) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut recordings = Recordings::in_directory("mpt0", directory.path());
    let begin = Instant::from_micros(77);
    let (mut one, mut two) = (Memory::new(MemorySize::of(SIZES)), Memory::new(MemorySize::of(SIZES)));
    let config = |seed| Config { seed, flow_seed: 99, policy, slices: true, ..Config::default() };
    let of = config(1);
    let subject = |now| Subject { connection: "c", limit, config: &of, memory: SIZES, now, core: None };
    let connection = Connection::new(config(1), one.lend(), begin);
    let ends = [
        match begins {
            0 => Core::recorded(connection, recordings.begin(&subject(begin)).unwrap()),
            _ => Core::from(connection),
        },
        Core::from(Connection::new(config(2), two.lend(), begin)),
    ];
    let mut ends = ends.map(|core| Side { core, paths: Vec::new(), coming: BTreeMap::new(), delivered: 0 });
    ends.iter_mut().for_each(|end| end.add_paths(begin));
    let (mut left, mut serial) = (Left::new(), 0);
    for tick in 0..(begins + seconds) * 2000 {
        let now = begin + std::time::Duration::from_micros(500 * tick);
        if begins > 0 && tick == begins * 2000 {
            assert!(ends[0].core.record(&mut recordings, subject(now)));
        }
        for here in 0..2 {
            let end = &mut ends[here];
            end.receive(now);
            if tick > 200 && tick % 10_000 < 8000 {
                let each = |departure: &Departure<'_>| note(&mut left, departure);
                let _ = end.core.encapsulate(&mut packet(tick * 2 + here as u64), now, each);
            }
            if tick % 100 == 50 && end.core.slice_room().is_some() {
                let flow = end.core.flow(&packet(0)[HEADROOM..]);
                for index in 0..12 {
                    let each = |departure: &Departure<'_>| note(&mut left, departure);
                    let _ = end.core.encapsulate_slice(&mut slice(tick, index), &flow, now, each);
                }
            }
            match tick % 6000 {
                2000 => _ = end.core.handle_link(end.paths[0], Link::Down, now),
                2500 => _ = end.core.handle_link(end.paths[0], Link::Up, now),
                3000 => _ = end.core.set_max_datagram(end.paths[1], 700, now),
                3500 => _ = end.core.set_max_datagram(end.paths[1], 1452, now),
                // No probe is under way then, or one is given up.
                3700 => _ = end.core.handle_unsent(end.paths[1], Unsent::TooLarge, now),
                4000 => _ = end.core.set_enabled(end.paths[1], false, now),
                4100 => _ = end.core.set_enabled(end.paths[1], true, now),
                _ => {}
            }
            end.settle(now, &mut left);
            for (path, ecn, datagram) in left.drain(..) {
                serial += 1;
                // One in a hundred is lost, one in a thousand is damaged, and a hop of the second path carries less.
                let mut datagram = datagram;
                if serial % 100 == 0 || path == 1 && datagram.len() > NARROW {
                    continue;
                }
                if serial % 1000 == 7 {
                    datagram[0] ^= 0x40;
                }
                let delay = [8_000, 25_000][path] + serial * 7919 % 3000;
                ends[1 - here].coming.insert((now.as_micros() + delay, serial), (path, ecn, datagram));
            }
        }
    }
    assert!(ends.iter().all(|end| end.delivered > seconds * 500), "{:?}", ends.map(|end| end.delivered));
    drop(ends);
    drop(recordings);
    directory
}

fn verdict(bytes: &[u8]) -> Result<Verdict, String> {
    play(bytes, &Otherwise::default(), &mut ())
        .map(|(_, verdict)| verdict)
        .map_err(|error| format!("{error:#}"))
}

#[test]
fn what_is_played_decides_as_what_was_recorded_under_every_policy() {
    for policy in Policy::ALL {
        let bytes = record(4, u64::MAX, *policy);
        let verdict = verdict(&bytes).unwrap();
        assert_eq!((verdict.differs, verdict.end), (None, End::Closed), "{policy:?}");
        assert!(verdict.blocks >= 3 && verdict.decisions > 12_000, "{policy:?} {verdict:?}");
    }
}

#[test]
fn a_file_that_is_cut_is_played_up_to_the_cut() {
    let bytes = record(3, u64::MAX, Policy::Adaptive);
    let whole = verdict(&bytes).unwrap();
    for part in [3, 5, 9] {
        let cut = verdict(&bytes[..bytes.len() * part / 10]).unwrap();
        assert_eq!((cut.differs, cut.end), (None, End::Cut));
        assert!(cut.blocks < whole.blocks && cut.blocks > 0, "{cut:?} of {whole:?}");
    }
    let said = verdict(&bytes[..40]).unwrap_err();
    assert!(said.contains("cut within its header"), "{said}");
}

#[test]
fn a_byte_that_was_changed_is_found_wherever_it_is() {
    let bytes = record(2, u64::MAX, Policy::Adaptive);
    for place in (0..bytes.len() - 2).step_by(bytes.len() / 41) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x20;
        let said = verdict(&changed).map(|verdict| (verdict.differs, verdict.end));
        assert!(!matches!(said, Ok((None, End::Closed | End::Full))), "the byte at {place}: {said:?}");
    }
    // The file has it from the recorder, checksums and all: then the decisions differ.
    let other = super::file::tests::with_other_seed(&bytes);
    let said = verdict(&other).unwrap();
    assert!(said.differs.is_some_and(|(since, until)| since < until), "{said:?}");
}

#[test]
fn a_newer_format_is_refused_with_a_sentence_and_so_is_what_is_no_recording() {
    let mut bytes = record(1, u64::MAX, Policy::Adaptive);
    bytes[8] = 9;
    let said = verdict(&bytes).unwrap_err();
    assert!(
        said.contains("format 9, and this mpt reads formats 1 to 4: replay it with the newer mpt"),
        "{said}"
    );
    for bytes in [&b""[..], b"mptrec", &[0; 100]] {
        assert!(verdict(bytes).unwrap_err().contains("no recording of mpt"));
    }
}

#[test]
fn a_small_ring_has_the_last_segments_and_its_replay_meets_every_state_under_every_policy() {
    for policy in Policy::ALL {
        let limit = record(8, u64::MAX, *policy).len() as u64 / 2;
        let directory = record_from(0, 8, limit, *policy);
        let files = directory.path().join("mpt0-c").read_dir().unwrap().map(|entry| entry.unwrap());
        let sizes: Vec<u64> = files.map(|file| file.metadata().unwrap().len()).collect();
        assert!(sizes.iter().sum::<u64>() <= limit && sizes.len() >= 2, "{policy:?}: {sizes:?} of {limit}");
        let verdict = verdict(&joined(&directory)).unwrap();
        assert_eq!((verdict.differs, verdict.end), (None, End::Closed), "{policy:?}");
        assert!(verdict.had_begun && verdict.decisions > 3_000, "{policy:?} {verdict:?}");
    }
}

#[test]
fn a_recording_begins_in_the_middle_of_a_connection() {
    for policy in Policy::ALL {
        let directory = record_from(3, 3, u64::MAX, *policy);
        let verdict = verdict(&joined(&directory)).unwrap();
        assert_eq!((verdict.differs, verdict.end), (None, End::Closed), "{policy:?}");
        assert!(verdict.had_begun && verdict.decisions > 5_000, "{policy:?} {verdict:?}");
    }
}

#[test]
fn each_segment_can_be_played_by_itself_and_the_last_one_up_to_where_it_is_cut() {
    let directory = record_from(0, 8, 400_000, Policy::Adaptive);
    let files = directory.path().join("mpt0-c").read_dir().unwrap();
    let mut names: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    names.sort();
    for (number, name) in names.iter().enumerate() {
        let verdict = verdict(&std::fs::read(name).unwrap()).unwrap();
        let end = if number + 1 == names.len() { End::Closed } else { End::GoesOn };
        assert_eq!((verdict.differs, verdict.end), (None, end), "{}", name.display());
    }
    // As after `kill -9`, in the middle of a block.
    let last = names.last().unwrap();
    let whole = verdict(&joined(&directory)).unwrap();
    let bytes = std::fs::read(last).unwrap();
    std::fs::write(last, &bytes[..bytes.len() - 9]).unwrap();
    let cut = verdict(&joined(&directory)).unwrap();
    assert_eq!((cut.differs, cut.end, cut.blocks + 1), (None, End::Cut, whole.blocks));
}

#[test]
fn no_state_has_payload_or_addresses_though_packets_wait() {
    let states = super::file::tests::states(&joined(&record_from(0, 8, 400_000, Policy::Adaptive)));
    assert!(states.len() >= 3 && states.iter().all(|state| state.len() > 2_000), "{}", states.len());
    for state in &states {
        assert!(state.windows(4).all(|bytes| bytes != ADDRESS && bytes != PAYLOAD));
    }
}

#[test]
fn a_state_that_is_another_one_is_found_at_its_segment() {
    let directory = record_from(0, 8, 400_000, Policy::Adaptive);
    let bytes = super::file::tests::with_other_states(&joined(&directory));
    let said = verdict(&bytes);
    assert!(said.as_ref().is_ok_and(|said| said.differs.is_some()), "{said:?}");
}

#[test]
fn what_has_no_room_even_alone_ends_the_recording_and_is_whole() {
    let bytes = record(4, 3_000, Policy::Adaptive);
    assert!(bytes.len() <= 3_000, "{}", bytes.len());
    let verdict = verdict(&bytes).unwrap();
    assert_eq!((verdict.differs, verdict.end), (None, End::Full));
}

/// Counts what leaves on each path.
#[derive(Default)]
struct Count([u64; 2]);

impl Watch for Count {
    fn departure(&mut self, departure: &Departure<'_>, _: usize, _: Instant) {
        self.0[departure.path.index()] += 1;
    }
}

#[test]
fn without_a_path_nothing_leaves_on_it_but_farewells() {
    let bytes = record(3, u64::MAX, Policy::Adaptive);
    let left = |otherwise: &Otherwise| {
        let mut count = Count::default();
        play(&bytes[..], otherwise, &mut count).unwrap();
        count.0
    };
    let all = left(&Otherwise::default());
    let without = left(&Otherwise { without: vec!["dsl".to_owned()], ..Otherwise::default() });
    assert!(all.iter().all(|count| *count > 1000), "{all:?}");
    assert!(without[0] < 10 && without[1] > 1000, "{without:?}");
    let other = left(&Otherwise { policy: Some(Policy::Redundant), ..Otherwise::default() });
    assert!(other[0] > all[0] && other[1] > all[1], "{other:?} {all:?}");
}

#[test]
fn the_last_recording_is_kept_beside_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut recordings = Recordings::in_directory("mpt0", directory.path());
    let config = Config::default();
    for _ in 0..3 {
        let (now, limit) = (Instant::ZERO, 1 << 20);
        let subject = Subject { connection: "c", limit, config: &config, memory: SIZES, now, core: None };
        drop(recordings.begin(&subject).unwrap());
    }
    drop(recordings);
    let mut names: Vec<PathBuf> =
        directory.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let expected = ["mpt0-c", "mpt0-c.1"].map(|name| directory.path().join(name));
    assert_eq!(names, expected);
}
