//! Captive portals: networks whose link works, but which let packets pass only after a login on a page of theirs.
//!
//! What finds one asks slowly and reads what anybody may have sent: it works on threads of its own (`check`), and what it brings back is
//! fit for logs and terminals (`address`).

mod address;
#[cfg(feature = "program")]
mod api;
#[cfg(feature = "program")]
mod check;
#[cfg(feature = "program")]
mod http;
#[cfg(feature = "program")]
mod network_manager;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::link::Interface;
use crate::units::{bytes, duration};
pub use address::Address;
#[cfg(feature = "program")]
pub use check::Checker;

/// A login page that a network has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portal {
    /// Its address.
    pub url: Address,
    /// How it was found.
    pub by: By,
}

/// How a portal was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Somebody answered by HTTP instead of the host that was asked.
    Http,
    /// The network names it, by DHCP or a router advertisement (RFC 8910). Whether it wants a login is not known.
    Dhcp,
    /// The network's API says that it wants a login (RFC 8908).
    Api,
    /// In words of a later version.
    #[serde(other)]
    Other,
}

impl fmt::Display for Portal {
    /// As what a path waits for.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            By::Http | By::Api | By::Other => {
                write!(out, "a login at the portal of its network, {}", self.url)
            }
            By::Dhcp => write!(out, "perhaps a login at the portal of its network, {}", self.url),
        }
    }
}

/// What a network's API says of this host (RFC 8908).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Whether it wants a login.
    pub captive: bool,
    /// Seconds until it wants one again, if it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Bytes until then, if it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_left: Option<u64>,
    /// A page about the place, such as a train's or a hotel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<Address>,
}

impl Access {
    /// The same so much later.
    #[must_use]
    pub fn after(&self, time: Duration) -> Self {
        let seconds_left = self.seconds_left.map(|seconds| seconds.saturating_sub(time.as_secs()));
        Self { seconds_left, ..self.clone() }
    }
}

impl fmt::Display for Access {
    /// As what a path's network says.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.captive { "it wants a login" } else { "no login is wanted" })?;
        if let Some(seconds) = self.seconds_left {
            write!(out, ", {} left", duration(Duration::from_secs(seconds)))?;
        }
        if let Some(count) = self.bytes_left {
            write!(out, ", {} left", bytes(count))?;
        }
        self.venue.as_ref().map_or(Ok(()), |venue| write!(out, ", about the place: {venue}"))
    }
}

/// Whether the network of a path has a portal.
#[derive(Debug, Clone)]
pub struct Question {
    /// Tells its answer from others.
    pub number: u64,
    /// The path's interface.
    pub interface: Interface,
    /// The path's address; unspecified: whatever the interface has.
    pub local: IpAddr,
    /// What is asked for by HTTP over the link; `None`: nothing.
    pub http: Option<config::Portal>,
    /// Whether the network's API is asked over the link, if it names one.
    pub api: bool,
}

/// What was found of a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Of this question.
    pub number: u64,
    /// What it is.
    pub what: Finding,
    /// What the network's API says, if it was asked and has answered.
    pub access: Option<Access>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// There is a portal.
    Portal(Portal),
    /// There is none in the way.
    Free,
    /// That is not known: no answer came, or nobody was asked.
    Unknown,
}

/// Who finds out, without making the caller wait.
pub trait Check {
    /// Asks; the answer is among those [found](Self::found) later.
    fn ask(&self, question: Question);

    /// What was found since the last call.
    fn found(&self) -> Vec<Found>;
}
