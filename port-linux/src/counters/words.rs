//! The words that a report has for reasons and states, and what each means.

/// A word, as the JSON has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub name: &'static str,
    /// What it means, without a full stop.
    pub help: &'static str,
}

const fn word(name: &'static str, help: &'static str) -> Word {
    Word { name, help }
}

/// What one of `words` means; nothing if it is none of them, as one of another version.
pub fn meaning(words: &[Word], name: &str) -> Option<&'static str> {
    words.iter().find(|word| word.name == name).map(|word| word.help)
}

/// What was dropped before it was known to which connection it belongs, or by the tunnel interface.
pub static TUNNEL_DROPS: [Word; 20] = [
    word("no_route", "a packet whose destination is neither a peer nor behind one"),
    word("link_scoped", "a multicast, broadcast or link-local packet, which no connection carries"),
    word("tun_read", "a packet that the tunnel interface gave in a form that makes no sense"),
    word("tun_write", "a packet that the kernel did not take"),
    word("slices", "a slice of a packet that never became whole"),
    word("seal_short", "a datagram that is too short for any sealed one"),
    word("seal_form", "a datagram that is neither sealed nor of a handshake that is spoken here"),
    word("seal_clear", "a datagram in the clear: the sender has no keys"),
    word("seal_unknown_index", "a datagram of keys that are not known, or not any more"),
    word("seal_expired", "a datagram of keys that are too old"),
    word("seal_replayed", "a datagram that came before"),
    word("seal_too_old", "a datagram so late that nobody knows whether it came before"),
    word(
        "seal_bad_tag",
        "a damaged or forged datagram, or an answer of somebody who could not read our handshake",
    ),
    word("seal_content", "a datagram that is authentic and holds nothing that makes sense"),
    word("seal_bad_mac", "a handshake of somebody who does not know our public key"),
    word("seal_unknown_peer", "a handshake with a key that is no peer's"),
    word("seal_bad_response", "an answer of the true peer that does not fit: the pre-shared keys differ"),
    word("seal_stale", "an answer to a handshake that is done, or to none"),
    word("seal_busy", "a handshake beyond what is answered at a time"),
    word("seal_no_keys", "a datagram that was not sent, as there were no keys yet or any more"),
];

/// What was dropped that belongs to a connection.
pub static CONNECTION_DROPS: [Word; 20] = [
    word("truncated", "a datagram shorter than its headers say"),
    word("bad_version", "a datagram of another version of GRE"),
    word("bad_flags", "a datagram with a reserved bit of GRE set"),
    word("bad_checksum", "a datagram whose GRE checksum does not match"),
    word("wrong_key", "a datagram without the GRE key, with another one, or with one where none is expected"),
    word("unknown_protocol", "a datagram that holds neither IPv4, IPv6 nor a message of mpt"),
    word("bad_inner", "a packet that is not what its header says"),
    word("bad_control", "a message of mpt that makes no sense"),
    word("bad_fragment", "a fragment that contradicts itself or the others, or finds no room"),
    word("duplicate", "a packet that came before"),
    word("late", "a packet that came after it was given up"),
    word("too_large", "a packet larger than what there is room for"),
    word("congestion_marked", "a packet that met congestion on the way, of a sender that does not speak ECN"),
    word("fragment_timeout", "a packet some of whose fragments did not come within a second"),
    word("path_disabled", "a datagram on a path that is out of use"),
    word("overflow", "a packet that found no room to wait for others"),
    word("wrong_source", "a datagram from an address that is no path's remote end"),
    word("wrong_inner_source", "a packet of the peer from an address that is neither its own nor behind it"),
    word("bad_slice", "a slice of a packet that makes no sense, or came before"),
    word("limit", "a packet of the peer beyond the connection's limit"),
];

/// Why the kernel did not take a datagram of a path.
pub static NOT_SENT: [Word; 4] = [
    word("full", "the socket's or the interface's queue was full"),
    word("too_big", "larger than the interface's MTU"),
    word("link", "no address, no route or no interface"),
    word("refused", "refused by a firewall of this host, or by the remote host"),
];

/// Why a path is down. The app for Android shows these words, and knows the first.
pub static DOWN_REASONS: [Word; 5] = [
    word("disabled", "not in use"),
    word("link", "no network"),
    word("unheard", "no answer yet"),
    word("silent", "no answer"),
    word("deaf", "the peer does not hear us"),
];

/// Why a path carries no more.
pub static LIMITS: [Word; 9] = [
    word("not measured yet", "nothing was sent on it that would show what it carries"),
    word("outage", "it delivers nothing: it is down, or seems to have stopped"),
    word("delay", "it is too slow for packets that are kept in order, and carries others"),
    word("policer", "what exceeds a rate is dropped on the way"),
    word("other traffic", "others keep the queue of the link full"),
    word("draining a queue", "less is sent for a moment, until a queue on the way is gone"),
    word("tier", "paths of a lower tier suffice"),
    word("application", "less is there to send than it could carry"),
    word("bandwidth", "it carries what it can"),
];

/// What is done to find out what a path carries.
pub static PHASES: [Word; 5] = [
    word("startup", "the rate doubles until that does not help"),
    word("drain", "less than the rate is sent until the queue is gone"),
    word("cruise", "the rate is sent"),
    word("probe", "more than the rate is sent for a while, to see whether there is more"),
    word("compete", "the link is shared with others that keep its queue full"),
];

/// Why a connection sends by weight although its policy is `adaptive`.
pub static MODE_REASONS: [Word; 3] = [
    word("peer_cannot", "the peer does not speak it"),
    word("no_memory", "it needs memory and sequence numbers"),
    word("no_reports", "the peer does not report"),
];
