use std::vec::Vec;

use super::*;

/// What stands for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thing {
    name: u64,
    deadline: Option<Instant>,
}

impl Timed for Thing {
    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}

#[test]
fn who_changed_is_settled_once_and_due_when_it_says_and_who_went_is_neither() {
    let mut slots: Vec<Slot<Thing>> = (0..3).map(|_| Slot::default()).collect();
    let mut endpoint = Endpoint::new(slots.as_mut_slice());
    let at = Instant::from_micros;
    let deadlines = [3, 1, 2].map(|micros| Some(at(micros)));
    let [late, early, gone] = deadlines.map(|deadline| endpoint.insert(Thing { name: 0, deadline }).unwrap());
    assert_eq!(endpoint.poll_timeout(), None, "nothing is settled yet");
    endpoint.remove(gone);
    endpoint.get_mut(late).unwrap().name = 1;
    assert!(endpoint.get_mut(gone).is_none() && endpoint.remove(gone).is_none());
    let mut settled = Vec::new();
    while let Some((handle, _)) = endpoint.next_touched() {
        endpoint.settled(handle);
        settled.push(handle);
    }
    assert_eq!(settled, [late, early]);
    assert_eq!((endpoint.poll_timeout(), endpoint.next_due(at(0))), (Some(at(1)), None));
    assert_eq!([endpoint.next_due(at(5)), endpoint.next_due(at(5))], [Some(early), Some(late)]);
    assert_eq!((endpoint.next_due(at(5)), endpoint.some_are_touched()), (None, true));

    let other = endpoint.insert(Thing { name: 2, deadline: None }).unwrap();
    assert_eq!((other.index(), other == gone), (gone.index(), false));
    assert!(endpoint.get(gone).is_none() && endpoint.get(other).is_some());
    assert_eq!(endpoint.iter().map(|(handle, _)| handle).collect::<Vec<_>>(), [late, early, other]);
    assert_eq!(endpoint.insert(Thing { name: 3, deadline: None }).map_err(|back| back.name), Err(3));
}

#[test]
fn slots_that_grow_have_room_for_more_and_what_was_there_stays() {
    let mut endpoint = Endpoint::new(Vec::new());
    let mut handles = Vec::new();
    for name in 0..100 {
        let thing = Thing { name, deadline: Some(Instant::from_micros(100 - name)) };
        assert_eq!(endpoint.insert(thing), Err(thing), "no room");
        endpoint.add_slots(1);
        handles.push(endpoint.insert(thing).unwrap());
    }
    while let Some((handle, _)) = endpoint.next_touched() {
        endpoint.settled(handle);
    }
    for handle in handles.iter().rev() {
        assert_eq!(endpoint.next_due(Instant::from_micros(100)), Some(*handle));
    }
}

#[test]
fn a_slot_whose_numbers_are_used_up_stays_empty() {
    let mut slots = [Slot::default()];
    let mut endpoint = Endpoint::new(&mut slots[..]);
    let thing = Thing { name: 0, deadline: None };
    let first = endpoint.insert(thing).unwrap();
    endpoint.slots[0].set_generation(u32::MAX - 1);
    assert!(endpoint.get(first).is_none());
    let last = endpoint.slots[0].handle(Place::FIRST);
    assert_eq!(endpoint.remove(last), Some(thing));
    assert_eq!(endpoint.insert(thing), Err(thing));
    assert!(endpoint.get(last).is_none() && endpoint.is_empty());
}

#[test]
fn lent_slots_that_served_another_endpoint_are_as_new_ones() {
    let mut slots: Vec<Slot<Thing>> = (0..3).map(|_| Slot::default()).collect();
    let mut before = Vec::new();
    for _ in 0..2 {
        let mut endpoint = Endpoint::new(slots.as_mut_slice());
        assert_eq!((endpoint.iter().count(), endpoint.poll_timeout()), (0, None));
        for handle in before.drain(..) {
            assert!(endpoint.get(handle).is_none() && endpoint.get_mut(handle).is_none());
            assert!(endpoint.remove(handle).is_none() && !endpoint.some_are_touched() && endpoint.is_empty());
        }
        for name in 0..3 {
            let deadline = Some(Instant::from_micros(name));
            let handle = endpoint.insert(Thing { name, deadline }).unwrap();
            assert_eq!(endpoint.next_touched().map(|(it, _)| it), Some(handle));
            endpoint.settled(handle);
            before.push(handle);
        }
        assert_eq!(endpoint.poll_timeout(), Some(Instant::ZERO));
    }
}
