use super::*;
use crate::lab::relay::link::Links;
use crate::lab::traffic::ping::Pings;

fn plan(links: &str) -> Plan {
    let Links(links) = links.parse().expect("links");
    Plan {
        links,
        stack: Stack::V4OverV4,
        time: Duration::from_secs(20),
        repeats: 1,
        policy: "weighted".to_owned(),
        cut: Cut::Silent,
        seed: 1,
        parts: Part::ALL.to_vec(),
        congestion: CONGESTION.to_vec(),
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
        link_packets: Vec::new(),
        status: [None, None],
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
    assert_eq!(tenths(System::Mpt, None), 155.9);
    assert_eq!(tenths(System::Mpt, Some(1)), 64.1);
    assert_eq!(tenths(System::Mptcp, None), 157.2);
    assert_eq!(tenths(System::Tcp { link: 3 }, None), 18.6);
}

#[test]
fn the_best_link_is_the_one_over_which_tcp_was_fastest_not_the_widest() {
    let lossy = plan("100mbit 80ms 3%, 50mbit 5ms");
    assert_eq!(lossy.widest(), 1);
    let samples = [
        sample(System::Tcp { link: 1 }, 4.0),
        sample(System::Tcp { link: 2 }, 47.0),
        sample(System::Mpt, 94.0),
    ];
    assert_eq!(best(&samples, "cubic"), Some(2));
    assert_eq!(best(&samples, "bbr"), None);
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
    assert_eq!(nine.series(), [System::Mpt]);
    assert_eq!(three().series(), [System::Mptcp, System::Mpt]);
}

#[test]
fn the_table_has_a_line_for_each_system_and_says_what_is_missing() {
    let samples = [sample(System::Tcp { link: 1 }, 47.0), sample(System::Mpt, 94.0)];
    let outcome = outcome(three(), &samples);

    let text = table::text(&outcome);

    for wanted in [
        "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%",
        "mpt, all links             94.0 (94.0 to 94.0)   100.0   94.0 %   96.5 %    2.00x   10.0 ms   25.0 ms   50 %",
        "One bbr flow: not measured, this kernel has none (sudo modprobe tcp_bbr)",
        "late by 18 us (median), 76 us (99 %), 900 us (worst)",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    assert!(figures::goodput(&outcome).expect("drawn").contains("mpt, all links"));
    assert!(figures::cuts(&outcome).expect("nothing to draw").is_none());
}
