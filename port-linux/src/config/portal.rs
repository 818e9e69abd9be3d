//! `[portal]`: how it is found out that a network wants a login before it lets packets pass.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::endpoint::{Endpoint, host_name};
use super::file;
use super::value::{EXPECTED, FromText, Table};

/// The default of `portal.url`.
const URL: &str = "http://connectivitycheck.gstatic.com/generate_204";
/// The default of `portal.answer`: no content, which no login page has.
const ANSWER: PortalAnswer = PortalAnswer::Status(204);
/// Longest `portal.url` and `portal.answer`, in bytes.
const LONGEST: usize = 256;

/// `[portal]`: what is asked for over a link on which no answer of the peer comes, and what the answer is without a portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portal {
    /// `check`: whether it is asked for over links that are not metered; `true` by default.
    pub check: bool,
    /// `url`: what is asked for.
    pub url: CheckUrl,
    /// `answer`: what comes back where nobody is in between.
    pub answer: PortalAnswer,
}

/// An address of the web without encryption: `http://HOST[:PORT]/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckUrl {
    /// The host.
    pub host: Endpoint,
    /// Its TCP port.
    pub port: u16,
    /// What is asked for there, which begins with a slash.
    pub path: String,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortalAnswer {
    /// A status of HTTP, whatever follows.
    Status(u16),
    /// Status 200 and this text, white space around it aside.
    Text(String),
}

impl Default for Portal {
    fn default() -> Self {
        // The test of this file reads it.
        let url = CheckUrl::from_text(URL).unwrap_or_else(|_| CheckUrl {
            host: Endpoint::Address(IpAddr::from([0; 4])),
            port: 80,
            path: "/".to_owned(),
        });
        Self { check: true, url, answer: ANSWER }
    }
}

impl CheckUrl {
    /// `HOST`, or `HOST:PORT` where that is not the usual one.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Endpoint::Address(IpAddr::V6(address)) => format!("[{address}]"),
            host => host.to_string(),
        };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for CheckUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}{}", self.authority(), self.path)
    }
}

impl FromText for CheckUrl {
    const ALLOWED: &'static str = "an address such as \"http://connectivitycheck.gstatic.com/generate_204\": http, as nobody can answer instead \
                                   of a host of https";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix("http://").ok_or("not http://")?;
        if text.len() > LONGEST {
            return Err("too long");
        }
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err("a character that addresses of the web do not have");
        }
        let (host, port) = self::authority(authority, 80)?;
        Ok(Self { host, port, path: path.to_owned() })
    }
}

/// `HOST` or `HOST:PORT`, without a user.
pub(crate) fn authority(text: &str, usual_port: u16) -> Result<(Endpoint, u16), &'static str> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or("not a port behind the address")?)),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(usual_port), |port| port.parse().ok()).filter(|port| *port > 0);
    let host = match host.parse::<IpAddr>() {
        Ok(address) if address.is_ipv6() == bracketed.is_some() => Endpoint::Address(address),
        Ok(_) => return Err("not an address in brackets as IPv6 has them"),
        Err(_) => Endpoint::Name(host_name(host)?),
    };
    Ok((host, port.ok_or("not a port from 1 to 65535")?))
}

impl PortalAnswer {
    const ALLOWED: &'static str =
        "a status of HTTP from 200 to 299 such as 204, or the text of the answer such as \"success\"";
}

impl<'de> Deserialize<'de> for PortalAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnswerVisitor)
    }
}

struct AnswerVisitor;

impl Visitor<'_> for AnswerVisitor {
    type Value = PortalAnswer;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        // An error that quotes it begins as that of a whole number, so that a number too large for any is told to be out of range.
        out.write_str(PortalAnswer::ALLOWED)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        match u16::try_from(number) {
            Ok(status @ 200..=299) => Ok(PortalAnswer::Status(status)),
            _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let text = text.trim();
        if text.is_empty() || text.len() > LONGEST {
            let problem = if text.is_empty() { "empty" } else { "too long" };
            return Err(E::custom(format_args!("{problem}{EXPECTED}{}", PortalAnswer::ALLOWED)));
        }
        Ok(PortalAnswer::Text(text.to_owned()))
    }
}

/// Reads the table.
pub(super) fn portal(table: Option<Table<file::Portal>>) -> Portal {
    let default = Portal::default();
    let Some(Table(table)) = table else { return default };
    Portal {
        check: table.check.unwrap_or(default.check),
        url: table.url.map_or(default.url, |url| url.0),
        answer: table.answer.unwrap_or(default.answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_put_together_again() {
        let parts = |text: &str| {
            let url = CheckUrl::from_text(text)?;
            Ok((url.host.to_string(), url.port, url.path.clone(), url.to_string()))
        };
        let expected = |host: &str, port, path: &str, whole: &str| {
            Ok::<_, &'static str>((host.to_owned(), port, path.to_owned(), whole.to_owned()))
        };
        assert_eq!(parts(URL), expected("connectivitycheck.gstatic.com", 80, "/generate_204", URL));
        assert_eq!(
            parts("http://192.0.2.1:8080"),
            expected("192.0.2.1", 8080, "/", "http://192.0.2.1:8080/")
        );
        let v6 = "http://[2001:db8::1]:81/a?b=c";
        assert_eq!(parts(v6), expected("2001:db8::1", 81, "/a?b=c", v6));
        for wrong in [
            "",
            "https://example.net/",
            "HTTP://example.net/",
            "http://",
            "http:///x",
            "http://2001:db8::1/",
            "http://[192.0.2.1]/",
            "http://[2001:db8::1]80/",
            "http://example.net:0/",
            "http://example.net:/",
            "http://example.net/a b",
            "http://example.net/a\r\nx",
            "http://user@example.net/",
        ] {
            assert!(CheckUrl::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
