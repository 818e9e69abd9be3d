//! The links that the relay emulates, written as `docs/links.md` has it.

use std::fmt;
use std::str::FromStr;

use mpt_link::{LinkSpec, LinkStats};
use serde::{Serialize, Serializer};

use crate::limit::FRAME_OVERHEAD;

/// The most links that can be built: a connection has at most 16 paths.
pub const MAX_LINKS: u8 = 16;

/// The fastest link: what one thread can still pass on to the microsecond.
const FASTEST: u64 = 1_000_000_000;

/// A link whose packets take as long on the wire as they do on Ethernet, with preamble, check sequence and gap, so that
/// the arithmetic of [`crate::limit`] holds. Forward is from PC1 to PC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link(LinkSpec);

impl Link {
    /// What it does in each direction.
    pub const fn spec(&self) -> &LinkSpec {
        &self.0
    }

    /// The rate that losses, dips and policers leave of the forward direction, in bits per second.
    pub fn passes(&self) -> f64 {
        self.0.forward.delivered() as f64
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Several links, separated by commas: one for each path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links(pub Vec<Link>);

impl FromStr for Links {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let specs = mpt_link::links(text)?;
        if specs.len() > usize::from(MAX_LINKS) {
            return Err(format!("{} links: at most {MAX_LINKS} are possible", specs.len()));
        }
        for (number, link) in (1..).zip(&specs) {
            let rates = [link.forward, link.back].map(|it| it.rate.map_or(0, |rate| rate.bits_per_second));
            if rates.into_iter().any(|rate| rate > FASTEST) {
                return Err(format!(
                    "link {number}, `{link}`: too fast for the relay, which takes at most 1gbit"
                ));
            }
        }
        let overhead = usize::try_from(FRAME_OVERHEAD).unwrap_or(0);
        Ok(Self(specs.into_iter().map(|link| Link(link.with_overhead(overhead))).collect()))
    }
}

/// What became of the packets on one direction of a link so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Packets that a host sent.
    pub offered: u64,
    /// Packets that did not fit the queue.
    pub dropped: u64,
    /// Packets that the policer dropped.
    pub policed: u64,
    /// Packets lost on the way, as the link's loss wants it.
    pub lost: u64,
    /// Packets lost because the link was cut.
    pub cut: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Packets handed to the other host, copies included.
    pub passed: u64,
}

impl Counts {
    /// What became of those since an earlier reading.
    pub const fn since(self, then: Self) -> Self {
        Self {
            offered: self.offered - then.offered,
            dropped: self.dropped - then.dropped,
            policed: self.policed - then.policed,
            lost: self.lost - then.lost,
            cut: self.cut - then.cut,
            duplicated: self.duplicated - then.duplicated,
            passed: self.passed - then.passed,
        }
    }
}

impl From<&LinkStats> for Counts {
    fn from(stats: &LinkStats) -> Self {
        Self {
            offered: stats.sent,
            dropped: stats.overflowed,
            policed: stats.policed,
            lost: stats.lost,
            cut: stats.cut,
            duplicated: stats.duplicated,
            passed: stats.received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Links>().expect_err(text)
    }

    #[test]
    fn a_packet_takes_the_time_of_an_ethernet_frame_in_both_directions() {
        let Links(links) = "100mbit 5ms back 10mbit, lte".parse().expect("links");
        assert!(
            links.iter().all(|link| link.spec().forward.overhead == 24 && link.spec().back.overhead == 24)
        );
        assert!((links[0].passes() - 1e8).abs() < 1.0, "forward");
        assert_eq!(links[0].to_string(), "100mbit 5ms back 10mbit");
    }

    #[test]
    fn what_the_relay_cannot_do_is_refused_with_the_link() {
        assert!(refused("100mbit 5ms, 50mbit 5").contains("link 2, `50mbit 5`: `5` is not a time"));
        let fast = refused("1mbit, 1mbit back 10gbit");
        assert!(fast.contains("link 2") && fast.contains("at most 1gbit"), "{fast}");
        let many = refused(&vec!["1mbit 1ms"; 17].join(","));
        assert!(many.contains("17 links: at most 16"), "{many}");
    }
}
