use super::*;

impl Anchor {
    /// A first report, of a path whose delay is `delay` microseconds. Its numbers are about to wrap.
    pub(in crate::adaptive::model) const fn first(delay: f32) -> Self {
        Self {
            stamp: u32::MAX - 500_000,
            arrived: 0,
            bytes: u32::MAX - 10_000,
            packets: 0,
            settled: 0,
            delay,
        }
    }

    /// As [`after`](Self::after), without a loss, where the packets have this delay.
    #[allow(clippy::cast_possible_truncation, reason = "a delay of a test")]
    pub(in crate::adaptive::model) fn with_delay(self, sent: i32, packets: u32, delay: f32) -> Self {
        self.after(sent, sent + (delay - self.delay) as i32, packets, 0)
    }

    /// The next report: `packets` datagrams of 1,000 bytes that left in `sent` microseconds arrived in `arrived`, and `lost` of
    /// them did not.
    pub(in crate::adaptive::model) const fn after(
        self,
        sent: i32,
        arrived: i32,
        packets: u32,
        lost: u32,
    ) -> Self {
        Self {
            stamp: self.stamp.wrapping_add_signed(sent),
            arrived: self.arrived.wrapping_add_signed(arrived),
            bytes: self.bytes.wrapping_add(1_000 * (packets - lost)),
            packets: self.packets.wrapping_add(packets - lost),
            settled: self.settled.wrapping_add(packets),
            delay: self.delay + (arrived - sent) as f32,
        }
    }
}

#[test]
fn what_happened_between_two_reports_is_known_though_all_counts_wrap() {
    let from = Anchor::first(20_000.0);
    let span = from.after(1_000_000, 1_250_000, 1_000, 100).since(&from);
    assert_eq!((span.sent, span.arrived, span.bytes), (1_000_000.0, 1_250_000.0, 900_000.0));
    assert_eq!((span.packets, span.numbers), (900, 1_000));
    assert!((span.loss() - 0.1).abs() < 1e-6);
    assert_eq!((span.arrival_rate(), span.rate()), (720_000.0, 720_000.0));
}

#[test]
fn the_slower_of_sending_and_arriving_is_the_rate() {
    let from = Anchor::first(0.0);
    for (sent, arrived, grows) in [(100_000, 50_000, false), (50_000, 100_000, true)] {
        let span = from.after(sent, arrived, 100, 0).since(&from);
        assert_eq!((span.rate(), span.grows(1.1)), (1_000_000.0, grows));
    }
}

/// What `Clocks` make of the last of these trips, each a change of the way there and of the way back against the first, in
/// microseconds.
fn last(trips: &[(i32, i32)]) -> Option<i32> {
    let mut clocks = Clocks::default();
    let trip = |(there, back): (i32, i32)| Trip {
        there: 4_000_000_000_u32.wrapping_add_signed(there),
        back: 300_000_000_u32.wrapping_add_signed(back),
    };
    assert_eq!(clocks.handle(trip((0, 0)), 0.0), None);
    trips.iter().map(|change| clocks.handle(trip(*change), 0.0)).last().flatten()
}

#[test]
fn a_clock_that_is_set_lengthens_one_way_by_what_it_shortens_the_other() {
    for step in [100_000, -100_000, 1_000_000_000, -1_000_000_000] {
        assert_eq!(last(&[(step, -step)]), Some(step));
        assert_eq!(last(&[(step, -step), (step, -step)]), None, "once");
        assert_eq!(last(&[(step, -step), (0, 0)]), Some(-step), "and back");
    }
}

#[test]
fn what_links_do_is_no_step_of_a_clock() {
    for (what, change) in [
        ("nothing", (0, 0)),
        ("a queue there", (200_000, 0)),
        ("a queue back", (0, 200_000)),
        ("a longer way", (200_000, 200_000)),
        ("a shorter way", (-15_000, -15_000)),
        ("a clock that drifts", (40_000, -40_000)),
    ] {
        assert_eq!(last(&[change]), None, "{what}");
        assert_eq!(last(&[change; 100]), None, "{what}, for long");
    }
}

#[test]
fn a_clock_that_is_set_stands_out_of_the_noise() {
    for (deviation, step, told) in [
        (0.0, 60_000, true),
        (10_000.0, 140_000, false),
        (10_000.0, -140_000, false),
        (10_000.0, 160_000, true),
    ] {
        let mut clocks = Clocks::default();
        let trip = Trip { there: 500_000, back: 500_000 };
        clocks.handle(trip, deviation);
        let set =
            Trip { there: trip.there.wrapping_add_signed(step), back: trip.back.wrapping_add_signed(-step) };
        assert_eq!(clocks.handle(set, deviation), told.then_some(step), "{step} at {deviation}");
    }
}

#[test]
fn a_step_amid_a_queue_is_known_when_that_is_gone_and_one_that_another_path_told_is_not_told_again() {
    assert_eq!(last(&[(300_000, -100_000), (100_000, -100_000)]), Some(100_000));
    let mut clocks = Clocks::default();
    clocks.handle(Trip { there: 20_000, back: 20_000 }, 0.0);
    clocks.shift(500_000);
    assert_eq!(clocks.handle(Trip { there: 520_000, back: 20_000_u32.wrapping_sub(500_000) }, 0.0), None);
}
