//! One table of bad files.

use super::{CONNECTION, MINIMAL, PATH, TUNNEL, instead, refuse, with};

/// What is wrong in each file, and what the message has to say: line, key, found, allowed.
#[test]
fn a_bad_value_is_answered_with_line_key_found_and_allowed() {
    let second_path = |lines: &str| format!("{MINIMAL}[[connection.path]]\nname = \"b\"\n{lines}\n");
    let second_connection = |lines: &str| {
        let path = "[[connection.path]]\nname = \"x\"\nlocal = \"172.16.2.10\"\nremote = \"172.16.2.20\"";
        format!("{MINIMAL}[[connection]]\n{lines}\n{path}\n")
    };
    let pins: Vec<String> = (1..=65).map(|port| port.to_string()).collect();
    let many_paths: String = (2..=17)
        .map(|i| {
            format!("[[connection.path]]\nname = \"p{i}\"\nlocal = \"10.9.{i}.1\"\nremote = \"10.9.{i}.2\"\n")
        })
        .collect();
    let connection_only =
        MINIMAL.split("[[connection.path]]").next().expect("text before the path").to_owned();
    let tunnel_only = MINIMAL.split("[[connection]]").next().expect("text before the connection").to_owned();
    let lines = |n: usize| format!("mpt.toml:{n}: ");
    let cases: Vec<(String, String, &str, &str)> = vec![
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
            "one of `travel` and `path`",
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
        // Addresses.
        (
            instead("10.0.0.1/24", "10.0.0.1"),
            lines(3),
            "tunnel.address = \"10.0.0.1\": the prefix length is missing",
            "10.0.0.1/24",
        ),
        (instead("10.0.0.1/24", "10.0.0.1/33"), lines(3), "tunnel.address = \"10.0.0.1/33\"", "10.0.0.1/24"),
        (
            instead("10.0.0.1/24", "10.0.0.1/0"),
            lines(3),
            "tunnel.address = \"10.0.0.1/0\"",
            "prefix length of 1 or more",
        ),
        (
            instead("\"fec::1:1/112\"", "\"10.0.0.1/16\""),
            lines(3),
            "tunnel.address = \"10.0.0.1/16\": stands in line 3 already",
            "each address once",
        ),
        (
            instead("[\"10.0.0.1/24\", \"fec::1:1/112\"]", "[]"),
            lines(3),
            "tunnel.address = []: no address",
            "one address or more",
        ),
        (instead("[\"10.0.0.2\"]", "[]"), lines(7), "connection.peer = []", "one tunnel address of the peer"),
        (instead("10.0.0.2", "10.0.0.2/24"), lines(7), "connection.peer = \"10.0.0.2/24\"", "172.16.1.20 or"),
        (
            instead("10.0.0.2", "224.0.0.1"),
            lines(7),
            "connection.peer = \"224.0.0.1\": a multicast",
            "of one host",
        ),
        (
            instead("10.0.0.2", "10.0.0.1"),
            lines(7),
            "connection.peer = \"10.0.0.1\": this is our own",
            "the peer's tunnel address",
        ),
        (
            instead(", \"fec::1:1/112\"]", "]").replace("10.0.0.2", "fec::1:2"),
            lines(7),
            "connection.peer = \"fec::1:2\": the tunnel interface has no IPv6",
            "`tunnel.address`",
        ),
        (
            instead("[\"10.0.0.2\"]", "[\"10.0.0.2\", \"10.0.0.2\"]"),
            lines(7),
            "connection.peer = \"10.0.0.2\": stands in line 7",
            "once in the file",
        ),
        (
            instead("peer = [\"10.0.0.2\"]", "peer = [\"10.0.0.2\"]\nmulticast = true")
                + "[[connection]]\nname = \"pc3\"\npeer = [\"10.0.0.3\"]\nmulticast = true\n[[connection.path]]\n\
                   name = \"x\"\nlocal = \"172.16.2.10\"\nremote = \"172.16.2.20\"\n",
            lines(17),
            "connection.multicast = true: line 8 has it already",
            "true in one connection, false in the others",
        ),
        (
            with(CONNECTION, "multicast = 1"),
            lines(8),
            "connection.multicast = 1: wrong type",
            "true or false",
        ),
        (
            instead("172.16.1.10", "172.16.1"),
            lines(11),
            "connection.path.local = \"172.16.1\": not an IP address",
            "172.16.1.10 or",
        ),
        (
            instead("172.16.1.20", "2001:db8::20"),
            lines(12),
            "connection.path.remote = \"2001:db8::20\": not the IP version of `local`",
            "same IP version",
        ),
        (
            instead("172.16.1.20", "172.16.1.10"),
            lines(12),
            "connection.path.remote = \"172.16.1.10\": the same as `local`",
            "the peer's address",
        ),
        (
            instead("172.16.1.20", "224.0.0.1"),
            lines(12),
            "connection.path.remote = \"224.0.0.1\"",
            "of one host, such as 172.16.1.20 or 2001:db8::20, a name such as vps.example.net, or 0.0.0.0",
        ),
        // Paths by themselves.
        (
            with(CONNECTION, "paths = \"all\""),
            lines(8),
            "connection.paths = \"all\": unknown word",
            "\"auto\"",
        ),
        (
            with(CONNECTION, "paths = \"auto\""),
            lines(5),
            "connection: paths = \"auto\" does not say where the peer is",
            "addresses or names",
        ),
        (
            with(CONNECTION, "except = [\"docker*\"]"),
            lines(8),
            "connection.except = [\"docker*\"]: only paths = \"auto\" uses it",
            "paths = \"auto\" as well",
        ),
        (
            with(CONNECTION, "paths = \"auto\"\nremote = [\"0.0.0.0\"]"),
            lines(9),
            "connection.remote = \"0.0.0.0\": a peer that speaks first",
            "the peer's address or name",
        ),
        (
            with(CONNECTION, "paths = \"auto\"\nremote = [\"8.8.8.8\"]\nexcept = [\"a/b\"]"),
            lines(10),
            "connection.except = \"a/b\": no name of an interface",
            "such as docker*",
        ),
        (
            instead("172.16.1.20", "172.16.1.300"),
            lines(12),
            "connection.path.remote = \"172.16.1.300\": not an IP address",
            "a name such as vps.example.net",
        ),
        (
            instead("172.16.1.20", "b\u{fc}cher.example"),
            lines(12),
            "connection.path.remote = \"b\u{fc}cher.example\": a name with other",
            "a name such as vps.example.net",
        ),
        (
            second_path(
                "local = \"172.16.1.10\"\nremote = \"vps.example\"\n[[connection.path]]\nname = \"c\"\n\
                         local = \"172.16.1.10\"\nremote = \"vps.example\"",
            ),
            lines(19),
            "connection.path.local = \"172.16.1.10\": the path in line 15 has the same addresses",
            "paths that differ",
        ),
        // Peers whose address is open, or changes.
        (
            instead("172.16.1.20", "0.0.0.0") + "roaming = false\n",
            lines(13),
            "connection.path.roaming = false: `remote` leaves the peer's address open",
            "true, or the peer's address",
        ),
        (
            instead("172.16.1.20", "0.0.0.0").replace("172.16.1.10", "0.0.0.0") + "device = \"eth1\"\n",
            lines(12),
            "connection.path.remote = \"0.0.0.0\": neither end of the path is known",
            "or ours in `local`",
        ),
        (
            instead("172.16.1.20", "0.0.0.0") + "liveness = \"off\"\n",
            lines(12),
            "connection.path.remote = \"0.0.0.0\": only mpt can prove that it has moved",
            "a peer that is probed",
        ),
        (
            with(CONNECTION, "check_source_port = false") + "roaming = true\n",
            lines(14),
            "connection.path.roaming = true: only mpt can prove that it has moved",
            "one fixed address",
        ),
        (
            instead("172.16.1.20", "0.0.0.0")
                + "[[connection]]\nname = \"c\"\npeer = [\"10.0.0.3\"]\n[[connection.path]]\nname = \"x\"\nlocal = \
                   \"172.16.1.10\"\nremote = \"0.0.0.0\"\n",
            lines(19),
            "connection.path.remote = \"0.0.0.0\": the path in line 11 of another connection learns its peer",
            "another `key` for each",
        ),
        (
            instead("172.16.1.20", "10.0.0.2"),
            lines(12),
            "connection.path.remote = \"10.0.0.2\": this is an address of the tunnel",
            "below the tunnel",
        ),
        (
            instead("172.16.1.10", "0.0.0.0"),
            lines(11),
            "connection.path.local = \"0.0.0.0\": the unspecified address",
            "device = \"eth1\"",
        ),
        (
            instead("172.16.1.10", "::ffff:1.2.3.4"),
            lines(11),
            "connection.path.local = \"::ffff:1.2.3.4\": an IPv4 address in IPv6",
            "172.16.1.10",
        ),
        (
            instead("172.16.1.10", "2001:db8::1").replace("172.16.1.20", "fe80::1"),
            lines(12),
            "connection.path.remote = \"fe80::1\": the link-local address",
            "device = \"eth1\"",
        ),
        (
            instead("172.16.1.10", "2001:db8::1").replace("172.16.1.20", "2001:db8::2") + "mtu = 1000\n",
            lines(13),
            "connection.path.mtu = 1000: too small for IPv6",
            "from 1280",
        ),
        (
            with(CONNECTION, "[[connection.network]]\nto = \"10.1.2.3/16\""),
            lines(9),
            "connection.network.to = \"10.1.2.3/16\": bits are set",
            "no bits after the prefix",
        ),
        (
            with(CONNECTION, "[[connection.network]]\nto = \"::/0\"\nfrom = \"10.1.0.0/16\""),
            lines(10),
            "connection.network.from = \"10.1.0.0/16\": not the IP version of `to`",
            "same IP version",
        ),
        (
            with(CONNECTION, "network = [{ to = \"10.1.0.0/16\" }, { to = \"10.1.0.0/16\" }]"),
            lines(8),
            "connection.network.to = \"10.1.0.0/16\": the network in line 8",
            "once in the file",
        ),
        // Liveness.
        (
            with(PATH, "liveness = \"often\""),
            lines(13),
            "connection.path.liveness = \"often\": unknown word",
            "\"lab\", \"internet\", \"off\" or a table",
        ),
        (
            with(PATH, "liveness = { interval_ms = 4, idle_ms = 9, dead_ms = 9 }"),
            lines(13),
            "connection.path.liveness.interval_ms = 4",
            "from 5 to",
        ),
        (
            with(PATH, "liveness = { interval_ms = 25, idle_ms = 24, dead_ms = 50 }"),
            lines(13),
            "connection.path.liveness.idle_ms = 24: shorter",
            "25 or more",
        ),
        (
            with(CONNECTION, "liveness = { interval_ms = 25, idle_ms = 25, dead_ms = 49 }"),
            lines(8),
            "connection.liveness.dead_ms = 49: a single lost probe",
            "50 or more",
        ),
        (
            with(PATH, "liveness = { interval_ms = 25, idle_ms = 25 }"),
            lines(13),
            "connection.path.liveness.dead_ms: missing",
            "dead_ms = 125",
        ),
        (
            with(PATH, "liveness = { interval = 25, idle_ms = 25, dead_ms = 50 }"),
            lines(13),
            "connection.path.liveness.interval = 25: unknown key",
            "interval_ms, idle_ms, dead_ms",
        ),
        // Keys.
        (
            with(PATH, "wieght = 5"),
            lines(13),
            "connection.path.wieght = 5: unknown key, did you mean `weight`?",
            "name, local, remote",
        ),
        (
            with(PATH, "colour = 5"),
            lines(13),
            "connection.path.colour = 5: unknown key;",
            "name, local, remote",
        ),
        (
            with(TUNNEL, "addres = 1"),
            lines(4),
            "tunnel.addres = 1: unknown key, did you mean `address`?",
            "name, address, mtu, queue",
        ),
        (
            with(PATH, "[tunel]"),
            lines(13),
            "tunel: unknown key, did you mean `tunnel`?",
            "tunnel, listen, metrics, portal, forward, hook, connection",
        ),
        (
            instead("local =", "# local ="),
            lines(9),
            "connection.path.local: missing",
            "local = \"172.16.1.10\"",
        ),
        (instead("name = \"pc2\"", ""), lines(5), "connection.name: missing", "name = \"office\""),
        (
            instead("address =", "# address ="),
            lines(2),
            "tunnel.address: missing",
            "address = [\"10.0.0.1/24\"]",
        ),
        (String::new(), lines(1), "tunnel: missing", "[tunnel] with address"),
        (with(PATH, "weight = 1\nweight = 2"), lines(14), "weight = 2: duplicate key", "each key once"),
        (
            with(PATH, "device = eth0"),
            lines(13),
            "device = eth0: string values must be quoted",
            "text in quotes",
        ),
        (
            instead("\"172.16.1.20\"", "172.16.1.20"),
            lines(12),
            "remote = 172.16.1.20: invalid float",
            "text in quotes",
        ),
        (with(PATH, "weight = = 2"), lines(13), "weight = = 2: extra `=`", "nothing"),
        (with(PATH, "device = \"eth1"), lines(13), "device = \"eth1: invalid basic string", "`\"`"),
        // Metrics are for this host alone.
        (
            with(TUNNEL, "[portal]\nurl = \"https://example.net/\""),
            lines(5),
            "portal.url = \"https://example.net/\": not http://",
            "an address such as \"http://connectivitycheck.gstatic.com/generate_204\"",
        ),
        (
            with(TUNNEL, "[portal]\nanswer = 302"),
            lines(5),
            "portal.answer = 302: out of range",
            "a status of HTTP from 200 to 299 such as 204, or the text",
        ),
        (
            with(TUNNEL, "[portal]\nanswer = \"\""),
            lines(5),
            "portal.answer = \"\": empty",
            "or the text of the answer",
        ),
        (
            with(PATH, "portal_check = 1"),
            lines(13),
            "connection.path.portal_check = 1: wrong type",
            "true or false",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"0.0.0.0:9475\""),
            lines(5),
            "metrics.listen = \"0.0.0.0:9475\": other hosts could read it",
            "a loopback address with a port, such as 127.0.0.1:9475",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"[2001:db8::1]:9475\""),
            lines(5),
            "metrics.listen = \"[2001:db8::1]:9475\": other hosts could read it",
            "a loopback address",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"127.0.0.1\""),
            lines(5),
            "metrics.listen = \"127.0.0.1\": the port is missing",
            "a loopback address with a port",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"127.0.0.1:0\""),
            lines(5),
            "metrics.listen = \"127.0.0.1:0\": port 0 is none",
            "a loopback address with a port",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"localhost:9475\""),
            lines(5),
            "metrics.listen = \"localhost:9475\": not an address with a port",
            "a loopback address with a port",
        ),
        (
            with(TUNNEL, "[metrics]\nsocket = \"no\""),
            lines(5),
            "metrics.socket = \"no\": wrong type",
            "true or false",
        ),
        (
            with(TUNNEL, "[metrics]\nport = 9475"),
            lines(5),
            "metrics.port = 9475: unknown key",
            "socket, listen",
        ),
        // Too few, too many, twice.
        (tunnel_only, "mpt.toml: ".to_owned(), "no connection", "[[connection]] or more"),
        (connection_only, lines(5), "connection: no path", "1 to 16 tables [[connection.path]]"),
        (format!("{MINIMAL}{many_paths}"), lines(73), "connection.path: one path too many", "1 to 16 tables"),
        (
            format!("{MINIMAL}tcp_dst = [{}]", pins.join(", ")),
            lines(13),
            "connection.path.tcp_dst = 65: port 65 is one pin too many",
            "at most 64 pinned ports",
        ),
        (
            second_path("local = \"172.16.2.10\"\nremote = \"172.16.2.20\"").replace("\"b\"", "\"left\""),
            lines(14),
            "connection.path.name = \"left\": the path in line 10",
            "no other path",
        ),
        (
            second_path("local = \"172.16.1.10\"\nremote = \"172.16.1.20\""),
            lines(15),
            "connection.path.local = \"172.16.1.10\": the path in line 11",
            "differ in `local`",
        ),
        (
            second_path("tcp_src = [7]\nlocal = \"172.16.2.10\"\nremote = \"172.16.2.20\"").replacen(
                "local =",
                "tcp_src = [7]\nlocal =",
                1,
            ),
            lines(16),
            "connection.path.tcp_src = 7: port 7 is pinned to another path in line 11",
            "on one path",
        ),
        (
            second_connection("name = \"pc2\"\npeer = [\"10.0.0.3\"]"),
            lines(14),
            "connection.name = \"pc2\": the connection in line 6",
            "no other connection",
        ),
        (
            second_connection("name = \"pc3\"\npeer = [\"10.0.0.2\"]"),
            lines(15),
            "connection.peer = \"10.0.0.2\": stands in line 7",
            "once in the file",
        ),
    ];
    let mut failures = Vec::new();
    for (text, line, what, allowed) in &cases {
        let message = refuse(text);
        let first = message.lines().next().expect("a message has a line");
        let good = first.starts_with(&format!("{line}{what}")) && first.contains("; allowed: ");
        if !good || !first.contains(allowed) {
            failures.push(format!("{message}\n  instead of {line}{what} ... allowed: ... {allowed}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
