//! The weighted schedule against the draft's vector.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use mpt_proto::PathSet;
use mpt_proto::internals::Cycle;

use crate::oracle::weighted::SendingVector;
use crate::target::operations;

/// Paths in use: what the oracle can take.
const PATHS: u8 = 8;
/// The highest weight.
const HIGHEST: u16 = 10_000;

#[derive(Debug, Arbitrary)]
enum Op {
    /// Sets a weight, or takes the path out.
    Weigh { path: u8, weight: Option<u16> },
    /// Only these paths are up.
    Among(u8),
    /// Sends so many packets.
    Send(u8),
}

/// Compares the two, choice by choice.
///
/// # Panics
/// They differ.
pub fn weighted(data: &[u8]) {
    let mut cycle = Cycle::default();
    let mut weights = BTreeMap::new();
    let mut among = PathSet::default();
    let oracle_of = |weights: &BTreeMap<usize, u16>, among: PathSet| {
        SendingVector::new(
            &weights.iter().filter(|(path, _)| among.contains(**path)).map(|(p, w)| (*p, *w)).collect(),
        )
    };
    let mut used = among;
    let mut oracle = oracle_of(&weights, used);
    for op in operations(data) {
        match op {
            Op::Weigh { path, weight } => {
                let path = usize::from(path % PATHS);
                let weight = weight.map_or(0, |weight| weight % HIGHEST + 1);
                cycle.restart();
                if weight == 0 {
                    weights.remove(&path);
                } else {
                    weights.insert(path, weight);
                }
                oracle = oracle_of(&weights, used);
            }
            Op::Among(bits) => {
                among = PathSet::default();
                (0..usize::from(PATHS))
                    .filter(|path| bits & 1 << path != 0)
                    .for_each(|path| among.insert(path));
            }
            Op::Send(packets) => {
                // A set that comes and goes between two packets does not start a new cycle.
                if packets > 0 && among != used {
                    used = among;
                    oracle = oracle_of(&weights, used);
                }
                for _ in 0..packets {
                    assert_eq!(
                        cycle.next(among, |path| weights.get(&path).copied().unwrap_or(0)),
                        oracle.take(),
                        "{weights:?} among {among:?}"
                    );
                }
            }
        }
    }
}
