//! The policies beside each other.

use mpt_fuzz::bond::case::Case;
use mpt_proto::Policy;

use crate::cases::case;
use crate::table::Table;
use crate::{UNEQUAL, ms};

#[test]
fn policies_differ_in_what_they_make_of_the_same_links() {
    let mut table = Table::about(
        "policies.txt",
        "One flow and a ping each 10 ms beside it, from 15 s to 30 s: as a share of what it has on the best link alone, in the \
         same tunnel; delays of the pings, one way. The weights are the links' rates. Figures to compare, without bars",
        "Policy by line",
        &["", "flow", "links", "Mbit/s", "of the best", "ping 50 % ms", "99 %"],
    );
    let links = [("two equal", "50mbit 10ms, 50mbit 10ms"), ("three unequal", UNEQUAL)];
    for policy in Policy::ALL {
        for (name, (called, links)) in
            ["CUBIC", "BBR"].into_iter().flat_map(|name| links.map(|it| (name, it)))
        {
            let both = Case { policy: *policy, ping: true, ..case(links, name) };
            let best = both.alone(0).run().rate;
            let outcome = both.run();
            table
                .row(policy.name())
                .text(name)
                .text(called)
                .value(outcome.rate, 1)
                .value(outcome.rate / best, 2)
                .value(ms(outcome.ping[0]), 1)
                .value(ms(outcome.ping[1]), 1)
                .end();
        }
    }
    table.check();
}
