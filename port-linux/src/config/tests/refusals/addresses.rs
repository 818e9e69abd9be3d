//! Addresses of tunnels and peers, and paths that follow them.

use super::{CONNECTION, Case, assert_refused, instead, lines, second_path, with};

#[test]
fn a_bad_address_is_answered_with_line_key_found_and_allowed() {
    let cases: Vec<Case> = vec![
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
    ];
    assert_refused(&cases);
}
