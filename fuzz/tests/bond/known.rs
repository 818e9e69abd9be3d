//! The bars that are missed, all of them, so that no other one is missed unnoticed; with the reason where it is known.

/// A bar that is missed.
#[derive(Debug)]
pub(crate) struct Known {
    /// The beginning of the line and of its cells of text; empty: any line.
    line: &'static str,
    column: &'static str,
}

impl Known {
    /// Whether it lists the miss of this line and column.
    pub(crate) fn is(&self, (line, column): &(String, String)) -> bool {
        line.starts_with(self.line) && column == self.column
    }
}

const fn known(line: &'static str, column: &'static str) -> Known {
    Known { line, column }
}

/// Those of a table.
pub(crate) fn of(table: &str) -> &'static [Known] {
    KNOWN.iter().find(|(name, _)| *name == table).map_or(&[], |(_, known)| known)
}

const KNOWN: &[(&str, &[Known])] = &[
    (
        "change.txt",
        &[
            // The path's model follows at once (`rate.txt`), but a flow above grows more slowly, and BBR remembers for ten seconds the
            // round trip of the near path that is gone. The rows of rates that change are chaotic: another seed moves them by 0.15.
            known("100 <> 10 Mbit/s each 5 s, of 100/50/20, CUBIC", "of sum"),
            known("100 <> 10 Mbit/s each 5 s, of 100/50/20, BBR", "of sum"),
            known("50 <> 5 Mbit/s each 5 s, of 100/50/20, BBR", "of sum"),
            known("Wi-Fi with dips, LTE that wanders, BBR", "of sum"),
        ],
    ),
    (
        "climb.txt",
        &[
            // What runs and repairs add to a round trip of 10 ms is more than BBR allows for.
            known("1 BBR: 100mbit 6ms 1ms 0.2%, 50mbit 32.5ms 2.5ms, 20mbit 81.5ms 1.5ms 1%", "in 10 s"),
            known("3 BBR: 100mbit 6ms 1ms 0.2%, 50mbit 32.5ms 2.5ms, 20mbit 81.5ms 1.5ms 1%", "in 10 s"),
        ],
    ),
    (
        "home.txt",
        &[
            // LTE traces: what is under way when a rate falls to a fifth is a queue of five round trips,
            // and the flow above grows more slowly than the rates. Blocks that change places are late by 60 ms by themselves. Both directions of
            // 100/2 Mbit/s: acknowledgements and data share the way back, so that each direction has less than alone (`traffic-both.txt`).
            known("three LTE traces, CUBIC, A", "of sum"),
            known("three LTE traces, CUBIC, A", "added ms"),
            known("three LTE traces, BBR, A", "of sum"),
            known("three LTE traces, BBR, A", "added ms"),
            known("blocks of 60 ms change places, BBR, A", "added ms"),
            known("DSL + LTE, both directions, CUBIC, B", "of sum"),
            known("2 x 100/2 Mbit/s, both directions, BBR, A", "of sum"),
            known("2 x 100/2 Mbit/s, both directions, CUBIC, B", "of sum"),
            known("blocks of 60 ms change places, CUBIC, A", "added ms"),
            // Upwards the links have 15 and 20 Mbit/s, and wander by 4 and 15 ms: the bar is missed by 9 ms (cause not looked into).
            known("Starlink + 5G, CUBIC, B", "added ms"),
        ],
    ),
    (
        "hunted.txt",
        &[
            // Case 2: supposed: BBR fills the near thin link and leaves no queue, so that the far one is opened in steps of twelve seconds.
            // Case 7: the flow begins before the far path has reported for the first time, 330 ms after it came up, and BBR leaves its startup
            // on the near one.
            // Case 1: what the near thin path's policer drops before its rate is known slows CUBIC down for seconds; the mean of twelve seeds is
            // 0.970, and was 0.992 while such a path was cut far below its rate.
            // Case 5: bistable. Where the near thin path's policer ends slow start in the first second, the flow climbs by a few packets a
            // second. Of twelve seeds the mean is 27.2 Mbit/s, and 26.8 with the version that met the bar with this one.
            known("case 1", "of the best"),
            known("case 2", "of the best"),
            known("case 5", "of the best"),
            known("case 7", "of the best"),
        ],
    ),
    (
        "hurt.txt",
        &[
            // BBR over unequal links has a minute of ups and downs behind each disturbance (`climb.txt`).
            known("B's clock jumps ahead by 0.3 s, three unequal, BBR", "of the lesser"),
            known("nothing comes back for 1 s, three unequal, BBR", "of the lesser"),
            known("nothing comes back for 1 s, two wandering, BBR", "of the lesser"),
        ],
    ),
    (
        "loss.txt",
        &[
            // A loss ends slow start early in this seed (supposed); seeds 2 to 5 have 0.86 to 0.93.
            known("CUBIC: 1mbit 5ms, 100mbit 90ms 1.5% burst 3", "of sum"),
        ],
    ),
    (
        "mqvpn.txt",
        &[
            // Deviations of 20 ms and more: a rate is known to a tenth at best (20 deviations are 0.4 s), so that one path overflows while the
            // other idles.
            known("LTE + Starlink, CUBIC", "of sum"),
            known("LTE + Starlink, BBR", "of sum"),
            known("LTE + Starlink, QUIC", "of sum"),
            known("congested, BBR", "of sum"),
            known("wander 20 ms, BBR", "of sum"),
            known("wander 20 ms, QUIC", "of sum"),
        ],
    ),
    (
        "thin.txt",
        &[
            // CoDel leaves a flow two or three packets, and each 5 s a proof of the base takes some of the time (supposed).
            known("64kbit 10ms queue 1000ms, CUBIC", "of the link"),
            known("64kbit 30ms queue 3000ms, CUBIC", "of the link"),
        ],
    ),
    (
        "traffic.txt",
        &[
            // BBR's rows are chaotic: 0.95 is within what another seed makes of them (supposed).
            known("100/50/20, HTTP3-BBR, -", "of TCP"),
            // LEDBAT halves its window at each loss of Starlink's 1 %, and grows by a packet a round trip (supposed).
            known("LTE, Starlink, DSL, uTP, -", "of the best"),
            known("LTE, Starlink, DSL, uTP, people", "of the best"),
            // Against the download: DSL's way back of 2 Mbit/s, the near one, has the acknowledgements and a video of 2.5 Mbit/s to share. Without
            // a flow it was 12.6 ms there.
            known("LTE, Starlink, DSL, CUBIC, people", "more than alone"),
            known("LTE, Starlink, DSL, BBR, people", "more than alone"),
            known("LTE, Starlink, DSL, HTTP3, people", "more than alone"),
            known("LTE, Starlink, DSL, HTTP3-BBR, people", "more than alone"),
            known("LTE, Starlink, DSL, WireGuard, people", "more than alone"),
            known("LTE, Starlink, DSL, WireGuard-BBR, people", "more than alone"),
            known("LTE, Starlink, DSL, uTP, people", "more than alone"),
            known("100/50/20, HTTP3-BBR, people", "of TCP"),
            known("100/50/20, WireGuard-BBR, people", "of TCP"),
            // One packet of 600 each, as the seed has it; other rows have none.
            known("LTE, Starlink, DSL, WireGuard, people", "call lost %"),
            known("LTE, Starlink, DSL, HTTP3, people", "call lost %"),
        ],
    ),
    (
        "traffic-many.txt",
        &[
            // Seven per cent below its share of what all want: its window is one or two packets, so that its queue is empty at times (supposed).
            known("thin 120x400kbit", "of what it should have"),
        ],
    ),
    (
        "traffic-flows.txt",
        &[
            // Of 170 kbit/s each a window is two packets: a loss is a timeout, timeouts double, and such flows have nothing for 10 s.
            known("1,000 CUBIC", "without anything"),
        ],
    ),
    (
        "traffic-deadline.txt",
        &[
            // Both links lose packets and stand still by themselves, and a call alone pays for copies of an eighth of its packets: which of them
            // will be late nobody knows. With copies of whatever comes, it is 1.13 %.
            known("LTE in a car, Starlink, -, 100", "deadline"),
        ],
    ),
    (
        "traffic-both.txt",
        &[
            // Its own is 86 Mbit/s by this table; what it loses beside an upload is not looked into.
            known("HTTP3 down, CUBIC up", "part of its own"),
        ],
    ),
    (
        "wander.txt",
        &[
            // Added delay: a probe leaves 8 ms on a path that is full, once or twice a second, which is the 99th percentile; without wander it is
            // 12 ms as well. Of plain: at deviations of 10 ms and more a flow is still growing after 15 s, as it leaves slow start by HyStart; BBR
            // over such a delay is as often stuck without a tunnel.
            known("wander 1ms each 3ms, CUBIC", "added ms"),
            known("wander 3ms each 10ms, CUBIC", "added ms"),
            known("wander 5ms each 10ms, CUBIC", "added ms"),
            known("wander 10ms each 30ms, CUBIC", "added ms"),
            known("wander 20ms, CUBIC", "of plain"),
            known("wander 2ms each 3ms reorder, CUBIC", "added ms"),
            known("wander 2ms each 10ms reorder, CUBIC", "added ms"),
            known("wander 10ms reorder, CUBIC", "of plain"),
            known("wander 10ms each 10ms reorder, CUBIC", "added ms"),
            known("wander 2ms each 10ms, BBR", "added ms"),
            known("wander 10ms each 10ms, CUBIC", "added ms"),
            known("wander 20ms each 1ms, CUBIC", "of plain"),
            known("wander 10ms each 3ms reorder, CUBIC", "added ms"),
            known("wander 5ms each 10ms, BBR", "added ms"),
            known("wander 10ms each 100ms, BBR", "of plain"),
            known("wander 10ms each 10ms, BBR", "added ms"),
            known("wander 10ms each 3ms, CUBIC", "added ms"),
            known("wander 1ms, CUBIC", "added ms"),
            known("wander 2ms reorder, CUBIC", "added ms"),
            known("wander 3ms each 10ms, BBR", "added ms"),
            known("wander 3ms each 30ms, CUBIC", "added ms"),
            known("wander 5ms each 10ms reorder, CUBIC", "added ms"),
            known("wander 5ms reorder, CUBIC", "added ms"),
            known("wander 10ms each 100ms, CUBIC", "added ms"),
            known("wander 20ms each 100ms, BBR", "added ms"),
            known("wander 20ms each 100ms, CUBIC", "of plain"),
            known("wander 20ms each 10ms, CUBIC", "of plain"),
            known("wander 20ms each 3ms, CUBIC", "added ms"),
            known("wander 3ms each 100ms, CUBIC", "added ms"),
            known("wander 3ms each 3ms, CUBIC", "added ms"),
            known("wander 5ms each 100ms reorder, CUBIC", "added ms"),
            known("wander 5ms each 100ms, BBR", "added ms"),
            known("wander 5ms each 3ms reorder, CUBIC", "added ms"),
            known("wander 10ms reorder, CUBIC", "added ms"),
            known("wander 10ms, BBR", "added ms"),
            known("wander 20ms each 1ms, CUBIC", "added ms"),
            known("wander 2ms each 1ms, CUBIC", "added ms"),
            known("wander 5ms each 3ms, CUBIC", "added ms"),
            known("wander 20ms, BBR", "added ms"),
        ],
    ),
    (
        "random.txt",
        &[
            // Missed today, cause to be proved: most of the worst have a policer, or a slow link that is near.
            known("0 %", "of the best"),
            known("1 %", "of the best"),
            known("50 %", "of sum"),
        ],
    ),
    (
        "random-quick.txt",
        &[
            // Missed today, cause to be proved: most of the worst have a policer, or a slow link that is near.
            known("0 %", "of the best"),
            known("1 %", "of the best"),
            known("50 %", "of sum"),
        ],
    ),
];
