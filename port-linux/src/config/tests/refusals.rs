//! Tables of bad files.

mod addresses;
mod many;
mod tables;

use super::{CONNECTION, MINIMAL, PATH, TUNNEL, instead, refuse, with};

/// A bad file, and what the message has to say: the line, the key and what was found, what is allowed.
type Case = (String, String, &'static str, &'static str);

/// Where a message says that the mistake is.
fn lines(n: usize) -> String {
    format!("mpt.toml:{n}: ")
}

/// The smallest file with a second path.
fn second_path(lines: &str) -> String {
    format!("{MINIMAL}[[connection.path]]\nname = \"b\"\n{lines}\n")
}

/// Each file is refused with its message.
fn assert_refused(cases: &[Case]) {
    let mut failures = Vec::new();
    for (text, line, what, allowed) in cases {
        let message = refuse(text);
        let first = message.lines().next().expect("a message has a line");
        let good = first.starts_with(&format!("{line}{what}")) && first.contains("; allowed: ");
        if !good || !first.contains(allowed) {
            failures.push(format!("{message}\n  instead of {line}{what} ... allowed: ... {allowed}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_bad_value_is_answered_with_line_key_found_and_allowed() {
    let cases: Vec<Case> = vec![
        // Ranges.
        (with(PATH, "weight = 0"), lines(13), "connection.path.weight = 0: out of range", "from 1 to 10000"),
        (with(PATH, "tier = 0"), lines(13), "connection.path.tier = 0: out of range", "from 1 to 8"),
        (with(PATH, "tier = 9"), lines(13), "connection.path.tier = 9: out of range", "from 1 to 8"),
        (
            with(PATH, "tier = \"1\""),
            lines(13),
            "connection.path.tier = \"1\": wrong type",
            "or a table such as",
        ),
        (
            with(PATH, "tier = { \"22:00-06:00\" = 1 }"),
            lines(13),
            "connection.path.tier: `default` is missing",
            "for example { default = 2, \"22:00-06:00\" = 1 }",
        ),
        (
            with(PATH, "tier = { default = 2, \"22:00-06:00\" = 9 }"),
            lines(13),
            "connection.path.tier.22:00-06:00 = 9: out of range",
            "from 1 to 8",
        ),
        (
            with(PATH, "tier = { default = 2, night = 1 }"),
            lines(13),
            "connection.path.tier.night = 1: no part of a day",
            "`default`, and parts of the day such as \"22:00-06:00\"",
        ),
        (
            with(PATH, "tier = { default = 2, \"22:00-25:00\" = 1 }"),
            lines(13),
            "connection.path.tier.22:00-25:00 = 1: no time of a day",
            "from 00:00 to 24:00",
        ),
        (
            with(PATH, "tier = { default = 3, \"22:00-06:00\" = 1, \"05:00-07:00\" = 2 }"),
            lines(13),
            "connection.path.tier.05:00-07:00 = 2: overlaps \"22:00-06:00\"",
            "parts of the day that do not overlap",
        ),
        (
            with(CONNECTION, "adaptive = { memory_mb = 0 }"),
            lines(8),
            "connection.adaptive.memory_mb = 0: out of range",
            "from 1 to 1024",
        ),
        (
            with(CONNECTION, "adaptive = { resend = 1 }"),
            lines(8),
            "connection.adaptive.resend = 1: wrong type",
            "true or false",
        ),
        (with(PATH, "weight = 10001"), lines(13), "connection.path.weight = 10001", "from 1 to 10000"),
        (with(PATH, "weight = -1"), lines(13), "connection.path.weight = -1", "from 1 to 10000"),
        (with(PATH, "weight = 1.5"), lines(13), "connection.path.weight = 1.5: wrong type", "a whole number"),
        (
            with(PATH, "weight = \"1\""),
            lines(13),
            "connection.path.weight = \"1\": wrong type",
            "a whole number",
        ),
        (
            with(PATH, "weight = 18446744073709551615"),
            lines(13),
            "connection.path.weight = 18446744073709551615",
            "to 10000",
        ),
        (with(PATH, "rank = 256"), lines(13), "connection.path.rank = 256", "from 0 to 255"),
        (with(PATH, "port = 0"), lines(13), "connection.path.port = 0", "from 1 to 65535"),
        (with(PATH, "remote_port = 65536"), lines(13), "connection.path.remote_port = 65536", "to 65535"),
        (with(CONNECTION, "port = 70000"), lines(8), "connection.port = 70000", "from 1 to 65535"),
        (with(CONNECTION, "key = 4294967296"), lines(8), "connection.key = 4294967296", "to 4294967295"),
        (with(PATH, "mtu = 575"), lines(13), "connection.path.mtu = 575", "from 576 to 65535"),
        (with(TUNNEL, "mtu = 575"), lines(4), "tunnel.mtu = 575", "\"auto\" or a whole number from 576"),
        (with(TUNNEL, "mtu = 1279"), lines(4), "tunnel.mtu = 1279: too small for IPv6", "from 1280 to 65535"),
        (with(TUNNEL, "mtu = \"big\""), lines(4), "tunnel.mtu = \"big\": unknown word", "\"auto\""),
        (
            with(TUNNEL, "share = [\"lan0\", \"192.168.6.1/24\"]"),
            lines(4),
            "tunnel.share = \"192.168.6.1/24\": bits are set after the prefix",
            "a network such as 192.168.6.0/24 or fd06::/64, or the name of an interface such as lan0",
        ),
        (
            with(TUNNEL, "share = [\"192.168.6.1\"]"),
            lines(4),
            "tunnel.share = \"192.168.6.1\": the prefix length is missing",
            "a network such",
        ),
        (
            with(TUNNEL, "share = [\"0.0.0.0/0\"]"),
            lines(4),
            "tunnel.share = \"0.0.0.0/0\": everything is no LAN",
            "a network such",
        ),
        (
            with(TUNNEL, "share = [\"mpt0\"]"),
            lines(4),
            "tunnel.share = \"mpt0\": this is the tunnel interface itself",
            "a LAN behind it",
        ),
        (
            with(TUNNEL, "share = [\"lan*\"]"),
            lines(4),
            "tunnel.share = \"lan*\": a character that `nft` does not take",
            "a network such",
        ),
        (
            with(TUNNEL, "share = [\"a\", \"a\"]"),
            lines(4),
            "tunnel.share = \"a\": stands in line 4 already",
            "each entry once",
        ),
        (with(TUNNEL, "share = \"lan0\""), lines(4), "tunnel.share = \"lan0\": wrong type", "a list: [..]"),
        (
            with(TUNNEL, "share = [\"lan0\"]\nname = 'a\"b'"),
            lines(4),
            "tunnel.share = \"lan0\": `tunnel.name` is \"a\\\"b\", which has a character that `nft` does not take",
            "another name",
        ),
        (
            instead(", \"fec::1:1/112\"]", "]\nshare = [\"fd06::/64\"]"),
            lines(4),
            "tunnel.share = \"fd06::/64\": the tunnel interface has no IPv6 address",
            "an IP version that `tunnel.address` has, too",
        ),
        (
            with(TUNNEL, "dns = [\"dns.example\"]"),
            lines(4),
            "tunnel.dns = \"dns.example\": not an IP",
            "IP address",
        ),
        (
            with(TUNNEL, "dns = [\"9.9.9.9\", \"9.9.9.9\"]"),
            lines(4),
            "tunnel.dns = \"9.9.9.9\": stands in line 4 already",
            "each server once",
        ),
        (
            with(TUNNEL, "direct = [\"tcp 0\"]"),
            lines(4),
            "tunnel.direct = \"tcp 0\": not a port",
            "\"tcp 22\"",
        ),
        (
            with(TUNNEL, "direct = [\"icmp 8\"]"),
            lines(4),
            "tunnel.direct = \"icmp 8\": unknown kind of exception",
            "\"user NAME\"",
        ),
        (
            with(TUNNEL, "direct = [\"::/0\"]"),
            lines(4),
            "tunnel.direct = \"::/0\": everything would leave past the tunnel",
            "a network such",
        ),
        (
            with(TUNNEL, "direct = [\"user a b\"]"),
            lines(4),
            "tunnel.direct = \"user a b\": not the name or number of a user",
            "\"cgroup PATH\"",
        ),
        (
            with(TUNNEL, "direct = [\"cgroup ../x\"]"),
            lines(4),
            "tunnel.direct = \"cgroup ../x\": not the path of a control group",
            "\"cgroup PATH\"",
        ),
        (
            with(TUNNEL, "direct = [\"cgroup /\"]"),
            lines(4),
            "tunnel.direct = \"cgroup /\": the root of the control groups has all",
            "PATH",
        ),
        (with(TUNNEL, "direct = [\"22\"]"), lines(4), "tunnel.direct = \"22\": not an address", "\"tcp 22\""),
        (
            with(PATH, "gateway = \"172.16.1.1\""),
            lines(13),
            "connection.path.gateway = \"172.16.1.1\": a router is one on the link of a device",
            "this with device",
        ),
        (
            with(PATH, "device = \"eth1\"\ngateway = \"fe80::1\""),
            lines(14),
            "connection.path.gateway = \"fe80::1\": not the IP version of `local`",
            "the same IP version",
        ),
        (
            with(PATH, "device = \"eth1\"\ngateway = \"0.0.0.0\""),
            lines(14),
            "connection.path.gateway = \"0.0.0.0\": the unspecified address",
            "one host",
        ),
        (
            with(
                PATH,
                "device = \"e\"\ngateway = \"172.16.1.1\"\n[[connection.path]]\nname = \"b\"\nlocal = \"0.0.0.0\"\n\
                 remote = \"172.16.1.20\"\ndevice = \"e\"\ngateway = \"172.16.1.2\"",
            ),
            lines(20),
            "connection.path.gateway = \"172.16.1.2\": the path in line 14 has the same device, and the gateway 172.16.1.1",
            "one router for a device",
        ),
        (with(TUNNEL, "queue = 0"), lines(4), "tunnel.queue = 0", "from 1 to 1000000"),
        (with(PATH, "tcp_dst = [22, 0]"), lines(13), "connection.path.tcp_dst = 0", "from 1 to 65535"),
        (with(PATH, "tcp_dst = 22"), lines(13), "connection.path.tcp_dst = 22: wrong type", "a list: [..]"),
        (with(PATH, "enabled = 1"), lines(13), "connection.path.enabled = 1: wrong type", "true or false"),
        (
            with(CONNECTION, "reorder = { window = 65536 }"),
            lines(8),
            "connection.reorder.window = 65536",
            "from 0 to 65535",
        ),
        (with(CONNECTION, "reorder.delay_ms = 0"), lines(8), "connection.reorder.delay_ms = 0", "1 to 10000"),
        // Words and names.
        (
            with(CONNECTION, "policy = \"fastest\""),
            lines(8),
            "connection.policy = \"fastest\"",
            "\"weighted\", \"flow\", \"backup\", \"redundant\", \"minrtt\"",
        ),
        (
            with(TUNNEL, "name = \"sixteen-letters-\""),
            lines(4),
            "tunnel.name = \"sixteen-letters-\": too long",
            "1 to 15 bytes",
        ),
        (with(TUNNEL, "name = \"\""), lines(4), "tunnel.name = \"\": empty", "1 to 15 bytes"),
        (
            with(PATH, "device = \"a/b\""),
            lines(13),
            "connection.path.device = \"a/b\"",
            "without spaces, slashes",
        ),
        (
            with(PATH, "device = \"a b\""),
            lines(13),
            "connection.path.device = \"a b\"",
            "without spaces, slashes",
        ),
        (
            instead("\"left\"", "\"left/right\""),
            lines(10),
            "connection.path.name = \"left/right\"",
            "letters, digits",
        ),
        (
            with(CONNECTION, "[[connection.reorder]]\nwindow = 1"),
            lines(8),
            "connection.reorder: wrong type",
            "one table",
        ),
        (
            with(CONNECTION, "policy = 5"),
            lines(8),
            "connection.policy = 5: wrong type",
            "a string: \"adaptive\"",
        ),
        (
            with(PATH, "weight = 5_000_000_000_000_000_000_000"),
            lines(13),
            "connection.path.weight = 5_000_000_000_000_000_000_000: out of range",
            "to 10000",
        ),
        // Classes.
        (
            with(PATH, "[[connection.class]]\ntravel = \"sparse\""),
            lines(13),
            "connection.class: a class that every packet fits",
            "one at least of the keys",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 64\ntravel = \"sparse\""),
            lines(14),
            "connection.class.dscp = 64",
            "a whole number from 0 to 63",
        ),
        (
            with(PATH, "[[connection.class]]\nports = \"9-8\"\ntravel = \"sparse\""),
            lines(14),
            "connection.class.ports = \"9-8\": the first port is above the last",
            "10000-20000",
        ),
        (
            with(PATH, "[[connection.class]]\nports = \"0\"\ntravel = \"sparse\""),
            lines(14),
            "connection.class.ports = \"0\": not a port",
            "a port such as",
        ),
        (
            with(PATH, "[[connection.class]]\nprotocol = \"quic\"\ntravel = \"sparse\""),
            lines(14),
            "connection.class.protocol = \"quic\": unknown protocol",
            "\"udp\"",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntravel = \"fast\""),
            lines(15),
            "connection.class.travel = \"fast\": unknown word",
            "\"protected\"",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntravel = \"sparse\"\noverhead = 5"),
            lines(16),
            "connection.class.overhead = 5: there are no copies",
            "\"protected\"` only",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1"),
            lines(13),
            "connection.class: nothing is said of its packets",
            "one of `travel` and `path`, or `tier`",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntier = 9"),
            lines(15),
            "connection.class.tier = 9: out of range",
            "a whole number from 1 to 8",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntier = \"cheap\""),
            lines(15),
            "connection.class.tier = \"cheap\": ",
            "a whole number from 1 to 8",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\npath = \"left\"\ntier = 1"),
            lines(16),
            "connection.class.tier = 1: a path by itself, and a tier of paths",
            "one of `tier` and `path`",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntravel = \"sparse\"\ndeadline_ms = 60"),
            lines(16),
            "connection.class.deadline_ms = 60: there are no copies that could make it",
            "\"protected\"` only",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntier = 1\ndeadline_ms = 60"),
            lines(16),
            "connection.class.deadline_ms = 60: there are no copies",
            "\"protected\"` only",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntravel = \"protected\"\ndeadline_ms = 9"),
            lines(16),
            "connection.class.deadline_ms = 9: out of range",
            "a whole number from 10 to 1000",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntravel = \"protected\"\ndeadline_ms = 1001"),
            lines(16),
            "connection.class.deadline_ms = 1001: out of range",
            "a whole number from 10 to 1000",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\npath = \"moon\""),
            lines(15),
            "connection.class.path = \"moon\": there is no such path",
            "of this connection: \"left\"",
        ),
        (
            with(PATH, "[[connection.class]]\ndscp = 1\ntravel = \"sparse\"\npath = \"left\""),
            lines(16),
            "connection.class.path = \"left\": a path by itself",
            "one of `travel` and `path`",
        ),
        (
            with(PATH, &"[[connection.class]]\ndscp = 1\ntravel = \"sparse\"\n".repeat(17)),
            lines(61),
            "connection.class: one class too many",
            "16 tables",
        ),
    ];
    assert_refused(&cases);
}
