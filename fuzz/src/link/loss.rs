//! Which datagrams a link loses.

use crate::rng::Rng;

/// Which datagrams are lost; chances are of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this chance, whatever happened to others.
    Random(u32),
    /// In bursts (Gilbert and Elliott): in the good state none is lost, in the bad state all are.
    Bursts {
        /// The chance of a datagram that arrives in the good state to be followed by a bad one. Together with
        /// `end` it gives the share that is lost, `begin / (begin + end)`.
        begin: u32,
        /// The chance of the bad state to end after each datagram: bursts are `1,000,000 / end` long.
        end: u32,
    },
}

/// Where a link stands between good and bad.
#[derive(Debug, Clone, Copy, Default)]
pub struct LossState {
    is_bad: bool,
}

impl LossState {
    /// Whether the next datagram is lost.
    pub fn is_lost(&mut self, loss: Loss, rng: &mut Rng) -> bool {
        match loss {
            Loss::None => false,
            Loss::Random(chance) => rng.chance(chance),
            Loss::Bursts { begin, end } => {
                let lost = self.is_bad;
                if rng.chance(if lost { end } else { begin }) {
                    self.is_bad = !lost;
                }
                lost
            }
        }
    }
}
