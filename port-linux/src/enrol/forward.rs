//! A port of the server that leads to a peer, as `mpt peer add --forward` takes it and as a peer's file has it.

use std::fmt;
use std::str::FromStr;

/// What may be written.
const ALLOWED: &str = "PORT[:TO][/tcp|/udp], such as 8443, 8443:443, 8443:192.168.7.5:443 or 5000-5010/udp";

/// A port of the server, or several, that leads to a peer: `PORT[:TO][/PROTOCOL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewForward {
    /// `tcp` unless given.
    protocol: String,
    /// A port, or the first and the last of some.
    ports: String,
    /// A port of the peer, or a host behind it with or without a port.
    to: Option<String>,
}

impl FromStr for NewForward {
    type Err = String;

    /// Takes the text apart. What the parts may be is checked with the file that they are written to.
    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
        let (ports, to) = match rest.split_once(':') {
            Some((ports, to)) => (ports, Some(to)),
            None => (rest, None),
        };
        let is_plain = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && !"\"\\".contains(c))
        };
        if ![ports, protocol, to.unwrap_or("1")].into_iter().all(is_plain) {
            return Err(format!(
                "a part is missing, or has a character that none can have; allowed: {ALLOWED}"
            ));
        }
        Ok(Self { protocol: protocol.to_owned(), ports: ports.to_owned(), to: to.map(str::to_owned) })
    }
}

impl fmt::Display for NewForward {
    /// As a table of a peer's file.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Numbers stand in the file without quotes.
        let value = |text: &str| match text.parse::<u32>() {
            Ok(number) => number.to_string(),
            Err(_) => format!("\"{text}\""),
        };
        write!(out, "\n[[forward]]\nproto = \"{}\"\nport = {}\n", self.protocol, value(&self.ports))?;
        self.to.as_deref().map_or(Ok(()), |to| writeln!(out, "to = {}", value(to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_written_as_for_docker_and_becomes_a_table() {
        let table = |text: &str| text.parse::<NewForward>().map(|forward| forward.to_string());
        for (text, lines) in [
            ("8443", "proto = \"tcp\"\nport = 8443\n"),
            ("8443:443/udp", "proto = \"udp\"\nport = 8443\nto = 443\n"),
            ("8000-8010/tcp", "proto = \"tcp\"\nport = \"8000-8010\"\n"),
            ("80:192.168.7.5:8080", "proto = \"tcp\"\nport = 80\nto = \"192.168.7.5:8080\"\n"),
            ("80:[fd07::5]:8080/tcp", "proto = \"tcp\"\nport = 80\nto = \"[fd07::5]:8080\"\n"),
            ("80:fd07::5", "proto = \"tcp\"\nport = 80\nto = \"fd07::5\"\n"),
        ] {
            assert_eq!(table(text).unwrap(), format!("\n[[forward]]\n{lines}"), "{text}");
        }
        for text in ["", ":443", "80:", "80/", "80:\"x\"", "80\n", "80 :443"] {
            assert!(table(text).unwrap_err().contains("8443:443"), "{text}");
        }
    }
}
