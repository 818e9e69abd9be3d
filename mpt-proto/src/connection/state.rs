//! A connection written down, and one that goes on from there.

use core::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeTuple, Serializer};

use crate::connection::Connection;
use crate::connection::extended::Extension;
use crate::connection::identity::Identity;
use crate::connection::receive::{Receiver, ReceiverFacts};
use crate::connection::send::Sender;
use crate::connection::sizes::LentSizes;
use crate::connection::storage::Storage;
use crate::connection::table::PathTable;
use crate::rng::Rng;
use crate::schedule::Policy;
use crate::state::{Bounded, Each, List, Misfit, part, plain};
use crate::stats::Stats;
use crate::time::Instant;
use crate::wire::gre::Layout;
use crate::wire::ip::Flow;
use crate::{adaptive, reassembly, reorder};

/// Counts the forms that a state had: another one is refused. A change of what is kept that no form tells makes a state of before
/// nonsense.
const FORM: u16 = 3;
/// Parts of a state.
const PARTS: usize = 7;

impl<'s> Connection<'s> {
    /// Writes the whole state down: all that decides what the connection does from now on. [`restore`](Self::restore) makes the same
    /// connection of it, which does the same, bit for bit, if it is driven in the same way.
    ///
    /// Of packets that wait or may have to leave again it has lengths, ECN bits and headers, but neither payload nor addresses:
    /// `hide` is to write over the addresses of a packet what tells its flow from all others, such as a number. The seed with which flows are hashed is
    /// not in it, and of their hashes as many bits as tell which flow is which: 16, and their place in a table.
    ///
    /// It takes as long as writing some 20 bytes for each packet that is kept, and is as large. The form may change with any version. The
    /// serializer has to keep floating point numbers bit for bit, as postcard does.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn save<S: Serializer>(
        &self,
        hide: &dyn Fn(&Flow, &mut [u8]),
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let Self { now, rng, layout, slices, paths, identity, sender, receiver, extension, sizes, stats } =
            self;
        let (assembled, facts) = receiver.facts();
        let pins = sender.flow_pins.places();
        let seed = sender.scheduler.seed();
        let mut parts = serializer.serialize_tuple(PARTS)?;
        parts.serialize_element(&FORM)?;
        parts.serialize_element(&(now, rng, layout, slices, paths, identity, sender, facts, stats))?;
        parts.serialize_element(&List(pins.len(), pins.iter()))?;
        parts.serialize_element(&reorder::Saved(&receiver.reorder))?;
        let reassembly = &receiver.reassembly;
        parts.serialize_element(&reassembly::Saved { reassembly, assembled })?;
        parts.serialize_element(&extension.as_ref().map(|extension| adaptive::Saved {
            adaptive: &extension.adaptive,
            now: *now,
            seed,
            hide,
        }))?;
        parts.serialize_element(&sizes.as_deref().map(|sizes| {
            let (due, searches) = sizes.parts();
            (due, List(searches.len(), searches.iter()))
        }))?;
        parts.end()
    }

    /// The connection whose state was [saved](Self::save), in memory of the same sizes. `flow_seed` is what flows are hashed with:
    /// [`flow_seed`](Self::flow_seed) of the one that was saved, or anything if each packet comes with its flow, by
    /// [`encapsulate_flow`](Self::encapsulate_flow).
    ///
    /// # Errors
    /// The memory has other sizes, or the state is damaged or of another version. Not all damage is found: the state of
    /// somebody who is not trusted may decide anything, but does no harm.
    pub fn restore<'de, D: Deserializer<'de>>(
        deserializer: D,
        storage: Storage<'s>,
        flow_seed: u64,
    ) -> Result<Self, D::Error> {
        let mut connection = deserializer.deserialize_tuple(PARTS, Restore(storage))?;
        connection.sender.scheduler.set_seed(flow_seed);
        Ok(connection)
    }

    /// What flows are hashed with: [`Config::flow_seed`](crate::Config::flow_seed), mixed with the other seed.
    pub const fn flow_seed(&self) -> u64 {
        self.sender.scheduler.seed()
    }

    /// Sends by another policy from now on, to see what it would have done. What was measured stays, and what waits under the
    /// adaptive policy leaves by it.
    pub fn set_policy(&mut self, policy: Policy) {
        self.sender.scheduler.set_policy(policy);
        if let Some(Extension { adaptive, .. }) = &mut self.extension {
            adaptive.is_chosen = policy == Policy::Adaptive;
        }
    }
}

/// All that does not lie in lent memory.
type Facts<'s> = (Instant, Rng, Layout, bool, PathTable, Identity, Sender<'s>, ReceiverFacts, SoundStats);

/// [`Stats`] that can be added to.
#[derive(serde::Deserialize)]
struct SoundStats(#[serde(deserialize_with = "crate::state::stats")] Stats);

/// Reads a state into lent memory.
struct Restore<'s>(Storage<'s>);

impl<'de, 's> Visitor<'de> for Restore<'s> {
    type Value = Connection<'s>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the state of a connection")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Connection<'s>, A::Error> {
        let Self(storage) = self;
        if plain::<_, u16>(&mut parts)? != FORM {
            return Err(A::Error::custom(Misfit("another version has saved this state")));
        }
        let facts: Facts<'s> = plain(&mut parts)?;
        let (now, rng, layout, slices, paths, identity, sender, (witness, restarts), SoundStats(stats)) =
            facts;
        if !paths.is_sound() || !restarts.is_bounded() {
            return Err(A::Error::custom(Misfit("its paths make no sense")));
        }
        read_places(&mut parts, storage.flow_pins)?;
        let flow_pins = sender.flow_pins.with(storage.flow_pins);
        let sender = Sender { flow_pins, ..sender };
        let reorder = part(&mut parts, reorder::Restore(storage.reorder))?;
        let reassembly = part(&mut parts, reassembly::Restore(storage.reassembly))?;
        let receiver = Receiver::of(reorder, reassembly, (witness, restarts));
        let extension = part(&mut parts, RestoreExtension(storage.extension))?;
        let sizes = part(&mut parts, RestoreSizes(storage.sizes))?;
        Ok(Connection {
            now,
            rng,
            layout,
            slices,
            paths,
            identity,
            sender,
            receiver,
            extension,
            sizes,
            stats,
        })
    }
}

/// Reads a list into as many places.
fn read_places<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    parts: &mut A,
    places: &mut [T],
) -> Result<(), A::Error> {
    let mut count = 0;
    let other_size = Misfit("it had memory of another size");
    part(
        parts,
        Each::new(|item: T| {
            *places.get_mut(count).ok_or(other_size)? = item;
            count += 1;
            Ok(())
        }),
    )?;
    if count != places.len() {
        return Err(A::Error::custom(other_size));
    }
    Ok(())
}

/// Reads the searches for sizes, if memory was lent for them then and now.
struct RestoreSizes<'s>(Option<LentSizes<'s>>);

impl<'de, 's> DeserializeSeed<'de> for RestoreSizes<'s> {
    type Value = Option<LentSizes<'s>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, 's> Visitor<'de> for RestoreSizes<'s> {
    type Value = Option<LentSizes<'s>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the searches for sizes, or none")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        match self.0 {
            None => Ok(None),
            Some(_) => Err(E::custom(Misfit("it had no memory for searches for sizes"))),
        }
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let lent = self.0.ok_or_else(|| D::Error::custom(Misfit("it had memory for searches for sizes")))?;
        deserializer.deserialize_tuple(2, ReadSizes(lent)).map(Some)
    }
}

struct ReadSizes<'s>(LentSizes<'s>);

impl<'de, 's> Visitor<'de> for ReadSizes<'s> {
    type Value = LentSizes<'s>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the searches for sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let (due, places) = self.0.parts_mut();
        *due = plain(&mut parts)?;
        read_places(&mut parts, places)?;
        Ok(self.0)
    }
}

/// Reads the state of the extension, if memory was lent for it then and now.
struct RestoreExtension<'s>(Option<Extension<'s>>);

impl<'de, 's> DeserializeSeed<'de> for RestoreExtension<'s> {
    type Value = Option<Extension<'s>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, 's> Visitor<'de> for RestoreExtension<'s> {
    type Value = Option<Extension<'s>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the state of the adaptive policy, or none")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        match self.0 {
            None => Ok(None),
            Some(_) => Err(E::custom(Misfit("it had no memory for the adaptive policy"))),
        }
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let Some(extension) = self.0 else {
            return Err(D::Error::custom(Misfit("it had memory for the adaptive policy")));
        };
        extension.with(|lent| adaptive::Restore(lent).deserialize(deserializer)).map(Some)
    }
}
