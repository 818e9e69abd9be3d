//! What may be a value of `[[forward]]`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};

use crate::config::gateway::Transport;
use crate::config::value::{EXPECTED, FromText, Host, PortRange};

/// `proto` of a forward: a word, or a list of words.
pub(in crate::config) struct Protocols(pub(in crate::config) BTreeSet<Transport>);

impl Protocols {
    const ALLOWED: &'static str = "\"tcp\", \"udp\" or [\"tcp\", \"udp\"]";
}

impl<'de> Deserialize<'de> for Protocols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProtocolsVisitor)
    }
}

struct ProtocolsVisitor;

impl<'de> Visitor<'de> for ProtocolsVisitor {
    type Value = Protocols;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(Protocols::ALLOWED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            "tcp" => Ok(Protocols(BTreeSet::from([Transport::Tcp]))),
            "udp" => Ok(Protocols(BTreeSet::from([Transport::Udp]))),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Self::Value, A::Error> {
        let mut protocols = BTreeSet::new();
        while let Some(word) = words.next_element::<Self::Value>()? {
            protocols.extend(word.0);
        }
        if protocols.is_empty() {
            return Err(A::Error::custom(format_args!("no protocol{EXPECTED}{}", Protocols::ALLOWED)));
        }
        Ok(Protocols(protocols))
    }
}

/// `port` of a forward: a number, or the first and the last of some.
pub(in crate::config) struct ForwardPorts(pub(in crate::config) (u16, u16));

impl ForwardPorts {
    const ALLOWED: &'static str =
        "a port from 1 to 65535 such as 8443, or the first and the last of some, such as \"8000-8010\"";
}

impl<'de> Deserialize<'de> for ForwardPorts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ForwardPortsVisitor)
    }
}

struct ForwardPortsVisitor;

impl Visitor<'_> for ForwardPortsVisitor {
    type Value = ForwardPorts;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(ForwardPorts::ALLOWED)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))?;
        Ok(ForwardPorts((port, port)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let ports = PortRange::from_text(text);
        let refused = |problem| E::custom(format_args!("{problem}{EXPECTED}{}", ForwardPorts::ALLOWED));
        ports.map(|ports| ForwardPorts(ports.0)).map_err(refused)
    }
}

/// `to` of a forward.
pub(in crate::config) enum Target {
    /// A port of the peer in whose file it stands.
    Port(u16),
    /// A host, and one of its ports.
    Host(IpAddr, Option<u16>),
}

impl Target {
    const ALLOWED: &'static str = "an address, with or without a port, such as \"10.8.0.2:443\", \"10.8.0.2\" or \"[fd00::2]:443\"; \
                                   in the file of a peer also a port of it, such as 443";
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TargetVisitor)
    }
}

struct TargetVisitor;

impl Visitor<'_> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(Target::ALLOWED)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        port.map(Target::Port).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let refused = |problem| E::custom(format_args!("{problem}{EXPECTED}{}", Target::ALLOWED));
        let (host, port) = match text.parse::<SocketAddr>() {
            Ok(socket) if socket.port() == 0 => return Err(refused("not a port from 1 to 65535")),
            // Scopes and the like are refused with the address alone.
            Ok(socket) => (socket.ip().to_string(), Some(socket.port())),
            Err(_) => (text.to_owned(), None),
        };
        let host = Host::from_text(&host).map_err(|problem| match problem {
            "not an IP address" => refused("not an IP address, or not a port from 1 to 65535 behind it"),
            problem => refused(problem),
        })?;
        Ok(Target::Host(host.0, port))
    }
}
