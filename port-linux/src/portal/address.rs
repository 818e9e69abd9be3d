//! The address of a page as somebody on the way has given it, made fit for logs, terminals and scripts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest address in bytes. Portals put what they know of a guest into it; a page whose address is longer is found by asking anew.
const LONGEST: usize = 1000;

/// `http://` or `https://` and what follows, of printable ASCII without spaces, quotes, backslashes and the like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// An address, whoever wrote it. What is not allowed in one is written as percent and number.
    pub fn new(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let scheme = ["http://", "https://"].into_iter().find(|scheme| {
            text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        })?;
        let rest = text.get(scheme.len()..)?;
        if rest.first().is_none_or(|first| b"/?#:@".contains(first)) {
            return None;
        }
        let mut written = scheme.to_owned();
        for &byte in rest {
            // RFC 3986 section 2, but for the single quote, so that quotes of a shell hold it.
            if byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&()*+,;=%".contains(&byte) {
                written.push(byte.into());
            } else {
                written += &format!("%{byte:02X}");
            }
            if written.len() > LONGEST {
                return None;
            }
        }
        Some(Self(written))
    }

    /// Scheme, host and port: what stays the same when a portal names its page anew for each request.
    pub fn origin(&self) -> &str {
        let start = self.0.find("://").map_or(0, |scheme| scheme + 3);
        let end = self.0[start..].find(['/', '?', '#']).map_or(self.0.len(), |end| start + end);
        &self.0[..end]
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(address: &[u8]) -> Option<String> {
        Address::new(address).map(|address| address.to_string())
    }

    #[test]
    fn what_is_in_an_address_stays_and_what_must_not_be_is_a_number() {
        let good = "https://login.hotel.example:8443/guest?mac=02%3A00&url=http://x/#top";
        assert_eq!(text(good.as_bytes()).as_deref(), Some(good));
        assert_eq!(text(b" HTTP://a/ ").as_deref(), Some("http://a/"));
        let bad = text("http://a/\u{1b}]0;x\u{7}\r\n'\"`\\ <ü>\u{202e}".as_bytes()).unwrap();
        assert!(bad.bytes().all(|byte| byte.is_ascii_graphic()), "{bad}");
        assert!(bad.starts_with("http://a/%1B]0;x%07%0D%0A%27%22%60%5C%20%3C%C3%BC%3E%E2%80%AE"), "{bad}");
        let none: [&[u8]; 8] = [
            b"",
            b"ftp://a/",
            b"javascript:alert(1)",
            b"http://",
            b"http:///a",
            b"https://?",
            b"/login",
            b"http:/a",
        ];
        for none in none {
            assert_eq!(text(none), None);
        }
        assert_eq!(text(&[b"http://a/".as_slice(), &[b'a'; LONGEST]].concat()), None);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let mut bytes = b"http://a/".to_vec();
            bytes.extend((0..random.usize(..40)).map(|_| random.u8(..)));
            let text = text(&bytes).unwrap();
            assert!(
                text.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"\\`<>".contains(&byte)),
                "{text}"
            );
        }
    }

    #[test]
    fn an_origin_is_what_stays_the_same() {
        let origin = |text: &str| Address::new(text.as_bytes()).unwrap().origin().to_owned();
        assert_eq!(origin("http://a.example:81/x?y"), "http://a.example:81");
        assert_eq!(origin("http://a.example"), "http://a.example");
        assert_eq!(origin("http://a.example?x=/"), "http://a.example");
    }
}
