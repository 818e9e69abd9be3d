//! How the packets of a flow travel: told by what the flow does.
//!
//! | class | what | how it travels |
//! |---|---|---|
//! | express | a sparse flow: a call, a game, DNS, the start of a transfer; acknowledgements; a video conference | at once, on the path that delivers first; not held |
//! | bulk | TCP and whatever else minds its order; UDP that carries bulk: QUIC, a VPN, uTP | over all open paths, in order |
//!
//! A UDP flow carries bulk if it says so (a packet of QUIC, WireGuard or uTP, a tunnel's port, DSCP), is fast, or fills whatever
//! there is. A conference does none of these: its rate is its own. A [`rule`] of the configuration overrules all of that.

mod rule;

use crate::adaptive::AdaptiveState;
use crate::adaptive::tuning::{
    BULK_BYTES, BULK_MEMORY, BULK_PACKET, BULK_WAITS, LIKE_AN_ACK, OWNED, REST, SPARSE_BYTES, SPARSE_WINDOW,
};
use crate::wire::ip::{self, Flow};
use crate::wire::slice;

pub(super) use rule::RuleNumber;
pub use rule::{ClassRule, ClassRules, MAX_CLASS_RULES, Travel};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Express,
    Bulk,
}

/// What was seen of a flow. Stamps are microseconds modulo 2^32. `Default`: nothing.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(PartialEq, serde::Serialize, serde::Deserialize))]
pub(super) struct Behaviour {
    /// Tells the flow from others of its bucket; when it was seen last.
    tag: u16,
    seen: Option<u32>,
    /// Since when `recent` counts the bytes that came.
    window: u32,
    recent: u32,
    /// When a packet last joined the ordered sequence.
    ordered_at: Option<u32>,
    /// What shows that it carries bulk, though it is UDP.
    evidence: Option<Evidence>,
    /// Since when packets of it that are not ordered have always waited.
    waits_since: Option<u32>,
    /// The rule of the configuration that fits it.
    rule: Option<RuleNumber>,
    /// That is to be found out with its next packet, as slices alone do not tell.
    is_unruled: bool,
}

/// What shows that a flow carries bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
enum Evidence {
    /// A packet said what it is of: that holds for as long as the flow lives.
    Named,
    /// Its rate, or its queue, seen last at this time: that may be over.
    Seen(u32),
}

/// A packet that came, or a slice of one, and what is read of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'p> {
    packet: &'p [u8],
    flow: &'p Flow,
    is_slice: bool,
    is_bare_ack: bool,
    /// Its flow minds its order, whatever it does.
    wants_order: bool,
    now: u32,
}

impl<'p> Arrival<'p> {
    pub(super) fn new(packet: &'p [u8], flow: &'p Flow, order_udp: bool, now: u32) -> Self {
        let is_slice = slice::is_there(packet);
        let is_bare_ack = !is_slice && ip::is_bare_ack(packet, flow);
        Self { packet, flow, is_slice, is_bare_ack, wants_order: flow.wants_order(order_udp), now }
    }

    /// Whether it asks for a TCP connection.
    pub(super) fn opens(&self) -> bool {
        self.is_bare_ack && ip::opens(self.packet, self.flow)
    }

    /// How it travels if nothing is known of its flow.
    pub(super) const fn class(&self) -> Class {
        if self.wants_order && !self.is_bare_ack { Class::Bulk } else { Class::Express }
    }

    /// The first rule that fits it.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn ruled(&self, rules: &ClassRules) -> Ruled {
        let fits = |rule: &ClassRule| match self.is_slice {
            true => rule.fits_flow(self.flow),
            false => rule.fits(self.packet, self.flow),
        };
        let place = rules.iter().position(fits);
        if self.is_slice && place.and_then(|place| rules.get(place)).is_some_and(ClassRule::reads_headers) {
            return Ruled::Unknown;
        }
        let number = place.and_then(|place| u8::try_from(place + 1).ok()).and_then(RuleNumber::new);
        number.map_or(Ruled::ByNone, Ruled::By)
    }
}

/// The rule that fits a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruled {
    By(RuleNumber),
    ByNone,
    /// It is a slice, which lacks the headers that a rule looks at.
    Unknown,
}

impl Ruled {
    /// The rule, if one is known to fit.
    pub(super) const fn number(self) -> Option<RuleNumber> {
        match self {
            Self::By(number) => Some(number),
            Self::ByNone | Self::Unknown => None,
        }
    }
}

/// What a flow has in the two queues.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    pub(super) express: bool,
    pub(super) bulk: bool,
}

impl Behaviour {
    /// A flow whose first packet comes now.
    pub(super) fn begun(tag: u16, ruled: Ruled, now: u32) -> Self {
        let is_unruled = ruled == Ruled::Unknown;
        Self { tag, rule: ruled.number(), is_unruled, seen: Some(now), ..Self::default() }
    }

    /// The rule of the configuration that fits it, found out with `ruled` if that is still to be done.
    pub(super) fn rule(&mut self, ruled: impl FnOnce() -> Ruled) -> Option<RuleNumber> {
        if self.is_unruled {
            let ruled = ruled();
            self.is_unruled = ruled == Ruled::Unknown;
            self.rule = ruled.number();
        }
        self.rule
    }

    /// Whether it is that of the flow with this tag, of which a packet comes.
    pub(super) fn is_of(&mut self, tag: u16, now: u32) -> bool {
        let is_of = self.tag == tag && self.seen.is_some();
        self.seen = if is_of { Some(now) } else { self.seen };
        is_of
    }

    /// Whether the flow has not sent for long.
    pub(super) fn is_over(&self, now: u32) -> bool {
        self.seen.is_none_or(|seen| now.wrapping_sub(seen) >= OWNED)
    }

    /// How a packet travels that came, and of which the configuration says `travel`. `overtakes` tells by how many microseconds a packet
    /// that is not held may overtake one that is.
    pub(super) fn classify(
        &mut self,
        arrival: &Arrival<'_>,
        travel: Travel,
        waiting: Waiting,
        overtakes: impl FnOnce() -> u32,
    ) -> Class {
        let is_bulk = match travel {
            Travel::Usual | Travel::Path(_) => self.is_bulk(arrival, waiting, overtakes),
            Travel::Sparse | Travel::Protected(_) | Travel::Timely { .. } => arrival.is_slice,
            Travel::Ordered => true,
        };
        if is_bulk {
            self.ordered_at = Some(arrival.now);
            return Class::Bulk;
        }
        Class::Express
    }

    fn is_bulk(&mut self, arrival: &Arrival<'_>, waiting: Waiting, overtakes: impl FnOnce() -> u32) -> bool {
        let &Arrival { packet, flow, is_slice, is_bare_ack, wants_order, now } = arrival;
        if is_bare_ack {
            return false;
        }
        let is_sparse = self.is_sparse(packet.len(), waiting.bulk, now) && !is_slice;
        if wants_order {
            return !is_sparse;
        }
        let carries_bulk = flow.udp_ports().is_some() && self.carries_bulk(packet, flow, waiting, now);
        // A class is left only when nothing is overtaken by it.
        let stays = self.ordered_at.is_some_and(|at| now.wrapping_sub(at) < overtakes());
        packet.len() > LIKE_AN_ACK && (carries_bulk && !is_sparse || stays)
    }

    /// A packet of `len` bytes came: whether the flow is sparse.
    fn is_sparse(&mut self, len: usize, waits: bool, now: u32) -> bool {
        if now.wrapping_sub(self.window) >= SPARSE_WINDOW {
            self.window = now;
            self.recent = 0;
        }
        self.recent = self.recent.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        let rested = self.ordered_at.is_none_or(|at| now.wrapping_sub(at) >= REST);
        rested && self.recent <= SPARSE_BYTES && !waits
    }

    fn carries_bulk(&mut self, packet: &[u8], flow: &Flow, waiting: Waiting, now: u32) -> bool {
        match Service::of(ip::dscp(packet)) {
            Service::RealTime => return false,
            Service::Background => return true,
            Service::Usual => {}
        }
        self.waits_since = self.waits_since.filter(|_| waiting.express).or(waiting.express.then_some(now));
        let waits = self.waits_since.is_some_and(|since| now.wrapping_sub(since) >= BULK_WAITS);
        let is_full = packet.len() >= BULK_PACKET;
        let is_seen = is_full && (self.recent >= BULK_BYTES || waits && self.recent > SPARSE_BYTES);
        self.evidence = match self.evidence {
            Some(Evidence::Named) => Some(Evidence::Named),
            _ if names_bulk(packet, flow) => Some(Evidence::Named),
            _ if is_seen => Some(Evidence::Seen(now)),
            Some(Evidence::Seen(at)) if now.wrapping_sub(at) >= BULK_MEMORY => None,
            same => same,
        };
        self.evidence.is_some()
    }
}

impl AdaptiveState {
    fn rule(&self, number: Option<RuleNumber>) -> Option<&ClassRule> {
        self.rules.get(usize::from(number?.get()).checked_sub(1)?)
    }

    /// What the configuration says of packets that this rule fits.
    pub(super) fn travel(&self, number: Option<RuleNumber>) -> Travel {
        self.rule(number).map_or(Travel::Usual, |rule| rule.travel)
    }

    /// The highest tier of paths for packets that this rule fits.
    pub(super) fn most_tier(&self, number: Option<RuleNumber>) -> Option<u8> {
        self.rule(number)?.tier
    }
}

/// Whether a UDP packet of `flow` says that it belongs to a transport or a tunnel: QUIC, WireGuard, uTP, or a tunnel's port.
pub fn names_bulk(packet: &[u8], flow: &Flow) -> bool {
    /// VXLAN (RFC 7348), Geneve (RFC 8926), IPsec (RFC 3948), L2TP (RFC 2661) and OpenVPN.
    const PORTS: [u16; 5] = [4789, 6081, 4500, 1701, 1194];
    if flow.udp_ports().is_some_and(|(from, to)| PORTS.contains(&from) || PORTS.contains(&to)) {
        return true;
    }
    ip::udp_payload(packet, flow)
        .is_some_and(|payload| is_quic(payload) || is_wireguard(payload) || is_utp(payload))
}

/// A long header of QUIC version 1 or 2 (RFC 9000 section 17.2, RFC 9369 section 3).
fn is_quic(payload: &[u8]) -> bool {
    const LONG: u8 = 0xc0;
    const VERSIONS: [[u8; 4]; 2] = [[0, 0, 0, 1], [0x6b, 0x33, 0x43, 0xcf]];
    matches!(payload, &[first, a, b, c, d, ..] if first & LONG == LONG && VERSIONS.contains(&[a, b, c, d]))
}

/// A message of WireGuard, by its type, the three zeros behind that, and the length that goes with it: a handshake has 148 and 92
/// bytes, data is padded to 16.
fn is_wireguard(payload: &[u8]) -> bool {
    match (payload.first_chunk(), payload.len()) {
        (Some([1, 0, 0, 0]), len) => len == 148,
        (Some([2, 0, 0, 0]), len) => len == 92,
        (Some([4, 0, 0, 0]), len) => len >= 32 && len % 16 == 0,
        _ => false,
    }
}

/// Data of uTP version 1 (BEP 29), with one extension at most; what else begins so is small.
fn is_utp(payload: &[u8]) -> bool {
    payload.len() >= BULK_PACKET && matches!(payload, [0x01, 0..=2, ..])
}

/// What a packet asks for by its DSCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Usual,
    /// Telephony, signalling, conferences and streams (RFC 4594: EF, VOICE-ADMIT, CS5, CS4, AF4x).
    RealTime,
    /// LE (RFC 8622) and CS1.
    Background,
}

impl Service {
    const fn of(dscp: u8) -> Self {
        match dscp {
            46 | 44 | 40 | 32 | 34 | 36 | 38 => Self::RealTime,
            1 | 8 => Self::Background,
            _ => Self::Usual,
        }
    }
}

#[cfg(test)]
mod tests;
