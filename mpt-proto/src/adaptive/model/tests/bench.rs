//! One path in virtual time, for the tests of its model.

use super::*;

/// Bytes of a datagram, as both ends count them.
pub(super) const LEN: usize = 1_444;
pub(super) const TICK: Duration = Duration::from_micros(200);
pub(super) const START: u64 = 10_000_000;

/// One path: a sender by the model, a bottleneck with a buffer, a receiver that reports.
pub(super) struct Bench {
    pub(super) model: Model,
    pub(super) receiver: Feedback,
    pub(super) now: Instant,
    /// Bytes a second, microseconds one way, and what the bottleneck's buffer holds in microseconds.
    pub(super) rate: f64,
    pub(super) delay: u64,
    pub(super) buffer: u64,
    pub(super) cut: bool,
    /// What the delay beyond the bottleneck differs from `delay`.
    pub(super) wander: Option<Wander>,
    /// When the last datagram arrives: none overtakes it.
    pub(super) last_arrival: u64,
    /// There is always something to send.
    pub(super) busy: bool,
    pub(super) posted_at: Instant,
    pub(super) free_at: f64,
    pub(super) data: VecDeque<(u64, u32, u32)>,
    pub(super) reports: VecDeque<(u64, Report)>,
    pub(super) delivered: u64,
    /// When it was last seen that the path is overdue.
    pub(super) overdue: bool,
    /// Sum and count of what each datagram waited at the bottleneck, in microseconds.
    pub(super) waited: (f64, f64),
}

/// A delay that is drawn anew from a normal distribution now and then.
pub(super) struct Wander {
    /// Standard deviation, in microseconds.
    pub(super) deviation: f64,
    /// Time from one draw to the next, in microseconds.
    pub(super) each: u64,
    pub(super) seed: u64,
}

impl Wander {
    /// What the delay differs by for a datagram that leaves the bottleneck at `at`, in microseconds.
    pub(super) fn at(&self, at: u64) -> f64 {
        f64::from(Rng::new((self.seed << 32) | (at / self.each)).normal()) * self.deviation
    }
}

pub(super) fn bench(rate: f64, delay: u64) -> Bench {
    Bench {
        model: Model::default(),
        receiver: Feedback::default(),
        now: Instant::from_micros(START),
        rate,
        delay,
        buffer: 200_000,
        cut: false,
        wander: None,
        last_arrival: 0,
        busy: true,
        posted_at: Instant::from_micros(START),
        free_at: 0.0,
        data: VecDeque::new(),
        reports: VecDeque::new(),
        delivered: 0,
        overdue: false,
        waited: (0.0, 0.0),
    }
}

impl Bench {
    pub(super) fn run(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while self.now < until {
            self.now = self.now + TICK;
            self.send();
            self.receive();
            self.hear();
            // Another path tells the receiver's time.
            let written = self.now.stamp().wrapping_sub(u32::try_from(self.delay).unwrap());
            self.overdue = self.model.is_overdue(written);
        }
    }

    pub(super) fn send(&mut self) {
        while self.busy && self.model.is_ready(self.now) {
            self.post();
        }
        // A sign of life.
        if self.busy && self.now.since(self.posted_at) > Duration::from_secs(2) {
            self.post();
        }
        if !self.busy {
            self.model.handle_idle();
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of a test")]
    pub(super) fn post(&mut self) {
        let number = self.model.handle_sent(LEN, self.now);
        self.posted_at = self.now;
        let now = self.now.as_micros();
        let begins = self.free_at.max(now as f64);
        if self.cut || begins - now as f64 > self.buffer as f64 {
            return;
        }
        self.waited = (self.waited.0 + begins - now as f64, self.waited.1 + 1.0);
        self.free_at = begins + LEN as f64 * 1e6 / self.rate;
        let leaves = self.free_at as u64;
        let wander = self.wander.as_ref().map_or(0.0, |wander| wander.at(leaves));
        let delay = (self.delay as f64 + wander).max(0.0) as u64;
        self.last_arrival = self.last_arrival.max(leaves + delay);
        self.data.push_back((self.last_arrival, number, self.now.stamp()));
    }

    pub(super) fn receive(&mut self) {
        let now = self.now;
        while let Some((_, number, stamp)) = self.data.pop_front_if(|(at, ..)| *at <= now.as_micros()) {
            let number = number & 0x00ff_ffff;
            let header = Header { kind: Kind::Ordered, resent: false, number, stamp };
            self.receiver.handle(0, &header, LEN, true, now, now);
            self.delivered += LEN as u64;
        }
        let orders = (None, PathSet::default(), false);
        let ways = Ways { paths: PathSet::of(0), pause: self.model.signal_time() };
        self.receiver.handle_timeout(now, 1, orders, ways, |_| Some(0));
        while let Some((_, report)) = self.receiver.poll() {
            self.reports.push_back((now.as_micros() + self.delay, report.clone()));
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a stamp")]
    pub(super) fn hear(&mut self) {
        let now = self.now;
        while let Some((at, report)) = self.reports.pop_front_if(|(at, _)| *at <= now.as_micros()) {
            for block in &report.paths {
                let written = (at - self.delay) as u32;
                let taken = self.model.handle_report(block, written, block.delay as f32, self.busy, now, 0.5);
                assert_ne!(taken, News::Impossible, "an honest report: {block:?}");
            }
        }
    }

    /// Share of the capacity that arrives in so many milliseconds from now.
    pub(super) fn share(&mut self, ms: u64) -> f64 {
        let before = self.delivered;
        self.run(ms);
        (self.delivered - before) as f64 / (self.rate * ms as f64 / 1e3)
    }

    /// Mean time that datagrams wait at the bottleneck in the next milliseconds, in microseconds.
    pub(super) fn mean_queue(&mut self, ms: u64) -> f64 {
        self.waited = (0.0, 0.0);
        self.run(ms);
        self.waited.0 / self.waited.1.max(1.0)
    }

    /// The model's rate against the true one.
    pub(super) fn estimate(&self) -> f64 {
        f64::from(self.model.rate()) / self.rate
    }
}
