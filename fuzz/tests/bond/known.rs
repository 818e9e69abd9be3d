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
    known("change.txt", "100 <> 10 Mbit/s each 5 s, of 100/50/20, CUBIC", "of sum"),
    known("change.txt", "50 <> 5 Mbit/s each 5 s, of 100/50/20, BBR", "of sum"),
    known("change.txt", "Wi-Fi with dips, LTE that wanders, CUBIC", "of sum"),
    known("change.txt", "Wi-Fi with dips, LTE that wanders, BBR", "of sum"),
    // The only fast path goes while the slowest loses 1 %: a repair then takes longer than what is held for.
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
    known(
        "failure-stream.txt",
        "Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, 60 Mbit/s",
        "lost",
    ),
    // What waits while the path is silent makes the common delay rise at once, and is held for when it is back.
    known("failure-flow.txt", "Freeze path 0 of 100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%, CUBIC", "back ms"),
    known("failure-flow.txt", "Flap path 0 of 100mbit 5ms, 50mbit 30ms", "gap ms"),
    known("failure-stream.txt", "Flap path 0 of 100mbit 5ms, 50mbit 30ms", "gap ms"),
    known("failure-stream.txt", "Flap path 0 of 100mbit 5ms, 50mbit 30ms", "lost"),
    // The second loss of a repaired packet is seen by the flow.
    known("loss.txt", "CUBIC: 50mbit 10ms 1%", "of sum"),
    known("many.txt", "4 BBR", "of sum"),
    known("many.txt", "4 CUBIC", "of sum"),
    known("many.txt", "4 QUIC", "of sum"),
    known("odd.txt", "clocks drift by -200 ppm, BBR", "of sum"),
    known("sharing.txt", "CUBIC on path 0 of 100mbit 5ms, 50mbit 30ms", "of a fair share"),
    known("unequal.txt", "BBR: 100mbit 5ms jitter2ms 0.2%", "of sum"),
    // UDP is not put in order, and a threshold of three takes what overtakes for lost.
    known("unequal.txt", "QUIC in UDP", "of sum"),
];
