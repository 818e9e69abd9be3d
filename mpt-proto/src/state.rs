//! A connection's whole state, written down and read again: [`Connection::save`] and [`Connection::restore`].
//!
//! Each part derives what it keeps. Written by hand is only what lies in lent memory: packets that wait or may leave again. Of these
//! the state has what the core still reads, as a [`Head`], and no payload. Lists are written in their order and linked anew, so that a state
//! that was made up cannot link a slot twice, and so that the same state has the same bytes wherever its packets lie.
//!
//! A state that was damaged or made up is refused, or its connection decides nonsense; it neither panics nor reads out of range. Numbers
//! that are added to without a look are therefore bounded here, far above what a connection comes to.
//!
//! [`Connection::save`]: crate::Connection::save
//! [`Connection::restore`]: crate::Connection::restore

use core::fmt;
use core::marker::PhantomData;

use heapless::Vec;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use crate::stats::{PathStats, Stats};
use crate::wire::ip::{self, Flow};
use crate::wire::{fragment, slice};

/// Writes what is to stand for the addresses of a packet over them: those of a flow differ from those of all others that are alive.
pub(crate) type Hide<'h> = &'h dyn Fn(&Flow, &mut [u8]);

/// Bytes of the longest head: an acknowledgement of TCP behind the longest header of IPv4, or that of IPv6.
const LONGEST_HEAD: usize = 60 + 32;

/// What is kept of a packet: its first bytes, those that the core does not read as zeros.
pub(crate) type Head = Vec<u8, LONGEST_HEAD>;

/// The head of an inner packet, of a slice or of a fragment.
pub(crate) fn head_of(packet: &[u8]) -> Head {
    let mut head = Head::new();
    let Some(first) = packet.first() else { return head };
    // As many of the packet's first bytes as say its version, ECN bits and length.
    let (from, kept): (usize, &[u8]) = match first >> 4 {
        4 => (0, &[0xff; 4]),
        6 => (0, &[0xff, 0xf0, 0, 0, 0xff, 0xff]),
        _ if slice::is_there(packet) => (0, &[0xff]),
        _ => {
            let Ok((header, _)) = fragment::Header::parse(packet) else {
                let _ = head.push(*first);
                return head;
            };
            let _ = head.extend_from_slice(packet.get(..fragment::LEN).unwrap_or_default());
            let at = header.range().map_or(usize::MAX, |range| range.start);
            (fragment::LEN, FIRST_BYTES.get(at..).unwrap_or_default())
        }
    };
    for (byte, mask) in packet.get(from..).unwrap_or_default().iter().zip(kept) {
        let _ = head.push(byte & mask);
    }
    head
}

/// The bits of a packet's first bytes that are kept while its version is not known.
pub(crate) const FIRST_BYTES: [u8; 6] = [0xff; 6];

/// The head of an acknowledgement that a later one may replace while it waits: what they are compared by. `None`: it is none.
pub(crate) fn head_of_ack(packet: &[u8], hide: Hide<'_>, flow: impl FnOnce(&[u8]) -> Flow) -> Option<Head> {
    let (addresses, transport) = ip::plain_ack(packet)?;
    let mut head: Head = packet.iter().map(|_| 0).take(LONGEST_HEAD).collect();
    let mut keep = |range: core::ops::Range<usize>| {
        if let (Some(to), Some(from)) = (head.get_mut(range.clone()), packet.get(range)) {
            to.copy_from_slice(from);
        }
    };
    keep(0..2);
    if packet.first()? >> 4 == 4 {
        keep(2..4);
        keep(9..10);
    } else {
        keep(4..7);
    }
    keep(addresses.clone());
    // Ports, the number that it acknowledges, the header's length and the flags.
    keep(transport..transport + 4);
    keep(transport + 8..transport + 14);
    hide(&flow(packet), head.get_mut(addresses)?);
    Some(head)
}

/// Fills the place of a packet from its head.
pub(crate) fn fill(place: &mut [u8], head: &[u8]) {
    place.fill(0);
    for (place, byte) in place.iter_mut().zip(head) {
        *place = *byte;
    }
}

/// What does not fit, or makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) &'static str);

impl fmt::Display for Misfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// As many items as are said, one behind the other.
pub(crate) struct List<I>(pub(crate) usize, pub(crate) I);

impl<T: Serialize, I: Iterator<Item = T> + Clone> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0))?;
        for item in self.1.clone() {
            list.serialize_element(&item)?;
        }
        list.end()
    }
}

/// Reads a [`List`], and hands on each item.
pub(crate) struct Each<T, F>(F, PhantomData<T>);

impl<T, F: FnMut(T) -> Result<(), Misfit>> Each<T, F> {
    pub(crate) const fn new(take: F) -> Self {
        Self(take, PhantomData)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Misfit>> DeserializeSeed<'de> for Each<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Misfit>> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            (self.0)(item).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// The next of the parts that a state is written as.
pub(crate) fn part<'de, A: SeqAccess<'de>, S: DeserializeSeed<'de>>(
    parts: &mut A,
    seed: S,
) -> Result<S::Value, A::Error> {
    parts.next_element_seed(seed)?.ok_or_else(|| A::Error::custom(Misfit("a part is missing")))
}

/// As [`part`], of a type that reads itself.
pub(crate) fn plain<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(parts: &mut A) -> Result<T, A::Error> {
    part(parts, PhantomData::<T>)
}

/// Whether a number leaves room to add to it.
pub(crate) trait Bounded {
    fn is_bounded(&self) -> bool;
}

macro_rules! bounded {
    ($($number:ty),*) => {
        $(impl Bounded for $number {
            fn is_bounded(&self) -> bool {
                // Not `abs`, which the least number has not.
                (<$number>::MIN / 4..=<$number>::MAX / 4).contains(self)
            }
        })*
    };
}

bounded!(u8, u16, u32, u64, usize, i32, i64);

impl<T: Bounded, const N: usize> Bounded for [T; N] {
    fn is_bounded(&self) -> bool {
        self.iter().all(T::is_bounded)
    }
}

/// Reads a number, or numbers, that leave room to add to them.
pub(crate) fn bounded<'de, D: Deserializer<'de>, T: Bounded + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    checked(deserializer, T::is_bounded)
}

/// The same, or the highest one, which stands for something else.
pub(crate) fn bounded_or_most<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    checked(deserializer, |number: &u32| number.is_bounded() || *number == u32::MAX)
}

/// Reads a number of this size at most.
pub(crate) fn at_most<'de, const MOST: u64, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Copy + Into<u64> + Deserialize<'de>,
{
    checked(deserializer, |number: &T| (*number).into() <= MOST)
}

/// Reads a number of bytes that is far below a million.
pub(crate) fn small<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    checked(deserializer, |number: &i32| (-1_000_000..=1_000_000).contains(number))
}

/// Reads a connection's counters.
pub(crate) fn stats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stats, D::Error> {
    checked(deserializer, |stats: &Stats| {
        let &Stats {
            tx_packets,
            tx_bytes,
            tx_no_path,
            tx_too_large,
            tx_limited,
            tx_fragments,
            tx_dropped,
            tx_marked,
            tx_resent,
            tx_copies,
            rx_bad_reports,
            rx_packets,
            rx_bytes,
            rx_held,
            rx_lost,
            rx_reassembled,
            rx_restarts,
            dropped,
        } = stats;
        let sent = [tx_packets, tx_bytes, tx_no_path, tx_too_large, tx_limited, tx_fragments];
        let queued = [tx_dropped, tx_marked, tx_resent, tx_copies];
        let received = [rx_bad_reports, rx_packets, rx_bytes, rx_held, rx_lost, rx_reassembled, rx_restarts];
        sent.is_bounded() && queued.is_bounded() && received.is_bounded() && dropped.is_bounded()
    })
}

/// Reads a path's counters.
pub(crate) fn path_stats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathStats, D::Error> {
    checked(deserializer, |stats: &PathStats| {
        // The others stop at their most.
        let &PathStats { tx_datagrams, tx_bytes, rx_datagrams, rx_bytes, probes: _, echoes: _, downs: _ } =
            stats;
        [tx_datagrams, tx_bytes, rx_datagrams, rx_bytes].is_bounded()
    })
}

fn checked<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    is_sound: impl FnOnce(&T) -> bool,
) -> Result<T, D::Error> {
    let number = T::deserialize(deserializer)?;
    if is_sound(&number) { Ok(number) } else { Err(D::Error::custom(Misfit("a number makes no sense"))) }
}

/// Arrays of words, which serde knows up to a length of 32.
pub(crate) mod words {
    use super::{
        Deserializer, Error, Misfit, PhantomData, SeqAccess, SerializeTuple, Serializer, Visitor, fmt,
    };

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        words: &[u32; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(N)?;
        for word in words {
            tuple.serialize_element(word)?;
        }
        tuple.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u32; N], D::Error> {
        deserializer.deserialize_tuple(N, Words::<N>(PhantomData))
    }

    struct Words<const N: usize>(PhantomData<[u32; N]>);

    impl<'de, const N: usize> Visitor<'de> for Words<N> {
        type Value = [u32; N];

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("words")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<[u32; N], A::Error> {
            let mut words = [0; N];
            for word in &mut words {
                *word = list.next_element()?.ok_or_else(|| A::Error::custom(Misfit("a word is missing")))?;
            }
            Ok(words)
        }
    }
}
