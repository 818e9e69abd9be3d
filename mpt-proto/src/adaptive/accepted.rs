//! How long packets may wait before the queues drop or mark some of them.

use crate::adaptive::codel::{Accepted, Bounds};
use crate::adaptive::model::packet_time;
use crate::adaptive::tuning::{
    BULK_INTERVAL, BULK_INTERVALS, BULK_NOISE, BULK_TARGET, BULK_TARGET_NOISE, BULK_TARGETS, LEAST_RATE,
    LEAVING, REPAIR_BURSTS, RISING, SPARSE_BOUNDS, UNKNOWN_ROUND_TRIP,
};
use crate::adaptive::{Adaptive, AdaptiveState};
use crate::gate::Gate;
use crate::time::Instant;

impl AdaptiveState {
    /// The connection may send at another rate.
    pub(crate) const fn limit_changed(&mut self) {
        self.accepted = None;
    }
}

impl Adaptive<'_> {
    /// The round trip that a bulk flow sees, without the queue here.
    fn round_trip(&self) -> f32 {
        let mut fastest: Option<(f32, f32)> = None;
        for model in self.state.models.iter() {
            let Some(base) = model.base().filter(|_| model.is_alive()) else { continue };
            if fastest.is_none_or(|(least, _)| base < least) {
                fastest = Some((base, model.feedback));
            }
        }
        fastest.map_or(UNKNOWN_ROUND_TRIP, |(base, feedback)| {
            let repairs = REPAIR_BURSTS * feedback * self.state.lost.share_of_time(feedback);
            feedback + repairs + self.state.delay.spread(base)
        })
    }

    /// What is accepted in the two queues. That of bulk may stand for a part of the round trip: less would leave a lone flow below
    /// capacity. Neither bound is shorter than what some packets take to leave.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub(super) fn accepted(&mut self, gate: &Gate, now: Instant) -> Accepted {
        if let Some(accepted) = self.state.accepted {
            return accepted;
        }
        let (mut noise, mut rate) = (0.0, LEAST_RATE);
        for model in self.state.delay.open.into_iter().filter_map(|index| self.state.models.get(index)) {
            noise = f32::max(noise, model.deviation());
            rate += model.rate();
        }
        let rate = gate.rate(now).map_or(rate, |most| rate.min(most));
        let leaving = LEAVING * packet_time(rate);
        let rising = if self.state.delay.may_rise { RISING } else { 0.0 };
        let round_trip = self.round_trip() + BULK_NOISE * noise + rising;
        let (least, most) = BULK_TARGETS;
        let (shortest, longest) = BULK_INTERVALS;
        let (target, interval) = SPARSE_BOUNDS;
        let accepted = Accepted {
            express: Bounds { target: target.max(leaving as u32), interval },
            bulk: Bounds {
                // Not `clamp`, which panics where the bounds are not in order.
                target: (BULK_TARGET * round_trip)
                    .max(least)
                    .min(most + BULK_TARGET_NOISE * noise)
                    .max(leaving) as u32,
                interval: (BULK_INTERVAL * round_trip).clamp(shortest, longest) as u32,
            },
        };
        self.state.accepted = Some(accepted);
        accepted
    }
}
