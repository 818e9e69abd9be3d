//! Ports pinned to paths: each to one path, and no more than the core has room for.

use std::collections::BTreeMap;
use std::ops::Range;

use mpt_proto::{Pin, PinError, Pins, PortMatch};

use super::error::{ConfigError, Source};
use super::file;

/// The pins of a connection so far: the core's own table, and where each pin stands in the file.
#[derive(Default)]
pub(super) struct PinCheck {
    pins: Pins,
    seen: BTreeMap<(PortMatch, u16), (usize, usize)>,
}

impl PinCheck {
    /// Adds the pins of the path with this place among the paths of the connection.
    pub(super) fn add(
        &mut self,
        path: &file::Path,
        index: usize,
        source: &Source,
    ) -> Result<(), ConfigError> {
        let lists = [
            (PortMatch::TcpDestination, &path.tcp_dst),
            (PortMatch::TcpSource, &path.tcp_src),
            (PortMatch::UdpDestination, &path.udp_dst),
            (PortMatch::UdpSource, &path.udp_src),
        ];
        for (port_match, list) in lists {
            for port in list {
                let (at, port) = (port.span(), port.get_ref().0);
                match self.seen.get(&(port_match, port)) {
                    Some((first, _)) if *first == index => continue,
                    Some((_, line)) => return Err(conflict(source, &at, port, Some(*line))),
                    None => {}
                }
                let pin = Pin { port_match, port, path: u8::try_from(index).unwrap_or(u8::MAX) };
                match self.pins.insert(pin) {
                    Ok(()) => {}
                    Err(PinError::Conflict(_)) => return Err(conflict(source, &at, port, None)),
                    Err(_) => {
                        let problem = format_args!("port {port} is one pin too many in this connection");
                        let allowed = format!("at most {} pinned ports in a connection", self.seen.len());
                        return Err(source.error(&at, problem, &allowed));
                    }
                }
                self.seen.insert((port_match, port), (index, source.line(&at)));
            }
        }
        Ok(())
    }
}

fn conflict(source: &Source, at: &Range<usize>, port: u16, line: Option<usize>) -> ConfigError {
    let place = line.map_or(String::new(), |line| format!(" in line {line}"));
    let problem = format_args!("port {port} is pinned to another path{place}");
    source.error(at, problem, "each port on one path of a connection")
}
