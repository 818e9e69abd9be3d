//! What may be a value in the file: one type per kind of value.
//!
//! Each value checks its own range while it is read, so that the error carries its place in the file. What
//! concerns several values is left to `check`.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use ipnet::IpNet;
use mpt_proto::{Liveness, Policy, Probing};
use mpt_seal::PublicKey;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer};
use toml::Spanned;

use super::endpoint::{Endpoint, host_name};
use crate::keys;

/// Between what is wrong with a value and what is allowed: serde's own wording, which ours follows.
pub(super) const EXPECTED: &str = ", expected ";

/// A table, written as a table: serde alone would take a list of the values, too.
pub(super) struct Table<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TableVisitor(PhantomData))
    }
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = Table<T>;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("one table")
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(table)).map(Table)
    }
}

/// A UDP or TCP port.
pub(super) type Port = Whole<u16, 1, 65_535>;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy)]
pub(super) struct Whole<T, const MIN: u32, const MAX: u32>(pub(super) T);

impl<'de, T: TryFrom<i64>, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<T, MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor(PhantomData))
    }
}

struct WholeVisitor<T, const MIN: u32, const MAX: u32>(PhantomData<T>);

impl<T: TryFrom<i64>, const MIN: u32, const MAX: u32> Visitor<'_> for WholeVisitor<T, MIN, MAX> {
    type Value = Whole<T, MIN, MAX>;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "a whole number from {MIN} to {MAX}")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let in_range = (i64::from(MIN)..=i64::from(MAX)).contains(&number);
        match T::try_from(number) {
            Ok(value) if in_range => Ok(Whole(value)),
            _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }
}

/// A value written as a string.
pub trait FromText: Sized {
    /// What may be written.
    const ALLOWED: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_text(text: &str) -> Result<Self, &'static str>;
}

/// A value read through [`FromText`].
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = Text<T>;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "a string: {}", T::ALLOWED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::from_text(text)
            .map(Text)
            .map_err(|problem| E::custom(format_args!("{problem}{EXPECTED}{}", T::ALLOWED)))
    }
}

/// The name of a network interface, by the kernel's rules.
pub(crate) struct InterfaceName(pub(super) String);

impl FromText for InterfaceName {
    const ALLOWED: &'static str =
        "the name of an interface: 1 to 15 bytes without spaces, slashes, colons and percent signs";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            Err("empty")
        } else if text.len() > 15 {
            Err("too long")
        } else if text == "." || text == ".." {
            Err("reserved")
        } else if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%'))
        {
            Err("a character that interface names cannot have")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// Names of network interfaces, with `*` for any characters and `?` for one.
pub(super) struct InterfacePattern(pub(super) glob::Pattern);

impl FromText for InterfacePattern {
    const ALLOWED: &'static str = "the name of an interface, in which * stands for any characters and ? for one, such as docker* or br-????";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ':')) {
            return Err("no name of an interface");
        }
        glob::Pattern::new(text).map(Self).map_err(|_| "brackets or stars that do not fit together")
    }
}

/// `"auto"`, the only word for `paths`.
pub(super) struct AutoWord;

impl FromText for AutoWord {
    const ALLOWED: &'static str = "\"auto\"; single paths are tables [[connection.path]]";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        if text == "auto" { Ok(Self) } else { Err("unknown word") }
    }
}

/// The name of a connection or a path: fit for a command line, a log line and `CONNECTION/PATH`.
pub(crate) struct Name(pub(crate) String);

impl Name {
    /// Longest name, in characters: a line of a table still fits on a terminal.
    pub(crate) const MAX: usize = 64;

    /// Whether a name may have this character.
    pub(crate) fn may_have(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')
    }

    /// A name that is not taken: this one, or this with a number behind it.
    pub(crate) fn free(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
        let numbered = (2..).map(|number: u32| format!("{name}-{number}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
    }
}

impl FromText for Name {
    const ALLOWED: &'static str = "1 to 64 letters, digits and the characters - _ . :";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            Err("empty")
        } else if !text.chars().all(Self::may_have) {
            Err("a character that names cannot have")
        } else if text.len() > Self::MAX {
            Err("too long")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// The address of one host.
pub(super) struct Host(pub(super) IpAddr);

impl FromText for Host {
    const ALLOWED: &'static str = "the IP address of one host, such as 172.16.1.20 or 2001:db8::20";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let address = ip_address(text)?;
        unicast(address)?;
        Ok(Self(address))
    }
}

/// Our address on a path, or the unspecified one.
pub(super) struct Local(pub(super) IpAddr);

impl FromText for Local {
    const ALLOWED: &'static str =
        "an IP address of this host, such as 172.16.1.10 or 2001:db8::10, or 0.0.0.0 or :: with a device";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let address = ip_address(text)?;
        if !address.is_unspecified() {
            unicast(address)?;
        }
        Ok(Self(address))
    }
}

/// The peer's address on a path, or its name, or the unspecified address.
pub(super) struct Remote(pub(super) Endpoint);

impl FromText for Remote {
    const ALLOWED: &'static str = "the IP address of one host, such as 172.16.1.20 or 2001:db8::20, a name such as vps.example.net, or \
                                   0.0.0.0 or :: for a peer that speaks first";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let is_number = text.parse::<IpAddr>().is_ok() || text.contains(['/', ':']);
        if is_number {
            return Local::from_text(text).map(|address| Self(address.0.into()));
        }
        host_name(text).map(|name| Self(Endpoint::Name(name)))
    }
}

/// An address of the tunnel interface with its prefix length.
pub(super) struct Address(pub(super) IpNet);

impl FromText for Address {
    const ALLOWED: &'static str =
        "an address with a prefix length of 1 or more, such as 10.0.0.1/24 or fec::1:1/112";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let address = prefix(text)?;
        unicast(address.addr())?;
        if address.prefix_len() == 0 {
            return Err("prefix length 0 would put every address on the tunnel");
        }
        Ok(Self(address))
    }
}

/// A network.
pub(super) struct Prefix(pub(super) IpNet);

impl FromText for Prefix {
    const ALLOWED: &'static str =
        "a network such as 192.168.7.0/24, 2001:db8:7::/48 or 0.0.0.0/0, with no bits after the prefix";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let network = prefix(text)?;
        if network != network.trunc() {
            return Err("bits are set after the prefix");
        }
        Ok(Self(network))
    }
}

/// An address of ours to listen at, or all of an IP version.
pub(super) struct ListenAddress(pub(super) IpAddr);

impl FromText for ListenAddress {
    const ALLOWED: &'static str = "0.0.0.0 and :: for every address of this host, or an IP address of it";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let address = ip_address(text)?;
        if !address.is_unspecified() {
            unicast(address)?;
        }
        Ok(Self(address))
    }
}

/// A peer's tunnel address, or a network behind it.
pub(super) struct AllowedIp(pub(super) IpNet);

impl FromText for AllowedIp {
    const ALLOWED: &'static str =
        "the peer's tunnel address, such as 10.8.0.2, or a network behind it, such as 192.168.7.0/24";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let network = if text.contains('/') { Prefix::from_text(text)?.0 } else { ip_address(text)?.into() };
        if !network.addr().is_unspecified() {
            unicast(network.addr())?;
        }
        Ok(Self(network))
    }
}

fn ip_address(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr = text.parse().map_err(|_| {
        if text.contains('/') { "a prefix length does not belong here" } else { "not an IP address" }
    })?;
    if address.to_canonical() != address {
        return Err("an IPv4 address in IPv6 clothes");
    }
    Ok(address)
}

fn prefix(text: &str) -> Result<IpNet, &'static str> {
    if !text.contains('/') && text.parse::<IpAddr>().is_ok() {
        return Err("the prefix length is missing");
    }
    text.parse().map_err(|_| "not an address with prefix length")
}

fn unicast(address: IpAddr) -> Result<(), &'static str> {
    if address.is_unspecified() {
        Err("the unspecified address is no host's")
    } else if address.is_multicast() {
        Err("a multicast address is no host's")
    } else if address == IpAddr::from([255, 255, 255, 255]) {
        Err("the broadcast address is no host's")
    } else {
        Ok(())
    }
}

/// `"auto"` or a number of bytes.
#[derive(Clone, Copy)]
pub(super) struct TunnelMtu(pub(super) Option<u16>);

impl<'de> Deserialize<'de> for TunnelMtu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TunnelMtuVisitor)
    }
}

struct TunnelMtuVisitor;

impl Visitor<'_> for TunnelMtuVisitor {
    type Value = TunnelMtu;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("\"auto\" or a whole number from 576 to 65535")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == "auto" { Ok(TunnelMtu(None)) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        // 576 bytes is what every IPv4 host must take (RFC 791 section 3.1).
        match u16::try_from(number) {
            Ok(bytes) if bytes >= 576 => Ok(TunnelMtu(Some(bytes))),
            _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

/// `policy`
pub(super) struct PolicyName(pub(super) Policy);

impl FromText for PolicyName {
    const ALLOWED: &'static str = Policy::NAMES;

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let named = Policy::ALL.iter().find(|policy| policy.name() == text);
        named.map(|policy| Self(*policy)).ok_or("unknown word")
    }
}

/// A policy by its name in the configuration.
///
/// # Errors
/// It is none; what is allowed.
#[cfg(feature = "program")]
pub fn policy(text: &str) -> Result<Policy, String> {
    let named = PolicyName::from_text(text);
    named.map(|name| name.0).map_err(|problem| format!("{problem}; allowed: {}", PolicyName::ALLOWED))
}

/// `travel` of a class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TravelName {
    Ordered,
    Sparse,
    Protected,
}

impl FromText for TravelName {
    const ALLOWED: &'static str = "\"ordered\", \"sparse\" or \"protected\"";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        Ok(match text {
            "ordered" => Self::Ordered,
            "sparse" => Self::Sparse,
            "protected" => Self::Protected,
            _ => return Err("unknown word"),
        })
    }
}

/// An IP protocol by its name or number.
pub(super) struct ProtocolName(pub(super) u8);

impl FromText for ProtocolName {
    const ALLOWED: &'static str =
        "\"tcp\", \"udp\", \"icmp\", \"icmpv6\", \"sctp\", \"esp\", or a number from 0 to 255 as a string";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        Ok(Self(match text {
            "icmp" => 1,
            "tcp" => 6,
            "udp" => 17,
            "esp" => 50,
            "icmpv6" => 58,
            "sctp" => 132,
            number => number.parse().map_err(|_| "unknown protocol")?,
        }))
    }
}

/// A port, or the first and the last of some.
pub(super) struct PortRange(pub(super) (u16, u16));

impl FromText for PortRange {
    const ALLOWED: &'static str =
        "a port such as \"5060\", or the first and the last of some, such as \"10000-20000\"";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port =
            |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or("not a port from 1 to 65535");
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err("the first port is above the last");
        }
        Ok(Self((first, last)))
    }
}

/// `liveness`: a word or a table.
pub(super) enum LivenessSetting {
    Word(Liveness),
    Table(LivenessTable),
}

/// From 5 ms, below which probes would be a traffic of their own, to one hour.
pub(super) type Milliseconds = Whole<u32, 5, 3_600_000>;

/// `liveness = { interval_ms = ..., idle_ms = ..., dead_ms = ... }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LivenessTable {
    pub(super) interval_ms: Milliseconds,
    pub(super) idle_ms: Spanned<Milliseconds>,
    pub(super) dead_ms: Spanned<Milliseconds>,
}

impl<'de> Deserialize<'de> for LivenessSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LivenessVisitor)
    }
}

struct LivenessVisitor;

impl<'de> Visitor<'de> for LivenessVisitor {
    type Value = LivenessSetting;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(
            "\"lab\", \"internet\", \"off\" or a table { interval_ms = .., idle_ms = .., dead_ms = .. }",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(LivenessSetting::Word(match text {
            "lab" => Liveness::Probe(Probing::LAB),
            "internet" => Liveness::Probe(Probing::INTERNET),
            "off" => Liveness::Off,
            _ => return Err(E::invalid_value(Unexpected::Str(text), &self)),
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        LivenessTable::deserialize(MapAccessDeserializer::new(table)).map(LivenessSetting::Table)
    }
}

/// `public_key`
pub(super) struct PublicKeyText(pub(super) PublicKey);

impl FromText for PublicKeyText {
    const ALLOWED: &'static str = keys::ALLOWED_PUBLIC;

    fn from_text(text: &str) -> Result<Self, &'static str> {
        keys::decode(text).map(|bytes| Self(PublicKey::from_bytes(*bytes)))
    }
}

/// The name of a file.
pub(super) struct FileName(pub(super) String);

impl FromText for FileName {
    const ALLOWED: &'static str =
        "the name of a file, absolute or relative to the directory of the configuration file";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            Err("empty")
        } else if text.contains('\0') {
            Err("a character that names of files cannot have")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// `security`: a word or a table.
pub(super) enum SecuritySetting {
    /// `security = "none"`
    Clear,
    /// `[security]`
    Keys(SecurityTable),
}

/// `[security]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecurityTable {
    pub(super) private_key_file: Spanned<Text<FileName>>,
    pub(super) cipher: Option<Text<CipherName>>,
}

/// `cipher` of `[security]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CipherName {
    Auto,
    ChaCha20Poly1305,
}

impl FromText for CipherName {
    const ALLOWED: &'static str = "\"auto\" or \"chacha20-poly1305\"";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        match text {
            "auto" => Ok(Self::Auto),
            "chacha20-poly1305" => Ok(Self::ChaCha20Poly1305),
            _ => Err("unknown cipher"),
        }
    }
}

impl<'de> Deserialize<'de> for SecuritySetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecurityVisitor)
    }
}

struct SecurityVisitor;

impl<'de> Visitor<'de> for SecurityVisitor {
    type Value = SecuritySetting;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("\"none\" or a table [security] with private_key_file = \"..\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == "none" {
            Ok(SecuritySetting::Clear)
        } else {
            Err(E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        SecurityTable::deserialize(MapAccessDeserializer::new(table)).map(SecuritySetting::Keys)
    }
}
