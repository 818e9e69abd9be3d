use super::*;
use crate::rng::Rng;
use crate::wire::extension::Kind;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

/// Bytes that every packet counts.
const LEN: usize = 1_000;

/// On these paths, as often as wanted.
fn ways(paths: PathSet) -> Ways {
    Ways { paths, ..Ways::default() }
}

/// A receiver whose paths have the same numbers at both ends, and a clock in microseconds.
#[derive(Default)]
struct Bench {
    feedback: Feedback,
    now: Instant,
    /// Least time between reports.
    pause: Micros,
    /// Every report, once, with the time when it was written.
    reports: Vec<(u64, Report)>,
}

impl Bench {
    /// A packet comes after a delay of 20 ms.
    fn packet(&mut self, path: usize, number: u32, at: u64) {
        self.packet_after(path, number, at, 20_000);
    }

    fn packet_after(&mut self, path: usize, number: u32, at: u64, delay: u32) {
        self.run(at);
        let stamp = self.now.stamp().wrapping_sub(delay);
        let header = Header { kind: Kind::Ordered, resent: false, number: number & 0x00ff_ffff, stamp };
        self.feedback.handle(path, &header, LEN, true, self.now, self.now);
    }

    /// Lets time pass; reports are written when they are due.
    fn run(&mut self, until: u64) {
        while let Some(due) = self.feedback.deadline().filter(|due| due.as_micros() <= until) {
            let before = self.now;
            self.now = self.now.max(due);
            self.feedback.handle_timeout(
                self.now,
                7,
                (None, PathSet::of(0), false),
                Ways { paths: PathSet::of(2), pause: self.pause },
                |path| u8::try_from(path).ok(),
            );
            let moved = self.feedback.deadline().is_none_or(|next| next > self.now);
            assert!(moved, "the deadline stays at {:?}, from {before:?} on", self.now);
            while let Some((path, report)) = self.feedback.poll() {
                assert_eq!(path, 2);
                self.reports.push((self.now.as_micros(), report.clone()));
            }
        }
        self.now = self.now.max(Instant::from_micros(until));
    }

    /// The reports that tell something.
    fn take(&mut self) -> Vec<Report> {
        let reports = self.reports.drain(..).map(|(_, report)| report);
        reports.filter(|report| !report.paths.is_empty()).collect()
    }
}

fn gaps(report: &Report) -> Vec<(u32, u16)> {
    report.gaps.iter().map(|gap| (gap.first, gap.count)).collect()
}

#[test]
fn a_lone_packet_is_reported_soon_and_once() {
    let mut bench = Bench::default();
    bench.packet(3, 77, 1_000_000);
    bench.run(2_000_000);
    let [(at, report)] = &bench.reports[..] else { panic!("{:?}", bench.reports) };
    assert!(*at <= 1_000_000 + 10_000);
    let [path] = report.paths[..] else { panic!("{report:?}") };
    assert_eq!((path.path, path.settled, path.packets, path.bytes), (3, 77, 1, 1000));
    assert_eq!((path.delay, path.excess, path.age), (20_000, 0, u32::try_from(*at - 1_000_000).unwrap()));
    assert_eq!(bench.feedback.deadline(), None);
}

#[test]
fn counters_go_on_and_delays_are_those_since_the_report_before() {
    let mut bench = Bench::default();
    for (number, delay) in [(1, 30_000), (2, 50_000), (3, 40_000)] {
        bench.packet_after(0, number, 1_000_000 + u64::from(number), delay);
    }
    bench.run(1_100_000);
    for (number, delay) in [(4, 90_000), (5, 100_000)] {
        bench.packet_after(0, number, 1_200_000, delay);
    }
    bench.run(2_000_000);
    let reports = bench.take();
    let told: Vec<_> = reports.iter().map(|report| report.paths[0]).collect();
    assert_eq!(
        told.iter().map(|path| (path.delay, path.excess)).collect::<Vec<_>>(),
        [(30_000, 10_000), (90_000, 5_000)]
    );
    assert_eq!((told[1].packets, told[1].bytes, told[1].settled), (5, 5000, 5));
    assert!(reports.windows(2).all(|pair| pair[1].count.distance_from(pair[0].count) == 1));
}

#[test]
fn a_gap_is_named_a_few_times_but_not_before_packets_may_have_overtaken_it() {
    let mut bench = Bench::default();
    for number in [1, 2, 5] {
        bench.packet(0, number, 1_000_000);
    }
    bench.run(1_000_000 + u64::from(TOLERANCE) - 1);
    assert!(bench.take().iter().all(|report| report.gaps.is_empty() && report.paths[0].settled == 2));
    bench.run(2_000_000);
    let reports = bench.take();
    let named: Vec<_> = reports.iter().filter(|report| !report.gaps.is_empty()).collect();
    assert_eq!(named.len(), usize::from(TELLINGS), "{reports:?}");
    assert!(named.iter().all(|report| gaps(report) == [(3, 2)] && report.paths[0].settled == 5));
    assert_eq!(bench.feedback.deadline(), None);
}

#[test]
fn a_gap_is_named_again_a_while_later_when_others_make_reports_leave_in_a_row() {
    let mut bench = Bench::default();
    for number in 0..40 {
        bench.packet(0, 1 + 2 * number, 1_000_000 + 1_000 * u64::from(number));
    }
    bench.run(2_000_000);
    let told = bench.reports.iter().filter(|(_, report)| gaps(report).contains(&(2, 1)));
    let told: Vec<u64> = told.map(|(at, _)| *at).collect();
    let (first, last) = (told[0], told[told.len() - 1]);
    assert!(told.len() > 2 * usize::from(TELLINGS), "{told:?}");
    assert!((10_000..=u64::from(TOLD_FOR)).contains(&(last - first)), "{told:?}");
    assert!(bench.feedback.missing.is_empty());
}

#[test]
fn a_packet_that_is_late_leaves_its_gap_and_the_rest_is_named() {
    let mut bench = Bench::default();
    bench.packet(0, 1, 1_000_000);
    bench.packet(0, 11, 1_000_000);
    for (number, at) in [(5, 100), (2, 200), (10, 300)] {
        bench.packet(0, number, 1_000_000 + at);
    }
    bench.run(2_000_000);
    let reports = bench.take();
    let named: BTreeSet<u32> =
        reports.iter().flat_map(gaps).flat_map(|(first, count)| first..first + u32::from(count)).collect();
    assert_eq!(named, BTreeSet::from([3, 4, 6, 7, 8, 9]));
    assert_eq!(reports.last().unwrap().paths[0].packets, 5);
}

#[test]
fn what_is_left_of_a_gap_is_not_settled_though_a_later_gap_was_there_before() {
    let mut bench = Bench::default();
    for number in [1, 11, 20] {
        bench.packet(0, number, 1_000_000);
    }
    // The first gap from 2 to 10 is split, and its lower part filled.
    for number in [6, 2, 3, 4, 5] {
        bench.packet(0, number, 1_000_100);
    }
    assert_eq!(bench.feedback.settled(0), 6, "7 to 10 are missing, and were not named");
}

#[test]
fn a_path_that_reorders_is_given_more_time() {
    let mut bench = Bench::default();
    bench.packet(0, 1, 1_000_000);
    bench.packet(0, 3, 1_000_000);
    bench.packet(0, 2, 1_000_900);
    let tolerance = bench.feedback.meters[0].tolerance;
    assert_eq!(tolerance, 900 + 450);
    bench.packet(0, 5, 1_100_000);
    bench.packet(0, 4, 2_100_000);
    let later = bench.feedback.meters[0].tolerance;
    assert!(
        (TOLERANCE..=tolerance).contains(&later),
        "what comes after it was named does not count: {later}"
    );
    // Of one that is very late the repair must not wait.
    bench.packet(1, 1, 3_000_000);
    bench.feedback.meters[1].tolerance = 5_000_000;
    bench.packet(1, 3, 3_000_000);
    bench.feedback.missing[0].since = bench.now.stamp().wrapping_sub(4_000_000);
    bench.feedback.meters[1].tolerance = TOLERANCE;
    bench.packet(1, 2, 3_000_000);
    assert_eq!(bench.feedback.meters[1].tolerance, MOST_TOLERANCE);
}

#[test]
fn numbers_wrap_and_so_do_gaps() {
    let mut bench = Bench::default();
    for number in [0xff_fffd, 0xff_fffe, 0x100_0002] {
        bench.packet(0, number, 1_000_000);
    }
    bench.run(2_000_000);
    let reports = bench.take();
    let named: Vec<_> = reports.iter().flat_map(gaps).collect();
    assert_eq!(named, [(0xff_ffff, 3); TELLINGS as usize]);
    assert_eq!(reports.last().unwrap().paths[0].settled, 2);
}

#[test]
fn single_numbers_from_behind_change_nothing_but_many_in_a_row_are_another_sequence() {
    let mut bench = Bench::default();
    bench.packet(0, 5_000, 1_000_000);
    for number in 1..u32::from(STRAYS) {
        bench.packet(0, number, 1_000_000);
    }
    bench.packet(0, 5_001, 1_000_000);
    for number in 1..u32::from(STRAYS) {
        bench.packet(0, number, 1_000_000);
    }
    bench.run(2_000_000);
    let last = bench.take().pop().unwrap().paths[0];
    assert_eq!((last.settled, last.packets), (5_001, 2), "the run was broken");
    bench.packet(0, 32, 2_000_000);
    bench.packet(0, 33, 2_000_000);
    bench.run(3_000_000);
    let last = bench.take().pop().unwrap().paths[0];
    assert_eq!((last.settled, last.packets), (33, 3));
}

#[test]
fn after_a_load_that_ends_reports_go_on_for_a_while() {
    for (packets, more) in [(LOAD - 1, 0), (LOAD, u64::from(AFTER))] {
        let mut bench = Bench::default();
        for number in 1..=packets {
            bench.packet(0, number, 1_000_000);
        }
        bench.run(3_000_000);
        let first = bench.reports[0].0;
        let times: Vec<u64> = bench.reports.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, Vec::from_iter((0..=more).map(|step| first + 10_000 * step)), "{packets} packets");
        assert!(bench.reports[1..].iter().all(|(_, report)| report.paths.is_empty()));
    }
}

#[test]
fn a_copy_of_a_packet_is_not_counted() {
    let mut bench = Bench::default();
    for number in [1, 2, 2, 4, 3, 3, 1] {
        bench.packet(0, number, 1_000_000);
    }
    bench.run(2_000_000);
    assert_eq!(bench.take().pop().unwrap().paths[0].packets, 4);
}

#[test]
fn more_paths_than_a_report_has_room_for_take_turns() {
    let mut bench = Bench::default();
    for path in 0..10 {
        bench.packet(path, 1, 1_000_000);
    }
    bench.run(2_000_000);
    let told: Vec<Vec<u8>> =
        bench.take().iter().map(|report| report.paths.iter().map(|path| path.path).collect()).collect();
    assert_eq!(told, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
}

#[test]
fn under_constant_traffic_on_all_paths_none_is_left_out() {
    let mut bench = Bench::default();
    for round in 0..100u32 {
        for path in 0..MAX_PATHS {
            bench.packet(path, round, 1_000_000 + u64::from(round) * 1_000);
        }
    }
    let mut told = [0; MAX_PATHS];
    for report in bench.take() {
        report.paths.iter().for_each(|path| told[usize::from(path.path)] += 1);
    }
    let (least, most) = (told.iter().min().unwrap(), told.iter().max().unwrap());
    assert!(*least > 2 && most - least <= 1, "{told:?}");
}

#[test]
fn a_report_leaves_once_on_each_of_the_paths_given() {
    let mut feedback = Feedback::default();
    feedback.ask(Instant::from_micros(5));
    let mut best = PathSet::of(1);
    best.insert(3);
    feedback.handle_timeout(Instant::from_micros(5), 9, (Some(80), PathSet::of(4), true), ways(best), |_| {
        Some(0)
    });
    let mut left = Vec::new();
    while let Some((path, report)) = feedback.poll() {
        left.push((path, report.clone()));
    }
    let expected = Report { instance: 9, hold: Some(80), open: 1 << 4, repairs: true, ..Report::default() };
    assert_eq!(left, [(1, expected.clone()), (3, expected)]);
}

#[test]
fn without_a_path_a_report_waits() {
    let (mut feedback, now) = (Feedback::default(), Instant::from_micros(5));
    feedback.ask(now);
    feedback.handle_timeout(now, 9, (None, PathSet::default(), true), ways(PathSet::default()), |_| Some(0));
    assert!(feedback.poll().is_none());
    feedback.handle_timeout(now, 9, (None, PathSet::default(), true), ways(PathSet::of(0)), |_| Some(0));
    assert!(feedback.poll().is_some());
}

#[test]
fn a_path_whose_number_is_not_known_does_not_ask_for_reports_for_ever() {
    let (mut feedback, mut now) = (Feedback::default(), Instant::from_micros(1_000_000));
    for number in [1, 4] {
        let header = Header { kind: Kind::Ordered, resent: false, number, stamp: 0 };
        feedback.handle(0, &header, LEN, true, now, now);
    }
    let mut written = 0;
    while let Some(due) = feedback.deadline() {
        now = due;
        feedback.handle_timeout(now, 9, (None, PathSet::default(), false), ways(PathSet::of(0)), |_| None);
        while feedback.poll().is_some() {
            written += 1;
        }
        assert!(written < 5, "reports without end");
    }
}

#[test]
fn more_gaps_than_can_be_remembered_forget_the_oldest() {
    let mut bench = Bench::default();
    for number in 0..200 {
        bench.packet(0, 1 + 2 * number, 1_000_000);
    }
    bench.run(3_000_000);
    let named: Vec<_> = bench.take().iter().flat_map(gaps).collect();
    assert_eq!(named.len(), GAPS * usize::from(TELLINGS));
    assert!(named.iter().all(|(first, count)| *count == 1 && *first >= 2 * (200 - 64)));
    assert!(bench.feedback.missing.is_empty());
}

#[test]
fn a_gap_longer_than_can_be_told_is_told_in_part() {
    let mut bench = Bench::default();
    bench.packet(0, 1, 1_000_000);
    bench.packet(0, 200_000, 1_000_000);
    bench.run(2_000_000);
    let named: Vec<_> = bench.take().iter().flat_map(gaps).collect();
    assert_eq!(named, [(200_000 - 65_535, 65_535); TELLINGS as usize]);
}

#[test]
fn a_path_that_starts_anew_forgets_its_own_gaps_and_numbers_only() {
    let mut bench = Bench::default();
    for path in [0, 1] {
        bench.packet(path, 100, 1_000_000);
        bench.packet(path, 103, 1_000_000);
    }
    bench.feedback.restart(PathSet::of(0));
    bench.packet(0, 1, 1_000_000);
    bench.run(2_000_000);
    let reports = bench.take();
    assert!(reports.iter().flat_map(|report| &report.gaps).all(|gap| (gap.path, gap.first) == (1, 101)));
    let last = reports.iter().flat_map(|report| &report.paths).rfind(|path| path.path == 0).unwrap();
    assert_eq!((last.settled, last.packets), (1, 1));
}

#[test]
fn whatever_is_settled_came_or_was_named_and_what_came_in_time_is_not_named() {
    // Later than the time that is waited at first, a packet may be named and come all the same.
    for (seed, most_late) in (0..20).flat_map(|seed| [(seed, 900), (seed, 12_000)]) {
        let mut rng = Rng::new(seed);
        let mut bench = Bench::default();
        let (mut came, mut named) = (BTreeSet::new(), BTreeSet::new());
        // One packet in 20 is lost, one in 10 comes late, at one packet in 500 us.
        let mut arrivals: Vec<(u64, u32)> = Vec::new();
        for number in 1..4_000u32 {
            let at = 1_000_000 + u64::from(number) * 500;
            match rng.below(20) {
                0 => {}
                1 | 2 => arrivals.push((at + rng.below(most_late), number)),
                _ => arrivals.push((at, number)),
            }
        }
        arrivals.sort_unstable();
        let first = arrivals[0].1;
        let last = arrivals.last().unwrap().0;
        let mut settled = 0;
        for (at, number) in arrivals {
            bench.run(at);
            for report in bench.take() {
                for (gap, count) in gaps(&report) {
                    (gap..gap + u32::from(count)).for_each(|number| {
                        assert!(
                            !came.contains(&number) || most_late > 900,
                            "seed {seed}: {number} came and was named"
                        );
                        named.insert(number);
                    });
                }
                for path in &report.paths {
                    assert!(path.settled >= settled, "seed {seed}: it goes back");
                    settled = path.settled;
                    let open =
                        (first..=settled).find(|number| !came.contains(number) && !named.contains(number));
                    assert_eq!(open, None, "seed {seed}: settled to {settled}");
                    assert!(most_late > 900 || path.packets as usize == came.len());
                }
            }
            bench.packet(0, number, at);
            came.insert(number);
        }
        bench.run(last + 1_000_000);
        assert!(bench.reports.len() < 10, "it comes to rest");
        assert!(settled > 3_900 && named.len() > 100);
    }
}

#[test]
fn packets_that_others_overtook_count_for_the_delay_and_its_jitter() {
    let mut bench = Bench::default();
    for pair in 0..500 {
        let at = 1_000_000 + 1_000 * u64::from(pair);
        bench.packet_after(0, 2 * pair + 2, at, 20_000);
        bench.packet_after(0, 2 * pair + 1, at + 100, 30_000);
    }
    let report = bench.take().pop().unwrap();
    let PathReport { delay, excess, jitter, .. } = report.paths[0];
    assert_eq!(delay, 20_000);
    assert!((4_500..5_500).contains(&excess), "{excess}");
    assert!((9_500..=10_000).contains(&jitter), "{jitter}");
}

#[test]
fn where_paths_are_thin_reports_of_what_comes_in_turn_pause() {
    let mut bench = Bench { pause: Micros(200_000), ..Bench::default() };
    for number in 1..=50 {
        bench.packet(0, number, u64::from(number) * 50_000);
    }
    bench.run(3_000_000);
    let times: Vec<u64> = bench.reports.iter().map(|(at, _)| *at).collect();
    assert!(times.len() > 10, "{times:?}");
    assert!(times.windows(2).skip(1).all(|pair| pair[1] - pair[0] >= 200_000), "{times:?}");
}
