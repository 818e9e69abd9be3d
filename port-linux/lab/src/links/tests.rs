use super::*;
use crate::relay::link::Links;
use crate::traffic::ping::Pings;
use crate::traffic::quic;

const MPT: System = System::Mpt { flow: Protocol::Tcp };
const MPT_QUIC: System = System::Mpt { flow: Protocol::Quic };

fn plan(links: &str) -> Plan {
    let Links(links) = links.parse().expect("links");
    Plan {
        links,
        stack: Stack::V4OverV4,
        time: Duration::from_secs(20),
        repeats: 1,
        policy: "weighted".to_owned(),
        security: Security::Keys,
        cut: Cut::Silent,
        seed: 1,
        parts: Part::ALL.to_vec(),
        flows: vec![Protocol::Tcp],
        congestion: CONGESTION.to_vec(),
        udp_in_order: false,
    }
}

fn three() -> Plan {
    plan("100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%")
}

fn sample(system: System, goodput_mbit_s: f64) -> Sample {
    Sample {
        system,
        congestion: "cubic",
        limit_mbit_s: 100.0,
        goodput_mbit_s,
        settled_mbit_s: goodput_mbit_s + 2.5,
        ping: Pings { sent: 100, lost: 0, p50_ms: 10.0, p99_ms: 25.0, max_ms: 30.0 },
        cpu: cpu::Cpu { machine_s: 1.0, mpt_s: None, percent: 50.0 },
        relay_cpu_percent: Some(7.0),
        longest_gap_ms: 3.0,
        link_bytes: Vec::new(),
        link_bytes_per_byte: 1.0625,
        link_packets: Vec::new(),
        status: [None, None],
        call: None,
        quic: (system.flow() == Protocol::Quic).then_some(quic::Counts {
            sent_packets: 1000,
            lost_packets: 25,
            congestion_events: 3,
            udp_payload: 1420,
            rtt_ms: 10.0,
            congestion_window: 120_000,
        }),
        interval_ms: 100,
        intervals: Vec::new(),
    }
}

fn outcome(plan: Plan, samples: &[Sample]) -> Outcome {
    Outcome {
        format: 1,
        machine: Machine::describe(),
        background_percent: 0.0,
        plan,
        missing: vec!["bbr"],
        skipped: Vec::new(),
        idle: Vec::new(),
        rows: rows(samples),
        series: Vec::new(),
        relay: relay::Report { real_time: true, late_us: [18.0, 76.0, 900.0], links: Vec::new() },
    }
}

#[test]
fn the_limit_is_what_headers_and_losses_leave_of_the_links_in_use() {
    let (plan, share) = (three(), limit::tunnel(Stack::V4OverV4, 1464, 0));
    let tenths = |system, cut| (plan.limit(system, share, cut) * 10.0).round() / 10.0;
    assert_eq!(tenths(MPT, None), 155.9);
    assert_eq!(tenths(MPT, Some(1)), 64.1);
    assert_eq!(tenths(System::Mptcp, None), 157.2);
    assert_eq!(tenths(System::Tcp { link: 3 }, None), 18.6);
    let share = limit::quic_tunnel(Stack::V4OverV4, 1464, 0);
    assert_eq!((plan.limit(MPT_QUIC, share, None) * 10.0).round() / 10.0, 154.8);
    assert_eq!(tenths(System::Quic { link: 2 }, None), 46.7);
}

#[test]
fn the_best_link_is_the_one_over_which_tcp_was_fastest_not_the_widest() {
    let lossy = plan("100mbit 80ms 3%, 50mbit 5ms");
    assert_eq!(lossy.widest(), 1);
    let samples =
        [sample(System::Tcp { link: 1 }, 4.0), sample(System::Tcp { link: 2 }, 47.0), sample(MPT, 94.0)];
    assert_eq!(best(&samples, Protocol::Tcp, "cubic"), Some(2));
    assert_eq!(best(&samples, Protocol::Tcp, "bbr"), None);
    assert_eq!(best(&samples, Protocol::Quic, "cubic"), None);
    assert_eq!(rows(&samples)[2].to_best, Some(2.0));
    assert_eq!(rows(&samples[2..])[0].to_best, None, "nothing to compare with");
}

#[test]
fn parts_that_make_no_sense_with_the_links_are_left_out() {
    let one = plan("20mbit 5ms");
    assert!(one.has(Part::Tcp) && one.has(Part::Mpt) && !one.has(Part::Alone));
    assert_eq!(one.series(), []);
    let nine = plan(&["20mbit 5ms"; 9].join(","));
    assert!(!nine.has(Part::Mptcp), "kernel MPTCP uses eight");
    assert_eq!(nine.series(), [MPT]);
    assert_eq!(three().series(), [System::Mptcp, MPT]);
}

#[test]
fn the_table_has_a_line_for_each_system_and_says_what_is_missing() {
    let samples = [sample(System::Tcp { link: 1 }, 47.0), sample(MPT, 94.0)];
    let outcome = outcome(three(), &samples);

    let text = table::text(&outcome);

    for wanted in [
        "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%",
        "mpt, all links              94.0 (94.0 to 94.0)   100.0   94.0 %   96.5 %    2.00x   10.0 ms   25.0 ms   50 %     1.062",
        "One bbr flow of TCP: not measured, this kernel has none (sudo modprobe tcp_bbr)",
        "late by 18 us (median), 76 us (99 %), 900 us (worst)",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    let figure = figures::goodput(&outcome).expect("drawn").expect("rows");
    assert!(figure.contains("mpt, all links"));
    assert!(figures::cuts(&outcome).expect("nothing to draw").is_none());
}

#[test]
fn quic_is_compared_with_quic_and_its_losses_are_told() {
    let samples = [
        sample(System::Tcp { link: 1 }, 47.0),
        sample(System::Quic { link: 1 }, 40.0),
        sample(System::Quic { link: 2 }, 10.0),
        sample(MPT_QUIC, 60.0),
    ];
    assert_eq!(best(&samples, Protocol::Quic, "cubic"), Some(1));
    let rows = rows(&samples);
    assert_eq!((rows[1].to_best, rows[3].to_best), (Some(1.0), Some(1.5)));
    assert_eq!(
        (rows[0].quic_lost_percent, rows[3].quic_lost_percent.map(|lost| lost.median)),
        (None, Some(2.5))
    );

    let both = Plan { flows: vec![Protocol::Tcp, Protocol::Quic], udp_in_order: true, ..three() };
    let outcome = outcome(both, &samples);
    let text = table::text(&outcome);
    for wanted in [
        "policy weighted with UDP in order, flows",
        "QUIC, link 1                40.0 (40.0 to 40.0)   100.0   40.0 %   42.5 %    1.00x   10.0 ms   25.0 ms   50 %     1.062   2.50 %",
        "mpt, all links, QUIC ",
        "Lost: QUIC packets that the sender declared lost",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    let figure = figures::goodput(&outcome).expect("drawn").expect("rows");
    assert!(figure.contains("mpt, all links, QUIC") && !figure.contains("kernel MPTCP"));
}

#[test]
fn quic_is_measured_over_all_but_mptcp_and_with_each_congestion_control() {
    let quic = Plan { flows: vec![Protocol::Quic], ..three() };
    assert_eq!(quic.flows(&["bbr"]), [(Protocol::Quic, "cubic"), (Protocol::Quic, "bbr")]);
    assert_eq!(quic.series(), [MPT_QUIC]);
    assert_eq!(
        quic.systems(Protocol::Quic, 2),
        [System::MptAlone { link: 2, flow: Protocol::Quic }, MPT_QUIC]
    );

    let both = Plan { flows: vec![Protocol::Tcp, Protocol::Quic], ..three() };
    let flows = [(Protocol::Tcp, "cubic"), (Protocol::Quic, "cubic"), (Protocol::Quic, "bbr")];
    assert_eq!(both.flows(&["bbr"]), flows, "each control's flows are neighbours");
    assert_eq!(both.series(), [System::Mptcp, MPT, MPT_QUIC]);
    let [idle, cuts] = [bench::IDLE_TIME * 3, (cuts::duration(&both) + START) * 3];
    // Three links alone for each flow, and MPTCP, the best link and all links for TCP, the last two for QUIC.
    let flows_time = both.duration(&flows) - idle - cuts;
    assert_eq!(flows_time, (both.time + START) * (6 + 5 + 5));
}

#[test]
fn what_is_measured_is_named_in_json_by_system_and_flow() {
    let json = |system: System| serde_json::to_string(&system).expect("JSON");
    assert_eq!(json(System::Quic { link: 2 }), r#"{"kind":"quic","link":2}"#);
    assert_eq!(json(MPT_QUIC), r#"{"kind":"mpt","flow":"quic"}"#);
}

#[test]
fn a_call_has_a_line_for_each_system_and_wireguard_says_when_it_is_not_there() {
    let call = Protocol::Call;
    let heard = Heard { sent: 200, lost: 1, p50_ms: 20.5, p95_ms: 24.0, p99_ms: 31.0, max_ms: 40.0 };
    let with_call = |system| {
        let back = Heard { lost: 0, p99_ms: 12.0, ..heard };
        Sample { call: Some(Call { there: heard, back }), ..sample(system, 47.0) }
    };
    let samples = [with_call(System::plain(call, 1)), with_call(System::Mpt { flow: call })];
    let plan = Plan { flows: vec![call], ..three() };
    assert_eq!(
        plan.systems(call, 1),
        [System::MptcpCall, System::MptAlone { link: 1, flow: call }, System::Mpt { flow: call }]
    );
    assert_eq!(plan.series(), [], "calls are not measured while links are cut");
    let outcome = Outcome { skipped: vec![wireguard::MISSING], ..outcome(plan, &samples) };
    let text = table::text(&outcome);
    for wanted in [
        "mpt, all links, call (cubic)      0.50 %     20.5     24.0     31.0   0.00 %     20.5     24.0     12.0",
        "TCP, link 1, call (cubic) ",
        "WireGuard is not measured: wireguard-go and wg are not installed",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    assert!(figures::goodput(&outcome).expect("nothing to draw").is_none());
}

#[test]
fn wireguard_is_measured_with_both_mtus_and_limited_by_what_it_adds() {
    let plan = Plan { flows: vec![Protocol::Wireguard, Protocol::WireguardFitting], ..three() };
    let systems = plan.flows.iter().flat_map(|flow| plan.systems(*flow, 1));
    assert_eq!(
        systems.map(System::label).collect::<Vec<_>>(),
        [
            "mpt, link 1 alone, WireGuard",
            "mpt, all links, WireGuard",
            "mpt, link 1 alone, WireGuard, MTU fits",
            "mpt, all links, WireGuard, MTU fits",
        ]
    );
    let percent = |mtu, tunnel| (limit::wireguard(Stack::V4OverV4, mtu, tunnel) * 1000.0).round() / 10.0;
    // 1,440 of MTU are 1,388 of payload in 1,538 bytes on the wire; 1,420 through a tunnel of 1,456 are two fragments.
    assert_eq!((percent(1440, None), percent(1420, None)), (90.2, 90.1));
    assert_eq!((percent(1396, Some((1456, 8))), percent(1420, Some((1456, 8)))), (87.4, 82.2));
}
