//! Links that drop what exceeds a rate (policers), near and far: what leaves before a loss is known is the rate times the round trip.

use crate::known_links;
use crate::table::Table;

/// Of what plain TCP has over the link; and of what a line has alone, beside it.
const PLAIN: f64 = 0.9;
const BESIDE: f64 = 0.95;
const LINE: &str = "50mbit 30ms";
/// Bytes on the links for each byte that was delivered.
const ON_LINKS: f64 = 1.15;

#[test]
fn a_policed_link_carries_what_plain_tcp_has_of_it_however_far_it_is() {
    let mut table = Table::new(
        "policed.txt",
        "One flow over a link with a policer, from 20 s to 60 s: in Mbit/s, beside what plain TCP has, bytes on the link for each that is \
         delivered; and with a line of 50 Mbit/s, of what that has alone",
        &["", "flow", "Mbit/s", "of plain", "on the link", "beside, Mbit/s", "of the line"],
    );
    for (delay, policer) in [
        (20, "6mbit 40kB"),
        (80, "6mbit 40kB"),
        (20, "6mbit 200kB"),
        (80, "6mbit 200kB"),
        (80, "20mbit 500kB"),
        (40, "30mbit 2MB"),
    ] {
        let link = format!("100mbit {delay}ms policer {policer}");
        for name in ["CUBIC", "BBR"] {
            let case = |links: &str| known_links(links, name);
            let alone = case(&link);
            let (tunnel, plain) = (alone.run(), alone.plain(0).run().rate);
            let both = case(&format!("{LINE}, {link}"));
            let (beside, line) = (both.run().rate, both.alone(0).run().rate);
            table
                .row(&link)
                .text(name)
                .value(tunnel.rate, 2)
                .at_least(tunnel.rate / plain, PLAIN, 3)
                .at_most(tunnel.on_links / tunnel.rate, ON_LINKS, 3)
                .value(beside, 1)
                .at_least(beside / line, BESIDE, 3)
                .end();
        }
    }
    table.check();
}
