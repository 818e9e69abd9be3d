//! What the configuration says of how packets travel, whatever their flow does.

use core::net::IpAddr;
use core::num::NonZeroU8;

use heapless::Vec;

use crate::wire::ip::{self, Flow};

/// Most rules of a connection.
pub const MAX_CLASS_RULES: usize = 16;

/// How the packets travel that a rule fits. Only under [`Policy::Adaptive`](crate::Policy::Adaptive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub enum Travel {
    /// In order, over all open paths.
    Ordered,
    /// At once, on the path that delivers first; not held.
    Sparse,
    /// The same, and once more on the next best path, as far as copies are no more than this share, in per cent, of what the connection
    /// sends; more than 100 count as 100.
    Protected(u8),
    /// At once, on the path of this number while that is up, and not held. What the path loses is not sent again. While the path is down,
    /// as the flow's behaviour has it.
    Path(u8),
    /// As [`Protected`](Self::Protected), but once more only if the first path may deliver it later than by the deadline, and the second one
    /// probably in time.
    Timely {
        /// As the share of [`Protected`](Self::Protected).
        share: u8,
        /// Milliseconds from when a packet comes until it should arrive.
        deadline: u16,
    },
    /// As the flow's behaviour has it: for a rule with a [`tier`](ClassRule::tier).
    Usual,
}

impl Travel {
    /// What copies may be of what the connection sends, in per cent, up to 100; 0: there are none.
    pub(in crate::adaptive) const fn copies(self) -> u8 {
        match self {
            Self::Protected(share) | Self::Timely { share, .. } if share > 100 => 100,
            Self::Protected(share) | Self::Timely { share, .. } => share,
            Self::Ordered | Self::Sparse | Self::Path(_) | Self::Usual => 0,
        }
    }
}

/// A rule: packets for which everything holds that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct ClassRule {
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// First and last of the ports of which the packet has one, as source or destination.
    pub ports: Option<(u16, u16)>,
    /// Differentiated services code point (RFC 2474), 0 to 63.
    pub dscp: Option<u8>,
    /// Address and bits of the prefix of a network that the packet is from or for.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub network: Option<(IpAddr, u8)>,
    /// What is done with them.
    pub travel: Travel,
    /// They leave on paths of this tier and of lower ones only, as long as one of these is up; they wait for them. `None`: on all.
    pub tier: Option<u8>,
}

/// The place of a rule among those of the connection, counted from 1.
pub(in crate::adaptive) type RuleNumber = NonZeroU8;

/// The rules of a connection: of those that fit a packet, the first counts. It is looked up for the first packet of a flow.
pub type ClassRules = Vec<ClassRule, MAX_CLASS_RULES>;

impl ClassRule {
    /// Whether it looks at what stands in the headers alone, which a slice does not have.
    pub(super) const fn reads_headers(&self) -> bool {
        self.dscp.is_some() || self.network.is_some()
    }

    /// Whether what it says of the ports and the protocol fits `flow`.
    pub(super) fn fits_flow(&self, flow: &Flow) -> bool {
        let has = |port: u16| self.ports.is_none_or(|(first, last)| (first..=last).contains(&port));
        let ports = self.ports.is_none() || flow.ports.is_some_and(|(from, to)| has(from) || has(to));
        let protocol = self.protocol.is_none_or(|protocol| protocol == flow.protocol);
        ports && protocol
    }

    /// Whether it fits a packet of `flow`.
    pub(super) fn fits(&self, packet: &[u8], flow: &Flow) -> bool {
        let dscp = self.dscp.is_none_or(|dscp| dscp == ip::dscp(packet));
        let network = self.network.is_none_or(|(address, bits)| match address {
            IpAddr::V4(net) => ip::addresses_v4(packet)
                .is_some_and(|both| both.iter().any(|it| shares_prefix(&net.octets(), it, bits))),
            IpAddr::V6(net) => ip::addresses_v6(packet)
                .is_some_and(|both| both.iter().any(|it| shares_prefix(&net.octets(), it, bits))),
        });
        dscp && network && self.fits_flow(flow)
    }
}

/// Whether two addresses begin with the same `bits`.
fn shares_prefix(one: &[u8], other: &[u8], bits: u8) -> bool {
    let mut left = u32::from(bits);
    one.iter().zip(other).all(|(one, other)| {
        let here = left.min(8);
        left -= here;
        let mask = !(0xff_u32 >> here);
        (u32::from(*one) ^ u32::from(*other)) & mask & 0xff == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::vec;
    use std::vec::Vec;

    const ANY: ClassRule = ClassRule {
        protocol: None,
        ports: None,
        dscp: None,
        network: None,
        travel: Travel::Ordered,
        tier: None,
    };

    /// A UDP packet from 10.1.2.3 port 1000 to 10.9.8.7 port 2000 with DSCP 46.
    fn packet() -> Vec<u8> {
        let mut packet = vec![0x45, 46 << 2, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 2, 3, 10, 9, 8, 7];
        packet.extend([3, 232, 7, 208, 0, 8, 0, 0]);
        packet
    }

    fn fits(rule: ClassRule) -> bool {
        rule.fits(&packet(), &Flow::of(&packet(), 0))
    }

    #[test]
    fn a_rule_fits_if_all_that_it_names_does() {
        let net = |bits| Some((IpAddr::V4(Ipv4Addr::new(10, 9, 0, 0)), bits));
        let six = Some((IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0));
        for (rule, expected) in [
            (ANY, true),
            (ClassRule { protocol: Some(17), ..ANY }, true),
            (ClassRule { protocol: Some(6), ..ANY }, false),
            (ClassRule { ports: Some((1000, 1000)), ..ANY }, true),
            (ClassRule { ports: Some((1500, 2000)), ..ANY }, true),
            (ClassRule { ports: Some((1001, 1999)), ..ANY }, false),
            (ClassRule { dscp: Some(46), ..ANY }, true),
            (ClassRule { dscp: Some(0), ..ANY }, false),
            (ClassRule { network: net(16), ..ANY }, true),
            (ClassRule { network: net(24), ..ANY }, false),
            (ClassRule { network: net(0), ..ANY }, true),
            (ClassRule { network: six, ..ANY }, false),
            (ClassRule { dscp: Some(46), ports: Some((1, 2)), ..ANY }, false),
        ] {
            assert_eq!(fits(rule), expected, "{rule:?}");
        }
    }

    #[test]
    fn prefixes_of_every_length_are_compared_to_the_bit() {
        let one = [0xa5u8; 16];
        for bit in 0..128u8 {
            let mut other = one;
            other[usize::from(bit / 8)] ^= 0x80 >> (bit % 8);
            for bits in 0..=128 {
                assert_eq!(
                    shares_prefix(&one, &other, bits),
                    bits <= bit,
                    "{bits} of those that differ in {bit}"
                );
            }
        }
    }
}
