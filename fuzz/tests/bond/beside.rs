//! A download, and other traffic through the tunnel beside it: it gets what that leaves.

use mpt_fuzz::bond::case::Case;

use crate::UNEQUAL;
use crate::cases::case;
use crate::table::Table;

/// Sets of links by what lines call them.
const THREE: (&str, &str) = ("three unequal links", UNEQUAL);
const TWO: (&str, &str) =
    ("two wandering links", "50mbit 20ms wander 5ms each 10ms, 50mbit 20ms wander 5ms each 10ms");

/// Mbit/s of streams of UDP, and of flows of TCP with little to send.
type Beside = (&'static [f64], &'static [f64]);

const BESIDE: [Beside; 6] =
    [(&[0.1], &[]), (&[0.5], &[]), (&[2.0], &[]), (&[8.0], &[]), (&[], &[5.0]), (&[2.0], &[5.0])];

fn called((streams, paced): Beside) -> String {
    let streams = streams.iter().map(|rate| format!("{rate} UDP"));
    streams.chain(paced.iter().map(|rate| format!("{rate} TCP"))).collect::<Vec<_>>().join(" + ")
}

#[test]
fn a_download_gets_what_others_in_the_tunnel_leave() {
    let mut table = Table::new(
        "beside.txt",
        "A download beside a stream of UDP at a constant rate, a TCP that has no more to send, or both, in Mbit/s: what it has of \
         what they leave of what it has alone; from 15 s to 30 s",
        &["", "flow", "beside", "alone", "Mbit/s", "beside gets", "of what is left"],
    );
    let flows = |links| ["CUBIC", "BBR"].map(|name| (links, name));
    for ((called_links, links), name) in [THREE, TWO].into_iter().flat_map(flows) {
        let alone = case(links, name);
        let alone_rate = alone.run().rate;
        for (streams, paced) in BESIDE {
            let both = Case { streams: streams.to_vec(), paced: paced.to_vec(), ..alone.clone() }.run();
            table
                .row(called_links)
                .text(name)
                .text(&called((streams, paced)))
                .value(alone_rate, 1)
                .value(both.rate, 1)
                .value(both.beside, 2)
                .at_least(both.rate / (alone_rate - both.beside), 0.95, 3)
                .end();
        }
    }
    table.check();
}
