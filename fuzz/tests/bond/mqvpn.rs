//! The sixteen pairs of links that the benchmarks of mqvpn are made of.

use std::time::Duration;

use mpt_link::{Profile, profiles};

use crate::cases::case;
use crate::links;
use crate::table::Table;

/// Of the sum, where the delays of both links differ by at most this.
const NEAR: Duration = Duration::from_millis(100);

fn is_near(profile: &Profile) -> bool {
    let delays = links(profile.links).into_iter().map(|path| path.link[0].delay);
    let (least, most) = (delays.clone().min(), delays.max());
    most.zip(least).is_some_and(|(most, least)| most - least <= NEAR)
}

#[test]
fn a_flow_over_the_links_of_mqvpn_gets_nearly_their_sum() {
    let mut table = Table::new(
        "mqvpn.txt",
        "One flow over the pairs of links of mqvpn's benchmarks, from 15 s to 30 s, beside the best of the links alone, \
         without a tunnel. QUIC is kept in order",
        &["", "flow", "Mbit/s", "best plain", "of the best", "sum", "of sum"],
    );
    let mut shares = Vec::new();
    let lines = profiles().iter().flat_map(|profile| ["CUBIC", "BBR", "QUIC"].map(|name| (profile, name)));
    for (profile, name) in lines {
        let case = case(profile.links, name);
        let (rate, sum) = (case.run().rate, case.possible().iter().sum::<f64>());
        let plain = (0..2).map(|path| case.plain(path).run().rate).fold(0.0, f64::max);
        let of_sum = rate / sum;
        shares.push(of_sum);
        let row = table.row(profile.name).text(name).value(rate, 1);
        let row = row.value(plain, 1).at_least(rate / plain, 0.97, 3).value(sum, 1);
        if is_near(profile) { row.at_least(of_sum, 0.9, 3) } else { row.value(of_sum, 3) }.end();
    }
    shares.sort_by(f64::total_cmp);
    let row = table.row("median").text("").text("").text("").text("").text("");
    row.at_least(shares[shares.len() / 2], 0.93, 3).end();
    table.check();
}
