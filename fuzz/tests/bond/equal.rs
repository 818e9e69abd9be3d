//! One flow over links of one kind, and over many.

use crate::table::Table;
use crate::unequal::{COLUMNS, line_called};
use crate::{EQUAL, SECOND};

#[test]
fn one_flow_gets_the_sum_of_equal_and_of_many_links() {
    let mut table = Table::new(
        "equal.txt",
        "One flow over equal links, and over sixteen; after 10 s, until 30 s (BBR of sixteen: 30 to 60 s)",
        &COLUMNS,
    );
    let (warm, time) = (10 * SECOND, 30 * SECOND);
    let jittering = ["100mbit 6ms 1ms"; 4].join(", ");
    for (called, links, bar) in [("4 x 100mbit 5ms", EQUAL, 0.97), ("4 x 100mbit 6ms 1ms", &jittering, 0.95)]
    {
        line_called(&mut table, called, links, "CUBIC", warm, time, bar);
        line_called(&mut table, called, links, "BBR", warm, time, 0.90);
    }
    // On a desk: bursts of a millisecond are many round trips, for which the BBR of these flows has no allowance. Of one
    // link alone it would get 0.33.
    let (called, near) = ("3 x 100mbit 0.1ms queue 20ms", ["100mbit 0.1ms queue 20ms"; 3].join(", "));
    line_called(&mut table, called, &near, "CUBIC", warm, time, 0.97);
    line_called(&mut table, called, &near, "BBR", warm, time, 0.50);
    let spread: Vec<String> = (0..16).map(|path| format!("10mbit {}ms", 5 + 4 * path)).collect();
    let (spread, called) = (spread.join(", "), "16 x 10mbit, 5 to 65 ms");
    line_called(&mut table, called, &spread, "CUBIC", 20 * SECOND, 45 * SECOND, 0.95);
    let mixed: Vec<String> = (0..16)
        .map(|path| {
            let loss = if path % 2 == 0 { String::new() } else { format!(" 0.{}%", 1 + path % 5) };
            format!("{}mbit {}ms{loss}", 5 + path * 7 % 16, 5 + path * 11 % 56)
        })
        .collect();
    let (mixed, called) = (mixed.join(", "), "16 x 5 to 20mbit, 5 to 60 ms, every other up to 0.5%");
    line_called(&mut table, called, &mixed, "CUBIC", 20 * SECOND, 45 * SECOND, 0.95);
    line_called(&mut table, called, &mixed, "BBR", 30 * SECOND, 60 * SECOND, 0.90);
    table.check();
}
