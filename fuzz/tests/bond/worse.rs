//! What is told of a bond that is worse than its best link: nothing in an ordinary run.

use mpt_fuzz::joined::A;
use mpt_proto::{Instant, PathState};
use port_linux::worse::{PathLook, Told, Worse};

use super::*;

/// What is told of a minute, in which something happens at the 20th second and ends at the 40th.
fn told(line: &str, flows: &[&str], happens: impl Fn(&mut Bond<'_>, bool)) -> Vec<(u32, Told)> {
    bonded(links(line), |bond| {
        flows.iter().for_each(|name| _ = flow(bond, name));
        let (mut worse, mut told) = (Worse::default(), Vec::new());
        for second in 1..=60 {
            if second == 20 || second == 40 {
                happens(bond, second == 20);
            }
            bond.run(SECOND);
            let connection = bond.end(A);
            let looks: Vec<PathLook> = (0..bond.path_count())
                .filter_map(|path| {
                    let id = connection.paths().nth(path)?;
                    let is_up = connection.path_state(id) == Ok(PathState::Up);
                    let stats = connection.path_stats(id).ok().filter(|_| is_up)?;
                    let model = bond.path_model(A, path);
                    Some(PathLook { path, sent: (stats.tx_datagrams, stats.tx_bytes), model })
                })
                .collect();
            let now = Instant::ZERO + SECOND * second;
            told.extend(worse.look(&looks, connection.waits(), None, now).map(|it| (second, it)));
        }
        told
    })
}

/// Slow links, which carry fewer packets.
const SLOW: &str = "20mbit 5ms, 10mbit 30ms, 4mbit 80ms 1%";

#[test]
fn nobody_is_told_of_an_ordinary_bond_that_it_is_worse_than_its_best_link() {
    for name in ["CUBIC", "BBR"] {
        assert_eq!(told(SLOW, &[name], |_, _| ()), [], "{name}");
    }
    let cut = |bond: &mut Bond<'_>, begins: bool| if begins { bond.cut(0) } else { bond.mend(0) };
    assert_eq!(told(SLOW, &["CUBIC"], cut), [], "the best link is cut");
    let slow = |bond: &mut Bond<'_>, begins: bool| {
        let bits_per_second = if begins { 2_000_000 } else { 20_000_000 };
        bond.change_link(0, |link| {
            link.rate.iter_mut().for_each(|rate| rate.bits_per_second = bits_per_second);
        });
    };
    assert_eq!(told(SLOW, &["CUBIC"; 4], slow), [], "the best link becomes slow");
}

#[test]
#[ignore = "minutes: cargo test -p mpt-fuzz --test bond -- --ignored nobody_is_told"]
fn nobody_is_told_of_more_bonds_that_they_are_worse_than_their_best_link() {
    let lines = [EQUAL, UNEQUAL, "starlink, 5g", "50mbit 20ms, 50mbit 20ms", "100mbit 5ms, 2mbit 60ms"];
    for line in lines {
        for name in ["CUBIC", "BBR"] {
            assert_eq!(told(line, &[name], |_, _| ()), [], "{line}, {name}");
        }
    }
}
