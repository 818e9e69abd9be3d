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
            // A rate that is ten times as high is found by doubling, from one probe to the next.
            known("100 <> 10 Mbit/s each 5 s, of 100/50/20, CUBIC", "of sum"),
            known("100 <> 10 Mbit/s each 5 s, of 100/50/20, BBR", "of sum"),
            known("50 <> 5 Mbit/s each 5 s, of 100/50/20, BBR", "of sum"),
            known("Wi-Fi with dips, LTE that wanders, CUBIC", "of sum"),
            known("Wi-Fi with dips, LTE that wanders, BBR", "of sum"),
        ],
    ),
    (
        "failure-flow.txt",
        &[
            // The fastest path goes: what is left is less than half, and the flow has to find that out.
            known("Cut path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, CUBIC", "of the rest"),
            known("Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, CUBIC", "of the rest"),
            known("Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, BBR", "of the rest"),
        ],
    ),
    (
        "failure-stream.txt",
        &[
            // The only fast path goes while the slowest loses 1 %: a repair then takes longer than what is held for.
            known("Cut path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, 60 Mbit/s", "lost"),
            known("Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, 60 Mbit/s", "lost"),
            known("Flap path 0 of 100mbit 5ms, 50mbit 30ms", "gap ms"),
        ],
    ),
    (
        "loss.txt",
        &[
            // The second loss of a repaired packet is seen by the flow.
            known("CUBIC: 50mbit 10ms 1%", "of sum"),
            known("CUBIC: 100mbit 5ms 1%, 50mbit 30ms 1%", "of sum"),
        ],
    ),
    ("many.txt", &[known("4 BBR", "of sum")]),
    (
        "random.txt",
        &[
            // A near path of a hundredth of the rate: a flow that began on it is slow to grow into the far one.
            known("81:", "of the best"),
            known("38:", "of the best"),
            known("95:", "of the best"),
        ],
    ),
    // A BBR keeps 10 to 15 ms of queue on the only link: too much to call it empty, too little to compete.
    ("sharing.txt", &[known("BBR on path 0 of 50mbit 10ms", "of a fair share")]),
    // The far path opens when the flow is nearly over.
    ("short.txt", &[known("10000", "ratio")]),
    // UDP is not put in order, and a threshold of three takes what overtakes for lost.
    ("unequal.txt", &[known("QUIC in UDP", "of sum")]),
];
