//! CUBIC, Reno and LEDBAT: a window that a loss makes smaller.

use super::Congestion;
use super::ledbat::Delays;

/// CUBIC's C and beta (RFC 9438 sections 4.1 and 4.6).
const C: f64 = 0.4;
const CUBIC_BETA: f64 = 0.7;
const RENO_BETA: f64 = 0.5;
/// RFC 6928.
const INITIAL_WINDOW: f64 = 10.0;
/// RFC 9406 section 4.3: samples of a round, and how much the round trip must have grown.
const HYSTART_SAMPLES: u32 = 8;
const HYSTART_LEAST: f64 = 0.004;
const HYSTART_MOST: f64 = 0.016;
/// Below this window HyStart does not look (Linux).
const HYSTART_WINDOW: f64 = 16.0;

/// Where CUBIC stands on its curve.
#[derive(Debug, Clone, Copy, Default)]
struct Curve {
    /// The window before the last reduction.
    window_max: f64,
    /// When the curve began, in seconds; `None`: with the next acknowledgement.
    epoch: Option<f64>,
    /// Time from the beginning to its plateau.
    k: f64,
    /// The plateau.
    origin: f64,
    /// What Reno would have.
    reno: f64,
}

/// One round of HyStart.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// It ends when this segment is acknowledged.
    end: u64,
    least: f64,
    samples: u32,
}

/// A congestion window, in segments.
#[derive(Debug, Clone)]
pub(super) struct LossBased {
    congestion: Congestion,
    hystart: bool,
    window: f64,
    threshold: f64,
    curve: Curve,
    round: Round,
    /// Window, threshold and curve before the reduction that may be undone.
    before: Option<(f64, f64, Curve)>,
    /// What LEDBAT goes by.
    delays: Delays,
}

impl LossBased {
    pub(super) fn new(congestion: Congestion, hystart: bool) -> Self {
        Self {
            congestion,
            hystart: hystart && congestion != Congestion::Ledbat,
            window: INITIAL_WINDOW,
            threshold: f64::INFINITY,
            curve: Curve::default(),
            round: Round { end: 0, least: f64::INFINITY, samples: 0 },
            before: None,
            delays: Delays::default(),
        }
    }

    pub(super) const fn window(&self) -> f64 {
        self.window
    }

    pub(super) const fn threshold(&self) -> f64 {
        self.threshold
    }

    pub(super) fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// HyStart: a round trip was measured. `acknowledged` and `next` tell rounds apart.
    pub(super) fn handle_rtt(&mut self, rtt: f64, min_rtt: f64, acknowledged: u64, next: u64) {
        if !self.hystart || self.threshold.is_finite() {
            return;
        }
        if acknowledged >= self.round.end {
            self.round = Round { end: next, least: f64::INFINITY, samples: 0 };
        }
        self.round.least = self.round.least.min(rtt);
        self.round.samples += 1;
        let grown = min_rtt + (min_rtt / 8.0).clamp(HYSTART_LEAST, HYSTART_MOST);
        if self.round.samples == HYSTART_SAMPLES && self.window >= HYSTART_WINDOW && self.round.least >= grown
        {
            self.threshold = self.window;
        }
    }

    /// LEDBAT: a one-way delay was reported.
    pub(super) fn handle_delay(&mut self, delay: f64, now: f64) {
        self.delays.note(delay, now);
    }

    /// Segments arrived, outside of recovery, and the window was used: so many were in flight.
    pub(super) fn handle_delivered(&mut self, count: u64, in_flight: u64, min_rtt: f64, now: f64) {
        let count = count as f64;
        if self.congestion == Congestion::Ledbat && self.in_slow_start() && self.delays.ends_slow_start() {
            self.threshold = self.window;
        }
        if self.in_slow_start() {
            self.window += count;
            return;
        }
        match self.congestion {
            Congestion::Ledbat => {
                self.window = self.delays.window(self.window, count, in_flight as f64);
                return;
            }
            Congestion::Reno => {
                self.window += count / self.window;
                return;
            }
            Congestion::Cubic | Congestion::Bbr => {}
        }
        let curve = &mut self.curve;
        let epoch = *curve.epoch.get_or_insert_with(|| {
            curve.reno = self.window;
            if self.window < curve.window_max {
                curve.k = cube_root((curve.window_max - self.window) / C);
                curve.origin = curve.window_max;
            } else {
                curve.k = 0.0;
                curve.origin = self.window;
            }
            now
        });
        let t = now - epoch + min_rtt - curve.k;
        curve.reno += 3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA) * count / self.window;
        let target = (curve.origin + C * t * t * t).max(curve.reno);
        if target > self.window {
            self.window += (count * (target - self.window) / self.window).min(count * 0.5);
        } else {
            self.window += count * 0.01 / self.window;
        }
    }

    /// A loss was found, or a mark.
    pub(super) fn reduce(&mut self) {
        // libutp takes nothing back.
        let can_undo = self.congestion != Congestion::Ledbat;
        self.before = can_undo.then_some((self.window, self.threshold, self.curve));
        let beta = if self.congestion == Congestion::Cubic { CUBIC_BETA } else { RENO_BETA };
        // Fast convergence (RFC 9438 section 4.7).
        self.curve.window_max =
            if self.window < self.curve.window_max { self.window * (1.0 + beta) / 2.0 } else { self.window };
        self.curve.epoch = None;
        self.threshold = (self.window * beta).max(2.0);
        self.window = self.threshold;
    }

    /// Recovery is over.
    pub(super) const fn settle(&mut self) {
        self.window = self.threshold.max(2.0);
    }

    /// The reduction was for nothing.
    pub(super) const fn undo(&mut self) {
        if let Some((window, threshold, curve)) = self.before.take() {
            self.window = self.window.max(window);
            self.threshold = self.threshold.max(threshold);
            self.curve = curve;
        }
    }

    /// Nothing was heard for too long. `again`: a reduction that may be undone is under way.
    pub(super) fn handle_timeout(&mut self, again: bool) {
        if !again {
            self.before = Some((self.window, self.threshold, self.curve));
        }
        self.curve.window_max = (self.curve.window_max * 0.85).max(self.window);
        self.curve.epoch = None;
        self.threshold = (self.window * CUBIC_BETA).max(2.0);
        self.window = 2.0;
    }
}

/// By Newton's method, so that no machine's mathematical library decides what a run does.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let mut root = x.max(1.0);
    for _ in 0..100 {
        let next = (2.0 * root + x / (root * root)) / 3.0;
        if next >= root {
            break;
        }
        root = next;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots_are_cube_roots() {
        for x in [0.0, 1e-6, 0.5, 1.0, 8.0, 1e3, 1e9] {
            assert!((cube_root(x) - x.cbrt()).abs() <= 1e-9 * x.cbrt().max(1.0), "{x}");
        }
    }

    #[test]
    fn cubic_comes_back_to_its_old_window_after_k_seconds_and_reno_one_a_round_trip() {
        let mut cubic = LossBased::new(Congestion::Cubic, false);
        (cubic.window, cubic.threshold) = (1000.0, 900.0);
        cubic.reduce();
        assert_eq!((cubic.window, cubic.threshold), (700.0, 700.0));
        // K is the cube root of 300 / 0.4, 9.09 s; an acknowledgement of half the window each 50 ms.
        let mut at_k = 0.0;
        for step in 0..220 {
            cubic.handle_delivered(350, 700, 0.1, 100.0 + f64::from(step) * 0.05);
            if step == 180 {
                at_k = cubic.window;
            }
        }
        assert!((985.0..1005.0).contains(&at_k), "{at_k}");
        assert!(cubic.window > 1000.0);

        let mut reno = LossBased::new(Congestion::Reno, false);
        (reno.window, reno.threshold) = (100.0, 50.0);
        reno.handle_delivered(100, 100, 0.1, 0.0);
        assert!((reno.window - 101.0).abs() < 1e-9);
        reno.reduce();
        assert_eq!(reno.window, 50.5);
        reno.undo();
        assert!((reno.window - 101.0).abs() < 1e-9);
    }

    #[test]
    fn hystart_leaves_slow_start_when_eight_round_trips_have_grown() {
        let mut cubic = LossBased::new(Congestion::Cubic, true);
        cubic.handle_delivered(90, 90, 0.02, 0.0);
        for sample in 0..8 {
            assert!(cubic.in_slow_start(), "sample {sample}");
            cubic.handle_rtt(0.0241, 0.02, 0, 100);
        }
        assert!(!cubic.in_slow_start());
        assert_eq!(cubic.window(), 100.0);
    }
}
