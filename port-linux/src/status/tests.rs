use std::collections::BTreeMap;

use mpt_proto::{PathModel, Phase};

use super::*;
use crate::report::{Counters, ModelReport, NotSent, TunnelReport, VERSION};

pub(crate) fn path(name: &str, third: u8, tx_bytes: u64) -> PathReport {
    PathReport {
        name: name.into(),
        local: ([10, 1, third, 1], 4754).into(),
        remote: Some(([10, 1, third, 2], 4754).into()),
        device: None,
        state: State::Up,
        reason: None,
        role: Some("member".into()),
        waits_for: None,
        portal: None,
        access: None,
        problem: None,
        rtt_us: Some(1_250),
        weight: 1,
        rank: 0,
        tier: 1,
        model: None,
        max_datagram: 1472,
        ceiling: 1472,
        seeks_size: false,
        ecn: None,
        socket: None,
        tx_datagrams: tx_bytes / 1000,
        tx_bytes,
        rx_datagrams: 7,
        rx_bytes: 700,
        probes: 3,
        echoes: 3,
        downs: 0,
        not_sent: NotSent::default(),
        roaming: None,
        data: None,
    }
}

pub(crate) fn report() -> Report {
    let mut silent = path("lte", 2, 1_000_000);
    silent.state = State::Down;
    silent.reason = Some("silent".into());
    silent.rtt_us = None;
    silent.device = Some("wwan0".into());
    silent.not_sent.full = 9;
    Report {
        version: VERSION,
        tunnel: TunnelReport {
            name: "mpt0".into(),
            addresses: vec!["10.0.0.1/24".into(), "fd00::1/64".into()],
            mtu: 1464,
            uptime_ms: 3_725_000,
            program: "1.0.0".into(),
            clock_steps: 0,
            dropped: BTreeMap::from([("no_route".into(), 5), ("tun_write".into(), 0)]),
        },
        connections: vec![ConnectionReport {
            name: "pc2".into(),
            peer: vec!["10.0.0.2".parse().unwrap()],
            standby_of: None,
            used: None,
            policy: "weighted".into(),
            mode: None,
            mode_reason: None,
            peer_is_mpt: true,
            seal: Some(SealReport {
                public_key: "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=".into(),
                cipher: Some("AES-256-GCM".into()),
                keys_age_ms: Some(34_500),
                handshakes: 2,
            }),
            problem: None,
            limit_bps: None,
            worse_than_best_ms: 0,
            memory_bytes: None,
            uplink_share_bps: None,
            downlink_share_bps: None,
            asked_bps: None,
            counters: Counters {
                tx_packets: 4000,
                tx_bytes: 4_000_000,
                rx_packets: 7,
                rx_bytes: 644,
                rx_lost: 2,
                ..Counters::default()
            },
            dropped: BTreeMap::from([
                ("duplicate".into(), 3),
                ("late".into(), 0),
                ("wrong_source".into(), 1),
            ]),
            paths: vec![path("dsl", 1, 3_000_000), silent],
        }],
        events: Vec::new(),
    }
}

#[test]
fn the_table_shows_paths_totals_and_only_reasons_that_occurred() {
    let golden = "\
mpt0  10.0.0.1/24, fd00::1/64  MTU 1464  up 1 h 2 min
  dropped: no_route 5

pc2  10.0.0.2  weighted  peer is mpt
  sealed by AES-256-GCM, peer's key 3p7bfXt9.., keys of 34 s ago
  sent 4000 packets, 4.0 MB; received 7 packets, 644 B
  2 lost on the way
  dropped: duplicate 3, wrong_source 1
  PATH  STATE          LOCAL -> REMOTE                          RTT     WEIGHT  SHARE  SENT           RECEIVED
  dsl   up             10.1.1.1:4754 -> 10.1.1.2:4754           1.2 ms  1       75 %   3000 / 3.0 MB  7 / 700 B
  lte   down (silent)  10.1.2.1:4754 on wwan0 -> 10.1.2.2:4754  -       1       25 %   1000 / 1.0 MB  7 / 700 B
  lte: the kernel did not take: full 9
";
    assert_eq!(table(&report(), false), golden);
}

#[test]
fn what_a_connection_is_limited_to_as_an_access_is_shared_has_a_line() {
    let mut report = report();
    let connection = &mut report.connections[0];
    (connection.uplink_share_bps, connection.downlink_share_bps) = (Some(3_210_000), Some(4_000_000));
    let text = "  its share of the uplink now: 3.2 Mbit/s, of the downlink it may take now: 4.0 Mbit/s\n";
    assert!(table(&report, false).contains(text));
    let connection = &mut report.connections[0];
    (connection.uplink_share_bps, connection.downlink_share_bps) = (None, None);
    connection.asked_bps = Some(900_000);
    assert!(table(&report, false).contains("\n  the peer asks for no more than 900.0 kbit/s\n"));
}

#[test]
fn a_connection_without_keys_or_without_a_handshake_says_so() {
    let mut report = report();
    let seal = report.connections[0].seal.as_mut().expect("there is one");
    (seal.cipher, seal.keys_age_ms) = (None, None);
    assert!(table(&report, false).contains("sealed, peer's key 3p7bfXt9..: no handshake with it yet"));
    report.connections[0].seal = None;
    assert!(table(&report, false).contains("in the clear: everybody on the way can read"));
}

#[test]
fn an_adaptive_connection_shows_what_it_knows_of_its_paths() {
    let mut report = report();
    let connection = &mut report.connections[0];
    (connection.policy, connection.mode) = ("adaptive".into(), Some("adaptive".into()));
    (connection.counters.tx_resent, connection.counters.tx_dropped) = (4, 5);
    connection.counters.tx_copies = 3;
    let model = ModelReport {
        tier: 1,
        rate: 48_300_000,
        phase: "cruise".into(),
        extra_delay_us: 0,
        queue_us: 1_260,
        jitter_us: 90,
        lost: 12,
        resent: 9,
        open: true,
        suspect: false,
        limited_by: "bandwidth".into(),
    };
    connection.paths[1].model = Some(ModelReport { tier: 2, extra_delay_us: 25_000, ..model.clone() });
    connection.paths[0].model = Some(model);
    let text = table(&report, false);
    let golden = "  \
  SENDS ON  TIER  RATE         PHASE   EXTRA DELAY  QUEUE   JITTER  LOST  LIMITED BY
  dsl       1     48.3 Mbit/s  cruise  0.0 ms       1.2 ms  0.0 ms  12    bandwidth
  lte       2     48.3 Mbit/s  cruise  25.0 ms      1.2 ms  0.0 ms  12    outage: it is down
";
    assert!(text.ends_with(golden), "{text}");
    assert!(
        text.contains(
            "5 dropped to keep the queue short, 4 sent again, 3 sent with a copy, 2 lost on the way\n"
        ),
        "{text}"
    );
    assert!(text.contains("pc2  10.0.0.2  adaptive  peer is mpt\n"), "{text}");
}

#[test]
fn why_a_path_carries_no_more_is_in_the_table_and_in_the_json() {
    let shown = [
        ("not measured yet", "not measured yet"),
        ("outage", "outage: it stopped"),
        ("delay", "delay: any order"),
        ("other traffic", "other traffic"),
        ("draining a queue", "draining a queue"),
        ("", "-"),
    ];
    for (limited_by, text) in shown {
        let mut report = report();
        let mut model = ModelReport::new(1, &PathModel::default());
        assert_eq!(model.limited_by, "not measured yet");
        (model.rate, model.phase, model.lost) = (348_300_000, Phase::Compete.to_string(), 123_456);
        (model.extra_delay_us, model.queue_us, model.jitter_us) = (125_000, 101_260, 10_900);
        model.limited_by = limited_by.into();
        report.connections[0].paths[0].model = Some(model);
        let table = table(&report, false);
        let line = table.lines().last().unwrap();
        assert!(line.contains("compete") && line.ends_with(&format!("123456  {text}")), "{line}");
        assert_eq!(line.contains("348.3 Mbit/s"), limited_by != "not measured yet", "{line}");
        assert!(line.len() <= 100, "{} columns: {line}", line.len());
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(&format!(r#""limited_by":"{limited_by}""#)), "{json}");
        let earlier = json.replace(&format!(r#","limited_by":"{limited_by}""#), "");
        let model = serde_json::from_str::<Report>(&earlier).unwrap().connections[0].paths[0].model.clone();
        assert_eq!(model.unwrap().limited_by, "", "of an earlier version");
    }
}

#[test]
fn an_adaptive_connection_that_sends_by_weight_says_why() {
    let mut report = report();
    let connection = &mut report.connections[0];
    connection.policy = "adaptive".into();
    (connection.mode, connection.mode_reason) = (Some("weighted".into()), Some("peer_cannot".into()));
    let text = table(&report, false);
    assert!(text.contains("adaptive (weighted now: the peer does not speak it)  peer is mpt\n"), "{text}");
}

#[test]
fn colours_are_there_only_when_asked_for() {
    assert!(!table(&report(), false).contains('\x1b'));
    let coloured = table(&report(), true);
    assert!(coloured.contains("\x1b[32mup") && coloured.contains("\x1b[31mdown (silent)"));
}

#[test]
fn a_name_selects_one_connection_and_an_unknown_one_is_an_error_that_lists_them() {
    assert_eq!(only(report(), Some("pc2")).unwrap(), report());
    assert!(only(report(), Some("pc3")).unwrap_err().to_string().contains("there are pc2"));
}

#[test]
fn the_json_is_read_back_as_the_same_report() {
    let json = serde_json::to_string(&report()).unwrap();
    assert!(json.starts_with(r#"{"version":1,"tunnel":{"name":"mpt0","#), "{json}");
    assert!(json.contains(r#""state":"down","reason":"silent""#), "{json}");
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report());
}
