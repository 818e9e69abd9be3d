//! What fuzzing runs: each target takes bytes and panics if something is wrong.

mod adaptive;
mod coalesce;
mod connection;
mod endpoint;
mod reassembly;
mod reorder;
mod sealed;
mod sealer;
mod slice;
mod split;
mod state;
mod weighted;
mod wire;

pub use adaptive::adaptive;
pub use coalesce::coalesce;
pub use connection::connection;
pub use endpoint::endpoint;
pub use reassembly::reassembly;
pub use reorder::reorder;
pub use sealed::{handshake_datagram, sealed_datagram};
pub use sealer::sealer;
pub use slice::slice;
pub use split::split;
pub use state::{Compared, compare, state};
pub use weighted::weighted;
pub use wire::{control, extension, fragment, gre, ip};

use arbitrary::{Arbitrary, Unstructured};

/// A target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Of its binary and of its corpus.
    pub name: &'static str,
    /// What it does with bytes.
    pub run: fn(&[u8]),
}

/// Every target.
pub const ALL: [Target; 18] = [
    Target { name: "gre", run: gre },
    Target { name: "control", run: control },
    Target { name: "fragment", run: fragment },
    Target { name: "ip", run: ip },
    Target { name: "weighted", run: weighted },
    Target { name: "reorder", run: reorder },
    Target { name: "reassembly", run: reassembly },
    Target { name: "connection", run: connection },
    Target { name: "endpoint", run: endpoint },
    Target { name: "extension", run: extension },
    Target { name: "adaptive", run: adaptive },
    Target { name: "split", run: split },
    Target { name: "coalesce", run: coalesce },
    Target { name: "slice", run: slice },
    Target { name: "handshake_datagram", run: handshake_datagram },
    Target { name: "sealed_datagram", run: sealed_datagram },
    Target { name: "sealer", run: sealer },
    Target { name: "state", run: state },
];

/// The operations that `data` stands for, one behind the other until it is used up.
fn operations<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> impl Iterator<Item = T> {
    let mut rest = Unstructured::new(data);
    std::iter::from_fn(move || if rest.is_empty() { None } else { rest.arbitrary().ok() })
}
