//! The bars that are missed, all of them, so that no other one is missed unnoticed; with the reason where it is known.

/// Bars of a table that are missed.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) table: &'static str,
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

const fn known(table: &'static str, line: &'static str, column: &'static str) -> Known {
    Known { table, line, column }
}

pub(crate) const KNOWN: &[Known] = &[
    // A rate that is ten times as high is found by doubling, from one probe to the next.
    known("change.txt", "100 <> 10 Mbit/s each 5 s, of 100/50/20, CUBIC", "of sum"),
    known("change.txt", "100 <> 10 Mbit/s each 5 s, of 100/50/20, BBR", "of sum"),
    known("change.txt", "50 <> 5 Mbit/s each 5 s, of 100/50/20, BBR", "of sum"),
    known("change.txt", "Wi-Fi with dips, LTE that wanders, CUBIC", "of sum"),
    known("change.txt", "Wi-Fi with dips, LTE that wanders, BBR", "of sum"),
    // The fastest path goes: what is left is less than half, and the flow has to find that out.
    known("failure-flow.txt", "Cut path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, CUBIC", "of the rest"),
    known(
        "failure-flow.txt",
        "Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, CUBIC",
        "of the rest",
    ),
    known(
        "failure-flow.txt",
        "Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, BBR",
        "of the rest",
    ),
    known("failure-flow.txt", "Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, BBR", "back ms"),
    // The only fast path goes while the slowest loses 1 %: a repair then takes longer than what is held for.
    known("failure-stream.txt", "Cut path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, 60 Mbit/s", "lost"),
    known(
        "failure-stream.txt",
        "Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, 60 Mbit/s",
        "lost",
    ),
    known("failure-stream.txt", "Flap path 0 of 100mbit 5ms, 50mbit 30ms", "gap ms"),
    // The second loss of a repaired packet is seen by the flow.
    known("loss.txt", "CUBIC: 50mbit 10ms 1%", "of sum"),
    known("loss.txt", "CUBIC: 100mbit 5ms 1%, 50mbit 30ms 1%", "of sum"),
    known("many.txt", "4 CUBIC", "of sum"),
    known("many.txt", "4 QUIC", "of sum"),
    known("odd.txt", "2 % lost on all ways back, bursts of 8, CUBIC", "of sum"),
    // A near path of a hundredth of the rate: a flow that began on it is slow to grow into the far one.
    known("random.txt", "81:", "of the best"),
    known("random.txt", "38:", "of the best"),
    known("random.txt", "95:", "of the best"),
    // The far path opens when the flow is nearly over.
    known("short.txt", "10000", "ratio"),
    // UDP is not put in order, and a threshold of three takes what overtakes for lost.
    known("unequal.txt", "QUIC in UDP", "of sum"),
];
