//! Which packets a link loses.

use crate::config::Loss;
use crate::rng::{MILLION, Rng};

/// Where a link stands between good and bad.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LossState {
    is_bad: bool,
}

impl LossState {
    /// Whether the next packet is lost.
    pub(super) fn is_lost(&mut self, loss: Loss, rng: &mut Rng) -> bool {
        match loss {
            Loss::None => false,
            Loss::Random(share) => rng.chance(share),
            Loss::Bursts { share, length } => {
                let lost = self.is_bad;
                let end = MILLION / length.max(1);
                // The share is begin / (begin + end).
                let begin =
                    u64::from(end) * u64::from(share) / u64::from(MILLION.saturating_sub(share).max(1));
                if rng.chance(if lost { end } else { u32::try_from(begin).unwrap_or(MILLION) }) {
                    self.is_bad = !lost;
                }
                lost
            }
        }
    }
}
