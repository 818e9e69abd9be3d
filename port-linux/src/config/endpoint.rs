//! Where a peer is: an address, or a name that has one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in characters (RFC 1035 section 2.3.4, without the root's length).
const NAME_MAX: usize = 253;
/// Longest label of a name, in characters (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// At this address.
    Address(IpAddr),
    /// At an address of this name, which the system's resolver knows: `vps.example.net`.
    Name(String),
}

impl Endpoint {
    /// The address, unless it is a name.
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) => None,
        }
    }

    /// The name, unless it is an address.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

impl From<IpAddr> for Endpoint {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}

/// What a command line has.
impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) => host_name(text).map(Self::Name).map_err(|problem| {
                format!("{problem}; allowed: an IP address, or a name such as vps.example.net")
            }),
        }
    }
}

/// A host's name (RFC 952, RFC 1123 section 2.1), with the underscores that some have, in small letters.
pub(super) fn host_name(text: &str) -> Result<String, &'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.chars().all(is_allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !text.is_ascii() {
        return Err("a name with other letters than a to z, which has to be written in its form with xn--");
    }
    if text.is_empty() || text.contains(['/', ':', ' ']) {
        return Err("neither an IP address nor a name");
    }
    // 172.16.1.300, say: no top-level domain is a number (RFC 3696 section 2).
    if text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("not an IP address");
    }
    if text.len() > NAME_MAX || !text.split('.').all(is_label) {
        return Err("neither an IP address nor a name");
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        for text in ["198.51.100.7", "2001:db8::7"] {
            assert_eq!(text.parse(), Ok(Endpoint::Address(text.parse().unwrap())));
        }
        for text in ["vps.example.net", "vps", "xn--bcher-kva.example", "a_b.example", "7.example"] {
            assert_eq!(text.parse(), Ok(Endpoint::Name(text.to_owned())));
        }
        assert_eq!("VPS.Example.NET".parse(), Ok(Endpoint::Name("vps.example.net".into())));
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["abcdefgh"; 32].join(".");
        for text in [
            "",
            "172.16.1.300",
            "1.2.3",
            "a..b",
            ".a",
            "a.",
            "-a.example",
            "a-.example",
            "b\u{fc}cher.example",
            "a b",
            &long,
            &longer,
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
