//! The report of a tunnel that works, for tests to spoil.

use crate::report::{
    ConnectionReport, Counters, ModelReport, NotSent, PathReport, Report, SocketReport, State, TunnelReport,
    VERSION,
};

/// One connection with two paths that are up and measured, for an hour.
pub(super) fn report() -> Report {
    Report {
        version: VERSION,
        tunnel: TunnelReport {
            name: "mpt0".into(),
            addresses: vec!["10.77.0.1/24".into()],
            mtu: 1432,
            uptime_ms: 3_600_000,
            program: "1.0.0".into(),
            clock_steps: 1,
            dropped: [].into(),
        },
        connections: vec![ConnectionReport {
            name: "vps".into(),
            peer: vec![[10, 77, 0, 2].into()],
            standby_of: None,
            used: None,
            policy: "adaptive".into(),
            mode: Some("adaptive".into()),
            mode_reason: None,
            peer_is_mpt: true,
            seal: None,
            problem: None,
            limit_bps: None,
            memory_bytes: Some(24 << 20),
            worse_than_best_ms: 0,
            uplink_share_bps: None,
            downlink_share_bps: None,
            asked_bps: None,
            counters: Counters::default(),
            dropped: [("wrong_inner_source".to_owned(), 0)].into(),
            paths: vec![path("one", "eth0"), path("two", "eth1")],
        }],
        events: Vec::new(),
    }
}

fn path(name: &str, device: &str) -> PathReport {
    PathReport {
        name: name.into(),
        local: ([192, 168, 1, 2], 4754).into(),
        remote: Some(([203, 0, 113, 7], 4754).into()),
        device: Some(device.into()),
        state: State::Up,
        reason: None,
        role: None,
        data: None,
        tier: 1,
        waits_for: None,
        portal: None,
        access: None,
        problem: None,
        rtt_us: Some(20_000),
        weight: 1,
        rank: 0,
        model: Some(ModelReport {
            tier: 0,
            rate: 50_000_000,
            phase: "cruise".into(),
            extra_delay_us: 0,
            queue_us: 0,
            jitter_us: 500,
            resent: 0,
            lost: 5,
            open: true,
            suspect: false,
            limited_by: "bandwidth".into(),
        }),
        max_datagram: 1472,
        ceiling: 1472,
        seeks_size: false,
        ecn: None,
        socket: Some(SocketReport {
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
            wanted_buffer: 4 << 20,
            segments: 64,
        }),
        tx_datagrams: 100_000,
        tx_bytes: 100_000_000,
        rx_datagrams: 100_000,
        rx_bytes: 100_000_000,
        probes: 100,
        echoes: 100,
        downs: 0,
        not_sent: NotSent::default(),
        roaming: None,
    }
}
