//! The connections, and which of them have something to do: no work of the loop grows with how many there are.
//!
//! A connection keeps its position as long as it is there. Who lends one to change it touches it, and the loop settles what was
//! touched, at the end of the wake-up at the latest. Then its next deadline is noted among all.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use mpt_proto::Instant;

use super::Peer;

/// See the module.
#[derive(Default)]
pub struct Peers<'s> {
    places: Vec<Option<Peer<'s>>>,
    /// Positions of those that were touched since they were settled, each once.
    touched: Vec<usize>,
    /// Moments at which something is due, one of a connection at most.
    deadlines: BTreeSet<(Instant, usize)>,
    /// Paths of all, and those that are up.
    paths: u32,
    paths_up: u32,
}

impl<'s> Peers<'s> {
    /// The first position that is free.
    pub fn vacant(&self) -> usize {
        self.places.iter().position(Option::is_none).unwrap_or(self.places.len())
    }

    /// Puts a connection at its own position, which is free.
    pub fn insert(&mut self, peer: Peer<'s>) {
        let index = peer.index;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        self.remove(index);
        self.places[index] = Some(peer);
        self.touch(index);
    }

    /// Takes a connection out. Its position is free then.
    pub fn remove(&mut self, index: usize) -> Option<Peer<'s>> {
        let peer = self.places.get_mut(index)?.take()?;
        self.touched.retain(|touched| *touched != index);
        if let Some(deadline) = peer.deadline {
            self.deadlines.remove(&(deadline, index));
        }
        self.paths_up -= peer.counted.0;
        self.paths -= peer.counted.1;
        Some(peer)
    }

    /// All of them, in the order of their positions.
    pub fn iter(&self) -> impl Iterator<Item = &Peer<'s>> {
        self.places.iter().flatten()
    }

    /// All of them, for changes that need no settling.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer<'s>> {
        self.places.iter_mut().flatten()
    }

    /// Positions that are taken.
    pub fn positions(&self) -> Vec<usize> {
        self.iter().map(|peer| peer.index).collect()
    }

    /// The connection at a position.
    pub fn get(&self, index: usize) -> Option<&Peer<'s>> {
        self.places.get(index)?.as_ref()
    }

    /// The connection at a position, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Peer<'s>> {
        self.places.get(index)?.as_ref()?;
        self.touch(index);
        self.places.get_mut(index)?.as_mut()
    }

    fn touch(&mut self, index: usize) {
        if let Some(Some(peer)) = self.places.get_mut(index)
            && !std::mem::replace(&mut peer.is_touched, true)
        {
            self.touched.push(index);
        }
    }

    /// Whether one is to be settled.
    pub fn some_are_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The next one that is to be settled; it counts as settled then.
    pub fn next_touched(&mut self) -> Option<&mut Peer<'s>> {
        let peer = self.places.get_mut(self.touched.pop()?)?.as_mut()?;
        peer.is_touched = false;
        Some(peer)
    }

    /// Notes what a connection waits for, after it was settled.
    pub fn note(&mut self, index: usize) {
        let Some(Some(peer)) = self.places.get_mut(index) else { return };
        let deadline = peer.poll_timeout();
        if deadline != peer.deadline {
            let before = std::mem::replace(&mut peer.deadline, deadline);
            before.map(|before| self.deadlines.remove(&(before, index)));
            deadline.map(|deadline| self.deadlines.insert((deadline, index)));
        }
        let count = (peer.paths_up(), peer.paths_known());
        let before = std::mem::replace(&mut peer.counted, count);
        self.paths_up = self.paths_up + count.0 - before.0;
        self.paths = self.paths + count.1 - before.1;
    }

    /// The first moment at which something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Positions of those for which something is due, into `due`. Each has to be [noted](Self::note) again.
    pub fn take_due(&mut self, now: Instant, due: &mut Vec<usize>) {
        due.clear();
        while let Some((deadline, index)) = self.deadlines.first().copied().filter(|(first, _)| *first <= now)
        {
            self.deadlines.remove(&(deadline, index));
            if let Some(Some(peer)) = self.places.get_mut(index) {
                peer.deadline = None;
                due.push(index);
            }
        }
    }

    /// How many paths are up, and how many there are.
    pub fn paths(&self) -> (u32, u32) {
        (self.paths_up, self.paths)
    }
}

impl<'s> Index<usize> for Peers<'s> {
    type Output = Peer<'s>;

    /// # Panics
    /// When the position is free: positions come from the loop's own tables, which a connection leaves before its position does.
    fn index(&self, index: usize) -> &Peer<'s> {
        self.get(index).unwrap_or_else(|| panic!("no connection at position {index}"))
    }
}

impl<'s> IndexMut<usize> for Peers<'s> {
    fn index_mut(&mut self, index: usize) -> &mut Peer<'s> {
        self.get_mut(index).unwrap_or_else(|| panic!("no connection at position {index}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use typed_arena::Arena;

    use super::*;
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

    fn touched(peers: &mut Peers<'_>) -> BTreeSet<usize> {
        let mut touched = BTreeSet::new();
        while let Some(peer) = peers.next_touched() {
            assert!(touched.insert(peer.index), "{} is settled twice", peer.index);
        }
        touched
    }

    #[test]
    fn whatever_comes_goes_and_waits_each_is_settled_once_and_due_when_it_says() {
        let (config, arena, clock) = (config(40), Arena::new(), Clock::start());
        let memories = Memories::new(&arena, 1 << 20, None);
        let mut resources = Resources { clock, memories, joins: false, sealing: 0, recordings: None };
        let mut outside = Outside::new(None);
        let plan = Plan::new(&config, &Interfaces::default()).unwrap();
        let mut peers = resources.connect_all(&config, plan, &mut outside).unwrap();
        let mut there: BTreeSet<usize> = (0..40).collect();
        assert_eq!(touched(&mut peers), there);
        assert_eq!(peers.paths(), (0, 0), "nothing was noted yet");
        there.iter().for_each(|index| peers.note(*index));
        assert_eq!(peers.paths(), (0, 40));

        fastrand::seed(7);
        let mut now = clock.now();
        for _ in 0..2000 {
            let index = fastrand::usize(..40);
            match fastrand::u8(..4) {
                0 => assert_eq!(peers.remove(index).is_some(), there.remove(&index)),
                1 => assert_eq!(peers.get_mut(index).is_some(), there.contains(&index)),
                2 => now = now + Duration::from_millis(fastrand::u64(..50)),
                _ => {}
            }
            let vacant = (0..).find(|place| !there.contains(place));
            assert_eq!(Some(peers.vacant()), vacant.or(Some(40)));
            let mut due = Vec::new();
            let first = peers.iter().filter_map(Peer::poll_timeout).min();
            assert_eq!(peers.poll_timeout(), first, "the first deadline of all");
            peers.take_due(now, &mut due);
            let expected: BTreeSet<usize> = peers
                .iter()
                .filter(|peer| peer.poll_timeout().is_some_and(|deadline| deadline <= now))
                .map(|peer| peer.index)
                .collect();
            assert_eq!(due.iter().copied().collect::<BTreeSet<_>>(), expected);
            for index in due {
                peers[index].handle_timeout(now);
            }
            for index in touched(&mut peers) {
                assert!(there.contains(&index));
                peers.note(index);
            }
            assert_eq!(peers.paths().1 as usize, there.len());
            assert_eq!(peers.positions(), there.iter().copied().collect::<Vec<_>>());
        }
        assert!(there.len() < 40);
    }
}
