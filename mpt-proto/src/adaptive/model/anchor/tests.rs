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
