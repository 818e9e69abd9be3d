//! One direction as words.

use std::time::Duration;

use super::units::{bucket_text, rate_text, share_text, size_text, time_text};
use super::{QUEUE, queue_bytes, units::LONGEST};
use crate::config::{Dip, LinkConfig, Loss, Policer, Rate, Step, Straggle, Swap, Wander};
use crate::trace::Source;

/// The words of a direction; with `base`, only those that make it differ from that.
pub(super) fn words(config: &LinkConfig, base: Option<&LinkConfig>) -> Vec<String> {
    let plain = LinkConfig::default();
    let mut words = Vec::new();
    // Of each kind the words, those of the base, and what takes them away.
    for (kind, none) in KINDS {
        let (this, that) = (kind(config), base.map_or_else(|| kind(&plain), kind));
        if this != that {
            words.push(this.unwrap_or_else(|| (*none).to_owned()));
        }
    }
    words
}

type Kind = (fn(&LinkConfig) -> Option<String>, &'static str);

const KINDS: &[Kind] = &[
    (|it| speed(it).map(|(rate, _)| rate), "1bit"),
    (|it| speed(it).and_then(|(_, breathe)| breathe), "breathe 0%"),
    (|it| some_time("", it.delay), "0ms"),
    (|it| some_time("jitter ", it.jitter), "jitter 0ms"),
    (|it| some_share("", it.loss.share()), "0%"),
    (|it| burst(it.loss), "burst 1"),
    (|it| it.rate.and_then(queue), "queue 150ms"),
    (|it| it.wander.map(wander), "wander none"),
    (|it| it.reorder.then(|| "reorder".to_owned()), "reorder none"),
    (|it| it.step.map(step), "step none"),
    (|it| it.dip.map(dip), "dip none"),
    (|it| some_time("batch ", it.batch), "batch none"),
    (|it| it.policer.map(policer), "policer none"),
    (|it| some_share("duplicate ", it.duplicate), "duplicate none"),
    (|it| some_share("corrupt ", it.corrupt), "corrupt none"),
    (|it| straggle(it.straggle), "straggle none"),
    (|it| it.swap.map(swap), "swap none"),
];

fn speed(config: &LinkConfig) -> Option<(String, Option<String>)> {
    let rate = config.rate?.bits_per_second;
    Some(match config.trace.map(crate::Trace::source) {
        None => (rate_text(rate), None),
        Some(Source::File(path)) => (format!("trace {path}"), None),
        Some(Source::Made(bits, variability)) => {
            (rate_text(*bits), Some(format!("breathe {}", share_text(*variability))))
        }
    })
}

fn queue(rate: Rate) -> Option<String> {
    let of = |time| queue_bytes(rate.bits_per_second, time) == rate.queue;
    if of(QUEUE) {
        return None;
    }
    let micros = (rate.queue as u64).saturating_mul(8_000_000).div_ceil(rate.bits_per_second.max(1));
    let time = [micros.next_multiple_of(1000), micros]
        .map(Duration::from_micros)
        .into_iter()
        .find(|time| *time <= LONGEST && of(*time));
    Some(format!("queue {}", time.map_or_else(|| size_text(rate.queue as u64), time_text)))
}

fn burst(loss: Loss) -> Option<String> {
    match loss {
        Loss::Bursts { length, .. } => Some(format!("burst {length}")),
        Loss::None | Loss::Random(_) => None,
    }
}

fn wander(wander: Wander) -> String {
    let mut text = format!("wander {}", time_text(wander.deviation));
    if !wander.each.is_zero() {
        text += &format!(" each {}", time_text(wander.each));
    }
    for (is_set, word) in [(wander.heavy, " heavy"), (wander.smooth, " smooth")] {
        text += if is_set { word } else { "" };
    }
    text
}

fn step(step: Step) -> String {
    format!("step {} each {}", time_text(step.within), time_text(step.each))
}

fn dip(dip: Dip) -> String {
    let (shortest, longest, each) = (time_text(dip.shortest), time_text(dip.longest), time_text(dip.each));
    if shortest == longest {
        format!("dip {longest} each {each}")
    } else {
        format!("dip {shortest}-{longest} each {each}")
    }
}

fn policer(policer: Policer) -> String {
    format!("policer {} {}", rate_text(policer.bits_per_second), bucket_text(policer.bucket))
}

fn straggle(straggle: Straggle) -> Option<String> {
    (straggle != Straggle::default())
        .then(|| format!("straggle {} {}", share_text(straggle.share), time_text(straggle.by)))
}

fn swap(swap: Swap) -> String {
    format!("swap {} each {}", time_text(swap.block), time_text(swap.each))
}

fn some_time(word: &str, time: Duration) -> Option<String> {
    (!time.is_zero()).then(|| format!("{word}{}", time_text(time)))
}

fn some_share(word: &str, share: u32) -> Option<String> {
    (share > 0).then(|| format!("{word}{}", share_text(share)))
}
