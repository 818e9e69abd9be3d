//! A link as text. The grammar is in `docs/links.md`.

mod units;
mod words;
mod write;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::FULL_FRAME;
use crate::config::LinkConfig;
use crate::presets::{preset, presets};
use words::Words;

/// What may be written, for the help of a command.
pub const GRAMMAR: &str = "\
A link is a rate (100mbit) or `trace FILE` (a line for each 1,500 bytes, its time in ms, as
mahimahi has it), and what is wanted of these, in any order:
  20ms 2ms              one-way delay; each packet differs by at most the second time
  1% burst 5            loss; mean number of packets lost in a row (1)
  queue 300ms           what waits at most, as a time or in bytes: 64kB (150ms)
  wander 5ms each 10ms  standard deviation of the delay, drawn anew each 10 ms (for each packet);
                        then `heavy` (a heavy tail) or `smooth` (it drifts in that time)
  reorder               packets may overtake each other
  step 20ms each 15s    each 15 s the delay takes another value within 20 ms of its mean
  dip 100ms-300ms each 15s   nothing is served for such a time; the queue holds
  batch 8ms             packets leave the queue together at multiples of 8 ms
  policer 30mbit 2MB    a token bucket that drops, in bytes or packets: 5packets
  breathe 40%           the rate varies: its standard deviation as a part of its mean
  duplicate 0.1%        packets that arrive twice
  corrupt 0.1%          packets with a byte changed
  straggle 1% 60ms      packets that arrive later by that, overtaken
  swap 60ms each 1s     blocks of packets that change places
  back 10mbit ...       how the other direction differs; without it both are alike
In place of a rate, a preset: dsl, cable, fibre, lte, lte-driving, 5g, starlink, geo, wifi, train.
Words behind it override it (lte queue 400ms); `none` takes one away (starlink dip none).";

/// How long packets wait in a queue at most that is told nothing: home routers and modems have 100 to 300 ms.
const QUEUE: Duration = Duration::from_millis(150);
/// However slow a link, its queue holds so many full packets: below that TCP cannot work.
const LEAST_QUEUE: u64 = 8;

/// A link with two directions. Its text form is the grammar of `docs/links.md`: what [`Display`](fmt::Display) writes
/// parses to the same link, but for what has no word ([`LinkConfig::overhead`], [`crate::Rate::mark_above`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkSpec {
    /// From the sender of the flow that is measured to its receiver.
    pub forward: LinkConfig,
    /// The way of its acknowledgements.
    pub back: LinkConfig,
}

impl LinkSpec {
    /// The same in both directions.
    pub const fn symmetric(config: LinkConfig) -> Self {
        Self { forward: config, back: config }
    }

    /// With packets that are this much longer on the link than what is offered.
    #[must_use]
    pub const fn with_overhead(mut self, bytes: usize) -> Self {
        self.forward.overhead = bytes;
        self.back.overhead = bytes;
        self
    }
}

/// Links that are separated by commas.
///
/// # Errors
/// A link is written wrong: the text says which link, what was found and what is allowed.
pub fn links(text: &str) -> Result<Vec<LinkSpec>, String> {
    let one = |(index, text): (usize, &str)| {
        let link = text.parse::<LinkSpec>();
        link.map_err(|error| format!("link {}, `{}`: {error}", index + 1, text.trim()))
    };
    text.split(',').enumerate().map(one).collect()
}

/// Bytes of a queue that a rate empties in a time; at least eight full packets.
pub fn queue_bytes(bits_per_second: u64, time: Duration) -> usize {
    let bytes = u128::from(bits_per_second) * time.as_micros() / 8_000_000;
    usize::try_from(bytes.max(u128::from(LEAST_QUEUE * FULL_FRAME))).unwrap_or(usize::MAX)
}

impl FromStr for LinkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let [forward, back] = directions(text)?;
        let back = back.over(forward).finish().map_err(|error| format!("on the way back: {error}"));
        Ok(Self { forward: forward.finish()?, back: back? })
    }
}

impl fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A second time is the jitter, and there is always a first.
        write!(f, "{}", write::words(&self.forward, None).join(" ").replace(" jitter ", " "))?;
        let back = write::words(&self.back, Some(&self.forward));
        if back.is_empty() { Ok(()) } else { write!(f, " back {}", back.join(" ")) }
    }
}

/// The words of each direction.
fn directions(text: &str) -> Result<[Words; 2], String> {
    let all: Vec<&str> = text.split_whitespace().collect();
    let mut parts = all.split(|word| *word == "back");
    let (mut there, back) = (parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() {
        return Err("`back` stands twice".to_owned());
    }
    if back.is_some_and(<[&str]>::is_empty) {
        return Err("nothing after `back`: it wants what is different in the other direction".to_owned());
    }
    let first = *there.first().ok_or_else(|| format!("there is nothing; {}", begins()))?;
    let back = Words::parse(back.unwrap_or_default())?;
    let Some(preset) = preset(first) else {
        let forward = Words::parse(there)?;
        if !first.starts_with(|first: char| first.is_ascii_digit()) && first != "trace" || !forward.has_rate()
        {
            return Err(format!("`{first}` is no rate; {}", begins()));
        }
        return Ok([forward, back]);
    };
    there = &there[1..];
    let [of_preset, back_of_preset] = directions(preset.text)?;
    let forward = Words::parse(there)?;
    Ok([forward.over(of_preset), back.over(back_of_preset)])
}

fn begins() -> String {
    let names: Vec<&str> = presets().iter().map(|preset| preset.name).collect();
    format!("a link begins with a rate such as 20mbit, `trace FILE` or one of {}", names.join(", "))
}

#[cfg(test)]
mod tests;
