//! Many connections in an endpoint, against sorted sets that do the same without a thought for what it costs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbitrary::Arbitrary;
use mpt_proto::{Endpoint, Handle, Instant, Slot, Timed};

use crate::target::operations;

/// Most slots: few, so that they are used again and again.
const ROOM: usize = 40;

/// What stands for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thing {
    name: usize,
    deadline: Option<Instant>,
}

impl Timed for Thing {
    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}

#[derive(Debug, Arbitrary)]
enum Op {
    /// One comes, that waits for a moment so many milliseconds after that of 16 ms ago: few values, of which some have passed.
    Insert(Option<u8>),
    /// The nth of those that are there goes.
    Remove(u8),
    /// It waits for another moment.
    Change(u8, Option<u8>),
    /// All that were touched are settled.
    Settle,
    /// Time passes, in milliseconds, and what is due is touched.
    Pass(u8),
    /// Somebody has kept the handle of one that went.
    Late(u8),
}

#[derive(Debug, Default)]
struct Oracle {
    things: BTreeMap<Handle, Thing>,
    /// By slot, in the order in which they were touched: whoever comes to the slot of one that went has its place in the row.
    touched: Vec<usize>,
    /// By deadline, and slot.
    noted: BTreeSet<(Instant, usize)>,
    gone: Vec<Handle>,
}

impl Oracle {
    fn nth(&self, number: u8) -> Option<Handle> {
        let place = usize::from(number).checked_rem(self.things.len())?;
        self.things.keys().nth(place).copied()
    }

    fn in_slot(&self, slot: usize) -> Option<Handle> {
        self.things.keys().find(|handle| handle.index() == slot).copied()
    }

    fn touch(&mut self, slot: usize) {
        if !self.touched.contains(&slot) {
            self.touched.push(slot);
        }
    }
}

/// Compares the two, call by call.
///
/// # Panics
/// They differ.
pub fn endpoint(data: &[u8]) {
    let room = data.first().map_or(1, |first| usize::from(*first) % ROOM + 1);
    let mut slots: Vec<Slot<Thing>> = (0..room).map(|_| Slot::default()).collect();
    let mut endpoint = Endpoint::new(slots.as_mut_slice());
    let mut oracle = Oracle::default();
    let mut now = Instant::from_micros(1_000_000);
    for (name, op) in operations(data).enumerate() {
        let at = |delay: u8| now + Duration::from_millis(u64::from(delay % 32)) - Duration::from_millis(16);
        match op {
            Op::Insert(delay) => {
                let thing = Thing { name, deadline: delay.map(at) };
                let expected = endpoint.next_handle();
                assert_eq!(expected.is_some(), oracle.things.len() < room);
                match endpoint.insert(thing) {
                    Ok(handle) => {
                        assert_eq!(Some(handle), expected);
                        assert!(!oracle.gone.contains(&handle), "a handle that was somebody's");
                        assert!(oracle.in_slot(handle.index()).is_none(), "a slot for two");
                        oracle.touch(handle.index());
                        oracle.things.insert(handle, thing);
                    }
                    Err(back) => assert_eq!((expected, back), (None, thing)),
                }
            }
            Op::Remove(number) => {
                let Some(handle) = oracle.nth(number) else { continue };
                assert_eq!(endpoint.remove(handle), oracle.things.remove(&handle));
                oracle.noted.retain(|(_, slot)| *slot != handle.index());
                oracle.gone.push(handle);
            }
            Op::Change(number, delay) => {
                let Some(handle) = oracle.nth(number) else { continue };
                let deadline = delay.map(at);
                endpoint.get_mut(handle).expect("it is there").deadline = deadline;
                oracle.things.get_mut(&handle).expect("it is there").deadline = deadline;
                oracle.touch(handle.index());
            }
            Op::Settle => {
                let touched: Vec<Handle> =
                    oracle.touched.iter().filter_map(|slot| oracle.in_slot(*slot)).collect();
                for expected in touched {
                    let (handle, thing) = endpoint.next_touched().expect("another one");
                    assert_eq!((handle, &*thing), (expected, &oracle.things[&expected]));
                    endpoint.settled(handle);
                    oracle.noted.retain(|(_, slot)| *slot != handle.index());
                    let deadline = oracle.things[&handle].deadline;
                    oracle.noted.extend(deadline.map(|at| (at, handle.index())));
                }
                oracle.touched.clear();
                assert!(endpoint.next_touched().is_none() && !endpoint.some_are_touched());
            }
            Op::Pass(millis) => {
                now = now + Duration::from_millis(u64::from(millis % 16));
                while let Some(handle) = endpoint.next_due(now) {
                    let (deadline, slot) = oracle.noted.pop_first().expect("one that is due");
                    assert!(deadline <= now && slot == handle.index());
                    oracle.touch(slot);
                }
            }
            Op::Late(number) => {
                let place = usize::from(number).checked_rem(oracle.gone.len());
                let Some(handle) = place.map(|place| oracle.gone[place]) else { continue };
                assert!(endpoint.get(handle).is_none() && endpoint.get_mut(handle).is_none());
                assert!(endpoint.remove(handle).is_none());
                endpoint.settled(handle);
            }
        }
        let first = oracle.noted.first().map(|(at, _)| *at);
        assert_eq!((endpoint.len(), endpoint.poll_timeout()), (oracle.things.len(), first));
        assert_eq!(endpoint.iter().count(), oracle.things.len());
        assert!(endpoint.iter().all(|(handle, thing)| oracle.things.get(&handle) == Some(thing)));
    }
}
