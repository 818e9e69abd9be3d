//! The line that a server prints for a peer and the peer's machine takes: all that it takes to join.
//!
//! `mpt1:`, or `mpt2:` where the server has a name, and base64url of what postcard makes of an [`Invitation`], with a check sum. With the private key in it the line is a
//! secret, and the server keeps no copy.

use std::fmt;
use std::net::IpAddr;

use base64ct::{Base64UrlUnpadded, Encoding};
use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::{Endpoint, FromText, Name};
use crate::keys::KEY_LEN;

/// How a line begins; the number is that of its form. This one is for servers that have addresses alone: versions before the other
/// form understand it.
const PREFIX: &str = "mpt1:";
/// The form in which a server may have names.
const NAMED_PREFIX: &str = "mpt2:";
/// How lines of any form begin.
const ANY_PREFIX: &str = "mpt";
/// The longest line that is looked at, in bytes. One with ten networks has 500.
pub(super) const LONGEST: usize = 4096;

/// What allows to join a server, which may have a name.
pub type Invitation = Line<Endpoint>;

/// What is in a line; the server is at places of the kind `E`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<E> {
    /// The server's name for itself.
    pub server: String,
    /// The server's public key.
    pub server_key: [u8; KEY_LEN],
    /// The peer's private key; `None`: it has one of its own.
    pub private_key: Option<[u8; KEY_LEN]>,
    /// The pre-shared key of the two.
    pub preshared_key: Option<[u8; KEY_LEN]>,
    /// Where the server is.
    pub endpoints: Vec<E>,
    /// Its UDP port there.
    pub port: u16,
    /// The peer's tunnel addresses.
    pub addresses: Vec<IpNet>,
    /// The server's.
    pub server_addresses: Vec<IpAddr>,
    /// What is behind the server.
    pub networks: Vec<IpNet>,
}

/// Shows nothing that is secret.
impl<E> fmt::Debug for Line<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Invitation").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Why a line is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    /// It is something else.
    Other,
    /// It is of a form that this version does not know.
    Version,
    /// A part of it is missing, or it was changed.
    Damaged,
}

impl fmt::Display for BadLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Other => "this is no line of `mpt peer add`, which begins with mpt1: or mpt2:",
            Self::Version => "the line is of another version of mpt: install the server's version here",
            Self::Damaged => {
                "the line is damaged or a part of it is missing: copy all of it, from mpt1: or mpt2: to its end, in one line"
            }
        })
    }
}

impl std::error::Error for BadLine {}

impl Invitation {
    /// The line.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_line(&self) -> postcard::Result<Zeroizing<String>> {
        let addresses: Option<Vec<IpAddr>> = self.endpoints.iter().map(Endpoint::address).collect();
        let (prefix, bytes) = match addresses {
            Some(addresses) => {
                (PREFIX, postcard::to_allocvec_crc32(&self.clone().at(addresses), crc().digest())?)
            }
            None => (NAMED_PREFIX, postcard::to_allocvec_crc32(self, crc().digest())?),
        };
        let text = Zeroizing::new(Base64UrlUnpadded::encode_string(&Zeroizing::new(bytes)));
        Ok(Zeroizing::new(format!("{prefix}{}", *text)))
    }

    /// Reads a line; white space around it does not matter.
    ///
    /// # Errors
    /// What it is instead.
    pub fn from_line(line: &str) -> Result<Self, BadLine> {
        let line = line.trim();
        if let Some(text) = line.strip_prefix(PREFIX) {
            let line: Line<IpAddr> = decode(text)?;
            let endpoints = line.endpoints.iter().copied().map(Endpoint::from).collect();
            return line.at(endpoints).checked();
        }
        let Some(text) = line.strip_prefix(NAMED_PREFIX) else {
            let version = line.strip_prefix(ANY_PREFIX).and_then(|rest| rest.split(':').next());
            let is_version =
                version.is_some_and(|v| !v.is_empty() && v.bytes().all(|byte| byte.is_ascii_digit()));
            return Err(if is_version && line.contains(':') { BadLine::Version } else { BadLine::Other });
        };
        decode::<Endpoint>(text)?.checked()
    }

    /// Names go into a configuration: nothing else may be in their places.
    fn checked(self) -> Result<Self, BadLine> {
        let is_name =
            |endpoint: &Endpoint| endpoint.name().is_none_or(|name| name.parse() == Ok(endpoint.clone()));
        let is_sound = Name::from_text(&self.server).is_ok() && self.endpoints.iter().all(is_name);
        if is_sound { Ok(self) } else { Err(BadLine::Damaged) }
    }
}

impl<E> Line<E> {
    /// The same with other places of the server.
    fn at<F>(self, endpoints: Vec<F>) -> Line<F> {
        Line {
            server: self.server,
            server_key: self.server_key,
            private_key: self.private_key,
            preshared_key: self.preshared_key,
            endpoints,
            port: self.port,
            addresses: self.addresses,
            server_addresses: self.server_addresses,
            networks: self.networks,
        }
    }
}

/// What a line has behind its prefix.
fn decode<E: DeserializeOwned>(text: &str) -> Result<Line<E>, BadLine> {
    let bytes = Zeroizing::new(Base64UrlUnpadded::decode_vec(text).map_err(|_| BadLine::Damaged)?);
    postcard::from_bytes_crc32(&bytes, crc().digest()).map_err(|_| BadLine::Damaged)
}

/// The check sum of Ethernet.
const fn crc() -> crc::Crc<u32> {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            server: "vps".into(),
            server_key: [1; KEY_LEN],
            private_key: Some([2; KEY_LEN]),
            preshared_key: Some([3; KEY_LEN]),
            endpoints: vec!["198.51.100.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
            port: 4754,
            addresses: vec!["10.8.0.2/24".parse().unwrap(), "fd00::2/64".parse().unwrap()],
            server_addresses: vec![[10, 8, 0, 1].into()],
            networks: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_short_enough_for_a_terminal() {
        let line = invitation().to_line().unwrap();
        assert!(line.len() < 300, "{} bytes", line.len());
        assert_eq!(Invitation::from_line(&format!("  {}\r\n", *line)), Ok(invitation()));
    }

    #[test]
    fn a_server_with_a_name_has_a_line_that_old_versions_refuse_and_others_have_the_old_one() {
        let endpoints = vec!["vps.example.net".parse().unwrap(), "198.51.100.7".parse().unwrap()];
        let named = Invitation { endpoints, ..invitation() };
        let line = named.to_line().unwrap();
        assert!(line.starts_with("mpt2:"));
        assert_eq!(Invitation::from_line(&line), Ok(named));
        assert!(invitation().to_line().unwrap().starts_with("mpt1:"));

        let endpoints = vec![Endpoint::Name("a\"\n[tunnel]".into())];
        let hostile = Invitation { endpoints, ..invitation() }.to_line().unwrap();
        assert_eq!(Invitation::from_line(&hostile), Err(BadLine::Damaged));
        // Whatever goes into a configuration, or into the name of a file.
        for server in ["x\"\n[[connection]]\nname = \"y", "../x", ""] {
            let hostile = Invitation { server: server.into(), ..invitation() }.to_line().unwrap();
            assert_eq!(Invitation::from_line(&hostile), Err(BadLine::Damaged), "{server:?}");
        }
    }

    #[test]
    fn a_line_of_before_names_is_read() {
        // Made by a program that knew no names, for 198.51.100.7 and 2001:db8::7.
        let line = "mpt1:BnNlcnZlcgTvgBYJ53w6IS--UMb-whwTCpyIZXemKwpY036bjaw-AZjBpJ63Iz9aLtVQ7l6g96RDqoHHwTNvWwhFemd0mAl9Ae8OaZmc5wAK8gBKGW-zgtPb4EN_cwKcBszHu-GsfAB9AgDGM2QHASABDbgAAAAAAAAAAAAAAAeSJQEACggAAhgBAAoIAAEBAAAAAAAAKoNESw";
        let read = Invitation::from_line(line).unwrap();
        assert_eq!((read.endpoints, read.port), (invitation().endpoints, 4754));
        assert_eq!(read.server_addresses, [IpAddr::from([10, 8, 0, 1])]);
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_noticed() {
        let line = invitation().to_line().unwrap();
        for end in PREFIX.len()..line.len() {
            assert_eq!(Invitation::from_line(&line[..end]), Err(BadLine::Damaged), "{end} bytes of it");
        }
        for place in PREFIX.len()..line.len() {
            let mut bytes = line.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(Invitation::from_line(&changed), Err(BadLine::Damaged), "byte {place}");
        }
    }

    #[test]
    fn other_text_and_other_versions_are_told_apart() {
        for (line, error) in [
            ("", BadLine::Other),
            ("mpt peer add van", BadLine::Other),
            ("mpt:abc", BadLine::Other),
            ("mpt3:abc", BadLine::Version),
            ("mpt1:", BadLine::Damaged),
            ("mpt1:%%%", BadLine::Damaged),
        ] {
            assert_eq!(Invitation::from_line(line), Err(error), "{line}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        assert_eq!(format!("{:?}", invitation()), "Invitation { server: \"vps\", .. }");
    }
}
