//! When packets leave the queue: rate or trace, dips, batches.

use std::time::Duration;

use super::weather::Weather;
use crate::config::LinkConfig;
use crate::trace::{OPPORTUNITY, Trace};

/// The state of the server behind a queue.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Server {
    /// When the last bit that it was given is served.
    free_at: Duration,
    /// Of a constant rate: the work, in millionths of a bit, that was left over when its time was rounded down to whole
    /// microseconds. The next packet takes it along, so that no rounding adds up.
    remainder: u128,
    /// Of a trace: the opportunity that is used now, and the bytes of it that are.
    opportunity: u64,
    used: u64,
}

impl Server {
    /// Gives it some work, in millionths of a bit, after all that it was given before. Returns when it is done.
    pub(super) fn serve(
        &mut self,
        config: &LinkConfig,
        weather: &Weather,
        work: u128,
        now: Duration,
    ) -> Duration {
        if self.free_at <= now {
            self.free_at = now;
            self.remainder = 0;
        }
        self.free_at = match (config.trace, config.rate) {
            (Some(trace), Some(_)) => self.opportunities(config, weather, trace, work),
            (_, Some(rate)) => {
                let rate = u128::from(rate.bits_per_second.max(1));
                let sum = self.remainder + work;
                self.remainder = sum % rate;
                let micros = u64::try_from(sum / rate).unwrap_or(u64::MAX);
                self.around_dips(config, weather, Duration::from_micros(micros))
            }
            (_, None) => self.around_dips(config, weather, Duration::ZERO),
        };
        self.free_at
    }

    /// It forgets all that it was given.
    pub(super) fn restart(&mut self, now: Duration) {
        *self = Self { free_at: now, ..Self::default() };
    }

    /// The end of work that begins now and takes a time in which no dip counts.
    fn around_dips(&self, config: &LinkConfig, weather: &Weather, mut work: Duration) -> Duration {
        let Some(dip) = config.dip else { return self.free_at + work };
        let mut at = self.free_at;
        loop {
            let (begin, end) = weather.dip(dip, at);
            let until = begin.saturating_sub(at);
            if at < begin && work <= until {
                return at + work;
            }
            work = work.saturating_sub(until);
            at = end;
        }
    }

    /// When the last byte goes out that a trace has to take.
    fn opportunities(
        &mut self,
        config: &LinkConfig,
        weather: &Weather,
        trace: Trace,
        work: u128,
    ) -> Duration {
        let offset = weather.offset(trace);
        let first = trace.first_from(self.free_at + offset);
        if first > self.opportunity {
            (self.opportunity, self.used) = (first, 0);
        }
        let mut bytes = u64::try_from(work.div_ceil(8_000_000)).unwrap_or(u64::MAX);
        let mut at = trace.at(self.opportunity) - offset;
        loop {
            let dips = config.dip.map(|dip| weather.dip(dip, at)).filter(|(begin, _)| *begin <= at);
            if let Some((_, end)) = dips {
                (self.opportunity, self.used) = (trace.first_from(end + offset), 0);
            } else if self.used == OPPORTUNITY {
                self.opportunity += 1;
                self.used = 0;
            } else {
                let taken = bytes.min(OPPORTUNITY - self.used);
                self.used += taken;
                bytes -= taken;
                if bytes == 0 {
                    return at;
                }
            }
            at = trace.at(self.opportunity) - offset;
        }
    }
}

/// The rate of a link that serves at a constant one, all the time.
pub(super) fn constant(config: &LinkConfig) -> Option<u64> {
    let rate = config.rate?.bits_per_second.max(1);
    (config.trace.is_none() && config.dip.is_none()).then_some(rate)
}

/// What is left to do of a packet that will be served after a time, in millionths of a bit; a trace begins a packet
/// anew.
pub(super) fn remaining(config: &LinkConfig, time: Duration) -> u128 {
    match (config.trace, config.rate) {
        (None, Some(rate)) => time.as_micros() * u128::from(rate.bits_per_second.max(1)),
        _ => u128::MAX,
    }
}

/// The first multiple of a time that is not before another; the time itself if it is not batched.
pub(super) fn batched(batch: Duration, served: Duration) -> Duration {
    match batch.as_nanos() {
        0 => served,
        batch => {
            Duration::from_nanos(u64::try_from(served.as_nanos().div_ceil(batch) * batch).unwrap_or(u64::MAX))
        }
    }
}
