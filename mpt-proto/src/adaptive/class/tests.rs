use super::*;
use crate::wire::gre::Protocol;
use std::vec;
use std::vec::Vec;

const UDP: u8 = 17;
const TCP: u8 = 6;
const MS: u32 = 1_000;
const SECOND: u32 = 1_000_000;
const IDLE: Waiting = Waiting { express: false, bulk: false };
/// What a packet may overtake.
const SPREAD: u32 = 30 * MS;

/// An IPv4 packet of so many bytes with these ports, whose UDP payload begins so.
fn packet(protocol: u8, ports: (u16, u16), start: &[u8], len: usize) -> Vec<u8> {
    let mut packet = vec![0; len.max(28 + start.len())];
    let total = u16::try_from(packet.len()).unwrap();
    packet[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0]);
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    packet[20..22].copy_from_slice(&ports.0.to_be_bytes());
    packet[22..24].copy_from_slice(&ports.1.to_be_bytes());
    packet[28..28 + start.len()].copy_from_slice(start);
    assert_eq!(crate::wire::ip::parse(&packet), Some((Protocol::Ipv4, packet.len())));
    packet
}

#[derive(Default)]
struct Seen {
    behaviour: Behaviour,
    now: u32,
}

impl Seen {
    fn take(&mut self, packet: &[u8], waiting: Waiting) -> Class {
        let flow = Flow::of(packet, 1);
        let arrival = Arrival::new(packet, &flow, false, self.now);
        self.behaviour.classify(&arrival, Travel::Usual, waiting, || SPREAD)
    }

    /// So many packets, one each `step` microseconds: how many of them are bulk.
    fn bulk(&mut self, packet: &[u8], waiting: Waiting, count: u32, step: u32) -> u32 {
        let mut bulk = 0;
        for _ in 0..count {
            bulk += u32::from(self.take(packet, waiting) == Class::Bulk);
            self.now = self.now.wrapping_add(step);
        }
        bulk
    }
}

fn udp(len: usize) -> Vec<u8> {
    packet(UDP, (40_000, 9_000), &[0x80, 0x60], len)
}

#[test]
fn a_call_a_game_and_dns_are_express() {
    let mut seen = Seen::default();
    assert_eq!(seen.bulk(&udp(200), IDLE, 500, 20 * MS), 0, "a call");
    assert_eq!(seen.bulk(&udp(140), IDLE, 500, 16 * MS), 0, "a game");
    assert_eq!(seen.bulk(&packet(UDP, (40_000, 53), &[1, 2], 70), IDLE, 10, 500 * MS), 0, "DNS");
}

#[test]
fn a_conference_of_8_mbit_a_second_is_express_also_when_a_frame_of_it_waits() {
    let mut seen = Seen::default();
    let frame = udp(1_200);
    for _ in 0..300 {
        let late = Waiting { express: true, bulk: false };
        assert_eq!(seen.bulk(&frame, IDLE, 1, 0), 0);
        assert_eq!(seen.bulk(&frame, late, 27, MS), 0);
        seen.now += 6 * MS;
    }
}

#[test]
fn tcp_is_bulk_but_for_its_start_and_its_acknowledgements() {
    let mut segment = packet(TCP, (1, 2), &[], 1_440);
    (segment[32], segment[33]) = (5 << 4, 0x10);
    let mut seen = Seen::default();
    assert_eq!(seen.bulk(&segment, IDLE, 5, 0), 0);
    assert_eq!(seen.bulk(&segment, IDLE, 100, MS), 100);
    segment.truncate(40);
    segment[2..4].copy_from_slice(&40u16.to_be_bytes());
    assert_eq!(seen.bulk(&segment, IDLE, 100, MS), 0);
}

#[test]
fn a_fast_udp_flow_is_bulk_and_one_that_is_slower_is_not() {
    let mut seen = Seen::default();
    assert_eq!(seen.bulk(&udp(1_400), IDLE, 2_000, 750), 0, "15 Mbit/s");
    let mut seen = Seen::default();
    assert!(seen.bulk(&udp(1_400), IDLE, 2_000, 500) > 1_500, "22 Mbit/s");
}

#[test]
fn a_udp_flow_that_fills_whatever_there_is_is_bulk_after_a_tenth_of_a_second() {
    let waits = Waiting { express: true, bulk: false };
    let mut seen = Seen::default();
    let bulk = seen.bulk(&udp(1_400), waits, 200, 4 * MS);
    assert!((170..=175).contains(&bulk), "{bulk} at 2.8 Mbit/s");
    let mut seen = Seen::default();
    assert_eq!(seen.bulk(&udp(1_400), waits, 200, 20 * MS), 0, "560 kbit/s are sparse, also among many");
    let mut seen = Seen::default();
    assert_eq!(seen.bulk(&udp(400), waits, 2_000, MS), 0, "small packets are a stream, or a game's");
}

#[test]
fn what_says_that_it_is_a_transport_or_a_tunnel_is_bulk_once_it_is_not_sparse() {
    let quic = packet(UDP, (40_000, 8_443), &[0xc3, 0, 0, 0, 1], 1_280);
    let wireguard = packet(UDP, (40_000, 12_345), &[4, 0, 0, 0], 28 + 1_424);
    let vxlan = packet(UDP, (40_000, 4_789), &[8, 0, 0, 0], 1_440);
    let utp = packet(UDP, (40_000, 6_881), &[1, 0], 1_400);
    for first in [quic, wireguard, vxlan, utp] {
        let mut seen = Seen::default();
        assert_eq!(seen.bulk(&first, IDLE, 5, 0), 0);
        let later = packet(UDP, (40_000, 12_345), &[0x40], 1_300);
        let bulk = seen.bulk(&later, IDLE, 100, 3 * MS);
        assert!(bulk >= 98, "{bulk}");
        // Its acknowledgements, and those of TCP within it, are not held.
        assert_eq!(seen.bulk(&packet(UDP, (40_000, 12_345), &[0x40], 120), IDLE, 50, MS), 0);
    }
    let no_quic = packet(UDP, (1, 2), &[0xc3, 0, 0, 0, 9], 1_280);
    let stun = packet(UDP, (1, 2), &[1, 1, 0, 0], 176);
    let odd = packet(UDP, (1, 2), &[4, 0, 0, 0], 28 + 1_001);
    for other in [no_quic, stun, odd] {
        assert_eq!(Seen::default().bulk(&other, IDLE, 200, 2 * MS), 0);
    }
}

#[test]
fn fragments_of_a_tunnels_packets_are_bulk_and_small_ones_stay_with_the_others() {
    let mut first = packet(UDP, (40_000, 51_820), &[4, 0, 0, 0], 1_420);
    first[6] = 0x20;
    let mut second = packet(UDP, (0, 0), &[0xff; 40], 92);
    (second[6], second[7]) = (0, 175);
    let mut seen = Seen::default();
    let mut bulk = 0;
    for _ in 0..100 {
        bulk += seen.bulk(&first, IDLE, 1, 0) + seen.bulk(&second, IDLE, 1, MS);
    }
    assert!(bulk >= 188, "{bulk}");
}

#[test]
fn dscp_overrules_what_is_seen() {
    let mut real_time = packet(UDP, (40_000, 51_820), &[4, 0, 0, 0], 28 + 1_024);
    real_time[1] = 46 << 2;
    assert_eq!(Seen::default().bulk(&real_time, IDLE, 1_000, 300), 0);
    let mut background = udp(1_000);
    background[1] = 1 << 2;
    assert!(Seen::default().bulk(&background, IDLE, 100, 5 * MS) > 90);
}

#[test]
fn a_flow_ceases_to_be_bulk_when_it_was_not_fast_for_long_and_nothing_is_overtaken() {
    let packet = udp(1_400);
    for (gap, bulk) in [(SPREAD - MS, 1), (SPREAD, 0)] {
        let mut seen = Seen::default();
        assert!(seen.bulk(&packet, IDLE, 1_000, 500) > 500);
        let slower = seen.bulk(&packet, IDLE, 3_000, 5 * MS);
        assert_eq!(slower, 3_000, "each packet would overtake the one before");
        seen.now += gap - 5 * MS;
        assert_eq!(seen.bulk(&packet, IDLE, 1, 5 * MS), bulk);
        assert_eq!(seen.bulk(&packet, IDLE, 1, 5 * MS), bulk);
    }
}

#[test]
fn a_flow_that_was_bulk_is_sparse_again_after_it_rested() {
    let mut seen = Seen::default();
    let tcp = |len| {
        let mut segment = packet(TCP, (1, 2), &[], len);
        (segment[32], segment[33]) = (5 << 4, 0x18);
        segment
    };
    assert_eq!(seen.bulk(&tcp(4_000), IDLE, 2, 10), 0);
    assert_eq!(seen.bulk(&tcp(4_000), IDLE, 1, 10), 1);
    seen.now += REST - 100;
    assert_eq!(seen.bulk(&tcp(100), IDLE, 1, 0), 1, "what waits for the ordered ones would overtake them");
    seen.now += REST;
    assert_eq!(seen.bulk(&tcp(100), IDLE, 1, 0), 0);
    assert_eq!(seen.bulk(&tcp(100), Waiting { express: false, bulk: true }, 1, 0), 1, "some of it waits");
    for minutes in [1, 30, 40, 60, 70] {
        seen.now = seen.now.wrapping_add(minutes * 60 * SECOND);
        assert_eq!(seen.bulk(&tcp(100), IDLE, 1, 0), 0, "{minutes} minutes");
    }
}
