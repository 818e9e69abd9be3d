use super::*;
use mpt_proto::wire::{checksum, slice};

#[derive(Debug, Clone)]
struct Tcp {
    is_ipv6: bool,
    port: u16,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
    class: u8,
    identification: u16,
    data: Vec<u8>,
}

impl Tcp {
    fn new(is_ipv6: bool, sequence: u32, len: usize) -> Self {
        let data = (0..len).map(|at| u8::try_from((sequence as usize + at) % 251).unwrap()).collect();
        // A timestamp, as Linux sends it.
        let options = vec![1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4];
        Self {
            is_ipv6,
            port: 80,
            sequence,
            acknowledgement: 7,
            flags: ACK,
            window: 500,
            options,
            class: 0,
            identification: 100,
            data,
        }
    }

    fn transport(&self) -> usize {
        if self.is_ipv6 { 40 } else { 20 }
    }

    /// With the checksum left to be done, as the kernel hands it over, or complete.
    fn bytes(&self, complete: bool) -> Vec<u8> {
        let mut packet = if self.is_ipv6 {
            let mut ip = vec![0x60 | self.class >> 4, self.class << 4, 1, 2, 0, 0, TCP, 64];
            ip.extend([0xfe; 15].iter().chain(&[1]).chain(&[0xfe; 15]).chain(&[2]));
            ip
        } else {
            vec![0x45, self.class, 0, 0, 0, 0, 0x40, 0, 64, TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
        };
        packet.extend_from_slice(&40_000u16.to_be_bytes());
        packet.extend_from_slice(&self.port.to_be_bytes());
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.acknowledgement.to_be_bytes());
        packet.push(u8::try_from((TCP_MIN + self.options.len()) * 4).unwrap());
        packet.push(self.flags);
        packet.extend_from_slice(&self.window.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(&self.options);
        packet.extend_from_slice(&self.data);
        let len = packet.len();
        set_ip_length(&mut packet, self.identification, len);
        let at = self.transport();
        let addresses = if self.is_ipv6 { &packet[8..40] } else { &packet[12..20] };
        let length = u16::try_from(packet.len() - at).unwrap();
        let pseudo = sum([!checksum(addresses), u16::from(TCP), length]);
        put_u16(&mut packet, at + 16, pseudo);
        if complete {
            let whole = checksum(&packet[at..]);
            put_u16(&mut packet, at + 16, whole);
        }
        packet
    }

    fn header(&self, size: u16) -> Header {
        let start = u16::try_from(self.transport()).unwrap();
        Header { segmentation: Segmentation::Tcp { size }, checksum: Some((start, TCP_CHECKSUM)) }
    }
}

/// A datagram that may not be fragmented.
fn udp(data: &[u8], complete: bool) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend_from_slice(&[0, 53, 0, 54]);
    packet.extend_from_slice(&u16::try_from(8 + data.len()).unwrap().to_be_bytes());
    packet.extend_from_slice(&[0; 2]);
    packet.extend_from_slice(data);
    let len = packet.len();
    set_ip_length(&mut packet, 5, len);
    let length = u16::try_from(packet.len() - 20).unwrap();
    let pseudo = sum([!checksum(&packet[12..20]), u16::from(UDP), length]);
    put_u16(&mut packet, 26, pseudo);
    if complete {
        let whole = checksum(&packet[20..]);
        put_u16(&mut packet, 26, if whole == 0 { 0xffff } else { whole });
    }
    packet
}

fn split(header: Header, mut packet: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    if header.segmentation == Segmentation::None {
        finish_checksum(header, &mut packet)?;
        return Some(vec![packet]);
    }
    let mut split = Split::new(header, &packet, MAX_PACKET)?;
    let mut out = vec![0; MAX_PACKET];
    let mut all = Vec::new();
    while let Some(len) = split.next_into(&mut out) {
        all.push(out[..len].to_vec());
    }
    Some(all)
}

/// What is written, as header and packet.
fn coalesce(packets: &[Vec<u8>]) -> Vec<(Header, Vec<u8>)> {
    coalesce_as(Joins { tcp: true, udp: true }, packets)
}

fn coalesce_as(joins: Joins, packets: &[Vec<u8>]) -> Vec<(Header, Vec<u8>)> {
    let mut written = Vec::new();
    let mut write = |header: &[u8], packet: &[u8]| {
        let bytes = [header, packet].concat();
        let (header, packet) = bytes.split_first_chunk().unwrap();
        written.push((Header::parse(header).unwrap(), packet.to_vec()));
    };
    let mut coalescer = Coalescer::new();
    for packet in packets {
        coalescer.push(packet, joins, &mut write);
    }
    coalescer.flush(&mut write);
    written
}

/// Whether both checksums of a packet without extension headers are right.
fn is_sound(packet: &[u8]) -> bool {
    let (at, addresses) = if packet[0] >> 4 == 6 { (40, 8..40) } else { (20, 12..20) };
    let protocol = if at == 40 { packet[6] } else { packet[9] };
    let length = u16::try_from(packet.len() - at).unwrap();
    let pseudo = sum([!checksum(&packet[addresses]), u16::from(protocol), length]);
    (at == 40 || checksum(&packet[..20]) == 0) && sum([pseudo, !checksum(&packet[at..])]) == 0xffff
}

#[test]
fn a_header_survives_a_round_trip() {
    for segmentation in
        [Segmentation::None, Segmentation::Tcp { size: 1400 }, Segmentation::Udp { size: 1200 }]
    {
        for checksum in [None, Some((40, 16))] {
            for is_ipv6 in [false, true] {
                let header = Header { segmentation, checksum };
                assert_eq!(Header::parse(&header.emit(is_ipv6, 60)), Some(header));
            }
        }
    }
    assert_eq!(Header::parse(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]), None, "UDP fragmentation was never asked for");
}

#[test]
fn tcp_is_cut_into_segments_that_count_on_with_flags_where_they_belong() {
    for is_ipv6 in [false, true] {
        let mut tcp = Tcp::new(is_ipv6, u32::MAX - 1000, 3500);
        tcp.flags = ACK | PSH | FIN | CWR;
        let segments = split(tcp.header(1400), tcp.bytes(false)).unwrap();
        let expected = [(0, 1400, ACK | CWR), (1400, 1400, ACK), (2800, 700, ACK | PSH | FIN)];
        assert_eq!(segments.len(), 3);
        for (number, (segment, (from, len, flags))) in segments.iter().zip(expected).enumerate() {
            let expected = Tcp {
                sequence: tcp.sequence.wrapping_add(u32::try_from(from).unwrap()),
                flags,
                identification: tcp.identification + u16::try_from(number).unwrap(),
                data: tcp.data[from..from + len].to_vec(),
                ..tcp.clone()
            };
            assert_eq!(*segment, expected.bytes(true));
            assert!(is_sound(segment));
        }
    }
}

#[test]
fn udp_is_cut_into_datagrams_of_their_own_length() {
    let data: Vec<u8> = (0..=255).cycle().take(2500).collect();
    let header = Header { segmentation: Segmentation::Udp { size: 1200 }, checksum: Some((20, 6)) };
    let segments = split(header, udp(&data, false)).unwrap();
    assert_eq!(segments.iter().map(Vec::len).collect::<Vec<_>>(), [1228, 1228, 128]);
    for (number, (segment, chunk)) in segments.iter().zip(data.chunks(1200)).enumerate() {
        let mut expected = udp(chunk, true);
        let len = expected.len();
        set_ip_length(&mut expected, 5 + u16::try_from(number).unwrap(), len);
        assert_eq!(*segment, expected);
        assert!(is_sound(segment));
    }
}

#[test]
fn a_packet_that_is_not_to_be_cut_gets_its_checksum() {
    let tcp = Tcp::new(true, 1, 100);
    let header = Header { segmentation: Segmentation::None, ..tcp.header(0) };
    assert_eq!(split(header, tcp.bytes(false)), Some(vec![tcp.bytes(true)]));
    assert_eq!(split(Header::PLAIN, tcp.bytes(true)), Some(vec![tcp.bytes(true)]));
}

#[test]
fn a_header_that_contradicts_its_packet_is_refused() {
    let tcp = Tcp::new(false, 1, 3000);
    let bytes = tcp.bytes(false);
    let good = tcp.header(1400);
    assert!(split(good, bytes.clone()).is_some());
    for checksum in [None, Some((19, 16)), Some((20, 6)), Some((3040, 16)), Some((u16::MAX, u16::MAX))] {
        assert_eq!(split(Header { checksum, ..good }, bytes.clone()), None, "{checksum:?}");
    }
    assert_eq!(split(tcp.header(0), bytes.clone()), None);
    assert_eq!(split(good, bytes[..bytes.len() - 1].to_vec()), None);
    assert_eq!(split(good, Tcp { data: vec![], ..tcp }.bytes(false)), None);
    let plain = Header { segmentation: Segmentation::None, checksum: Some((40, 16)) };
    assert_eq!(split(plain, vec![0x45; 50]), None);
}

#[test]
fn segments_that_follow_each_other_are_joined_and_cut_into_the_same_again() {
    for is_ipv6 in [false, true] {
        let packets: Vec<Vec<u8>> = (0..10)
            .map(|number| {
                let mut tcp = Tcp::new(is_ipv6, number * 1400, if number == 9 { 300 } else { 1400 });
                tcp.identification += u16::try_from(number).unwrap();
                tcp.flags |= if number == 9 { PSH } else { 0 };
                tcp.bytes(true)
            })
            .collect();
        let joined = coalesce(&packets);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].0.segmentation, Segmentation::Tcp { size: 1400 });
        assert_eq!(split(joined[0].0, joined[0].1.clone()), Some(packets));
    }
}

#[test]
fn what_does_not_follow_is_not_joined() {
    let first = Tcp::new(false, 0, 1000);
    let next = Tcp::new(false, 1000, 1000);
    let with = |change: fn(&mut Tcp)| {
        let mut tcp = next.clone();
        change(&mut tcp);
        [first.bytes(true), tcp.bytes(true)]
    };
    assert_eq!(coalesce(&with(|_| {})).len(), 1);
    for (what, packets) in [
        ("a gap", with(|tcp| tcp.sequence += 1)),
        ("another acknowledgement", with(|tcp| tcp.acknowledgement += 1)),
        ("another window", with(|tcp| tcp.window += 1)),
        ("another timestamp", with(|tcp| tcp.options[6] += 1)),
        ("other options", with(|tcp| tcp.options.truncate(4))),
        ("a congestion mark", with(|tcp| tcp.class = 3)),
        ("more data than before", with(|tcp| tcp.data.push(0))),
        ("SYN", with(|tcp| tcp.flags |= 2)),
        ("URG", with(|tcp| tcp.flags |= 0x20)),
        ("CWR", with(|tcp| tcp.flags |= CWR)),
        ("no data", with(|tcp| tcp.data.clear())),
    ] {
        let written: Vec<Vec<u8>> = coalesce(&packets).into_iter().map(|(_, packet)| packet).collect();
        assert_eq!(written, packets, "{what}");
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut packets = [Tcp::new(true, 0, 1000).bytes(true), Tcp::new(true, 1000, 1000).bytes(true)];
    packets[1][90] ^= 1;
    let written: Vec<Vec<u8>> = coalesce(&packets).into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(written, packets);
}

#[test]
fn an_acknowledgement_does_not_overtake_the_data_of_its_own_flow_nor_end_other_flows() {
    let other = |sequence| Tcp { port: 81, ..Tcp::new(false, sequence, 1000) }.bytes(true);
    let acknowledgement = Tcp::new(false, 1000, 0).bytes(true);
    let packets = [Tcp::new(false, 0, 1000).bytes(true), other(0), acknowledgement.clone(), other(1000)];
    let written = coalesce(&packets);
    assert_eq!(written[0].1, packets[0]);
    assert_eq!(written[1].1, acknowledgement);
    assert_eq!(written.len(), 3, "both packets of the other flow are one");
}

#[test]
fn datagrams_of_one_size_and_a_shorter_last_one_are_joined_and_cut_into_the_same_again() {
    let data: Vec<u8> = (0..=255).cycle().take(1500).collect();
    let packets: Vec<Vec<u8>> = [1200, 1200, 700, 1200, 1300].map(|len| udp(&data[..len], true)).into();
    let joined = coalesce(&packets);
    let lengths: Vec<_> = joined.iter().map(|(_, packet)| packet.len() - 28).collect();
    assert_eq!(lengths, [3100, 1200, 1300], "a longer one begins anew");
    assert_eq!(joined[0].0.segmentation, Segmentation::Udp { size: 1200 });
    let cut: Vec<_> =
        joined.into_iter().flat_map(|(header, packet)| split(header, packet).unwrap()).collect();
    // Identifications count up, which means nothing with DF.
    let lengths: Vec<_> = cut.iter().map(Vec::len).collect();
    assert_eq!(lengths, packets.iter().map(Vec::len).collect::<Vec<_>>());
    assert!(cut.iter().all(|packet| is_sound(packet)));
}

#[test]
fn what_the_kernel_does_not_take_joined_is_written_as_it_came() {
    let tcp = [Tcp::new(false, 0, 1000).bytes(true), Tcp::new(false, 1000, 1000).bytes(true)];
    let udp = [udp(&[1; 100], true), udp(&[1; 100], true)];
    let all = [&tcp[..], &udp[..]].concat();
    for (joins, expected) in [
        (Joins { tcp: true, udp: true }, 2),
        (Joins { tcp: true, udp: false }, 3),
        (Joins { tcp: false, udp: true }, 3),
        (Joins { tcp: false, udp: false }, 4),
    ] {
        assert_eq!(coalesce_as(joins, &all).len(), expected, "{joins:?}");
    }
}

/// The slices of a packet, as datagrams of at most `room` bytes bring them.
fn slices_of(tcp: &Tcp, room: usize, id: u16) -> Vec<Vec<u8>> {
    let packet = tcp.bytes(false);
    let mut slices = Slices::new(tcp.header(1412), &packet, room, id).unwrap();
    let mut out = vec![0; room];
    std::iter::from_fn(|| slices.next_into(&mut out).map(|len| out[..len].to_vec())).collect()
}

/// What is written, as the kernel sees it.
#[derive(Default)]
struct Kernel(Vec<(Header, Vec<u8>)>);

impl Kernel {
    fn write(&mut self, front: &[u8], data: &[u8]) {
        let bytes = [front, data].concat();
        let (header, packet) = bytes.split_first_chunk().unwrap();
        self.0.push((Header::parse(header).unwrap(), packet.to_vec()));
    }

    fn packets(self) -> Vec<Vec<u8>> {
        self.0.into_iter().map(|(_, packet)| packet).collect()
    }
}

fn push(joiner: &mut Joiner<usize>, slice: &[u8], kernel: &mut Kernel) -> Result<(), Refused> {
    joiner.push(0, slice, |_| true, |front, data| kernel.write(front, data))
}

/// Slices of a packet with those numbers left out, put together.
fn slice_and_join(tcp: &Tcp, room: usize, lost: &[usize]) -> Kernel {
    let (mut joiner, mut kernel) = (Joiner::new(), Kernel::default());
    for (number, slice) in slices_of(tcp, room, 1).iter().enumerate() {
        if !lost.contains(&number) {
            push(&mut joiner, slice, &mut kernel).unwrap();
        }
    }
    joiner.flush(|front, data| kernel.write(front, data));
    kernel
}

/// A part of the packet's data, as the kernel gets it.
fn part(tcp: &Tcp, range: std::ops::Range<usize>, flags: u8) -> Vec<u8> {
    let sequence = tcp.sequence.wrapping_add(u32::try_from(range.start).unwrap());
    let identification = tcp.identification + u16::try_from(range.start / 1412).unwrap();
    Tcp { data: tcp.data[range].to_vec(), sequence, flags, identification, ..tcp.clone() }.bytes(false)
}

#[test]
fn slices_come_together_as_the_packet_that_they_were() {
    for is_ipv6 in [false, true] {
        let tcp = Tcp { flags: ACK | PSH | CWR, ..Tcp::new(is_ipv6, u32::MAX - 9, 60_000) };
        let expected = (tcp.header(1412), tcp.bytes(false));
        assert_eq!(slice_and_join(&tcp, 1464, &[]).0, [expected]);
    }
}

#[test]
fn slices_are_of_one_size_but_the_last_and_that_has_the_headers_again() {
    let tcp = Tcp::new(false, 7, 44 * 1412);
    let slices = slices_of(&tcp, 1464, 1);
    assert_eq!(slices.len(), 43);
    let (last, others) = slices.split_last().unwrap();
    assert!(others.iter().all(|slice| slice.len() == others[0].len() && slice.len() <= 1464));
    assert!(last.len() <= others[0].len());
    let header = slice::Header::parse(last).unwrap().0;
    assert!(header.has_copy && header.last() == 42);
}

#[test]
fn a_lost_slice_loses_its_own_data_only() {
    let tcp = Tcp { flags: ACK | PSH | CWR, ..Tcp::new(false, 7, 60_000) };
    let packets = |lost: &[usize]| slice_and_join(&tcp, 1464, lost).packets();
    let headers = tcp.bytes(false).len() - 60_000;
    let stride = usize::from(slice::Header::parse(&slices_of(&tcp, 1464, 1)[0]).unwrap().0.stride);
    let (second, third) = (stride - headers, 2 * stride - headers);
    assert_eq!(packets(&[1]), [part(&tcp, 0..second, ACK | CWR), part(&tcp, third..60_000, ACK | PSH)]);
    assert_eq!(packets(&[0]), [part(&tcp, second..60_000, ACK | PSH)], "the last one has the headers, too");
    assert_eq!(packets(&[0, 41]), [] as [Vec<u8>; 0], "no headers came");
}

#[test]
fn what_came_is_handed_on_without_waiting_and_what_follows_when_it_comes() {
    let tcp = Tcp { flags: ACK | PSH, ..Tcp::new(false, 7, 6000) };
    let (mut joiner, mut kernel) = (Joiner::new(), Kernel::default());
    let slices = slices_of(&tcp, 1464, 1);
    let stride = usize::from(slice::Header::parse(&slices[0]).unwrap().0.stride);
    let headers = tcp.bytes(false).len() - 6000;
    for batch in [&slices[..2], &slices[2..3], &slices[3..]] {
        for slice in batch {
            push(&mut joiner, slice, &mut kernel).unwrap();
        }
        joiner.flush(|front, data| kernel.write(front, data));
        joiner.flush(|_, _| panic!("nothing is left"));
    }
    let (two, three) = (2 * stride - headers, 3 * stride - headers);
    let expected = [part(&tcp, 0..two, ACK), part(&tcp, two..three, ACK), part(&tcp, three..6000, ACK | PSH)];
    assert_eq!(kernel.packets(), expected);
}

#[test]
fn slices_of_packets_that_take_turns_are_told_apart_and_what_never_ends_is_given_up() {
    let (one, other) = (Tcp::new(false, 7, 6000), Tcp::new(true, 9, 6000));
    let (mut joiner, mut kernel) = (Joiner::new(), Kernel::default());
    for (first, second) in slices_of(&one, 1464, 1).iter().zip(slices_of(&other, 1464, 2)) {
        push(&mut joiner, first, &mut kernel).unwrap();
        push(&mut joiner, &second, &mut kernel).unwrap();
    }
    assert_eq!(kernel.packets(), [one.bytes(false), other.bytes(false)]);
    // A hundred packets of which the second slice comes alone.
    let mut kernel = Kernel::default();
    for id in 0..100 {
        push(&mut joiner, &slices_of(&one, 1464, id)[1], &mut kernel).unwrap();
    }
    assert_eq!((kernel.packets(), joiner.orphans()), (vec![], 92));
    // One with a number that was used long ago is another one.
    let mut kernel = Kernel::default();
    for slice in slices_of(&other, 1464, 1000).iter().chain(&slices_of(&one, 1464, 99)) {
        push(&mut joiner, slice, &mut kernel).unwrap();
    }
    assert_eq!((kernel.packets(), joiner.orphans()), (vec![other.bytes(false), one.bytes(false)], 100));
}

#[test]
fn slices_of_another_sender_or_from_a_source_that_is_not_accepted_do_not_mix_in() {
    let tcp = Tcp::new(false, 7, 6000);
    let slices = slices_of(&tcp, 1464, 1);
    let (mut joiner, mut kernel) = (Joiner::new(), Kernel::default());
    let mut from = |sender: usize, slice: &[u8], accepts: bool| {
        joiner.push(sender, slice, |_| accepts, |front, data| kernel.write(front, data))
    };
    assert_eq!(from(1, &slices[0], false), Err(Refused::Headers));
    assert_eq!(from(1, &slices[0], true), Ok(()));
    for slice in &slices {
        assert_eq!(from(2, slice, true), Ok(()));
    }
    assert_eq!(kernel.packets(), [tcp.bytes(false)]);
}

#[test]
fn a_packet_of_the_same_flow_does_not_overtake_slices() {
    let tcp = Tcp::new(false, 7, 6000);
    let (mut joiner, mut kernel) = (Joiner::new(), Kernel::default());
    push(&mut joiner, &slices_of(&tcp, 1464, 1)[0], &mut kernel).unwrap();
    let other = Tcp { port: 81, ..tcp.clone() };
    joiner.flush_before(&other.bytes(true), |_, _| panic!("another flow"));
    joiner.flush_before(&tcp.bytes(true), |front, data| kernel.write(front, data));
    assert_eq!(kernel.packets().len(), 1);
}

#[test]
fn a_mark_on_one_slice_marks_what_is_handed_on_with_it() {
    let tcp = Tcp { class: 2, ..Tcp::new(false, 7, 6000) };
    let mut slices = slices_of(&tcp, 1464, 1);
    mpt_proto::wire::ip::set_ecn(&mut slices[1], mpt_proto::Ecn::Ce);
    let (mut joiner, mut kernel) = (Joiner::new(), Kernel::default());
    for slice in &slices {
        push(&mut joiner, slice, &mut kernel).unwrap();
    }
    assert_eq!(kernel.packets(), [Tcp { class: 3, ..tcp }.bytes(false)]);
}

#[test]
fn slices_that_contradict_what_came_before_are_refused_and_change_nothing() {
    let all = slices_of(&Tcp::new(false, 7, 6000), 1464, 9);
    let with = |from: &[u8], at: usize, value: u8| {
        let mut slice = from.to_vec();
        slice[at] = value;
        slice
    };
    let (mut joiner, mut kernel) = (Joiner::new(), Kernel::default());
    assert_eq!(push(&mut joiner, &all[0], &mut kernel), Ok(()));
    assert_eq!(push(&mut joiner, &all[0], &mut kernel), Err(Refused::Duplicate));
    for (what, slice) in [
        ("another length of the whole", with(&all[1], 5, all[1][5] ^ 1)),
        ("another stride", with(&all[1], 7, all[1][7] ^ 1)),
        ("beyond the last", with(&all[1], 1, 5)),
        ("short", all[1][..1000].to_vec()),
        ("a last one that is too long", [&all[4][..], &[0; 9]].concat()),
        ("headers that differ", with(&all[4], slice::LEN + 21, 1)),
        ("no header", vec![0; 5]),
    ] {
        assert_eq!(push(&mut joiner, &slice, &mut kernel), Err(Refused::Bad), "{what}");
    }
    for slice in &all[1..] {
        push(&mut joiner, slice, &mut kernel).unwrap();
    }
    assert_eq!(kernel.packets(), [Tcp::new(false, 7, 6000).bytes(false)]);
}
