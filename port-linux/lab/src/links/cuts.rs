//! Each link is cut and restored in turn while a flow goes over all of them.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::bench::Bench;
use super::{Plan, System};
use crate::quick::WARM_UP;
use crate::stopwatch::Stopwatch;
use crate::traffic::meter::Received;
use crate::traffic::ping::Pings;

/// The flow has found its rate when the first link is cut.
const FIRST: Duration = Duration::from_secs(6);
/// How long each is cut.
const CUT: Duration = Duration::from_secs(4);
/// How long all are whole before the next one.
const WHOLE: Duration = Duration::from_secs(5);

/// After a cut, goodput is that of the links that are left from here on.
const SETTLE_CUT: Duration = Duration::from_secs(1);
/// After a repair, the link is to be in use again from here on.
const SETTLE_WHOLE: Duration = Duration::from_secs(2);

/// The congestion control of this series.
const CONGESTION: &str = "cubic";

/// What one system did.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Series {
    pub(super) system: System,
    /// Why the flow broke off; then there is nothing else.
    pub(super) broke: Option<String>,
    pub(super) cuts: Vec<CutLink>,
    /// The longest silence before the first cut: what is not the cuts' doing.
    pub(super) gap_before_ms: f64,
    /// The limit with all links.
    pub(super) limit_mbit_s: f64,
    /// Pings over the tunnel all the while; MPTCP carries none.
    pub(super) ping: Option<Pings>,
    pub(super) received: Received,
}

/// One link.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CutLink {
    pub(super) link: u8,
    pub(super) cut_at_s: f64,
    pub(super) restored_at_s: f64,
    /// The longest silence at the receiver that began between the cut and the next one.
    pub(super) gap_ms: f64,
    /// From a second after the cut, over the links that are left, and their limit.
    pub(super) without_mbit_s: [f64; 2],
    /// From two seconds after the repair, over all, and their limit.
    pub(super) again_mbit_s: [f64; 2],
}

/// Length of one series.
pub(super) fn duration(plan: &Plan) -> Duration {
    FIRST + (CUT + WHOLE) * u32::from(plan.count())
}

/// A link, when it was cut and when it was restored.
#[derive(Debug, Clone, Copy)]
struct Moments {
    link: u8,
    cut_at: Duration,
    restored_at: Duration,
}

/// Runs one series.
pub(super) fn measure(bench: &Bench<'_>, system: System) -> anyhow::Result<Series> {
    let time = duration(bench.plan);
    let carrier = bench.carrier(system, CONGESTION)?;
    let (mut moments, mut ping) = (Vec::new(), None);
    let done = bench.carry(&carrier, time, |clock| {
        thread::scope(|scope| {
            let pings = (system != System::Mptcp).then(|| {
                scope.spawn(move || {
                    thread::sleep(WARM_UP.saturating_sub(clock.elapsed()));
                    bench.ping(carrier.to, time.saturating_sub(clock.elapsed()))
                })
            });
            moments = cut_in_turn(bench, clock)?;
            ping = pings.map(|pings| pings.join().expect("pings do not panic")).transpose()?;
            Ok(())
        })
    });
    let limit = |cut| bench.plan.limit(system, carrier.share, cut);
    let mut series = Series {
        system,
        broke: None,
        cuts: Vec::new(),
        gap_before_ms: 0.0,
        limit_mbit_s: limit(None),
        ping,
        received: Received::default(),
    };
    match done {
        Ok(done) => {
            series.gap_before_ms = done.received.longest_gap_ms(WARM_UP, FIRST - Duration::from_millis(500));
            series.cuts = cut_links(&done.received, &moments, time, limit);
            series.received = done.received;
        }
        // A flow that does not survive is a result, not the end of the run: the others are still to be measured.
        Err(error) => series.broke = Some(format!("{error:#}")),
    }
    carrier.stop()?;
    Ok(series)
}

/// Cuts and restores one link after the other and tells when.
fn cut_in_turn(bench: &Bench<'_>, clock: Stopwatch) -> anyhow::Result<Vec<Moments>> {
    let until = |at: Duration| thread::sleep(at.saturating_sub(clock.elapsed()));
    let (net, cut) = (bench.net, bench.plan.cut);
    let mut moments = Vec::new();
    for link in 1..=bench.plan.count() {
        let at = FIRST + (CUT + WHOLE) * u32::from(link - 1);
        until(at);
        let cut_at = clock.elapsed();
        net.cut(link, cut)?;
        until(at + CUT);
        let restored_at = clock.elapsed();
        net.restore(link, cut)?;
        moments.push(Moments { link, cut_at, restored_at });
    }
    Ok(moments)
}

/// What the receiver got around each cut.
fn cut_links(
    received: &Received,
    moments: &[Moments],
    time: Duration,
    limit: impl Fn(Option<u8>) -> f64,
) -> Vec<CutLink> {
    let next_cuts = moments.iter().skip(1).map(|next| next.cut_at).chain([time]);
    let one = |(&Moments { link, cut_at, restored_at }, next): (&Moments, Duration)| CutLink {
        link,
        cut_at_s: cut_at.as_secs_f64(),
        restored_at_s: restored_at.as_secs_f64(),
        gap_ms: received.longest_gap_ms(cut_at, next - Duration::from_millis(200)),
        without_mbit_s: [received.goodput(cut_at + SETTLE_CUT, restored_at), limit(Some(link))],
        again_mbit_s: [received.goodput(restored_at + SETTLE_WHOLE, next), limit(None)],
    };
    moments.iter().zip(next_cuts).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::meter::Meter;

    #[test]
    fn each_cut_has_its_own_gap_and_goodput() {
        let ms = Duration::from_millis;
        let mut meter = Meter::default();
        // 1 Mbit/s, silent for 300 ms after the cut at 6 s, then half as much until the repair at 10 s.
        for at in (0..15_000).step_by(50) {
            let bytes = match at {
                6_001..6_300 => continue,
                6_300..10_000 => 3_125,
                _ => 6_250,
            };
            meter.record(ms(at), bytes);
        }
        let received = meter.finish();
        let moments = [Moments { link: 1, cut_at: ms(6_000), restored_at: ms(10_000) }];
        let cuts = cut_links(&received, &moments, ms(15_000), |cut| if cut.is_some() { 0.5 } else { 1.0 });
        assert_eq!(cuts[0].gap_ms, 300.0);
        let near = |value: f64, wanted: f64| (value - wanted).abs() < 1e-9;
        let [(without, its_limit), (again, all)] =
            [cuts[0].without_mbit_s, cuts[0].again_mbit_s].map(|[goodput, limit]| (goodput, limit));
        assert!(near(without, 0.5) && near(again, 1.0), "{cuts:?}");
        assert_eq!((its_limit, all), (0.5, 1.0));
    }
}
