mod forward;
mod refusals;
mod security;

use std::time::Duration;

use mpt_proto::{ClassRule, Liveness, PathConfig, Policy, Probing, ReorderConfig, Travel};

use super::{Adaptive, Config, DataPlan, PORT, QUEUE, Rate, Share, TUNNEL_NAME, Tier};

/// Only what must be given.
const MINIMAL: &str = r#"security = "none"
[tunnel]
address = ["10.0.0.1/24", "fec::1:1/112"]

[[connection]]
name = "pc2"
peer = ["10.0.0.2"]

[[connection.path]]
name = "left"
local = "172.16.1.10"
remote = "172.16.1.20"
"#;

fn parse(text: &str) -> Config {
    Config::parse(text, "mpt.toml").unwrap_or_else(|error| panic!("{error}\n\nin\n{text}"))
}

fn refuse(text: &str) -> String {
    match Config::parse(text, "mpt.toml") {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// `MINIMAL` with `lines` after the line that begins with `anchor`.
fn with(anchor: &str, lines: &str) -> String {
    let (before, after) = MINIMAL.split_once(anchor).expect("the anchor is in the text");
    let (rest_of_line, after) = after.split_once('\n').expect("a whole line");
    format!("{before}{anchor}{rest_of_line}\n{lines}\n{after}")
}

/// `MINIMAL` with one text in place of another.
fn instead(of: &str, text: &str) -> String {
    assert!(MINIMAL.contains(of), "{of} is in the text");
    MINIMAL.replacen(of, text, 1)
}

const PATH: &str = "remote =";
const CONNECTION: &str = "peer =";
const TUNNEL: &str = "address =";

#[test]
fn a_path_follows_its_peer_where_the_address_is_open_or_when_told_to() {
    let roaming = |text: &str| Config::parse(text, "mpt.toml").unwrap().connections[0].paths[0].roaming;
    assert!(!roaming(MINIMAL));
    assert!(roaming(&instead("172.16.1.20", "0.0.0.0")));
    assert!(roaming(&format!("{MINIMAL}roaming = true\n")));
}

#[test]
fn metrics_are_served_where_the_table_says_and_nowhere_without_it() {
    let metrics = |lines: &str| {
        let config = parse(&with(TUNNEL, lines));
        (config.metrics.map(|it| (it.socket, it.listen.map(|at| at.to_string()))), config.warnings)
    };
    assert_eq!(metrics("").0, None);
    assert_eq!(metrics("[metrics]").0, Some((true, None)));
    let by_tcp = metrics("[metrics]\nsocket = false\nlisten = \"[::1]:9475\"");
    assert_eq!(by_tcp.0, Some((false, Some("[::1]:9475".to_owned()))));
    assert_eq!(by_tcp.1.len(), metrics("").1.len());
    let (nowhere, warnings) = metrics("[metrics]\nsocket = false");
    assert_eq!(nowhere, Some((false, None)));
    assert!(
        warnings.iter().any(|line| line.starts_with("mpt.toml:4: metrics") && line.contains("nobody")),
        "{warnings:?}"
    );
}

#[test]
fn paths_whose_peer_is_open_may_be_alike_and_connections_with_different_keys_too() {
    let open = |connection: &str, last: u8, key: u8| {
        let path = |name| {
            format!("[[connection.path]]\nname = \"{name}\"\nlocal = \"172.16.1.10\"\nremote = \"0.0.0.0\"\n")
        };
        format!(
            "[[connection]]\nname = \"{connection}\"\npeer = [\"10.0.0.{last}\"]\nkey = {key}\n{}{}",
            path("a"),
            path("b")
        )
    };
    let text = format!(
        "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.1/24\"]\n{}{}",
        open("x", 2, 1),
        open("y", 3, 2)
    );
    let config = Config::parse(&text, "mpt.toml").unwrap();
    assert!(config.connections.iter().flat_map(|connection| &connection.paths).all(|path| path.roaming));
}

#[test]
fn a_minimal_file_gets_the_defaults_of_the_core() {
    let config = parse(MINIMAL);
    assert_eq!(config.tunnel.name, TUNNEL_NAME);
    assert_eq!((config.tunnel.mtu, config.tunnel.queue, config.tunnel.offload), (None, QUEUE, true));
    assert!(!config.tunnel.kill_switch && config.tunnel.history);
    let core = mpt_proto::Config::default();
    let connection = &config.connections[0];
    assert_eq!((connection.port, connection.remote_port), (PORT, PORT));
    assert!(connection.check_source_port);
    assert_eq!(connection.policy, core.policy);
    assert_eq!(
        (connection.key, connection.checksum, connection.sequence),
        (core.key, core.checksum, core.sequence)
    );
    assert!(connection.slices && !connection.multicast);
    let adaptive = connection.adaptive;
    assert_eq!(
        (adaptive.resend, adaptive.udp_in_order, adaptive.memory),
        (core.resend, core.order_udp, None)
    );
    assert_eq!(connection.reorder, ReorderConfig::default());
    let path = &connection.paths[0];
    let default = PathConfig::default();
    assert_eq!((path.weight, path.rank, path.liveness), (default.weight, default.rank, default.liveness));
    assert_eq!(path.tier, Tier::fixed(default.tier));
    assert_eq!((path.port, path.remote_port), (PORT, PORT));
    assert_eq!((path.enabled, path.mtu, path.device.as_deref()), (true, None, None));
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn a_path_inherits_ports_and_liveness_of_its_connection() {
    let text = with(CONNECTION, "port = 5000\nremote_port = 5001\nliveness = \"lab\"");
    let path = parse(&text).connections[0].paths[0].clone();
    assert_eq!((path.port, path.remote_port), (5000, 5001));
    assert_eq!(path.liveness, Liveness::Probe(Probing::LAB));
}

#[test]
fn a_path_overrides_what_it_would_inherit() {
    let text = with(CONNECTION, "port = 5000\nremote_port = 5001\nliveness = \"lab\"")
        + "port = 6000\nremote_port = 6001\nliveness = \"off\"\n";
    let path = parse(&text).connections[0].paths[0].clone();
    assert_eq!((path.port, path.remote_port, path.liveness), (6000, 6001, Liveness::Off));
}

#[test]
fn every_key_reaches_the_typed_configuration() {
    let text = r#"
security = "none"
[tunnel]
name = "tun7"
address = ["10.0.0.1/24"]
mtu = 1400
queue = 500
offload = false
history = false
kill_switch = true
share = ["192.168.6.0/24", "lan0"]
dns = ["10.0.0.2", "9.9.9.9"]
responder = false
direct = ["198.51.100.0/24", "tcp 22", "udp 5000-5010", "user backup", "cgroup /system.slice/backup.service"]

[[connection]]
name = "c"
peer = ["10.0.0.2"]
port = 1
remote_port = 65535
check_source_port = false
policy = "backup"
key = 0xffff_ffff
checksum = true
sequence = false
multicast = true
record = "64MB"
liveness = { interval_ms = 5, idle_ms = 5, dead_ms = 10 }
[connection.reorder]
window = 0
delay_ms = 10000
paths_in_order = false
[[connection.network]]
to = "192.168.7.0/24"
from = "192.168.6.0/24"
[[connection.path]]
name = "p"
local = "172.16.1.10"
remote = "172.16.1.20"
device = "eth1"
gateway = "172.16.1.1"
rank = 255
mtu = 576
enabled = true
tcp_dst = [22]
tcp_src = [22, 23]
udp_dst = [53]
udp_src = [1, 65535]
"#;
    let config = parse(text);
    assert_eq!(
        (config.tunnel.name.as_str(), config.tunnel.mtu, config.tunnel.queue, config.tunnel.offload),
        ("tun7", Some(1400), 500, false)
    );
    assert!(config.tunnel.kill_switch && !config.tunnel.history && !config.tunnel.responder);
    let lan = Share::Network("192.168.6.0/24".parse().unwrap());
    assert_eq!(config.tunnel.share, [lan, Share::Interface("lan0".into())]);
    let servers = ["10.0.0.2", "9.9.9.9"].map(|server| server.parse::<std::net::IpAddr>().unwrap());
    assert_eq!(config.tunnel.dns, servers);
    let direct: Vec<String> = config.tunnel.direct.iter().map(ToString::to_string).collect();
    let expected =
        ["198.51.100.0/24", "tcp 22", "udp 5000-5010", "user backup", "cgroup system.slice/backup.service"];
    assert_eq!(direct, expected);
    let connection = &config.connections[0];
    assert_eq!((connection.port, connection.remote_port, connection.check_source_port), (1, 65535, false));
    assert_eq!((connection.policy, connection.key), (Policy::Backup, Some(u32::MAX)));
    assert!(connection.checksum && !connection.sequence && connection.multicast);
    assert_eq!(connection.record, Some(64_000_000));
    let reorder = ReorderConfig { window: 0, delay: Duration::from_secs(10), paths_in_order: false };
    assert_eq!(connection.reorder, reorder);
    assert_eq!(connection.networks[0].to.to_string(), "192.168.7.0/24");
    assert_eq!(connection.networks[0].from.map(|from| from.to_string()).as_deref(), Some("192.168.6.0/24"));
    let path = &connection.paths[0];
    assert_eq!((path.device.as_deref(), path.rank, path.mtu), (Some("eth1"), 255, Some(576)));
    let [five, ten] = [5, 10].map(Duration::from_millis);
    assert_eq!(path.liveness, Liveness::Probe(Probing { interval: five, idle: five, dead: ten }));
    assert_eq!((&path.tcp_dst, &path.tcp_src), (&vec![22], &vec![22, 23]));
    assert_eq!((&path.udp_dst, &path.udp_src), (&vec![53], &vec![1, 65535]));
}

#[test]
fn an_error_shows_the_line_and_marks_the_place() {
    let message = refuse(&with(PATH, "\tweight = 0 # none"));
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[1], " 13 | \tweight = 0 # none");
    assert_eq!(lines[2], "    | \t         ^");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(std::path::Path::new("/nonexistent/mpt.toml")).expect_err("no such file");
    assert!(error.to_string().starts_with("/nonexistent/mpt.toml: cannot be read: "), "{error}");
}

#[test]
fn a_file_that_is_not_text_is_refused_with_its_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mpt.toml");
    std::fs::write(&path, b"[tunnel]\n# \xff\n").expect("a file");
    let error = Config::load(&path).expect_err("not UTF-8").to_string();
    assert!(error.contains("mpt.toml:2: not text"), "{error}");
}

#[test]
fn what_is_probably_not_meant_is_a_warning_with_its_line() {
    let network = "[[connection.network]]\nto = \"172.16.0.0/16\"";
    let cases = [
        (with(CONNECTION, "sequence = false\npolicy = \"redundant\""), 8, "delivers every copy"),
        (
            with(CONNECTION, "sequence = false\nreorder.window = 100"),
            9,
            "order is restored by sequence numbers",
        ),
        (with(PATH, "enabled = false"), 5, "no path is enabled"),
        (with(CONNECTION, "policy = \"backup\"") + "weight = 3\n", 14, "does not use weights"),
        (with(CONNECTION, "port = 4755"), 8, "with DTLS"),
        (with(PATH, "remote_port = 4755"), 13, "with DTLS"),
        (with(CONNECTION, "policy = \"minrtt\"") + "weight = 3\n", 14, "does not use weights"),
        (with(PATH, "rank = 3"), 13, "only policy \"backup\" uses ranks"),
        (with(CONNECTION, network), 9, "the tunnel's own datagrams go into the tunnel"),
        (instead("10.0.0.2", "10.0.9.2"), 7, "no route leads there"),
        (
            with(CONNECTION, "policy = \"backup\"\nliveness = \"off\"")
                + "[[connection.path]]\nname = \"b\"\nlocal = \"172.16.2.10\"\nremote = \"172.16.2.20\"\n",
            5,
            "only when an interface goes down",
        ),
    ];
    for (text, line, words) in cases {
        let config = parse(&text);
        let [warning] = config.warnings() else { panic!("one warning, not {:?}", config.warnings()) };
        assert!(warning.starts_with(&format!("mpt.toml:{line}: connection")), "{warning}");
        assert!(warning.contains(words), "{warning}");
    }
}

#[test]
fn exceptions_without_a_default_route_are_a_warning() {
    let config = parse(&with(TUNNEL, "direct = [\"tcp 22\"]"));
    let [warning] = config.warnings() else { panic!("{:?}", config.warnings()) };
    assert!(
        warning.starts_with("mpt.toml:4: tunnel.direct = \"tcp 22\": no network is 0.0.0.0/0"),
        "{warning}"
    );
}

#[test]
fn a_kill_switch_that_has_nothing_to_hold_back_is_a_warning() {
    let with_switch = instead("[tunnel]", "[tunnel]\nkill_switch = true");
    let narrow = parse(&format!("{with_switch}[[connection.network]]\nto = \"192.168.7.0/24\"\n"));
    let [warning] = narrow.warnings() else { panic!("{:?}", narrow.warnings()) };
    assert!(warning.contains("tunnel.kill_switch = true: no network is 0.0.0.0/0 or ::/0"), "{warning}");
    let everything = parse(&format!("{with_switch}[[connection.network]]\nto = \"0.0.0.0/0\"\n"));
    assert_eq!(everything.warnings(), [] as [String; 0]);
}

#[test]
fn a_default_route_spares_datagrams_of_mpt_unless_they_come_from_its_network() {
    let network =
        |from: &str| with(CONNECTION, &format!("[[connection.network]]\nto = \"0.0.0.0/0\"\n{from}"));
    assert_eq!(parse(&network("")).warnings(), [] as [String; 0]);
    assert_eq!(parse(&network("from = \"192.168.6.0/24\"")).warnings(), [] as [String; 0]);
    let own = parse(&network("from = \"172.16.0.0/16\""));
    let [warning] = own.warnings() else { panic!("{:?}", own.warnings()) };
    assert!(warning.contains("the tunnel's own datagrams go into the tunnel"), "{warning}");
}

#[test]
fn a_device_and_more_specific_settings_silence_their_warnings() {
    let network = "sequence = false\nreorder.window = 0\n[[connection.network]]\nto = \"172.16.0.0/16\"";
    let text = with(CONNECTION, network) + "device = \"eth1\"\n";
    assert_eq!(parse(&text).warnings(), [] as [String; 0]);
}

#[test]
fn two_paths_between_the_same_addresses_may_differ_in_device_or_port() {
    for difference in ["device = \"eth2\"", "port = 4756", "remote_port = 4756"] {
        let second = "[[connection.path]]\nname = \"b\"\nlocal = \"172.16.1.10\"\nremote = \"172.16.1.20\"\n";
        assert_eq!(parse(&format!("{MINIMAL}{second}{difference}\n")).connections[0].paths.len(), 2);
    }
}

/// What means something in TOML, and what UTF-8 needs several bytes for.
const DAMAGE: [char; 12] = ['[', ']', '=', '"', '\n', '\t', '.', '0', '#', 'ä', '\u{1f980}', '\0'];

/// Characters of a good file are replaced, removed and repeated; whatever comes out, the answer is a configuration
/// or a message.
#[test]
fn no_damaged_text_makes_the_reader_panic() {
    let good = include_str!("../../../examples/pc1.toml");
    let seed: u64 = std::env::var("MPT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("MPT_SEED={seed}");
    let mut state = seed;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % limit
    };
    let mut refused = 0;
    for _ in 0..2000 {
        let mut text: Vec<char> = good.chars().collect();
        for _ in 0..=below(3) {
            let at = below(text.len());
            match below(3) {
                0 => text[at] = DAMAGE[below(DAMAGE.len())],
                1 => text.drain(at..(at + below(20)).min(text.len())).for_each(drop),
                _ => text.splice(at..at, good.chars().skip(at).take(40)).for_each(drop),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = Config::parse(&text, "mpt.toml") {
            refused += 1;
            assert!(
                error.to_string().starts_with("mpt.toml:") && error.to_string().contains("; allowed: "),
                "{error}"
            );
        }
    }
    assert!(refused > 200, "only {refused} texts were damaged");
}

#[test]
fn the_adaptive_policy_has_a_table_and_tiers() {
    let text =
        with(PATH, "tier = 8\n[connection.adaptive]\nresend = false\nudp_in_order = true\nmemory_mb = 3");
    let config = parse(&text);
    let connection = &config.connections[0];
    assert_eq!(
        connection.adaptive,
        Adaptive { resend: false, udp_in_order: true, memory: Some(3 * 1024 * 1024) }
    );
    assert_eq!(connection.paths[0].tier, Tier::fixed(8));
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn classes_are_rules_of_the_core_in_the_order_of_the_file() {
    let text = with(
        PATH,
        "[[connection.class]]\nprotocol = \"udp\"\nports = \"5060\"\ntravel = \"protected\"\n\
         [[connection.class]]\nprotocol = \"50\"\ndscp = 46\ntravel = \"protected\"\noverhead = 100\n\
         [[connection.class]]\nnetwork = \"192.168.7.0/24\"\ntravel = \"ordered\"\n\
         [[connection.class]]\nports = \"10000-20000\"\ntravel = \"sparse\"\n\
         [[connection.class]]\nports = \"22\"\npath = \"left\"\n\
         [[connection.class]]\nports = \"873\"\ntier = 1\n\
         [[connection.class]]\nports = \"874\"\ntier = 8\ntravel = \"ordered\"\n\
         [[connection.class]]\nports = \"875\"\ntravel = \"protected\"\ndeadline_ms = 60\n\
         [[connection.class]]\nports = \"876\"\ntravel = \"protected\"\ndeadline_ms = 1000\noverhead = 5\ntier = 2",
    );
    let config = parse(&text);
    let any =
        |travel| ClassRule { protocol: None, ports: None, dscp: None, network: None, travel, tier: None };
    let expected = [
        ClassRule { protocol: Some(17), ports: Some((5060, 5060)), ..any(Travel::Protected(15)) },
        ClassRule { protocol: Some(50), dscp: Some(46), ..any(Travel::Protected(100)) },
        ClassRule { network: Some(("192.168.7.0".parse().unwrap(), 24)), ..any(Travel::Ordered) },
        ClassRule { ports: Some((10_000, 20_000)), ..any(Travel::Sparse) },
        ClassRule { ports: Some((22, 22)), ..any(Travel::Path(0)) },
        ClassRule { ports: Some((873, 873)), tier: Some(1), ..any(Travel::Usual) },
        ClassRule { ports: Some((874, 874)), tier: Some(8), ..any(Travel::Ordered) },
        ClassRule { ports: Some((875, 875)), ..any(Travel::Timely { share: 15, deadline: 60 }) },
        ClassRule {
            ports: Some((876, 876)),
            tier: Some(2),
            ..any(Travel::Timely { share: 5, deadline: 1000 })
        },
    ];
    assert_eq!(config.connections[0].classes, expected);
    assert_eq!(config.warnings().len(), 3, "tiers beside a path of tier 1: {:?}", config.warnings());
}

#[test]
fn a_tier_of_a_class_that_makes_no_difference_is_warned_of() {
    let class = |tier: &str| format!("[[connection.class]]\nports = \"873\"\ntier = {tier}");
    let every = "every path is always of this tier or a lower one: the class takes all paths";
    assert_eq!(
        parse(&with(PATH, &class("1"))).warnings(),
        [format!("mpt.toml:15: connection.class.tier = 1: {every}")]
    );
    let with_tier = |path: &str, tier: &str| {
        with(PATH, &class(tier)).replace("remote =", &format!("tier = {path}\nremote ="))
    };
    let none = "no path is ever of this tier or a lower one: the class takes all paths";
    assert_eq!(
        parse(&with_tier("3", "2")).warnings(),
        [format!("mpt.toml:16: connection.class.tier = 2: {none}")]
    );
    let by_night = "{ default = 2, \"22:00-06:00\" = 1 }";
    assert!(parse(&with_tier(by_night, "1")).warnings().is_empty(), "at night it is");
}

#[test]
fn what_only_the_adaptive_policy_uses_is_warned_of_under_another() {
    let text = with(CONNECTION, "policy = \"weighted\"").replace("remote =", "tier = 2\nremote =");
    let text = text + "\n[connection.adaptive]\nresend = false\n";
    assert_eq!(
        parse(&text).warnings(),
        [
            "mpt.toml:16: connection.adaptive: only policy \"adaptive\" uses this table",
            "mpt.toml:13: connection.path.tier = 2: only policies \"adaptive\" and \"minrtt\" use tiers",
        ]
    );
}

#[test]
fn without_sequence_numbers_the_adaptive_policy_is_warned_of_only_when_it_was_asked_for() {
    let text = with(CONNECTION, "sequence = false");
    assert!(parse(&text).warnings().is_empty());
    let text = with(CONNECTION, "policy = \"adaptive\"\nsequence = false");
    assert_eq!(
        parse(&text).warnings(),
        [
            "mpt.toml:9: connection.sequence = false: policy \"adaptive\" needs sequence numbers: packets are sent by weight"
        ]
    );
}

#[test]
fn a_recording_has_a_size_with_its_unit() {
    for value in ["\"64\"", "\"64MiB\"", "\"1kB\"", "\"\""] {
        let said = refuse(&with(CONNECTION, &format!("record = {value}")));
        assert!(said.contains("mpt.toml:8: connection.record = "), "{said}");
        assert!(said.contains("allowed: a size such as \"64MB\" or \"1GB\", from 100kB to 1000GB"), "{said}");
    }
    assert_eq!(parse(&with(CONNECTION, "")).connections[0].record, None);
}

#[test]
fn a_limit_is_a_rate_with_its_unit_and_can_change_while_a_connection_is_there() {
    let limit = |text: &str| parse(&with(CONNECTION, &format!("limit = \"{text}\""))).connections[0].limit;
    for (text, bits, shown) in [
        ("50mbit", 50_000_000, "50mbit"),
        ("2.5Mbit", 2_500_000, "2.5mbit"),
        ("0.5gbit", 500_000_000, "500mbit"),
        ("64kbit", 64_000, "64kbit"),
        ("100gbit", 100_000_000_000, "100gbit"),
    ] {
        assert_eq!(limit(text), Some(bits), "{text}");
        assert_eq!(Rate(bits).to_string(), shown);
    }
    for (value, problem) in [
        ("\"50\"", "neither kbit, mbit nor gbit"),
        ("\"mbit\"", "not a number before the unit"),
        ("\"-5mbit\"", "not a number before the unit"),
        ("\"1e3mbit\"", "not a number before the unit"),
        ("\"63kbit\"", "out of range"),
        ("\"0mbit\"", "out of range"),
        ("\"101gbit\"", "out of range"),
        ("50", "wrong type"),
    ] {
        let said = refuse(&with(CONNECTION, &format!("limit = {value}")));
        let place = format!("mpt.toml:8: connection.limit = {value}: {problem}; allowed: ");
        assert!(said.contains(&place) && said.contains("\"2.5mbit\""), "{said}");
    }
    let connection = |lines: &str| parse(&with(CONNECTION, lines)).connections.remove(0);
    let plain = connection("");
    assert_eq!((plain.bytes_per_second(), connection("limit = \"1mbit\"").bytes_per_second()), (0, 125_000));
}

#[test]
fn hooks_have_programs_events_and_time() {
    let hook = |lines: &str| format!("{MINIMAL}[[hook]]\n{lines}\n");
    let config = parse(&format!(
        "{}[[hook]]\nrun = [\"/bin/true\"]\n",
        hook("on = [\"path_down\", \"peer_up\"]\nrun = [\"/bin/sh\", \"-c\", \"\"]\ntimeout = 300")
    ));
    let [first, second] = &config.hooks[..] else { panic!("{:?}", config.hooks) };
    assert_eq!((&first.on[..], first.run.len()), (&["path_down", "peer_up"][..], 3));
    assert_eq!(first.timeout, Duration::from_secs(300));
    assert!(first.is_on("peer_up") && !first.is_on("peer_down") && second.is_on("peer_down"));
    assert_eq!(second.timeout, Duration::from_secs(10));

    let refused = [
        ("run = []", "mpt.toml:14: hook.run = []: no program"),
        ("run = [\"tell\"]", "\"tell\": not an absolute path"),
        ("run = [\"/nonexistent/tell\"]", "\"/nonexistent/tell\": there is no such file"),
        ("run = [\"/etc/passwd\"]", "\"/etc/passwd\": the file may not be executed"),
        ("run = [\"/etc\"]", "\"/etc\": not a file"),
        ("run = \"/bin/true\"", "mpt.toml:14: hook.run"),
        ("on = [\"path_lost\"]\nrun = [\"/bin/true\"]", "there is no such event"),
        ("timeout = 301\nrun = [\"/bin/true\"]", "a whole number from 1 to 300"),
        ("on = []", "run = [\"/usr/local/bin/tell\""),
    ];
    for (lines, words) in refused {
        let message = refuse(&hook(lines));
        assert!(message.starts_with("mpt.toml:1") && message.contains(words), "{message}");
    }
}

#[test]
fn a_path_has_a_data_plan_of_a_month_or_a_bucket() {
    let plan = |text: &str| parse(&format!("{MINIMAL}data = {text}\n")).connections[0].paths[0].data;
    let bytes = 50_000_000_000;
    assert_eq!(plan("{ month = \"50GB\" }"), Some(DataPlan::Month { bytes, reset_day: 1 }));
    assert_eq!(plan("{ month = \"50GB\", reset_day = 31 }"), Some(DataPlan::Month { bytes, reset_day: 31 }));
    assert_eq!(plan("{ bucket = \"50GB\" }"), Some(DataPlan::Bucket { bytes }));
    assert_eq!(parse(MINIMAL).connections[0].paths[0].data, None);
    let refused = [
        ("{}", "neither a month nor a bucket"),
        ("{ reset_day = 7 }", "neither a month nor a bucket"),
        ("{ bucket = \"50GB\", reset_day = 7 }", "a bucket has no month that begins"),
        ("{ bucket = \"50GB\", month = \"1GB\" }", "there is a month already"),
        ("{ month = \"50GB\", reset_day = 32 }", "a whole number from 1 to 31"),
        ("{ month = \"0\" }", "nothing"),
        ("{ month = \"50\" }", "neither kB, MB, GB, TB, MiB nor GiB"),
        ("{ month = 50 }", "an amount such as"),
        ("\"50GB\"", "one table"),
    ];
    for (text, words) in refused {
        let message = refuse(&format!("{MINIMAL}data = {text}\n"));
        assert!(
            message.starts_with("mpt.toml:13: connection.path.data") && message.contains(words),
            "{message}"
        );
    }
}
