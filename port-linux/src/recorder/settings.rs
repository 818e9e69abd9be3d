//! What a core was made with, as it stands in a file.

use std::net::IpAddr;
use std::time::Duration;

use mpt_proto::{ClassRule, ClassRules, Config, Pin, Pins, Policy, PortMatch, ReorderConfig, Travel};
use serde::{Deserialize, Serialize};

/// A [`Config`] without the seed of flows' hashes, which would tell addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    seed: u64,
    key: Option<u32>,
    checksum: bool,
    sequence: bool,
    policy: u8,
    /// What is compared, the port, the path.
    pins: Vec<(u8, u16, u8)>,
    /// Window, microseconds of delay, and whether paths keep their order.
    reorder: (u16, u64, bool),
    resend: bool,
    order_udp: bool,
    classes: Vec<Class>,
    /// Of each class; beside the rest in the file, as formats before 3 have none.
    #[serde(skip)]
    pub(super) bounds: Vec<Bound>,
    limit: u64,
    slices: bool,
    /// Microseconds.
    reassembly_timeout: u64,
    around: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Class {
    protocol: Option<u8>,
    ports: Option<(u16, u16)>,
    dscp: Option<u8>,
    network: Option<(IpAddr, u8)>,
    /// 101: in order; 102: sparse; 103: as its behaviour has it; from 128 on: a path; else protected, with this share.
    travel: u8,
}

/// What bounds how packets of a class travel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Bound {
    tier: Option<u8>,
    /// Milliseconds.
    deadline: Option<u16>,
}

const PORTS: [PortMatch; 4] =
    [PortMatch::TcpSource, PortMatch::TcpDestination, PortMatch::UdpSource, PortMatch::UdpDestination];
const ORDERED: u8 = 101;
const SPARSE: u8 = 102;
const USUAL: u8 = 103;
/// And from here on numbers of paths.
const NAMED: u8 = 128;

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|it| it == one).and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let class = |rule: &ClassRule| Class {
            protocol: rule.protocol,
            ports: rule.ports,
            dscp: rule.dscp,
            network: rule.network,
            travel: match rule.travel {
                Travel::Protected(share) | Travel::Timely { share, .. } => share.min(100),
                Travel::Sparse => SPARSE,
                Travel::Usual => USUAL,
                Travel::Path(path) => NAMED.saturating_add(path),
                _ => ORDERED,
            },
        };
        let bound = |rule: &ClassRule| Bound {
            tier: rule.tier,
            deadline: match rule.travel {
                Travel::Timely { deadline, .. } => Some(deadline),
                _ => None,
            },
        };
        let ReorderConfig { window, delay, paths_in_order } = config.reorder;
        Self {
            seed: config.seed,
            key: config.key,
            checksum: config.checksum,
            sequence: config.sequence,
            policy: place(Policy::ALL, &config.policy),
            pins: config
                .pins
                .iter()
                .map(|pin| (place(&PORTS, &pin.port_match), pin.port, pin.path))
                .collect(),
            reorder: (window, micros(delay), paths_in_order),
            resend: config.resend,
            order_udp: config.order_udp,
            classes: config.classes.iter().map(class).collect(),
            bounds: config.classes.iter().map(bound).collect(),
            limit: config.limit,
            slices: config.slices,
            reassembly_timeout: micros(config.reassembly_timeout),
            around: config.around,
        }
    }
}

impl Settings {
    /// As of a core with another seed.
    #[cfg(test)]
    pub(super) fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The policy.
    pub(super) fn policy(&self) -> Policy {
        Policy::ALL.get(usize::from(self.policy)).copied().unwrap_or(Policy::Adaptive)
    }

    /// As it was.
    pub(super) fn config(&self) -> Config {
        let mut pins = Pins::new();
        for &(port_match, port, path) in &self.pins {
            let Some(&port_match) = PORTS.get(usize::from(port_match)) else { continue };
            // They were all in one table.
            let _ = pins.insert(Pin { port_match, port, path });
        }
        let mut classes = ClassRules::new();
        let bounds = self.bounds.iter().copied().map(Some).chain(std::iter::repeat(None));
        for (class, bound) in self.classes.iter().zip(bounds) {
            let Bound { tier, deadline } = bound.unwrap_or(Bound { tier: None, deadline: None });
            let travel = match (class.travel, deadline) {
                (ORDERED, _) => Travel::Ordered,
                (SPARSE, _) => Travel::Sparse,
                (USUAL, _) => Travel::Usual,
                (named, _) if named >= NAMED => Travel::Path(named - NAMED),
                (share, Some(deadline)) => Travel::Timely { share, deadline },
                (share, None) => Travel::Protected(share),
            };
            let Class { protocol, ports, dscp, network, .. } = *class;
            let _ = classes.push(ClassRule { protocol, ports, dscp, network, travel, tier });
        }
        let (window, delay, paths_in_order) = self.reorder;
        Config {
            seed: self.seed,
            flow_seed: 0,
            key: self.key,
            checksum: self.checksum,
            sequence: self.sequence,
            policy: self.policy(),
            pins,
            reorder: ReorderConfig { window, delay: Duration::from_micros(delay), paths_in_order },
            resend: self.resend,
            order_udp: self.order_udp,
            classes,
            limit: self.limit,
            slices: self.slices,
            around: self.around,
            reassembly_timeout: Duration::from_micros(self.reassembly_timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_as_it_was_but_for_the_seed_that_would_tell_addresses() {
        let mut pins = Pins::new();
        pins.insert(Pin { port_match: PortMatch::UdpSource, port: 53, path: 2 }).unwrap();
        pins.insert(Pin { port_match: PortMatch::TcpDestination, port: 22, path: 1 }).unwrap();
        let travels = [
            Travel::Ordered,
            Travel::Sparse,
            Travel::Protected(0),
            Travel::Protected(7),
            Travel::Protected(100),
            Travel::Path(0),
            Travel::Path(15),
            Travel::Usual,
            Travel::Timely { share: 15, deadline: 1000 },
        ];
        let policies = Policy::ALL.iter().copied().cycle();
        for (policy, (number, travel)) in policies.zip((0..).zip(travels)) {
            let rule = ClassRule {
                protocol: Some(17),
                ports: Some((1, 2)),
                dscp: Some(46),
                network: Some(([10, 0, 0, 0].into(), 8)),
                travel,
                tier: Some(number).filter(|number| number % 2 == 1),
            };
            let mut classes = ClassRules::new();
            classes.push(rule).unwrap();
            let config = Config {
                seed: 7,
                flow_seed: 9,
                key: Some(3),
                policy,
                pins: pins.clone(),
                classes,
                limit: 5,
                slices: true,
                ..Config::default()
            };
            let again = Settings::from(&config).config();
            let expected = Config { flow_seed: 0, ..config };
            assert_eq!(format!("{again:?}"), format!("{expected:?}"));
        }
    }
}
