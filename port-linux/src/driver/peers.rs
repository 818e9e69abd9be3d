//! The connections, and what is counted over all of them.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use mpt_proto::{Endpoint, Handle, Instant, Slot, Timed};

use super::Peer;
use crate::table::Table;

/// What lies in the slots: growing moves pointers only.
type Owned<'s> = Box<Peer<'s>>;

impl Timed for Owned<'_> {
    fn poll_timeout(&self) -> Option<Instant> {
        Peer::poll_timeout(self)
    }
}

/// The core's [`Endpoint`], with as many slots as are needed. Who lends a connection to change it touches it, and the loop settles what was
/// touched, at the end of the wake-up at the latest.
pub struct Peers<'s> {
    endpoint: Endpoint<Owned<'s>, Vec<Slot<Owned<'s>>>>,
    /// Those that do not come by themselves: few, where thousands do.
    fixed: BTreeSet<Handle>,
    /// Paths of each, and those that are up, when it was last settled; and of all.
    counted: Table<Count>,
    all: Count,
}

/// Paths, and how many of them are up.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    paths: u32,
    up: u32,
}

impl Default for Peers<'_> {
    fn default() -> Self {
        Self {
            endpoint: Endpoint::new(Vec::new()),
            fixed: BTreeSet::new(),
            counted: Table::default(),
            all: Count::default(),
        }
    }
}

impl<'s> Peers<'s> {
    /// The handle of the next one that is inserted.
    ///
    /// # Panics
    /// When no number of a slot is left: four thousand million connections at once.
    pub fn next_handle(&mut self) -> Handle {
        if self.endpoint.next_handle().is_none() {
            self.endpoint.add_slots(1);
        }
        self.endpoint.next_handle().expect("room for another connection")
    }

    /// Puts a connection where its handle says, which is the [next](Self::next_handle).
    pub fn insert(&mut self, peer: Peer<'s>) {
        let handle = peer.handle;
        if !peer.config.is_learned {
            self.fixed.insert(handle);
        }
        let inserted = self.endpoint.insert(Box::new(peer)).ok();
        debug_assert_eq!(inserted, Some(handle), "another one was inserted meanwhile");
    }

    /// Takes a connection out.
    pub fn remove(&mut self, handle: Handle) -> Option<Owned<'s>> {
        let peer = self.endpoint.remove(handle)?;
        self.fixed.remove(&handle);
        let count = self.counted.remove(handle).unwrap_or_default();
        (self.all.up, self.all.paths) = (self.all.up - count.up, self.all.paths - count.paths);
        Some(peer)
    }

    /// All of them, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &Peer<'s>> {
        self.endpoint.iter().map(|(_, peer)| &**peer)
    }

    /// Those that do not come by themselves.
    pub fn fixed(&self) -> impl Iterator<Item = &Peer<'s>> {
        self.fixed.iter().filter_map(|handle| self.get(*handle))
    }

    /// All of them, for changes that need no settling.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer<'s>> {
        self.endpoint.iter_mut().map(|(_, peer)| &mut **peer)
    }

    /// Those that are there.
    pub fn handles(&self) -> Vec<Handle> {
        self.endpoint.iter().map(|(handle, _)| handle).collect()
    }

    /// A connection, if it is there.
    pub fn get(&self, handle: Handle) -> Option<&Peer<'s>> {
        self.endpoint.get(handle).map(|peer| &**peer)
    }

    /// A connection, to be changed.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Peer<'s>> {
        self.endpoint.get_mut(handle).map(|peer| &mut **peer)
    }

    /// Whether one is to be settled.
    pub fn some_are_touched(&self) -> bool {
        self.endpoint.some_are_touched()
    }

    /// The next one that is to be settled.
    pub fn next_touched(&mut self) -> Option<&mut Peer<'s>> {
        self.endpoint.next_touched().map(|(_, peer)| &mut **peer)
    }

    /// Notes what a connection waits for, and which of its paths are up, after it was settled.
    pub fn settled(&mut self, handle: Handle) {
        self.endpoint.settled(handle);
        let Some(peer) = self.endpoint.get(handle) else { return };
        let count = Count { paths: peer.paths_known(), up: peer.paths_up() };
        let before = std::mem::replace(self.counted.entry(handle), count);
        self.all.up = self.all.up + count.up - before.up;
        self.all.paths = self.all.paths + count.paths - before.paths;
    }

    /// The first moment at which something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    /// Those for which something is due, into `due`. Each has to be [settled](Self::settled) again.
    pub fn take_due(&mut self, now: Instant, due: &mut Vec<Handle>) {
        due.clear();
        due.extend(std::iter::from_fn(|| self.endpoint.next_due(now)));
    }

    /// How many paths are up, and how many there are.
    pub fn paths(&self) -> (u32, u32) {
        (self.all.up, self.all.paths)
    }
}

impl<'s> Index<Handle> for Peers<'s> {
    type Output = Peer<'s>;

    /// # Panics
    /// When the connection has gone: handles come from the loop's own tables, which a connection leaves before it goes.
    fn index(&self, handle: Handle) -> &Peer<'s> {
        self.get(handle).unwrap_or_else(|| panic!("no connection {handle:?}"))
    }
}

impl<'s> IndexMut<Handle> for Peers<'s> {
    fn index_mut(&mut self, handle: Handle) -> &mut Peer<'s> {
        self.get_mut(handle).unwrap_or_else(|| panic!("no connection {handle:?}"))
    }
}

#[cfg(test)]
mod tests {
    use typed_arena::Arena;

    use crate::clock::Clock;
    use crate::config::Config;
    use crate::driver::{Outside, Plan, Resources};
    use crate::link::Interfaces;
    use crate::memory::Memories;

    fn config(connections: usize) -> Config {
        let mut text = "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.1/16\"]\n".to_owned();
        for number in 0..connections {
            text += &format!(
                "[[connection]]\nname = \"c{number}\"\npeer = [\"10.0.1.{number}\"]\nadaptive.memory_mb = 1\n[[connection.path]]\n\
                 name = \"p\"\ndevice = \"none0\"\nlocal = \"0.0.0.0\"\nremote = \"192.0.2.{number}\"\n",
            );
        }
        Config::parse(&text, "test").unwrap()
    }

    #[test]
    fn paths_are_counted_as_connections_come_and_go() {
        let (config, arena, clock) = (config(40), Arena::new(), Clock::start());
        let memories = Memories::new(&arena, 1 << 20, None);
        let mut resources = Resources { clock, memories, joins: false, sealing: 0, recordings: None };
        let mut outside = Outside::new(None);
        let plan = Plan::new(&config, &Interfaces::default()).unwrap();
        let mut peers = resources.connect_all(&config, plan, &mut outside).unwrap();
        assert_eq!(peers.paths(), (0, 0), "nothing was noted yet");
        let names: Vec<_> = peers.iter().map(|peer| peer.config.name.clone()).collect();
        assert!(
            (0..40).all(|number| names[number] == format!("c{number}")),
            "in the order of the configuration"
        );
        let handles = peers.handles();
        while let Some(handle) = peers.next_touched().map(|peer| peer.handle) {
            peers.settled(handle);
        }
        assert_eq!((peers.paths(), handles.len()), ((0, 40), 40));

        // The slots that are free for longest serve first, so that what comes in a row stays in a row.
        for handle in &handles[10..20] {
            resources.disconnect(*handle, &mut outside, &mut peers);
        }
        assert_eq!(peers.paths(), (0, 30));
        let mut plan = Plan::new(&config, &Interfaces::default()).unwrap();
        let sockets = plan.place_sockets(&mut outside.sockets);
        for (config, planned) in config.connections.iter().zip(&plan.connections).skip(10).take(10) {
            resources.connect(config, planned, &sockets, &mut outside, &mut peers).unwrap();
        }
        let again: Vec<_> = peers.iter().map(|peer| peer.config.name.clone()).collect();
        assert_eq!(again, names);
        while let Some(handle) = peers.next_touched().map(|peer| peer.handle) {
            assert!(!handles[10..20].contains(&handle), "one that went");
            peers.settled(handle);
        }
        assert_eq!(peers.paths(), (0, 40));
    }
}
