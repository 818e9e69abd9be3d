//! Ports that lead elsewhere: in the main file, and in those of peers.

use std::fs;
use std::path::Path;

use super::{MINIMAL, PATH, refuse, with};
use crate::config::{Config, Entrance, Transport};
use crate::keys::{self, KeyBytes, encode};

/// `MINIMAL` with a table of these lines, the first of which is line 14.
fn forward(lines: &str) -> String {
    format!("{MINIMAL}[[forward]]\n{lines}\n")
}

fn parse(text: &str) -> Config {
    super::parse(text)
}

#[test]
fn a_forward_says_protocol_ports_and_host() {
    let config = parse(&forward("proto = [\"udp\", \"tcp\"]\nport = \"8000-8010\"\nto = \"10.0.0.7\""));
    let [tcp, udp] = &config.forwards[..] else { panic!("{:?}", config.forwards) };
    assert_eq!((tcp.protocol, udp.protocol), (Transport::Tcp, Transport::Udp));
    assert_eq!((tcp.first, tcp.last, tcp.to_port), (8000, 8010, None));
    assert_eq!(tcp.at, Entrance::AllBut(vec!["10.0.0.1".parse().unwrap()]));
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    // A port that stays the same is no port to change.
    let same =
        parse(&forward("proto = \"tcp\"\nport = 443\nto = \"[fec::1:2]:443\"\naddress = \"2001:db8::1\""));
    assert_eq!(same.forwards[0].to_string(), "tcp 443 of 2001:db8::1 to fec::1:2");
}

#[test]
fn a_host_elsewhere_is_reached_out_of_the_tunnel() {
    let lan = "proto = \"tcp\"\nport = 443\nto = \"192.168.6.2\"";
    let config = parse(&forward(lan));
    assert_eq!(config.forwards[0].at, Entrance::Tunnel);
    let [warning] = config.warnings() else { panic!("{:?}", config.warnings()) };
    assert!(warning.contains("to = \"0.0.0.0/0\" and from = \"10.0.0.1/32\""), "{warning}");
    let network = "[[connection.network]]\nto = \"0.0.0.0/0\"\nfrom = \"10.0.0.1/32\"\n";
    let text = forward(lan).replace("[[forward]]", &format!("{network}[[forward]]"));
    assert!(parse(&text).warnings().is_empty());
    // A network behind the peer is no LAN.
    let text =
        forward(lan).replace("[[forward]]", "[[connection.network]]\nto = \"192.168.6.0/24\"\n[[forward]]");
    assert!(matches!(parse(&text).forwards[0].at, Entrance::AllBut(_)));
}

#[test]
fn one_port_leads_to_one_host_unless_addresses_differ() {
    let twice = |one: &str, other: &str| {
        let table = |lines: &str| format!("[[forward]]\nproto = \"tcp\"\n{lines}\n");
        format!("{MINIMAL}{}{}", table(one), table(other))
    };
    let of = |address: &str, to: u8| format!("port = 80\nto = \"10.0.0.{to}\"\naddress = \"{address}\"");
    assert_eq!(parse(&twice(&of("192.0.2.1", 7), &of("192.0.2.2", 8))).forwards.len(), 2);
    assert_eq!(
        parse(&twice("port = 80\nto = \"10.0.0.7\"", "port = 80\nto = \"fec::1:7\"")).forwards.len(),
        2
    );
    for (one, other) in [
        ("port = 80\nto = \"10.0.0.7\"", of("192.0.2.1", 8)),
        ("port = \"70-80\"\nto = \"10.0.0.7\"", "port = \"80-90\"\nto = \"10.0.0.7\"".to_owned()),
    ] {
        let said = refuse(&twice(one, &other));
        assert!(
            said.contains("mpt.toml:19: forward.port = ") && said.contains("mpt.toml line 15 already: tcp "),
            "{said}"
        );
    }
}

#[test]
fn what_cannot_be_forwarded_is_refused_with_what_is_allowed() {
    let cases = [
        (
            "proto = \"icmp\"\nport = 80\nto = \"10.0.0.7\"",
            14,
            "forward.proto = \"icmp\": unknown word",
            "\"tcp\", \"udp\"",
        ),
        ("proto = []\nport = 80\nto = \"10.0.0.7\"", 14, "no protocol", "\"tcp\", \"udp\""),
        (
            "proto = \"tcp\"\nport = 0\nto = \"10.0.0.7\"",
            15,
            "forward.port = 0: out of range",
            "from 1 to 65535",
        ),
        ("proto = \"tcp\"\nport = \"0-9\"\nto = \"10.0.0.7\"", 15, "not a port from 1", "8000-8010"),
        ("proto = \"tcp\"\nport = \"90-80\"\nto = \"10.0.0.7\"", 15, "above the last", "8000-8010"),
        ("proto = \"tcp\"\nport = 80\nto = \"10.0.0.7:0\"", 16, "not a port from 1", "10.8.0.2:443"),
        (
            "proto = \"tcp\"\nport = 80\nto = \"10.0.0.7:http\"",
            16,
            "not an IP address, or not a port",
            "10.8.0.2:443",
        ),
        ("proto = \"tcp\"\nport = 80\nto = \"home.example\"", 16, "not an IP address", "10.8.0.2:443"),
        ("proto = \"tcp\"\nport = 80\nto = 443", 16, "does not say which host", "to = \"10.8.0.2:443\""),
        ("proto = \"tcp\"\nport = 80", 13, "does not say which host", "to = \"10.8.0.2:443\""),
        (
            "proto = \"tcp\"\nport = \"80-81\"\nto = \"10.0.0.7:80\"",
            16,
            "one port for several",
            "without a port",
        ),
        ("proto = \"tcp\"\nport = 80\nto = \"10.0.0.1\"", 16, "our own tunnel address", "another host"),
        (
            "proto = \"tcp\"\nport = 80\nto = \"10.0.0.7\"\naddress = \"2001:db8::1\"",
            17,
            "no IPv6 address",
            "IP version",
        ),
        (
            "proto = \"tcp\"\nport = 80\nto = \"10.0.0.7\"\naddress = \"0.0.0.0\"",
            17,
            "unspecified",
            "one host",
        ),
        (
            "proto = \"udp\"\nport = \"4000-5000\"\nto = \"10.0.0.7\"",
            15,
            "UDP port 4754",
            "does not use itself",
        ),
        ("port = 80\nto = \"10.0.0.7\"", 13, "forward.proto: missing", "proto = \"tcp\""),
        ("proto = \"tcp\"\nto = \"10.0.0.7\"", 13, "forward.port: missing", "port = 8443"),
        ("proto = \"tcp\"\nport = 80\nto = \"10.0.0.7\"\nhost = 1", 17, "unknown key", "address"),
    ];
    for (lines, line, problem, allowed) in cases {
        let said = refuse(&forward(lines));
        let line = format!("mpt.toml:{line}: ");
        assert!(said.contains(&line) && said.contains(problem) && said.contains(allowed), "{lines}\n{said}");
    }
    // mpt's own port is taken where UDP has it.
    parse(&forward("proto = \"tcp\"\nport = 4754\nto = \"10.0.0.7\""));
    let moved = with(PATH, "port = 99") + "[[forward]]\nproto = \"udp\"\nport = 99\nto = \"10.0.0.7\"\n";
    assert!(refuse(&moved).contains("UDP port 99"));
}

#[test]
fn who_takes_the_port_of_ssh_is_warned_unless_the_address_is_another() {
    let ssh = "proto = \"tcp\"\nport = \"20-25\"\nto = \"10.0.0.7\"";
    let warned = |lines: &str| parse(&forward(lines)).warnings().iter().any(|line| line.contains("ssh"));
    assert!(warned(ssh));
    assert!(!warned(&format!("{ssh}\naddress = \"192.0.2.1\"")));
    assert!(!warned(&ssh.replace("tcp", "udp")));
}

/// A server, in a directory of its own, with these files of peers and a main file that ends like this.
fn server(peers: &[(&str, &str)], end: &str) -> (tempfile::TempDir, Config) {
    let directory = tempfile::tempdir().expect("a directory");
    let key = |number: u8| KeyBytes::new([number; 32]);
    keys::create(&directory.path().join("server.key"), &key(1)).expect("a key file");
    fs::create_dir(directory.path().join("server.d")).expect("a directory");
    for ((name, text), number) in peers.iter().zip(2..) {
        let public = encode(keys::private(&key(number)).public().as_bytes()).as_str().to_owned();
        let file = directory.path().join("server.d").join(format!("{name}.toml"));
        fs::write(file, format!("public_key = \"{public}\"\n{text}\n")).expect("a file");
    }
    let text = format!(
        "security.private_key_file = \"server.key\"\n[tunnel]\naddress = [\"10.8.0.1/24\", \"fd08::1/64\"]\n[listen]\npeers = \"server.d\"\n{end}"
    );
    let config = parse_at(directory.path(), &text);
    (directory, config)
}

fn parse_at(directory: &Path, text: &str) -> Config {
    let file = directory.join("server.toml").display().to_string();
    Config::parse(text, &file).unwrap_or_else(|error| panic!("{error}"))
}

/// The only peer of a server, with this table in its file.
fn peer(lines: &str) -> Config {
    let both = "allowed_ips = [\"10.8.0.2\", \"fd08::2\", \"192.168.7.0/24\"]";
    server(&[("van", &format!("{both}\n[[forward]]\n{lines}"))], "").1
}

#[test]
fn in_the_file_of_a_peer_the_host_is_the_peer_by_both_ip_versions() {
    let texts = |config: Config| -> Vec<String> {
        assert!(config.peer_errors().is_empty(), "{:?}", config.peer_errors());
        config.forwards.iter().map(ToString::to_string).collect()
    };
    let both = ["tcp 8443 to 10.8.0.2:443", "tcp 8443 to [fd08::2]:443"];
    assert_eq!(texts(peer("proto = \"tcp\"\nport = 8443\nto = 443")), both);
    let both = ["udp 5000-5010 to 10.8.0.2", "udp 5000-5010 to fd08::2"];
    assert_eq!(texts(peer("proto = \"udp\"\nport = \"5000-5010\"")), both);
    assert_eq!(
        texts(peer("proto = \"tcp\"\nport = 80\naddress = \"192.0.2.1\"")),
        ["tcp 80 of 192.0.2.1 to 10.8.0.2"]
    );
    assert_eq!(texts(peer("proto = \"tcp\"\nport = 80\nto = \"192.168.7.5\"")), ["tcp 80 to 192.168.7.5"]);
}

#[test]
fn a_peer_cannot_have_what_is_another_ones() {
    let refused = |config: &Config, words: &str| {
        let [error] = config.peer_errors() else { panic!("{:?}", config.peer_errors()) };
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(
        &peer("proto = \"tcp\"\nport = 80\nto = \"10.8.0.3\""),
        "van.toml:6: forward.to = \"10.8.0.3\": not an address of this peer",
    );
    refused(&peer("proto = \"udp\"\nport = 4754"), "UDP port 4754");
    let table =
        |last: u8| format!("allowed_ips = [\"10.8.0.{last}\"]\n[[forward]]\nproto = \"tcp\"\nport = 80");
    let (_, config) = server(&[("a", &table(2)), ("b", &table(3))], "");
    refused(&config, "a.toml line 5 already: tcp 80 to 10.8.0.2");
    assert_eq!(config.forwards.len(), 1);
    let main =
        "[[forward]]\nproto = \"tcp\"\nport = \"1-1000\"\nto = \"10.8.0.2\"\naddress = \"192.0.2.1\"\n";
    let (_, config) = server(&[("a", &table(2))], main);
    refused(&config, "a.toml:5: forward.port = 80: stands in ");
}

#[test]
fn a_host_behind_no_peer_is_warned_of_as_peers_come_and_go() {
    let main = |to: &str| format!("[[forward]]\nproto = \"tcp\"\nport = 80\nto = \"{to}\"\n");
    let peers = [("van", "allowed_ips = [\"10.8.0.2\", \"192.168.7.0/24\"]")];
    for (to, warned) in
        [("10.8.0.2", false), ("192.168.7.9:8080", false), ("10.8.0.9", true), ("172.16.0.1", true)]
    {
        let (_, config) = server(&peers, &main(to));
        assert!(matches!(config.forwards[0].at, Entrance::AllBut(_)));
        assert_eq!(!config.warnings().is_empty(), warned, "{to}: {:?}", config.warnings());
    }
}
