//! A report for tests, in which everything is there. It names each field, so that one that is new is not forgotten here, nor in the
//! table.

use std::collections::BTreeMap;

use crate::data::{DataReport, Level};
use crate::portal::{Access, Address, By, Portal};
use crate::report::{
    ConnectionReport, Counters, ModelReport, NotSent, PathReport, Report, RoamingReport, SealReport,
    SocketReport, State, TunnelReport, VERSION,
};

/// A report whose numbers differ from each other, but for small ones.
pub(crate) fn report() -> Report {
    let mut number = 1000_u16;
    let mut next = || {
        number += 1;
        number
    };
    let path = PathReport {
        name: "dsl".into(),
        local: ([10, 1, 1, 1], 4754).into(),
        remote: None,
        device: None,
        state: State::Up,
        reason: None,
        role: Some("member".into()),
        waits_for: None,
        portal: Address::new(b"http://login.example/").map(|url| Portal { url, by: By::Http }),
        access: Some(Access {
            captive: true,
            seconds_left: Some(next().into()),
            bytes_left: Some(next().into()),
            venue: Address::new(b"https://train.example/"),
        }),
        problem: None,
        rtt_us: Some(next().into()),
        weight: next(),
        rank: 7,
        tier: 3,
        model: Some(ModelReport {
            tier: 4,
            rate: next().into(),
            phase: "cruise".into(),
            extra_delay_us: next().into(),
            queue_us: next().into(),
            jitter_us: next().into(),
            lost: next().into(),
            resent: next().into(),
            open: true,
            suspect: false,
            limited_by: "bandwidth".into(),
        }),
        max_datagram: next(),
        ceiling: next(),
        seeks_size: true,
        ecn: Some("drops datagrams with ECN marks".into()),
        socket: Some(SocketReport {
            receive_buffer: next().into(),
            send_buffer: next().into(),
            wanted_buffer: next().into(),
            segments: next().into(),
        }),
        tx_datagrams: next().into(),
        tx_bytes: next().into(),
        rx_datagrams: next().into(),
        rx_bytes: next().into(),
        probes: next().into(),
        echoes: next().into(),
        downs: next().into(),
        not_sent: NotSent {
            full: next().into(),
            too_big: next().into(),
            link: next().into(),
            refused: next().into(),
        },
        roaming: Some(RoamingReport {
            challenges: next().into(),
            moves: next().into(),
            unproven: next().into(),
            kept: next().into(),
        }),
        data: Some(DataReport {
            plan: "month".into(),
            size_bytes: next().into(),
            used_bytes: next().into(),
            level: Level::Warned,
            renews_at: Some(next().into()),
        }),
    };
    let connection = ConnectionReport {
        name: "vps".into(),
        peer: vec![[10, 0, 0, 2].into()],
        standby_of: Some("other".into()),
        used: Some(true),
        policy: "adaptive".into(),
        mode: Some("adaptive".into()),
        mode_reason: None,
        peer_is_mpt: true,
        seal: Some(SealReport {
            public_key: String::new(),
            cipher: Some("AES-256-GCM".into()),
            keys_age_ms: Some(next().into()),
            handshakes: next().into(),
        }),
        problem: None,
        limit_bps: Some(next().into()),
        memory_bytes: Some(next().into()),
        uplink_share_bps: Some(next().into()),
        downlink_share_bps: Some(next().into()),
        asked_bps: Some(next().into()),
        worse_than_best_ms: next().into(),
        counters: Counters {
            tx_packets: next().into(),
            tx_bytes: next().into(),
            tx_no_path: next().into(),
            tx_limited: next().into(),
            tx_too_large: next().into(),
            tx_fragments: next().into(),
            tx_dropped: next().into(),
            tx_marked: next().into(),
            tx_resent: next().into(),
            tx_copies: next().into(),
            rx_packets: next().into(),
            rx_bytes: next().into(),
            rx_held: next().into(),
            rx_lost: next().into(),
            rx_reassembled: next().into(),
            rx_restarts: next().into(),
            rx_bad_reports: next().into(),
        },
        dropped: BTreeMap::from([("late".into(), next().into())]),
        paths: vec![path],
    };
    Report {
        version: VERSION,
        tunnel: TunnelReport {
            name: "mpt0".into(),
            addresses: Vec::new(),
            mtu: next(),
            uptime_ms: next().into(),
            program: "1.0.0".into(),
            clock_steps: next().into(),
            dropped: BTreeMap::from([("no_route".into(), next().into())]),
        },
        connections: vec![connection],
        events: Vec::new(),
    }
}
