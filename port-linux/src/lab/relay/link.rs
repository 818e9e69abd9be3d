//! How a link is described: `20mbit 80ms 2ms 1% burst 5 queue 150ms`, in the order and the units of tc-netem.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::lab::rate::Rate;
use crate::lab::topology::MAX_LINKS;

/// What a description looks like, for errors.
const FORM: &str = "a link is written RATE DELAY [JITTER] [LOSS%] [burst PACKETS] [queue TIME], such as `20mbit 80ms 2ms 1%`";

/// Queue of a link that is told none: what passes in this time. Home routers and modems have 100 to 300 ms.
const QUEUE: Duration = Duration::from_millis(150);

/// The longest delay or queue: more than to a satellite and back.
const LONGEST: Duration = Duration::from_secs(1);

/// The fastest link: what one thread can still pass on to the microsecond.
const FASTEST: u64 = 1_000_000_000;

/// A link that loses more is no link.
const MOST_LOSS: f64 = 50.0;

/// The longest mean of a burst of losses.
const LONGEST_BURST: f64 = 1000.0;

/// A link, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Bits per second on the wire of an Ethernet.
    pub rate: Rate,
    /// From the end of the queue to the other host.
    pub delay: Duration,
    /// The delay of each packet differs from [`delay`](Self::delay) by at most this, evenly spread; but no packet
    /// overtakes another.
    pub jitter: Duration,
    /// Which packets are lost.
    pub loss: Loss,
    /// What may wait: as much as passes in this time. What does not fit is dropped.
    pub queue: Duration,
}

/// Losses of a link, after its queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Part of the packets, 0 to 0.5.
    pub share: f64,
    /// Mean number of packets that are lost in a row (Gilbert's model); `None`: each by itself.
    pub burst: Option<f64>,
}

impl Link {
    /// The rate that losses leave, in bits per second.
    pub fn passes(&self) -> f64 {
        self.rate.bits_per_second() as f64 * (1.0 - self.loss.share)
    }
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let rate: Rate = words.next().ok_or_else(|| format!("there is nothing; {FORM}"))?.parse()?;
        if rate.bits_per_second() > FASTEST {
            return Err(format!("{rate} is too fast for the relay: at most 1gbit"));
        }
        let delay = words.next().ok_or_else(|| format!("the one-way delay is missing; {FORM}"))?;
        let delay = time(delay)?;
        let (mut jitter, mut share, mut burst, mut queue) = (None, None, None, None);
        while let Some(word) = words.next() {
            let mut argument = || words.next().ok_or_else(|| format!("nothing after `{word}`; {FORM}"));
            let again = match word {
                "burst" => burst.replace(packets(argument()?)?).is_some(),
                "queue" => queue.replace(time(argument()?)?).is_some(),
                _ if word.ends_with('%') => share.replace(percent(word)?).is_some(),
                _ if word.starts_with(|first: char| first.is_ascii_digit()) => {
                    jitter.replace(time(word)?).is_some()
                }
                _ => return Err(format!("`{word}` is not known; {FORM}")),
            };
            if again {
                return Err(format!("`{word}` comes after another of its kind; {FORM}"));
            }
        }
        let jitter = jitter.unwrap_or_default();
        if jitter > delay {
            return Err(
                "the jitter is longer than the delay: a packet would arrive before it left".to_owned()
            );
        }
        if burst.is_some() && share.is_none() {
            return Err(format!("`burst` needs a loss; {FORM}"));
        }
        if queue.is_some_and(|queue| queue.is_zero()) {
            return Err("a queue of 0 takes no packet".to_owned());
        }
        let loss = Loss { share: share.unwrap_or(0.0), burst };
        Ok(Self { rate, delay, jitter, loss, queue: queue.unwrap_or(QUEUE) })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.rate, self.delay)?;
        if !self.jitter.is_zero() {
            write!(f, " {:?}", self.jitter)?;
        }
        if self.loss.share > 0.0 {
            write!(f, " {}%", tidy(self.loss.share * 100.0))?;
        }
        if let Some(burst) = self.loss.burst {
            write!(f, " burst {burst}")?;
        }
        if self.queue != QUEUE {
            write!(f, " queue {:?}", self.queue)?;
        }
        Ok(())
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Several links, separated by commas: one for each path.
#[derive(Debug, Clone, PartialEq)]
pub struct Links(pub Vec<Link>);

impl FromStr for Links {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |(index, text): (usize, &str)| {
            let link = text.parse::<Link>();
            link.map_err(|error| format!("link {}, `{}`: {error}", index + 1, text.trim()))
        };
        let links = text.split(',').enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
        if links.len() > usize::from(MAX_LINKS) {
            return Err(format!("{} links: at most {MAX_LINKS} are possible", links.len()));
        }
        Ok(Self(links))
    }
}

/// A time with its unit: `80ms`, `2.5ms`, `500us`, `1s`.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return Err(format!("`{text}` is not a time such as 80ms, 2.5ms, 500us or 1s")),
    };
    let seconds: f64 = digits.parse().map_err(|_| format!("`{text}` is not a time such as 80ms or 2.5ms"))?;
    // To the microsecond, so that what is printed is what was written.
    let microseconds = (seconds * unit * 1e6).round();
    if (0.0..=LONGEST.as_secs_f64() * 1e6).contains(&microseconds) {
        Ok(Duration::from_secs_f64(microseconds / 1e6))
    } else {
        Err(format!("`{text}` is not from 0 to {LONGEST:?}"))
    }
}

/// A share in per cent, as a part of 1.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (0.0..=MOST_LOSS).contains(&percent) => Ok(percent / 100.0),
        _ => Err(format!("`{text}` is not a loss from 0% to {MOST_LOSS}%")),
    }
}

/// Mean length of a burst.
fn packets(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(packets) if (1.0..=LONGEST_BURST).contains(&packets) => Ok(packets),
        _ => Err(format!("`{text}` is not a mean number of packets from 1 to {LONGEST_BURST}")),
    }
}

/// Without the noise of a division: 0.1, not 0.10000000000000002.
fn tidy(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> Link {
        text.parse().expect(text)
    }

    fn refused(text: &str) -> String {
        text.parse::<Links>().expect_err(text)
    }

    #[test]
    fn three_links_are_read_in_their_order() {
        let Links(links) = "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%".parse().expect("links");
        let rates: Vec<u64> = links.iter().map(|link| link.rate.bits_per_second() / 1_000_000).collect();
        let delays: Vec<u128> = links.iter().map(|link| link.delay.as_millis()).collect();
        assert_eq!((rates, delays), (vec![100, 50, 20], vec![5, 30, 80]));
        assert_eq!(links[2].loss, Loss { share: 0.01, burst: None });
        assert!(links.iter().all(|link| link.queue == QUEUE && link.jitter.is_zero()));
    }

    #[test]
    fn a_link_is_written_as_it_was_read() {
        for text in ["100mbit 5ms", "20mbit 80ms 2.5ms 0.1% burst 5 queue 300ms", "64kbit 500µs 7%"] {
            let text = text.replace("µs", "us");
            let again = link(&text).to_string().replace('µ', "u");
            assert_eq!(again, text);
            assert_eq!(link(&again), link(&text));
        }
    }

    #[test]
    fn a_second_time_is_the_jitter_wherever_it_stands() {
        assert_eq!(link("1mbit 80ms 2ms 1%"), link("1mbit 80ms 1% 2ms"));
        assert_eq!(link("1mbit 80ms 2ms").jitter, Duration::from_millis(2));
    }

    #[test]
    fn an_error_says_which_link_what_was_found_and_what_is_allowed() {
        for (text, found, allowed) in [
            ("100mbit 5ms, 50mbit", "link 2, `50mbit`: the one-way delay is missing", FORM),
            ("100mb 5ms", "link 1, `100mb 5ms`: `100mb` is not a rate", "100mbit"),
            ("10gbit 5ms", "10gbit is too fast", "1gbit"),
            ("1mbit 5", "`5` is not a time", "80ms"),
            ("1mbit 5s", "`5s` is not from 0", "1s"),
            ("1mbit 5ms 60%", "`60%` is not a loss", "50%"),
            ("1mbit 5ms 1% 2%", "`2%` comes after another", FORM),
            ("1mbit 5ms 6ms", "jitter is longer", "arrive"),
            ("1mbit 5ms burst 5", "`burst` needs a loss", FORM),
            ("1mbit 5ms 1% burst 0", "`0` is not a mean number", "1 to 1000"),
            ("1mbit 5ms queue", "nothing after `queue`", FORM),
            ("1mbit 5ms queue 0ms", "takes no packet", "queue"),
            ("1mbit 5ms loose", "`loose` is not known", FORM),
            ("1mbit 5ms,", "link 2, ``: there is nothing", FORM),
            ("1mbit NaNms", "not", "time"),
        ] {
            let error = refused(text);
            assert!(error.contains(found) && error.contains(allowed), "{text}: {error}");
        }
        let many = vec!["1mbit 1ms"; 17].join(",");
        assert!(refused(&many).contains("17 links: at most 16"), "{}", refused(&many));
    }
}
