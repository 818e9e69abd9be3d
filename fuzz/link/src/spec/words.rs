//! The words that describe one direction.

use std::iter::Peekable;
use std::time::Duration;

use super::{QUEUE, queue_bytes, units};
use crate::config::{Dip, LinkConfig, Loss, Policer, Rate, Step, Straggle, Swap, Wander};
use crate::rng::MILLION;
use crate::trace::Trace;

/// What words say of one direction: `None` is what they leave open, `Some(None)` what they take away.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Words {
    rate: Option<Speed>,
    breathe: Option<u32>,
    delay: Option<Duration>,
    jitter: Option<Duration>,
    loss: Option<u32>,
    burst: Option<u32>,
    queue: Option<Queue>,
    wander: Option<Option<Wander>>,
    step: Option<Option<Step>>,
    dip: Option<Option<Dip>>,
    policer: Option<Option<Policer>>,
    swap: Option<Option<Swap>>,
    straggle: Option<Straggle>,
    batch: Option<Duration>,
    duplicate: Option<u32>,
    corrupt: Option<u32>,
    reorder: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
enum Speed {
    Constant(u64),
    Trace(Trace),
}

#[derive(Debug, Clone, Copy)]
enum Queue {
    Time(Duration),
    Bytes(u64),
}

/// Words that have not been read.
struct Rest<'a, I: Iterator<Item = &'a str>>(Peekable<I>);

impl<'a, I: Iterator<Item = &'a str>> Rest<'a, I> {
    /// What stands behind a word that wants something.
    fn after(&mut self, word: &str, wanted: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("nothing after `{word}`, which wants {wanted}"))
    }

    /// Reads what stands behind a word, unless that is `none`.
    fn unless_none<T>(
        &mut self,
        word: &str,
        wanted: &str,
        read: impl FnOnce(&mut Self, &'a str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.after(word, wanted)? {
            "none" => Ok(None),
            next => read(self, next).map(Some),
        }
    }

    /// The period behind `each`.
    fn each(&mut self, word: &str, wanted: &str) -> Result<Duration, String> {
        match self.after(word, wanted)? {
            "each" => units::period(self.after("each", "a time such as 15s")?),
            other => Err(format!("`{other}` stands where `{word}` wants `each`: it wants {wanted}")),
        }
    }
}

impl Words {
    /// Reads the words of one direction.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut read = Self::default();
        let mut rest = Rest(words.iter().copied().peekable());
        while let Some(word) = rest.0.next() {
            if read.take(word, &mut rest)? {
                return Err(format!("`{word}` comes after another of its kind"));
            }
        }
        Ok(read)
    }

    /// Takes one word and what belongs to it; returns whether there was one of its kind before.
    fn take<'a>(
        &mut self,
        word: &str,
        rest: &mut Rest<'a, impl Iterator<Item = &'a str>>,
    ) -> Result<bool, String> {
        Ok(match word {
            "trace" => {
                let trace = Trace::open(rest.after(word, "a file")?)?;
                self.rate.replace(Speed::Trace(trace)).is_some()
            }
            "breathe" => {
                let share = rest.after(word, "a share such as 40%")?;
                self.breathe.replace(units::share_up_to(share, MILLION)?).is_some()
            }
            "jitter" => self.jitter.replace(units::time(rest.after(word, "a time such as 2ms")?)?).is_some(),
            "burst" => self.burst.replace(units::burst(rest.after(word, "a number of packets")?)?).is_some(),
            "queue" => self.queue.replace(queue(rest.after(word, "a time or a size")?)?).is_some(),
            "wander" => self.wander.replace(wander(rest)?).is_some(),
            "step" => self.step.replace(step(rest)?).is_some(),
            "dip" => self.dip.replace(dip(rest)?).is_some(),
            "policer" => self.policer.replace(policer(rest)?).is_some(),
            "swap" => self.swap.replace(swap(rest)?).is_some(),
            "straggle" => self.straggle.replace(straggle(rest)?).is_some(),
            "batch" => {
                let batch = rest.unless_none(word, "a time such as 8ms", |_, text| units::time(text))?;
                self.batch.replace(batch.unwrap_or_default()).is_some()
            }
            "duplicate" => self.duplicate.replace(share(word, rest)?).is_some(),
            "corrupt" => self.corrupt.replace(share(word, rest)?).is_some(),
            "reorder" => {
                let is_kept = rest.0.next_if(|word| *word == "none").is_some();
                self.reorder.replace(!is_kept).is_some()
            }
            _ if word.ends_with('%') => self.loss.replace(units::share(word)?).is_some(),
            _ if word.to_ascii_lowercase().ends_with("bit") => {
                self.rate.replace(Speed::Constant(units::rate(word)?)).is_some()
            }
            _ if word.starts_with(|first: char| first.is_ascii_digit()) => self.bare_time(units::time(word)?),
            _ => {
                return Err(format!(
                    "`{word}` is not known; allowed are a rate, `trace`, times, a loss in %, `jitter`, `burst`, `queue`, \
                     `wander`, `reorder`, `step`, `dip`, `batch`, `policer`, `breathe`, `duplicate`, `corrupt`, \
                     `straggle`, `swap` and `back`"
                ));
            }
        })
    }

    /// The first time is the delay, the second the jitter.
    fn bare_time(&mut self, time: Duration) -> bool {
        if self.delay.is_none() {
            self.delay = Some(time);
            return false;
        }
        self.jitter.replace(time).is_some()
    }

    /// Whether there is a rate or a trace among them.
    pub(super) const fn has_rate(&self) -> bool {
        self.rate.is_some()
    }

    /// These words where they say something, else those.
    pub(super) fn over(self, under: Self) -> Self {
        Self {
            rate: self.rate.or(under.rate),
            breathe: self.breathe.or(under.breathe),
            delay: self.delay.or(under.delay),
            jitter: self.jitter.or(under.jitter),
            loss: self.loss.or(under.loss),
            burst: self.burst.or(under.burst),
            queue: self.queue.or(under.queue),
            wander: self.wander.or(under.wander),
            step: self.step.or(under.step),
            dip: self.dip.or(under.dip),
            policer: self.policer.or(under.policer),
            swap: self.swap.or(under.swap),
            straggle: self.straggle.or(under.straggle),
            batch: self.batch.or(under.batch),
            duplicate: self.duplicate.or(under.duplicate),
            corrupt: self.corrupt.or(under.corrupt),
            reorder: self.reorder.or(under.reorder),
        }
    }

    /// What the words mean together.
    pub(super) fn finish(self) -> Result<LinkConfig, String> {
        let (delay, jitter) = (self.delay.unwrap_or_default(), self.jitter.unwrap_or_default());
        if jitter > delay {
            return Err(format!(
                "the jitter, {}, is longer than the delay, {}: a packet would arrive before it left",
                units::time_text(jitter),
                units::time_text(delay)
            ));
        }
        if self.burst.is_some_and(|burst| burst > 1) && self.loss.unwrap_or(0) == 0 {
            return Err("`burst` needs a loss such as 1%".to_owned());
        }
        let (bits_per_second, trace) = self.speed()?;
        let queue = match self.queue.unwrap_or(Queue::Time(QUEUE)) {
            Queue::Time(time) => queue_bytes(bits_per_second, time),
            Queue::Bytes(bytes) => {
                usize::try_from(bytes).unwrap_or(usize::MAX).max(queue_bytes(0, Duration::ZERO))
            }
        };
        Ok(LinkConfig {
            delay,
            jitter,
            reorder: self.reorder.unwrap_or(false),
            overhead: 0,
            rate: Some(Rate { bits_per_second, queue, mark_above: None }),
            trace,
            policer: self.policer.flatten(),
            dip: self.dip.flatten(),
            batch: self.batch.unwrap_or_default(),
            loss: Loss::new(self.loss.unwrap_or(0), self.burst.unwrap_or(1)),
            duplicate: self.duplicate.unwrap_or(0),
            straggle: self.straggle.unwrap_or_default(),
            wander: self.wander.flatten(),
            step: self.step.flatten(),
            swap: self.swap.flatten(),
            corrupt: self.corrupt.unwrap_or(0),
            mtu: None,
        })
    }

    /// The mean rate, and its course if it is not constant.
    fn speed(self) -> Result<(u64, Option<Trace>), String> {
        let variability = self.breathe.unwrap_or(0);
        match self.rate.ok_or("there is no rate")? {
            Speed::Constant(bits) if variability == 0 => Ok((bits, None)),
            Speed::Constant(bits) => {
                let trace = Trace::made(bits, variability)?;
                Ok((trace.mean(), Some(trace)))
            }
            Speed::Trace(_) if variability != 0 => {
                Err("`breathe` is for a rate; a trace varies as it was recorded".to_owned())
            }
            Speed::Trace(trace) => Ok((trace.mean(), Some(trace))),
        }
    }
}

fn queue(text: &str) -> Result<Queue, String> {
    let queue = if text.ends_with('B') {
        units::size(text).map(Queue::Bytes)
    } else {
        units::time(text).map(Queue::Time)
    };
    match queue {
        Ok(Queue::Time(Duration::ZERO)) => Err("a queue of 0 takes no packet".to_owned()),
        Err(error) => Err(format!("{error}, or a size such as 64kB, for the queue")),
        Ok(queue) => Ok(queue),
    }
}

fn share<'a>(word: &str, rest: &mut Rest<'a, impl Iterator<Item = &'a str>>) -> Result<u32, String> {
    let share = rest.unless_none(word, "a share such as 0.1%", |_, text| units::share(text));
    Ok(share?.unwrap_or(0))
}

fn wander<'a>(rest: &mut Rest<'a, impl Iterator<Item = &'a str>>) -> Result<Option<Wander>, String> {
    rest.unless_none("wander", "a time such as 5ms", |rest, text| {
        let mut wander =
            Wander { deviation: units::time(text)?, each: Duration::ZERO, heavy: false, smooth: false };
        let follows = |word: &&str| ["each", "heavy", "smooth"].contains(word);
        while let Some(word) = rest.0.next_if(follows) {
            match word {
                "heavy" => wander.heavy = true,
                "smooth" => wander.smooth = true,
                _ => wander.each = units::period(rest.after("each", "a time such as 10ms")?)?,
            }
        }
        if wander.smooth && wander.each.is_zero() {
            return Err("`smooth` needs a correlation time: wander 5ms each 100ms smooth".to_owned());
        }
        Ok(wander)
    })
    .map(|wander| wander.filter(|wander| !wander.deviation.is_zero()))
}

fn step<'a>(rest: &mut Rest<'a, impl Iterator<Item = &'a str>>) -> Result<Option<Step>, String> {
    let form = "a time and a period such as 20ms each 15s";
    rest.unless_none("step", form, |rest, text| {
        Ok(Step { within: units::time(text)?, each: rest.each("step", form)? })
    })
}

fn dip<'a>(rest: &mut Rest<'a, impl Iterator<Item = &'a str>>) -> Result<Option<Dip>, String> {
    let form = "a time and a period such as 200ms each 15s or 100ms-300ms each 15s";
    rest.unless_none("dip", form, |rest, text| {
        let (shortest, longest) = units::times(text)?;
        let each = rest.each("dip", form)?;
        if longest < each {
            Ok(Dip { shortest, longest, each })
        } else {
            Err(format!(
                "a dip of {} each {} leaves nothing",
                units::time_text(longest),
                units::time_text(each)
            ))
        }
    })
}

fn policer<'a>(rest: &mut Rest<'a, impl Iterator<Item = &'a str>>) -> Result<Option<Policer>, String> {
    let form = "a rate and a bucket such as 30mbit 2MB or 30mbit 5packets";
    rest.unless_none("policer", form, |rest, text| {
        let bits_per_second = units::rate(text)?;
        Ok(Policer { bits_per_second, bucket: units::bucket(rest.after("policer", form)?)? })
    })
}

fn swap<'a>(rest: &mut Rest<'a, impl Iterator<Item = &'a str>>) -> Result<Option<Swap>, String> {
    let form = "a time and a period such as 60ms each 1s";
    rest.unless_none("swap", form, |rest, text| {
        let swap = Swap { block: units::time(text)?, each: rest.each("swap", form)? };
        if 2 * swap.block <= swap.each {
            Ok(swap)
        } else {
            Err("two blocks of `swap` must fit into its period".to_owned())
        }
    })
}

fn straggle<'a>(rest: &mut Rest<'a, impl Iterator<Item = &'a str>>) -> Result<Straggle, String> {
    let form = "a share and a time such as 1% 60ms";
    let straggle = rest.unless_none("straggle", form, |rest, text| {
        Ok(Straggle { share: units::share(text)?, by: units::time(rest.after("straggle", form)?)? })
    });
    Ok(straggle?.unwrap_or_default())
}
