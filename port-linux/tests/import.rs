//! The importer on whole configurations of the original, as its users have them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpt_proto::{Liveness, Probing};
use port_linux::config::{Config, Connection};
use port_linux::import::import;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

/// The text of the result, and what our own reader makes of it.
fn converted(name: &str) -> (String, Config) {
    let text = import(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let config = Config::parse(&text, name).unwrap_or_else(|error| panic!("{error}\n\nin\n{text}"));
    (text, config)
}

/// The result has a comment that begins with `place` and contains `words`.
fn assert_remark(text: &str, place: &str, words: &str) {
    let found = text.lines().any(|line| line.starts_with(&format!("# {place}")) && line.contains(words));
    assert!(found, "no remark `# {place} ... {words}` in\n{text}");
}

fn seconds(interval: u64, dead: u64) -> Liveness {
    let interval = Duration::from_secs(interval);
    Liveness::Probe(Probing { interval, idle: interval, dead: Duration::from_secs(dead) })
}

fn only_connection(config: &Config) -> &Connection {
    let [connection] = config.connections.as_slice() else {
        panic!("{} connections", config.connections.len())
    };
    connection
}

#[test]
fn a_typical_configuration_keeps_all_its_settings() {
    let (text, config) = converted("typical");
    assert_eq!((config.tunnel.name.as_str(), config.tunnel.mtu), ("tun0", Some(1440)));
    let addresses: Vec<String> = config.tunnel.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.1/24", "fec::1:1/112"]);
    assert!(
        text.contains("\n# The original encrypts nothing.") && text.contains("\nsecurity = \"none\"\n"),
        "{text}"
    );
    assert!(config.security.is_none());

    let connection = only_connection(&config);
    assert_eq!(connection.name, "PC1-PC2");
    assert_eq!(connection.peer, ["10.0.0.2".parse::<std::net::IpAddr>().expect("an address")]);
    assert_eq!((connection.port, connection.remote_port, connection.sequence), (23456, 23456, true));
    assert_eq!((connection.reorder.window, connection.reorder.delay), (900, Duration::from_millis(300)));
    let networks: Vec<String> = connection
        .networks
        .iter()
        .map(|n| format!("{} {:?}", n.to, n.from.map(|from| from.to_string())))
        .collect();
    assert_eq!(networks, ["192.168.7.0/24 Some(\"192.168.6.0/24\")", "192.168.8.0/24 None"]);
    let paths: Vec<String> = connection
        .paths
        .iter()
        .map(|p| format!("{} {} {} {:?} {} {}", p.name, p.local, p.remote, p.device, p.weight, p.enabled))
        .collect();
    assert_eq!(
        paths,
        [
            "eth1 172.16.1.10 172.16.1.20 Some(\"eth1\") 10 true",
            "eth2 172.16.2.10 172.16.2.20 Some(\"eth2\") 20 true",
        ]
    );
    assert!(connection.paths.iter().all(|path| path.liveness == seconds(5, 11)));

    for (place, words) in [
        ("conf/interface.conf:5: [general] accept_remote = 1", "stranger"),
        ("conf/interface.conf:6: [general] cmdport_local = 60456", "no command port"),
        ("conf/interface.conf:7: [general] cmd_timeout = 25", "no command port"),
        ("conf/connections/conf.template", "not end in .conf"),
        ("conf/connections/pc2.conf:4: [connection] permission = 3", "never uses it"),
        ("conf/connections/pc2.conf:10: [connection] remote_cmd_port = 60456", "no command port"),
        ("conf/connections/pc2.conf:14: [connection] status = 0", "enabled = false"),
        ("conf/connections/pc2.conf:11: [connection] auth_type = 0", "command port"),
        ("conf/connections/pc2.conf:21: [path_0] public_ipaddr = 172.16.1.10", "behind a NAT"),
        ("conf/connections/pc2.conf:23: [path_0] gw_ipaddr = 172.16.1.10", "172.16.1.20 is on the link"),
        ("conf/connections/pc2.conf:25: [path_0] keepalive_time = 5", "milliseconds"),
        ("conf/connections/pc2.conf:27: [path_0] cmd_default = 1", "path for commands"),
    ] {
        assert_remark(&text, place, words);
    }
}

#[test]
fn two_connections_over_the_same_paths_become_one_that_carries_both_versions() {
    let (text, config) = converted("dual-stack");
    let connection = only_connection(&config);
    let peers: Vec<String> = connection.peer.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["10.0.0.2", "fec::1:2"]);
    assert_eq!((connection.name.as_str(), connection.paths.len(), connection.reorder.window), ("v4", 2, 500));
    assert_eq!(connection.paths[0].weight, 4);
    assert_remark(&text, "connections/ipv6.conf: merged with connections/ipv4.conf", "IPv4 and IPv6");
    assert_remark(&text, "connections/ipv6.conf: its reorder_window = 600", "given up");
    assert_remark(&text, "connections/ipv6.conf: its weight_out", "given up");
}

#[test]
fn two_connections_over_the_same_addresses_with_other_ports_stay_two() {
    let directory = copy_of("dual-stack");
    replace(directory.path(), "connections/ipv6.conf", "local_port = 4754", "local_port = 4756");
    replace(directory.path(), "connections/ipv6.conf", "remote_port = 4754", "remote_port = 4756");
    let text = import(directory.path()).expect("a good configuration");
    let config = Config::parse(&text, "mpt.toml").expect("our own TOML");
    let ports: Vec<_> = config.connections.iter().map(|c| (c.name.as_str(), c.port, c.remote_port)).collect();
    assert_eq!(ports, [("v4", 4754, 4754), ("v6", 4756, 4756)]);
}

#[test]
fn the_originals_traps_are_understood_and_explained() {
    let (text, config) = converted("traps");
    assert_eq!((config.tunnel.name.as_str(), config.tunnel.mtu), ("tun1", Some(1000)));
    assert_eq!(config.tunnel.addresses.len(), 1, "prefix length 0 means not configured");
    let connection = only_connection(&config);
    assert_eq!(connection.name, "to_the_office");
    assert_eq!((connection.port, connection.remote_port), (4754, 65000));
    assert_eq!((connection.sequence, connection.reorder.window), (false, 0));
    assert_eq!(connection.reorder.delay, Duration::from_millis(100));
    let paths: Vec<_> = connection
        .paths
        .iter()
        .map(|p| (p.name.as_str(), p.local.to_string(), p.weight, p.liveness, p.enabled))
        .collect();
    assert_eq!(
        paths,
        [
            ("wlan0", "192.168.1.2".to_owned(), 1, seconds(2, 6), true),
            ("wlan0-2", "192.168.1.3".to_owned(), 1, seconds(5, 10), false),
            ("ppp0", "0.0.0.0".to_owned(), 8, Liveness::Off, true),
            ("eth0", "2001:db8::10".to_owned(), 1, Liveness::Off, false),
            ("path_4", "192.168.9.2".to_owned(), 1, Liveness::Off, true),
        ]
    );
    assert_eq!(connection.paths[4].device, None);
    assert!(!text.contains("0123456789abcdef"), "a secret is copied:\n{text}");
    let one = "connections/one.conf";
    for (place, words) in [
        ("interface.conf:4: [tun_0]", "only [tun_1]"),
        ("interface.conf:10: [tun_1] ipv6_addr = FE::1/0", "there is none"),
        ("interface.conf:11: [tun_1] txqueuelen = 1500", "neither the original nor mpt"),
        ("connections/old.conf.disabled", "not read"),
        (&format!("{one}:5: [connection] ip_local = 10.0.0.9"), "10.0.0.1"),
        (&format!("{one}:7: [connection] local_port = 0"), "4754"),
        (&format!("{one}:10: [connection] status = 128"), "does not stop traffic"),
        (&format!("{one}:12: [connection] auth_key = ..."), "command port"),
        (&format!("{one}:15: [path_0] public_ipaddr = 203.0.113.7"), "only the peer"),
        (
            &format!("{one}:17: [path_0] gateway_ipaddr = 192.168.1.1"),
            "ip route add 198.51.100.1 via 192.168.1.1",
        ),
        (&format!("{one}:20: [path_0] weight_in = 3"), "the peer's own file"),
        (&format!("{one}:21: [path_0] default_cmd = 1"), "cmd_default"),
        (&format!("{one}:27: [path_1] gw_ipaddr = 0.0.0.0"), "does not look for a gateway"),
        (&format!("{one}:30: [path_1] dead_time = 3"), "raised to 10 s"),
        (&format!("{one}:31: [path_1] status = 0x83"), "set down by hand"),
        (&format!("{one}:34: [path_2] public_ipaddr = 0.0.0.0"), "public service"),
        (&format!("{one}:36: [path_2] window_size = 7"), "does not use it"),
        (&format!("{one}:32: [path_2] keepalive_time is missing"), "internet"),
        (&format!("{one}:1: [connection] reorder_window is missing"), "sequence = false"),
        (&format!("{one}:40: [path_3] interface_name = eth0:1"), "eth0"),
        (&format!("{one}:44: [path_3] status = 128"), "down by keepalive"),
        (&format!("{one}:48: [path_4] colour = green"), "neither the original nor mpt"),
        (&format!("{one}:49: [path_5]"), "path_count = 5"),
    ] {
        assert_remark(&text, place, words);
    }
}

#[test]
fn pinned_ports_and_networks_are_carried_over() {
    let (text, config) = converted("flow");
    let connection = only_connection(&config);
    assert_eq!(connection.paths[0].tcp_dst, [80, 443, 8080, 8443]);
    assert_eq!(connection.paths[0].udp_src, [53, 5353]);
    assert_eq!(connection.paths[1].tcp_src, [22, 2222]);
    assert!(connection.paths[1].udp_dst.is_empty());
    assert_eq!(connection.networks[0].to.to_string(), "0.0.0.0/0");
    assert_eq!(connection.networks[0].from.map(|from| from.to_string()).as_deref(), Some("10.7.0.0/16"));
    assert_eq!(connection.reorder.delay, Duration::from_secs(10));
    let file = "conf/connections/flow.conf";
    assert_remark(&text, &format!("{file}:9: [connection] max_buffdelay_msec = 20000"), "lowered to 10000");
    assert_remark(&text, &format!("{file}:20: [path_1] tcp_src = 22;2222"), "comment");
    assert_remark(&text, &format!("{file}:23: [net_0] src_addr = 10.7.0.1/16"), "10.7.0.0/16");
}

fn copy_of(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let from = fixture(name);
    fs::create_dir(directory.path().join("connections")).expect("a folder");
    fs::copy(from.join("interface.conf"), directory.path().join("interface.conf")).expect("a copy");
    for entry in fs::read_dir(from.join("connections")).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), directory.path().join("connections").join(entry.file_name())).expect("a copy");
    }
    directory
}

fn replace(directory: &Path, file: &str, from: &str, to: &str) {
    let file = directory.join(file);
    let text = fs::read_to_string(&file).expect("a text");
    assert!(text.contains(from), "{from} is in the file");
    fs::write(file, text.replacen(from, to, 1)).expect("a file");
}

#[test]
fn bad_input_is_answered_with_file_line_key_found_and_allowed() {
    let v4 = "connections/ipv4.conf";
    let cases = [
        (
            "interface.conf",
            "tunnel_num = 1",
            "tunnel_num = 0",
            "interface.conf:2: [general] tunnel_num = 0: no tunnel",
            "1 or more",
        ),
        (
            "interface.conf",
            "tunnel_num = 1",
            "",
            "interface.conf:1: [general] tunnel_num: missing",
            "1 or more",
        ),
        (
            "interface.conf",
            "tunnel_num = 1",
            "tunnel_num = one",
            "interface.conf:2: [general] tunnel_num = one: not a whole number",
            "0 to 255",
        ),
        (
            "interface.conf",
            "tunnel_num = 1",
            "tunnel_num = 2",
            "interface.conf: [tun_1]: missing",
            "tunnel_num",
        ),
        (
            "interface.conf",
            "10.0.0.1/24",
            "10.0.0.1",
            "interface.conf:4: [tun_0] ipv4_addr = 10.0.0.1: cannot be read",
            "ADDRESS/LENGTH",
        ),
        (
            "interface.conf",
            "[tun_0]",
            "[tun_0",
            "interface.conf:3: [tun_0: the section has no closing",
            "[section]",
        ),
        (
            "interface.conf",
            "ipv4_addr = ",
            "ipv4_addr ",
            "interface.conf:4: ipv4_addr 10.0.0.1/24: neither",
            "key = value",
        ),
        (
            "interface.conf",
            "[general]",
            "",
            "interface.conf:2: tunnel_num = 1: a key before the first section",
            "[section]",
        ),
        (
            v4,
            "ip_ver = 4",
            "ip_ver = 5",
            "connections/ipv4.conf:3: [connection] ip_ver = 5: no such",
            "4 or 6",
        ),
        (
            v4,
            "ip_ver = 4",
            "",
            "connections/ipv4.conf:5: [connection] ip_remote = 10.0.0.2: the other IP version",
            "6 without ip_ver",
        ),
        (
            v4,
            "local_port = 4754",
            "local_port = 99999",
            "connections/ipv4.conf:6: [connection] local_port = 99999: out of range",
            "0 to 65535",
        ),
        (
            v4,
            "remote_port = 4754",
            "remote_port = 0",
            "connections/ipv4.conf:7: [connection] remote_port = 0: out of range",
            "1 to 65535",
        ),
        (
            v4,
            "path_count = 2",
            "path_count = 17",
            "connections/ipv4.conf:8: [connection] path_count = 17: mpt cannot",
            "1 to 16",
        ),
        (v4, "path_count = 2", "path_count = 3", "connections/ipv4.conf: [path_2]: missing", "path_count"),
        (
            v4,
            "weight_out = 4",
            "weight_out = 0",
            "connections/ipv4.conf:15: [path_0] weight_out = 0: out of range",
            "1 to 10000",
        ),
        (
            v4,
            "ip_ver = 6",
            "ip_ver = 4",
            "connections/ipv4.conf:14: [path_0] remote_ipaddr = 2001:db8:acad:1::20: the other IP version",
            "4 without",
        ),
        (
            v4,
            "remote_ipaddr = 172.16.2.20",
            "",
            "connections/ipv4.conf:16: [path_1] remote_ipaddr: missing",
            "the peer's address",
        ),
        (
            v4,
            "remote_ipaddr = 172.16.2.20",
            "remote_ipaddr = 0.0.0.0",
            "connections/ipv4.conf:19: [path_1] remote_ipaddr = 0.0.0.0: mpt has to know",
            "the peer's address",
        ),
        (
            v4,
            "private_ipaddr = 172.16.2.10",
            "private_ipaddr = here",
            "connections/ipv4.conf:18: [path_1] private_ipaddr = here: cannot be read",
            "an address",
        ),
        (
            v4,
            "private_ipaddr = 172.16.2.10",
            "private_ipaddr = 172.16.2.10\ntcp_dst = 80 99999",
            "connections/ipv4.conf:19: [path_1] tcp_dst = 80 99999: 99999 is no port",
            "1 to 65535",
        ),
        (
            v4,
            "ip_remote = 10.0.0.2",
            "ip_remote = 10.0.0.1",
            "connections/ipv4.conf:5: [connection] ip_remote = 10.0.0.1: this is our own",
            "the peer's tunnel address",
        ),
        (
            v4,
            "remote_ipaddr = 172.16.2.20",
            "remote_ipaddr = 172.16.2.10",
            "connections/ipv4.conf:19: [path_1] remote_ipaddr = 172.16.2.10: this is our own",
            "the peer's address",
        ),
        (
            "interface.conf",
            "[tun_0]",
            "[tun_0]\nname = a/b",
            "interface.conf:4: [tun_0] name = a/b: a character",
            "1 to 15 bytes",
        ),
        (
            v4,
            "interface_name = eth1",
            "interface_name = abcdefghijklmnop",
            "connections/ipv4.conf:11: [path_0] interface_name = abcdefghijklmnop: too long",
            "1 to 15 bytes",
        ),
        (
            // The two connections share one of their two paths, so they are neither one nor two.
            v4,
            "172.16.2.20",
            "172.16.2.30",
            "interface.conf, connections/ipv4.conf, connections/ipv6.conf: mpt cannot do this: the converted file:",
            "paths that differ",
        ),
    ];
    for (file, from, to, begins, allowed) in cases {
        let directory = copy_of("dual-stack");
        replace(directory.path(), file, from, to);
        let error = import(directory.path()).expect_err(begins).to_string();
        assert!(error.starts_with(begins), "{error}\ninstead of {begins}");
        let (_, end) = error.split_once("; allowed: ").unwrap_or_else(|| panic!("{error}: nothing allowed"));
        assert!(end.contains(allowed), "{error}\nhas to allow {allowed}");
    }
}

#[test]
fn a_folder_without_the_originals_files_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = import(directory.path()).expect_err("empty").to_string();
    assert!(error.contains("no interface.conf; allowed: "), "{error}");

    fs::write(
        directory.path().join("interface.conf"),
        "[general]\ntunnel_num=1\n[tun_0]\nipv4_addr=10.0.0.1/24\n",
    )
    .expect("a file");
    let error = import(directory.path()).expect_err("no folder").to_string();
    assert!(error.contains("connections: cannot be read: "), "{error}");

    fs::create_dir(directory.path().join("connections")).expect("a folder");
    let error = import(directory.path()).expect_err("no connection").to_string();
    assert!(error.contains("connections: no connection; allowed: "), "{error}");
}

/// Bytes of good files are replaced and removed; whatever comes out, the answer is our TOML or a message.
#[test]
fn no_damaged_file_makes_the_importer_panic() {
    let seed: u64 = std::env::var("MPT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("MPT_SEED={seed}");
    let mut state = seed;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % limit
    };
    let directory = copy_of("traps");
    let files = ["interface.conf", "connections/one.conf"].map(|file| directory.path().join(file));
    let good = files.clone().map(|file| fs::read(file).expect("a file"));
    let mut refused = 0;
    for _ in 0..500 {
        for (file, good) in files.iter().zip(&good) {
            let mut bytes = good.clone();
            let at = below(bytes.len());
            match below(3) {
                0 => bytes[at] = b"[]=\"'\n\t.0;#\xff\0"[below(13)],
                1 => bytes.drain(at..(at + below(20)).min(good.len())).for_each(drop),
                _ => bytes.splice(at..at, *b"99999999999").for_each(drop),
            }
            fs::write(file, bytes).expect("a file");
        }
        match import(directory.path()) {
            Ok(text) => drop(Config::parse(&text, "mpt.toml").expect("our own TOML")),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("; allowed: "), "{error}");
            }
        }
    }
    assert!((50..450).contains(&refused), "{refused} of 500 were refused");
}
