//! Captive portals: networks whose link works, but which let packets pass only after a login on a page of theirs.
//!
//! What finds one asks slowly and reads what anybody may have sent: it works on threads of its own (`check`), and what it brings back is
//! fit for logs and terminals (`address`).

mod address;
#[cfg(feature = "program")]
mod check;
#[cfg(feature = "program")]
mod http;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::link::Interface;
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
    /// In words of a later version.
    #[serde(other)]
    Other,
}

impl fmt::Display for Portal {
    /// As what a path waits for.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            By::Http | By::Other => write!(out, "a login at the portal of its network, {}", self.url),
            By::Dhcp => write!(out, "perhaps a login at the portal of its network, {}", self.url),
        }
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
    /// What is asked for by HTTP over the link; `None`: nothing is sent.
    pub http: Option<config::Portal>,
}

/// What was found of a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Of this question.
    pub number: u64,
    /// What it is.
    pub what: Finding,
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
