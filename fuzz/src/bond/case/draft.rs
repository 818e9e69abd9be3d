//! Cases at random, and cases that differ a little from others.

use std::time::Duration;

use super::Case;
use crate::joined::{A, B};
use crate::rng::Rng;

/// What a case may have beside its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One flow of CUBIC, BBR or QUIC that is kept in order. Links up to 300 Mbit/s and 200 ms.
    OneFlow,
    /// Any traffic, in either direction, and events. Links up to 100 Mbit/s, to try more cases in the same time.
    Everything,
}

/// How long a case is, and what is left out.
const TIME: Duration = Duration::from_secs(30);
const WARM: Duration = Duration::from_secs(15);
/// A part of a link is drawn by one of these each.
const PARTS: [fn(&mut Rng, Scope) -> String; 12] =
    [rate, delay, loss, queue, wander, step, dip, batch, policer, breathe, rare, back];

/// A case that can be changed at random.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    scope: Scope,
    family: u64,
    /// Of each link its words, drawn by each of [`PARTS`].
    links: Vec<Vec<String>>,
    /// What is not links; its own links are not used.
    rest: Case,
    /// Words of events; what belongs together is one.
    events: Vec<Vec<String>>,
}

impl Draft {
    /// One at random.
    pub fn new(rng: &mut Rng, scope: Scope) -> Self {
        let most = if scope == Scope::OneFlow { 4 } else { 3 };
        let links: Vec<_> = (0..2 + rng.below(most)).map(|_| link(rng, scope)).collect();
        let seed = 1 + rng.below(1000);
        let rest = Case { time: TIME, warm: Some(WARM), seed, ..Case::new("") };
        let family = rng.next();
        let mut draft = Self { scope, family, links, rest, events: Vec::new() };
        draft.draw_traffic(rng);
        draft.draw_events(rng);
        draft
    }

    /// What all have in common that were made from the same one.
    pub const fn family(&self) -> u64 {
        self.family
    }

    /// Another one that differs in one to three respects.
    #[must_use]
    pub fn mutated(&self, rng: &mut Rng) -> Self {
        let mut draft = self.clone();
        for _ in 0..=rng.below(3) {
            let path = rng.index(draft.links.len());
            match rng.below(12) {
                0 if draft.links.len() < 5 => draft.links.push(link(rng, self.scope)),
                1 if draft.links.len() > 1 => draft.remove_link(path),
                2 => draft.draw_traffic(rng),
                3 | 4 => draft.draw_events(rng),
                5 => draft.rest.seed = 1 + rng.below(1000),
                6 => draft.links[path] = draft.links[rng.index(draft.links.len())].clone(),
                _ => {
                    let part = rng.index(PARTS.len());
                    draft.links[path][part] = PARTS[part](rng, self.scope);
                }
            }
        }
        draft
    }

    /// All that have one thing less.
    pub fn simpler(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut without = |change: &dyn Fn(&mut Self)| {
            let mut draft = self.clone();
            change(&mut draft);
            if draft != *self {
                all.push(draft);
            }
        };
        for path in (0..self.links.len()).filter(|_| self.links.len() > 1) {
            without(&|draft| draft.remove_link(path));
        }
        for event in 0..self.events.len() {
            without(&|draft| drop(draft.events.remove(event)));
        }
        without(&|draft| draft.rest.flows.truncate(1));
        without(&|draft| draft.rest.flows = vec!["cubic".into()]);
        without(&|draft| draft.rest.opposite.clear());
        without(&|draft| draft.rest.streams.clear());
        without(&|draft| draft.rest.paced.clear());
        without(&|draft| draft.rest.traffic.clear());
        without(&|draft| draft.rest.ping = false);
        without(&|draft| draft.rest.drift = 0);
        without(&|draft| draft.rest.from = A);
        // A link needs its rate and its delay.
        for (path, part) in
            (0..self.links.len()).flat_map(|path| (2..PARTS.len()).map(move |part| (path, part)))
        {
            without(&|draft| draft.links[path][part].clear());
        }
        all
    }

    /// The case.
    ///
    /// # Panics
    /// Never: what is drawn is in the grammar.
    pub fn case(&self) -> Case {
        let words = |link: &Vec<String>| {
            link.iter().filter(|words| !words.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let links: Vec<String> = self.links.iter().map(words).collect();
        let events = self.events.iter().flatten().map(|text| text.parse().expect("it is in the grammar"));
        let mut events: Vec<_> = events.collect();
        events.sort_by_key(|it: &super::Happening| it.at);
        Case { links: links.join(", "), events, ..self.rest.clone() }
    }

    fn remove_link(&mut self, path: usize) {
        self.links.remove(path);
        let last = self.links.len();
        // Events are about paths by number.
        self.events.retain(|events| {
            let number = |text: &String| text.split(' ').nth(2).and_then(|word| word.parse::<usize>().ok());
            events.iter().filter_map(number).all(|path| path < last)
        });
    }

    /// Mbit/s of the slowest link.
    fn least_rate(&self) -> f64 {
        let rate = |link: &Vec<String>| link[0].strip_suffix("mbit").and_then(|rate| rate.parse().ok());
        self.links.iter().filter_map(rate).fold(f64::INFINITY, f64::min)
    }

    fn draw_traffic(&mut self, rng: &mut Rng) {
        let name = |rng: &mut Rng| ["cubic", "bbr", "quic"][rng.index(3)].to_string();
        let most = self.least_rate() / 4.0;
        let rest = &mut self.rest;
        rest.flows = vec![name(rng)];
        if self.scope == Scope::OneFlow {
            return;
        }
        if rng.below(4) == 0 {
            rest.flows.extend((0..=rng.below(3)).map(|_| name(rng)).collect::<Vec<_>>());
        }
        rest.opposite = (0..u64::from(rng.below(5) == 0)).map(|_| name(rng)).collect();
        rest.ping = rng.below(4) == 0;
        // Beside it, not in its place.
        let mut rates = |rates: &[f64], chance| {
            let rate = rates[rng.index(rates.len())];
            if rng.below(chance) == 0 && rate <= most { vec![rate] } else { Vec::new() }
        };
        rest.streams = rates(&[0.1, 0.5, 2.0, 8.0], 4);
        rest.paced = rates(&[0.2, 1.0, 5.0], 8);
        rest.from = if rng.below(4) == 0 { B } else { A };
        rest.drift = [0, 0, 0, 0, 0, 0, 200, -500][rng.index(8)];
    }

    fn draw_events(&mut self, rng: &mut Rng) {
        self.events.clear();
        if self.scope == Scope::OneFlow || rng.below(2) == 0 {
            return;
        }
        for _ in 0..=rng.below(3) {
            let path = rng.index(self.links.len());
            let begin = 2.0 + rng.below(260) as f64 / 10.0;
            let ms = spread(rng, 3000);
            let end = begin + ms as f64 / 1000.0;
            let way = ["", "", " forward", " back"][rng.index(4)];
            self.events.push(match rng.below(6) {
                0 => vec![format!("{begin}s cut {path}"), format!("{end:.3}s mend {path}")],
                1 => vec![format!("{begin}s freeze {path}{way}"), format!("{end:.3}s mend {path}")],
                2 => vec![format!("{begin}s rate {path} {}{way}", spread(rng, 100))],
                3 => vec![format!("{begin}s delay {path} {}{way}", spread(rng, 200))],
                4 => vec![format!("{begin}s hold {path} {}{way}", ms.min(1000))],
                _ => vec![format!("{begin}s clock {} {}", path % 2, ms.min(1000))],
            });
        }
    }
}

fn link(rng: &mut Rng, scope: Scope) -> Vec<String> {
    PARTS.iter().map(|part| part(rng, scope)).collect()
}

/// From 1 to `most`, each power of two about as often as any other.
fn spread(rng: &mut Rng, most: u64) -> u64 {
    loop {
        let octave = 1 << rng.below(u64::from(most.ilog2()) + 1);
        let value = octave + rng.below(octave);
        if value <= most {
            return value;
        }
    }
}

/// Words in one of so many cases, else none.
fn one_in(rng: &mut Rng, count: u64, words: impl FnOnce(&mut Rng) -> String) -> String {
    if rng.below(count) == 0 { words(rng) } else { String::new() }
}

fn rate(rng: &mut Rng, scope: Scope) -> String {
    format!("{}mbit", spread(rng, if scope == Scope::OneFlow { 300 } else { 100 }))
}

fn delay(rng: &mut Rng, _: Scope) -> String {
    format!("{}ms", spread(rng, 200))
}

fn loss(rng: &mut Rng, _: Scope) -> String {
    match rng.below(4) {
        0 => format!("{}.{}%", rng.below(5), rng.below(10)),
        1 => format!("{}.{}% burst {}", rng.below(5), 1 + rng.below(9), 2 + rng.below(7)),
        _ => String::new(),
    }
}

fn queue(rng: &mut Rng, _: Scope) -> String {
    one_in(rng, 4, |rng| format!("queue {}ms", 10 + spread(rng, 1000)))
}

fn wander(rng: &mut Rng, _: Scope) -> String {
    one_in(rng, 3, |rng| {
        let deviation = spread(rng, 20);
        let each = [1, 3, 10, 30, 100][rng.index(5)];
        let shape = ["", "", " heavy", " smooth", " heavy smooth"][rng.index(5)];
        let reorder = one_in(rng, 5, |_| " reorder".into());
        match rng.below(5) {
            0 => format!("wander {deviation}ms{reorder}"),
            _ => format!("wander {deviation}ms each {each}ms{shape}{reorder}"),
        }
    })
}

fn step(rng: &mut Rng, _: Scope) -> String {
    one_in(rng, 8, |rng| format!("step {}ms each {}s", spread(rng, 40), 3 + rng.below(12)))
}

fn dip(rng: &mut Rng, _: Scope) -> String {
    one_in(rng, 8, |rng| {
        let shortest = 20 + rng.below(200);
        format!("dip {shortest}ms-{}ms each {}s", shortest + 1 + rng.below(300), 3 + rng.below(12))
    })
}

fn batch(rng: &mut Rng, _: Scope) -> String {
    one_in(rng, 6, |rng| format!("batch {}ms", spread(rng, 15)))
}

fn policer(rng: &mut Rng, _: Scope) -> String {
    one_in(rng, 12, |rng| {
        let bucket = ["5packets", "30kB", "200kB", "2MB"][rng.index(4)];
        format!("policer {}mbit {bucket}", spread(rng, 60))
    })
}

fn breathe(rng: &mut Rng, _: Scope) -> String {
    one_in(rng, 8, |rng| format!("breathe {}%", 10 * (1 + rng.below(6))))
}

/// What links seldom do.
fn rare(rng: &mut Rng, scope: Scope) -> String {
    if scope == Scope::OneFlow {
        return String::new();
    }
    // No damage: the checks that drop it are those of hosts, which the bench does not have.
    one_in(rng, 8, |rng| match rng.below(3) {
        0 => format!("duplicate 0.{}%", 1 + rng.below(9)),
        1 => format!("straggle {}% {}ms", 1 + rng.below(3), spread(rng, 100)),
        _ => format!("swap {}ms each {}ms", spread(rng, 60), 200 + rng.below(1000)),
    })
}

fn back(rng: &mut Rng, scope: Scope) -> String {
    if scope == Scope::OneFlow {
        return String::new();
    }
    one_in(rng, 5, |rng| format!("back {}mbit", spread(rng, 40)))
}
