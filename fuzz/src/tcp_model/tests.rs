//! Flows over one emulated link, and what its capacity and its defects make of each.

use mpt_proto::Ecn;

use super::wire::{Format, Segment, Transport};
use super::*;
use crate::link::{Link, LinkConfig, Loss, Rate};
use crate::rng::test_seed;

const MS: Duration = Duration::from_millis(1);
const START: Instant = Instant::from_micros(1_000_000);
const FORMAT: Format = Format {
    transport: Transport::Tcp,
    hosts: [1, 2],
    ports: [40_000, 80],
    id: 0,
    packet_len: 1400,
    ecn: Ecn::NotEct,
};

/// A link of some Mbit/s with a queue of 150 ms.
fn link(megabits: u64, delay: Duration) -> LinkConfig {
    let bits_per_second = megabits * 1_000_000;
    let queue = usize::try_from(bits_per_second / 8 * 150 / 1000).unwrap();
    let rate = Some(Rate { bits_per_second, queue, mark_above: None });
    LinkConfig { delay, rate, ..LinkConfig::default() }
}

struct Run {
    sender: Sender,
    receiver: Receiver,
    megabits: f64,
}

/// One flow for a while; `change` is called every 100 ms.
fn run_with(
    config: Config,
    format: Format,
    forward: LinkConfig,
    time: Duration,
    mut change: impl FnMut(Duration, &mut Link),
) -> Run {
    let mut there = Link::new(forward, test_seed(61));
    let mut back = Link::new(LinkConfig { delay: forward.delay, ..LinkConfig::default() }, 0);
    let (mut sender, mut receiver) = (Sender::new(config, 1, START), Receiver::default());
    let (mut now, mut next_change) = (START, START);
    let mut packet = Vec::new();
    // By transmission.
    let mut sent = std::collections::HashMap::new();
    while now < START + time {
        if now >= next_change {
            change(now.since(START), &mut there);
            next_change = next_change + 100 * MS;
        }
        sender.handle_timeout(now);
        receiver.handle_timeout(now);
        while let Some(arrival) = there.receive(now) {
            let segment = Segment::read(&arrival.datagram, format.transport).unwrap();
            let (number, transmission, reduced) = segment.data(format, receiver.next()).unwrap();
            receiver.note_delay(now.since(sent[&transmission]));
            receiver.handle_segment(number, transmission, arrival.ecn(), reduced, now);
            send_ack(&mut receiver, format, &mut back, now);
        }
        send_ack(&mut receiver, format, &mut back, now);
        while let Some(arrival) = back.receive(now) {
            let ack = Segment::read(&arrival.datagram, format.transport)
                .unwrap()
                .ack(format, sender.acknowledged());
            sender.handle_ack(&ack, now);
        }
        while let Some((number, transmission)) = sender.poll_transmit(now) {
            sent.insert(transmission, now);
            packet.clear();
            format.data(&mut packet, number, transmission, sender.take_reduced());
            there.send(&packet, format.ecn, now);
        }
        let deadlines = [
            sender.poll_timeout(),
            receiver.poll_timeout(),
            there.poll_timeout(),
            back.poll_timeout(),
            Some(next_change),
        ];
        now = deadlines.into_iter().flatten().min().unwrap().max(now);
    }
    let megabits = receiver.next() as f64 * 8.0 * format.packet_len as f64 / time.as_secs_f64() / 1e6;
    Run { sender, receiver, megabits }
}

fn send_ack(receiver: &mut Receiver, format: Format, back: &mut Link, now: Instant) {
    if let Some(ack) = receiver.poll_ack() {
        let mut packet = Vec::new();
        format.reversed().ack(&mut packet, &ack);
        back.send(&packet, Ecn::NotEct, now);
    }
}

fn run(config: Config, forward: LinkConfig, time: Duration) -> Run {
    run_with(config, FORMAT, forward, time, |_, _| ())
}

fn with(congestion: Congestion) -> Config {
    Config { congestion, ..Config::default() }
}

const ALL: [Congestion; 3] = [Congestion::Cubic, Congestion::Reno, Congestion::Bbr];

#[test]
fn every_control_fills_a_clean_link() {
    for (congestion, least) in ALL.into_iter().zip([97.0, 97.0, 91.0]) {
        let run = run(with(congestion), link(100, 10 * MS), Duration::from_secs(20));
        assert!((least..100.0).contains(&run.megabits), "{congestion:?}: {}", run.megabits);
        assert_eq!((run.sender.stats().timeouts, run.sender.stats().spurious), (0, 0), "{congestion:?}");
    }
}

#[test]
fn bbr_keeps_the_queue_short_where_cubic_fills_it() {
    let queue = |congestion| {
        let mut backlogs = Vec::new();
        let time = Duration::from_secs(30);
        run_with(with(congestion), FORMAT, link(50, 10 * MS), time, |at, link| {
            backlogs.push(link.backlog(START + at));
        });
        backlogs.sort();
        backlogs[backlogs.len() / 2]
    };
    let (bbr, cubic) = (queue(Congestion::Bbr), queue(Congestion::Cubic));
    assert!(bbr < 15 * MS, "{bbr:?}");
    assert!(cubic > 60 * MS, "{cubic:?}");
}

#[test]
fn random_loss_limits_reno_to_what_its_formula_says_and_bbr_not_at_all() {
    let lossy = LinkConfig { loss: Loss::Random(10_000), ..link(100, 10 * MS) };
    // Mathis: 1.22 / sqrt(p) segments a round trip are 12.2; here 20 ms and 1,400 bytes, 6.8 Mbit/s.
    let reno = run(with(Congestion::Reno), lossy, Duration::from_secs(60));
    assert!((5.0..8.5).contains(&reno.megabits), "{}", reno.megabits);
    assert_eq!(reno.sender.stats().spurious, 0, "every retransmission was needed");
    let bbr = run(with(Congestion::Bbr), lossy, Duration::from_secs(20));
    assert!(bbr.megabits > 85.0, "{}", bbr.megabits);
}

#[test]
fn rack_learns_to_live_with_reordering_and_a_fixed_threshold_does_not() {
    let reordering = LinkConfig { jitter: 4 * MS, reorder: true, ..link(100, 24 * MS) };
    let time = Duration::from_secs(20);
    let rack = run(Config::default(), reordering, time);
    let quic = Config { detection: LossDetection::Threshold, ..Config::default() };
    let quic = run(quic, reordering, time);
    assert!(rack.megabits > 80.0, "{}: {:?}", rack.megabits, rack.sender.stats());
    assert!(quic.megabits < 20.0, "{}: {:?}", quic.megabits, quic.sender.stats());
    assert!(rack.sender.stats().undone > 0);
    let stats = quic.sender.stats();
    assert!(stats.recoveries > 50 && stats.spurious + 10 > stats.retransmissions, "{stats:?}");
}

#[test]
fn a_silence_ends_with_a_timeout_and_everything_arrives() {
    for congestion in ALL {
        let config = Config { limit: Some(20_000), ..with(congestion) };
        let run = run_with(config, FORMAT, link(50, 10 * MS), Duration::from_secs(30), |at, link| {
            link.set_cut((1000..1700).contains(&at.as_millis()));
        });
        assert!(run.sender.is_done(), "{congestion:?}");
        assert_eq!(run.receiver.next(), 20_000);
        assert!(run.sender.stats().timeouts >= 1);
    }
}

#[test]
fn a_timeout_for_nothing_is_undone() {
    for congestion in ALL {
        // From the first second on, all is held up for longer than a timeout takes, and nothing is lost.
        let config = Config { limit: Some(8_000), ..with(congestion) };
        let run = run_with(config, FORMAT, link(50, 10 * MS), Duration::from_secs(30), |at, link| {
            let delay = if at < Duration::from_secs(1) { 10 } else { 500 };
            link.set_config(LinkConfig { delay: delay * MS, ..*link.config() }, START + at);
        });
        let stats = run.sender.stats();
        assert!(
            run.sender.is_done(),
            "{congestion:?} {stats:?} {} {}",
            run.sender.acknowledged(),
            run.sender.window()
        );
        assert_eq!((stats.timeouts, stats.undone), (1, 1), "{congestion:?} {stats:?}");
        assert!(stats.retransmissions <= 4, "{congestion:?}: {stats:?}");
    }
}

#[test]
fn a_rate_that_falls_below_what_is_on_the_way_costs_no_standstill() {
    for congestion in ALL {
        let run =
            run_with(with(congestion), FORMAT, link(100, 10 * MS), Duration::from_secs(25), |at, link| {
                let mut config = *link.config();
                config.rate.as_mut().unwrap().bits_per_second =
                    if at.as_secs() < 15 { 100_000_000 } else { 5_000_000 };
                link.set_config(config, START + at);
            });
        // 15 s at 100 Mbit/s, 10 s at 5: all of it but what is lost until the sender has found its rate.
        let most = (15.0 * 100.0 + 10.0 * 5.0) / 25.0;
        assert!(run.megabits > 0.95 * most, "{congestion:?}: {} {:?}", run.megabits, run.sender.stats());
        assert!(run.sender.stats().retransmissions < 3000, "{congestion:?}: {:?}", run.sender.stats());
    }
}

#[test]
fn marks_slow_a_sender_down_without_a_loss() {
    let mut marking = link(50, 10 * MS);
    marking.rate.as_mut().unwrap().mark_above = Some(60_000);
    let format = Format { ecn: Ecn::Ect0, ..FORMAT };
    let time = Duration::from_secs(20);
    let run = run_with(Config { hystart: false, ..Config::default() }, format, marking, time, |_, _| ());
    assert!(run.megabits > 45.0, "{}", run.megabits);
    assert!(run.sender.stats().marks > 10);
    assert_eq!(run.sender.stats().retransmissions, 0);
}

#[test]
fn packets_are_ip_packets_and_read_as_written_beyond_the_wrap_of_sequence_numbers() {
    let udp = [Transport::Udp, Transport::Quic, Transport::WireGuard, Transport::Utp];
    for transport in [Transport::Tcp].into_iter().chain(udp) {
        let format = Format { transport, ..FORMAT };
        for number in [0, 5, 3_158_064, 3_158_065, 10_000_000] {
            let mut packet = Vec::new();
            format.data(&mut packet, number, 99, true);
            assert_eq!(packet.len(), 1400);
            assert_eq!(mpt_proto::wire::checksum(&packet[..20]), 0);
            let near = number.saturating_sub(1000);
            assert_eq!(
                Segment::read(&packet, format.transport).unwrap().data(format, near),
                Some((number, 99, true))
            );

            packet.clear();
            let blocks = (1..4).map(|block| number + block * 10..number + block * 10 + 3).collect();
            let delay = (transport == Transport::Utp).then_some(77 * MS);
            let ack = Ack { cumulative: number, blocks, congested: true, echo: 7, delay };
            format.reversed().ack(&mut packet, &ack);
            let len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            assert_eq!(len, packet.len(), "no byte behind the options");
            let segment = Segment::read(&packet, format.transport).unwrap();
            assert_eq!(segment.ports, [80, 40_000]);
            assert_eq!(segment.data(format, near), None, "a pure acknowledgement");
            assert_eq!(segment.ack(format, near), ack);
        }
    }
}

#[test]
fn what_an_observer_sees_of_quic_wireguard_and_utp_is_theirs() {
    let seen = |transport, write: &dyn Fn(Format, &mut Vec<u8>)| {
        let mut packet = Vec::new();
        write(Format { transport, ..FORMAT }, &mut packet);
        let udp_len = usize::from(u16::from_be_bytes([packet[24], packet[25]]));
        assert_eq!((packet[9], udp_len), (17, packet.len() - 20));
        ([packet[28], packet[29], packet[30], packet[31], packet[32]], packet.len())
    };
    let data = |number| move |format: Format, packet: &mut Vec<u8>| format.data(packet, number, 0, false);
    let ack = |cumulative| {
        move |format: Format, packet: &mut Vec<u8>| format.ack(packet, &Ack { cumulative, ..Ack::default() })
    };
    let long = [0xc3, 0, 0, 0, 1];
    assert_eq!(seen(Transport::Quic, &|format, packet| format.hello(packet)), (long, 1228));
    assert_eq!(seen(Transport::Quic, &data(2)), (long, 1400));
    assert_eq!(seen(Transport::Quic, &data(3)), ([0x40, 0, 0, 0, 0], 1400));
    assert_eq!(seen(Transport::Quic, &ack(3)), ([0x40, 0, 0, 0, 0], 96));
    assert_eq!(seen(Transport::WireGuard, &data(0)).0, [4, 0, 0, 0, 0]);
    // A TCP acknowledgement of 52 bytes is padded to 64, with 32 bytes of WireGuard and 28 of UDP and IPv4.
    assert_eq!(seen(Transport::WireGuard, &ack(9)), ([4, 0, 0, 0, 0], 124));
    assert_eq!(seen(Transport::Utp, &data(9)).0[0], 0x01);
    assert_eq!(seen(Transport::Utp, &ack(9)).0[0], 0x21);
}

#[test]
fn ledbat_fills_a_link_with_a_queue_of_its_target_and_leaves_it_to_others() {
    let config = with(Congestion::Ledbat);
    let format = Format { transport: Transport::Utp, ..FORMAT };
    let mut backlogs = Vec::new();
    let deep = LinkConfig {
        rate: Some(Rate { bits_per_second: 20_000_000, queue: 1_000_000, mark_above: None }),
        ..link(20, 20 * MS)
    };
    // What slow start left goes with a time constant of some 36 s: a packet of 0.56 ms each 200 ms, at a target beyond the target.
    let run = run_with(config, format, deep, Duration::from_secs(150), |at, link| {
        if at > Duration::from_secs(110) {
            backlogs.push(link.backlog(START + at));
        }
    });
    assert!(run.megabits > 19.0, "{}", run.megabits);
    backlogs.sort_unstable();
    let median = backlogs[backlogs.len() / 2];
    assert!((80 * MS..120 * MS).contains(&median), "{median:?}");
    assert_eq!(run.sender.stats().retransmissions, 0);
}

#[test]
fn a_receiver_reports_what_is_early_most_recent_first_and_duplicates_before_it() {
    let mut receiver = Receiver::default();
    let mut take = |number, at: Duration| {
        receiver.handle_segment(number, 0, Ecn::NotEct, false, START + at);
        receiver.handle_timeout(START + at);
        receiver.poll_ack().map(|ack| {
            let blocks: Vec<_> = ack.blocks.iter().map(|block| (block.start, block.end)).collect();
            (ack.cumulative, ack.duplicate(), blocks)
        })
    };
    assert_eq!(take(0, MS), None, "it waits for a second one");
    assert_eq!(take(1, 2 * MS), Some((2, None, vec![])));
    assert_eq!(take(4, 3 * MS), Some((2, None, vec![(4, 5)])));
    assert_eq!(take(8, 4 * MS), Some((2, None, vec![(8, 9), (4, 5)])));
    assert_eq!(take(5, 5 * MS), Some((2, None, vec![(4, 6), (8, 9)])));
    assert_eq!(take(1, 6 * MS), Some((2, Some(1), vec![(1, 2), (4, 6), (8, 9)])));
    assert_eq!(take(8, 7 * MS), Some((2, Some(8), vec![(8, 9), (8, 9), (4, 6)])));
    assert_eq!(take(2, 8 * MS), Some((3, None, vec![(8, 9), (4, 6)])));
    assert_eq!(take(3, 9 * MS), Some((6, None, vec![(8, 9)])));
}

#[test]
fn one_mark_is_answered_once_however_long_the_receiver_echoes_it() {
    let mut sender = Sender::new(Config::default(), 1, START);
    let send_all = |sender: &mut Sender| while sender.poll_transmit(START).is_some() {};
    let ack = |cumulative, congested| Ack { cumulative, congested, ..Ack::default() };
    send_all(&mut sender);
    sender.handle_ack(&ack(5, true), START + 20 * MS);
    assert!((6.9..7.1).contains(&sender.window()), "ten, less three tenths: {}", sender.window());
    assert!(sender.take_reduced());
    // The receiver hears of it with the eleventh segment.
    send_all(&mut sender);
    sender.handle_ack(&ack(10, true), START + 21 * MS);
    assert_eq!(sender.stats().marks, 1);
    sender.handle_ack(&ack(11, true), START + 40 * MS);
    assert_eq!(sender.stats().marks, 2);
}
