use super::*;
use mpt_proto::wire::checksum;

const ACK: u8 = 0x10;

/// A SYN with these options, padded to a multiple of four bytes, and some bytes of data. `before_tcp` stands between the
/// fixed IP header and TCP: IPv4 options, or IPv6 extension headers, of which the first is of type `first`.
fn syn(is_ipv6: bool, first: u8, before_tcp: &[u8], flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), END_OF_OPTIONS);
    let mut tcp = vec![0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8];
    tcp.push(u8::try_from((TCP_MIN + options.len()) * 4).unwrap());
    tcp.push(flags);
    tcp.extend([0xfa, 0xf0, 0, 0, 0, 0]);
    tcp.extend(options);
    tcp.extend(data);
    let body = before_tcp.len() + tcp.len();
    let mut packet = if is_ipv6 {
        let mut ip = vec![0x60, 0, 0, 0, 0, 0, first, 64];
        ip.extend([0xfd; 15].iter().chain(&[1]).chain(&[0xfd; 15]).chain(&[2]));
        put_u16(&mut ip, 4, u16::try_from(body).unwrap());
        ip
    } else {
        let head = 0x45 + u8::try_from(before_tcp.len() / 4).unwrap();
        let mut ip = vec![head, 0, 0, 0, 0, 9, 0x40, 0, 64, TCP, 0, 0, 192, 168, 6, 2, 203, 0, 113, 9];
        put_u16(&mut ip, 2, u16::try_from(20 + body).unwrap());
        ip
    };
    packet.extend(before_tcp);
    let at = packet.len();
    packet.extend(tcp);
    let sum = full_checksum(&packet, at);
    put_u16(&mut packet, at + usize::from(TCP_CHECKSUM), sum);
    packet
}

/// The checksum over the pseudo header and everything from `tcp` on, computed anew; its field counts as zero.
fn full_checksum(packet: &[u8], tcp: usize) -> u16 {
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    let mut bytes = addresses.to_vec();
    bytes.extend([0, TCP]);
    bytes.extend(u16::try_from(packet.len() - tcp).unwrap().to_be_bytes());
    let covered = bytes.len();
    bytes.extend(&packet[tcp..]);
    put_u16(&mut bytes, covered + usize::from(TCP_CHECKSUM), 0);
    checksum(&bytes)
}

/// The options of Linux: MSS, permission of selective acknowledgements, time stamp, nothing, window scale.
fn usual(mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    vec![2, 4, high, low, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]
}

fn clamped(packet: &[u8], mtu: u16) -> Vec<u8> {
    let mut copy = packet.to_vec();
    clamp(&mut copy, mtu);
    assert_eq!(exceeds(packet, mtu), copy != packet);
    assert!(!exceeds(&copy, mtu));
    copy
}

#[test]
fn syn_and_syn_ack_of_both_ip_versions_offer_what_fits_with_a_right_checksum() {
    for (is_ipv6, tcp, fits) in [(false, 20, 1416), (true, 40, 1396)] {
        for flags in [SYN, SYN | ACK, SYN | 0xc0] {
            let before = syn(is_ipv6, TCP, &[], flags, &usual(1460), &[]);
            let after = clamped(&before, 1456);
            assert_eq!(u16_at(&after, tcp + 22), fits);
            assert_eq!(u16_at(&after, tcp + 16), full_checksum(&after, tcp));
            let expected = syn(is_ipv6, TCP, &[], flags, &usual(fits), &[]);
            assert_eq!(after, expected, "nothing else changes");
        }
    }
}

#[test]
fn what_fits_is_never_raised_and_the_least_mtu_still_leaves_room() {
    for mss in [0, 1, 536, 1415, 1416] {
        let packet = syn(false, TCP, &[], SYN, &usual(mss), &[]);
        assert_eq!(clamped(&packet, 1456), packet);
    }
    let packet = clamped(&syn(false, TCP, &[], SYN, &usual(u16::MAX), &[]), 576);
    assert_eq!(u16_at(&packet, 42), 536);
}

#[test]
fn no_other_packet_changes() {
    let no_syn = syn(false, TCP, &[], ACK, &usual(1460), &[]);
    let mut udp = syn(false, TCP, &[], SYN, &usual(1460), &[]);
    udp[9] = 17;
    let mut fragment = syn(false, TCP, &[], SYN, &usual(1460), &[]);
    fragment[7] = 1;
    let later = [TCP, 0, 0, 0x08, 0, 0, 0, 1];
    let packets = [
        no_syn,
        udp,
        fragment,
        syn(true, FRAGMENT, &later, SYN, &usual(1460), &[]),
        syn(true, 50, &[TCP, 0, 0, 0, 0, 0, 0, 0], SYN, &usual(1460), &[]),
        syn(false, TCP, &[], SYN, &[], &[2, 4, 5, 0xb4]),
        syn(false, TCP, &[], SYN, &[0, 2, 4, 5, 0xb4], &[]),
        Vec::new(),
        vec![0x45],
        vec![0x20; 60],
    ];
    for packet in packets {
        assert_eq!(clamped(&packet, 1300), packet);
    }
}

#[test]
fn ip_options_extension_headers_and_first_fragments_are_looked_through() {
    let router_alert = [148, 4, 0, 0];
    let packet = clamped(&syn(false, TCP, &router_alert, SYN, &usual(1460), &[]), 1456);
    assert_eq!((u16_at(&packet, 46), u16_at(&packet, 40)), (1416, full_checksum(&packet, 24)));

    // Hop-by-hop options of 16 bytes, a routing header, destination options, and the first fragment of several.
    let mut before = vec![ROUTING, 1, 1, 12];
    before.extend([0; 12]);
    before.extend([DESTINATION_OPTIONS, 0, 4, 0, 0, 0, 0, 0]);
    before.extend([FRAGMENT, 0, 1, 4, 0, 0, 0, 0]);
    before.extend([TCP, 0, 0, 1, 0, 0, 0, 1]);
    let packet = clamped(&syn(true, HOP_BY_HOP, &before, SYN, &usual(1460), &[7; 3]), 1456);
    let tcp = 40 + before.len();
    assert_eq!((u16_at(&packet, tcp + 22), u16_at(&packet, tcp + 16)), (1396, full_checksum(&packet, tcp)));
}

#[test]
fn odd_options_are_found_at_odd_places_more_than_once_and_not_past_their_end() {
    // At an odd place, data of an odd length behind.
    let odd = [1, 2, 4, 5, 0xb4, 1, 1, 1];
    let packet = clamped(&syn(false, TCP, &[], SYN, &odd, &[1, 2, 3]), 1300);
    assert_eq!((u16_at(&packet, 43), u16_at(&packet, 36)), (1260, full_checksum(&packet, 20)));
    // Twice.
    let twice = [2, 4, 5, 0xb4, 1, 2, 4, 0xff, 0xff];
    let packet = clamped(&syn(false, TCP, &[], SYN, &twice, &[]), 1300);
    assert_eq!((u16_at(&packet, 42), u16_at(&packet, 47)), (1260, 1260));
    assert_eq!(u16_at(&packet, 36), full_checksum(&packet, 20));
    // A length of nothing, one beyond the options, an MSS of another length, an unknown option before.
    for broken in [&[9, 0, 2, 4, 5, 0xb4][..], &[2, 5, 5, 0xb4], &[9, 40, 2, 4, 5, 0xb4], &[2, 3, 5, 2, 6]] {
        let packet = syn(false, TCP, &[], SYN, broken, &[2, 4, 5, 0xb4]);
        assert_eq!(clamped(&packet, 1300), packet, "{broken:?}");
    }
    let packet = clamped(&syn(false, TCP, &[], SYN, &[254, 5, 1, 1, 1, 2, 4, 5, 0xb4], &[]), 1300);
    assert_eq!((u16_at(&packet, 47), u16_at(&packet, 36)), (1260, full_checksum(&packet, 20)));
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut packet = syn(false, TCP, &[], SYN, &usual(1460), &[]);
    packet[37] ^= 1;
    let packet = clamped(&packet, 1300);
    assert_eq!(u16_at(&packet, 42), 1260);
    assert_ne!(u16_at(&packet, 36), full_checksum(&packet, 20));
}

/// The same by the simplest means: header after header is copied into a list, and the checksum is computed anew.
fn naive(packet: &[u8], mtu: u16) -> Vec<u8> {
    let mut out = packet.to_vec();
    let Some(first) = packet.first() else { return out };
    let len = match first >> 4 {
        4 if packet.len() >= 4 => usize::from(packet[2]) << 8 | usize::from(packet[3]),
        6 if packet.len() >= 6 => 40 + (usize::from(packet[4]) << 8 | usize::from(packet[5])),
        _ => return out,
    };
    if len > packet.len() || len < 20 {
        return out;
    }
    let whole = &packet[..len];
    let (tcp, most) = if first >> 4 == 4 {
        let header = usize::from(first & 15) * 4;
        let offset = (u16::from(whole[6]) << 8 | u16::from(whole[7])) % 0x2000;
        if header < 20 || header > len || whole[9] != TCP || offset != 0 {
            return out;
        }
        (header, usize::from(mtu).saturating_sub(40))
    } else {
        let (mut kind, mut rest, mut tcp) = (whole[6], whole[40..].to_vec(), 40);
        let mut extensions = 0;
        while kind != TCP {
            if ![0, 43, 44, 60].contains(&kind) || rest.len() < 8 || extensions == 6 {
                return out;
            }
            if kind == 44 && (rest[2] != 0 || rest[3] >= 8) {
                return out;
            }
            let size = if kind == 44 { 8 } else { 8 + 8 * usize::from(rest[1]) };
            if size > rest.len() {
                return out;
            }
            kind = rest[0];
            rest.drain(..size);
            tcp += size;
            extensions += 1;
        }
        (tcp, usize::from(mtu).saturating_sub(60))
    };
    let header = &whole[tcp..];
    if header.len() < 20 || header[13] & 2 == 0 {
        return out;
    }
    let size = usize::from(header[12] / 16) * 4;
    if size < 20 || size > header.len() {
        return out;
    }
    let mut options: Vec<(usize, &[u8])> = Vec::new();
    let mut at = 20;
    while at < size && header[at] != 0 {
        let length = match header[at] {
            1 => 1,
            _ if at + 1 == size => break,
            _ => usize::from(header[at + 1]),
        };
        if length == 0 || header[at] != 1 && length == 1 || at + length > size {
            break;
        }
        options.push((tcp + at, &header[at..at + length]));
        at += length;
    }
    let is_right = |packet: &[u8]| full_checksum(&packet[..len], tcp) == u16_at(packet, tcp + 16);
    let was_right = is_right(packet);
    for (at, option) in options {
        if let &[2, 4, high, low] = option
            && (usize::from(high) << 8 | usize::from(low)) > most
        {
            put_u16(&mut out, at + 2, u16::try_from(most).unwrap());
        }
    }
    if was_right && out != packet {
        let sum = full_checksum(&out[..len], tcp);
        put_u16(&mut out, tcp + 16, sum);
    }
    out
}

#[test]
fn it_is_what_a_naive_oracle_does_whatever_the_packet() {
    let seed = std::env::var("MPT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(19);
    println!("MPT_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut changed, mut left) = (0, 0);
    for _ in 0..200_000 {
        let is_ipv6 = random.bool();
        // Options of which most make sense.
        let mut options = Vec::new();
        for _ in 0..random.usize(..5) {
            match random.u8(..6) {
                0 => options.push(1),
                1 => options.extend([2, 4, random.u8(..8), random.u8(..)]),
                2 => options.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 0]),
                3 => options.extend([3, 3, 7]),
                4 => options.extend([2, 4, random.u8(4..), random.u8(..)]),
                _ => options.push(random.u8(..)),
            }
        }
        options.truncate(40);
        let mut before = Vec::new();
        let mut first = TCP;
        if random.u8(..4) == 0 {
            for _ in 0..random.usize(1..9) {
                if is_ipv6 {
                    let kind = *random.choice(&[0, 43, 44, 60]).unwrap();
                    let mut header = vec![first, 0, 0, random.u8(..10), 0, 0, 0, 0];
                    header.extend(before);
                    (before, first) = (header, kind);
                } else {
                    before.extend([1; 4]);
                }
            }
        }
        let flags = if random.u8(..8) == 0 { random.u8(..) } else { SYN };
        let data: Vec<u8> = (0..random.usize(..8)).map(|_| random.u8(..)).collect();
        let mut packet = syn(is_ipv6, first, &before, flags, &options, &data);
        // Then some are damaged, cut short or made longer.
        if random.u8(..3) == 0 {
            let at = random.usize(..packet.len());
            packet[at] = random.u8(..);
        }
        match random.u8(..8) {
            0 => packet.truncate(random.usize(..=packet.len())),
            1 => packet.extend([random.u8(..); 3]),
            _ => {}
        }
        let mtu = *random.choice(&[0, 39, 60, 576, 1280, 1456, 9000, u16::MAX]).unwrap();
        let expected = naive(&packet, mtu);
        let found = clamped(&packet, mtu);
        if found == packet {
            left += 1;
        } else {
            changed += 1;
        };
        let is_right = found == expected || is_checksum_of_damaged(&packet, &expected, &found);
        assert!(is_right, "{packet:02x?} with {mtu}: {found:02x?}, not {expected:02x?}");
    }
    assert!(changed > 20_000 && left > 20_000, "{changed} changed, {left} left");
}

/// Whether two outcomes differ in TCP's checksum alone, of a packet whose checksum was wrong: the oracle leaves it.
fn is_checksum_of_damaged(packet: &[u8], expected: &[u8], found: &[u8]) -> bool {
    let differing: Vec<usize> = (0..packet.len()).filter(|at| expected[*at] != found[*at]).collect();
    let tcp = Syn::of(packet, 0).map(|syn| syn.tcp);
    tcp.is_some_and(|tcp| differing.iter().all(|at| (tcp + 16..tcp + 18).contains(at)))
        && tcp.is_some_and(|tcp| {
            let len = ip::parse(packet).map_or(0, |(_, len)| len);
            full_checksum(&packet[..len], tcp) != u16_at(packet, tcp + 16)
        })
}
