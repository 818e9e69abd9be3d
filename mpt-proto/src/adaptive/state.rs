//! The adaptive policy written down: what is known of the paths, the flows, and the packets that are kept.
//!
//! A packet is in one list, and is written with the name of that; packets of one list stand in its order. Where its slot lies decides nothing.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use crate::adaptive::fit::Pieces;
use crate::adaptive::pool::{Index, List as Row, PacketSlot, Pool};
use crate::adaptive::queue::{self, Queue};
use crate::adaptive::twin::{self, Twin};
use crate::adaptive::{Adaptive, AdaptiveState};
use crate::path_set::{MAX_PATHS, PathSet};
use crate::reassembly::Cut;
use crate::state::{Each, Head, Hide, List, Misfit, fill, head_of, head_of_ack, part, plain};
use crate::time::Instant;
use crate::wire::ip::Flow;

/// The list that a packet is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    Named(u8),
    InFlight(u8),
    Reported,
    Moved,
    Express,
    Bulk,
    /// In none: see [`AdaptiveState`].
    Parked,
    /// In none either.
    Pieces,
}

/// A packet that is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    place: Place,
    slot: PacketSlot,
    head: Head,
}

/// What a connection set up, and what does not lie in [`AdaptiveState`].
#[derive(Serialize, Deserialize)]
struct Facts {
    /// Sizes of the memory: slots, bytes for each, flows in each of the queues.
    memory: [usize; 4],
    is_chosen: bool,
    resends: bool,
    order_udp: bool,
    peer_window: u16,
    random: u32,
    /// Path, next piece, and how it is cut, of the packet that leaves in pieces.
    pieces: Option<(u8, u8, Option<Cut>)>,
    twin: Option<SavedTwin>,
}

/// The packet that left last and is to leave once more: path and place in the list of what is under way there, and the path that it took.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct SavedTwin {
    under_way_on: u8,
    at: usize,
    path: u8,
    cause: twin::Cause,
    left: u32,
}

/// Its form. `seed`: what flows are hashed with.
pub(crate) struct Saved<'a> {
    pub(crate) adaptive: &'a Adaptive<'a>,
    pub(crate) now: Instant,
    pub(crate) seed: u64,
    pub(crate) hide: Hide<'a>,
}

impl<'a> Saved<'a> {
    fn row(&self, row: Row) -> impl Iterator<Item = Index> + Clone + use<'a> {
        let pool = &self.adaptive.pool;
        core::iter::successors(row.first(), move |index| pool.slot(*index)?.next())
    }

    /// All packets that are kept, list by list.
    fn packets(&self) -> impl Iterator<Item = (Place, Index)> + Clone + '_ {
        let Adaptive { state, express, queue, .. } = self.adaptive;
        let by_path = |rows: &'a [Row; MAX_PATHS], place: fn(u8) -> Place| {
            (0..).zip(rows).flat_map(move |(path, row)| self.row(*row).map(move |index| (place(path), index)))
        };
        let of = |row: Row, place: Place| self.row(row).map(move |index| (place, index));
        let waiting = |queue: &'a Queue<'a>, place: Place| queue.rows().flat_map(move |row| of(row, place));
        let [reported, moved, bound] = state.lost.rows();
        let alone = |index: Option<Index>, place: Place| index.map(|index| (place, index)).into_iter();
        by_path(&state.named, Place::Named)
            .chain(by_path(&state.in_flight, Place::InFlight))
            .chain(of(reported, Place::Reported))
            .chain(of(moved, Place::Moved))
            .chain(of(bound, Place::Moved))
            .chain(waiting(express, Place::Express))
            .chain(waiting(queue, Place::Bulk))
            .chain(alone(state.parked, Place::Parked))
            .chain(alone(state.pieces.map(|pieces| pieces.index()), Place::Pieces))
    }

    fn kept(&self, place: Place, index: Index) -> Option<Kept> {
        let Adaptive { pool, .. } = self.adaptive;
        let (slot, packet) = (*pool.slot(index)?, pool.packet(index));
        // Only there may a packet be replaced by a later one.
        let ack = || head_of_ack(packet, self.hide, |packet| Flow::of(packet, self.seed));
        let ack = (place == Place::Express).then(ack).flatten();
        Some(Kept { place, slot, head: ack.unwrap_or_else(|| head_of(packet)) })
    }

    /// The twin, if it may still leave.
    fn twin(&self) -> Option<SavedTwin> {
        let Adaptive { state, pool, .. } = self.adaptive;
        let twin = state.twin?;
        let is_alive = |slot: &&PacketSlot| slot.tries > 0 && slot.sent == self.now.stamp();
        pool.slot(twin.index()).filter(is_alive)?;
        (0..).zip(state.in_flight.iter()).find_map(|(under_way_on, row)| {
            let at = self.row(*row).position(|index| index == twin.index())?;
            let path = u8::try_from(twin.path()).ok()?;
            Some(SavedTwin { under_way_on, at, path, cause: twin.cause(), left: twin.left() })
        })
    }

    fn facts(&self) -> Facts {
        let &Adaptive {
            ref state,
            ref pool,
            ref express,
            ref queue,
            is_chosen,
            resends,
            order_udp,
            peer_window,
            random,
        } = self.adaptive;
        let pieces = state.pieces.and_then(|it| Some((u8::try_from(it.path).ok()?, it.piece, it.cut)));
        let memory = memory(pool, express, queue);
        Facts { memory, is_chosen, resends, order_udp, peer_window, random, pieces, twin: self.twin() }
    }
}

fn memory(pool: &Pool<'_>, express: &Queue<'_>, queue: &Queue<'_>) -> [usize; 4] {
    [pool.len(), pool.cell(), express.places(), queue.places()]
}

impl Serialize for Saved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Adaptive { state, express, queue, .. } = self.adaptive;
        let packets = self.packets().filter_map(|(place, index)| self.kept(place, index));
        let mut parts = serializer.serialize_tuple(5)?;
        parts.serialize_element::<AdaptiveState>(state)?;
        parts.serialize_element(&self.facts())?;
        parts.serialize_element(&queue::Saved(express))?;
        parts.serialize_element(&queue::Saved(queue))?;
        parts.serialize_element(&List(self.packets().count(), packets))?;
        parts.end()
    }
}

/// Reads it into the memory that was lent to another one.
pub(crate) struct Restore<'s>(pub(crate) Adaptive<'s>);

impl<'de, 's> DeserializeSeed<'de> for Restore<'s> {
    type Value = Adaptive<'s>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Adaptive<'s>, D::Error> {
        deserializer.deserialize_tuple(5, self)
    }
}

impl<'de, 's> Visitor<'de> for Restore<'s> {
    type Value = Adaptive<'s>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the state of the adaptive policy")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Adaptive<'s>, A::Error> {
        let mut adaptive = self.0.renewed();
        *adaptive.state = plain(&mut parts)?;
        let facts: Facts = plain(&mut parts)?;
        if facts.memory != memory(&adaptive.pool, &adaptive.express, &adaptive.queue) {
            return Err(A::Error::custom(Misfit("the adaptive policy had memory of another size")));
        }
        let Facts { is_chosen, resends, order_udp, peer_window, random, .. } = facts;
        (adaptive.is_chosen, adaptive.resends, adaptive.order_udp) = (is_chosen, resends, order_udp);
        (adaptive.peer_window, adaptive.random) = (peer_window, random);
        part(&mut parts, queue::Restore(&mut adaptive.express))?;
        part(&mut parts, queue::Restore(&mut adaptive.queue))?;
        part(&mut parts, Each::new(|kept: Kept| adaptive.put_back(&kept, &facts)))?;
        if facts.pieces.is_some() != adaptive.state.pieces.is_some() {
            return Err(A::Error::custom(Misfit("the packet that leaves in pieces is not there")));
        }
        adaptive.state.twin = facts.twin.and_then(|twin| adaptive.find(twin));
        Ok(adaptive)
    }
}

impl Adaptive<'_> {
    fn put_back(&mut self, kept: &Kept, facts: &Facts) -> Result<(), Misfit> {
        let Self { state, pool, express, queue, .. } = self;
        let len = usize::from(kept.slot.len);
        let index = Some(len).filter(|len| pool.fits(*len)).and_then(|_| pool.put_back(kept.slot));
        let index = index.ok_or(Misfit("a packet that is kept has no place"))?;
        fill(pool.packet_mut(index), &kept.head);
        let no_path = Misfit("a packet is on a path that cannot be");
        match kept.place {
            Place::Named(path) => {
                pool.push(state.named.get_mut(usize::from(path)).ok_or(no_path)?, index);
                state.named_on.insert(path.into());
            }
            Place::InFlight(path) => {
                pool.push(state.in_flight.get_mut(usize::from(path)).ok_or(no_path)?, index);
            }
            Place::Reported => state.lost.put_back(pool, index, false),
            Place::Moved => state.lost.put_back(pool, index, true),
            Place::Express => express.put_back(pool, index)?,
            Place::Bulk => queue.put_back(pool, index)?,
            Place::Parked if state.parked.is_none() => state.parked = Some(index),
            Place::Pieces if state.pieces.is_none() => {
                let (path, piece, cut) = facts.pieces.ok_or(no_path)?;
                PathSet::of(path.into()).into_iter().next().ok_or(no_path)?;
                state.pieces = Some(Pieces::at(path.into(), index, len, piece, cut));
            }
            Place::Parked | Place::Pieces => return Err(Misfit("two packets are in one place")),
        }
        Ok(())
    }

    fn find(&self, saved: SavedTwin) -> Option<Twin> {
        let SavedTwin { under_way_on, at, path, cause, left } = saved;
        let row = self.state.in_flight.get(usize::from(under_way_on))?;
        let mut row = core::iter::successors(row.first(), |index| self.pool.slot(*index)?.next());
        Some(Twin::new(row.nth(at)?, path.into(), cause).within(left))
    }
}
