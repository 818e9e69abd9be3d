//! Whose datagrams come to a socket from where.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use mpt_proto::{Handle, MAX_PATHS};

/// Up to so many, searching is cheaper than hashing.
const FEW: usize = 8;

/// The peer's end of a path on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The peer's address.
    pub address: IpAddr,
    /// Its port; `None`: any.
    pub port: Option<u16>,
    /// The connection.
    pub peer: Handle,
    /// The path's index within the connection.
    pub path: usize,
}

impl Sender {
    fn is_at(&self, source: SocketAddr) -> bool {
        self.address == source.ip() && self.port.is_none_or(|port| port == source.port())
    }
}

/// The senders of one socket, one of a path at most. To find, to add and to remove one takes the same time however many there are.
#[derive(Debug, Default)]
pub struct Senders {
    list: Vec<Sender>,
    /// Positions in the list by address and port. Several connections may expect datagrams from one.
    by_source: HashMap<(IpAddr, Option<u16>), Vec<usize>>,
    /// Positions in the list by connection and path.
    by_path: HashMap<(Handle, usize), usize>,
}

impl Senders {
    /// The path that datagrams from `source` belong to.
    pub fn find(&self, source: SocketAddr) -> Option<Sender> {
        self.find_where(source, |_| true)
    }

    /// The path of this connection that datagrams from `source` belong to.
    pub fn find_of(&self, peer: Handle, source: SocketAddr) -> Option<Sender> {
        self.find_where(source, |sender| sender.peer == peer)
    }

    fn find_where(&self, source: SocketAddr, fits: impl Fn(&Sender) -> bool) -> Option<Sender> {
        if self.list.len() <= FEW {
            return self.list.iter().find(|sender| sender.is_at(source) && fits(sender)).copied();
        }
        let find = |port| self.at(source.ip(), port).find(|sender| fits(sender)).copied();
        find(Some(source.port())).or_else(|| find(None))
    }

    fn at(&self, address: IpAddr, port: Option<u16>) -> impl Iterator<Item = &Sender> {
        let places = self.by_source.get(&(address, port));
        places.into_iter().flatten().filter_map(|place| self.list.get(*place))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Sender> {
        self.list.iter()
    }

    /// Adds one, in the place of what was known of its path.
    pub fn add(&mut self, sender: Sender) {
        self.remove_path(sender.peer, sender.path);
        let place = self.list.len();
        self.by_source.entry((sender.address, sender.port)).or_default().push(place);
        self.by_path.insert((sender.peer, sender.path), place);
        self.list.push(sender);
    }

    /// A path's remote end is this one from now on; a path of the same connection that had it has none.
    pub fn replace(&mut self, new: Sender) {
        let is_same = |sender: &&Sender| sender.peer == new.peer;
        let before = self.at(new.address, new.port).find(is_same).map(|sender| sender.path);
        before.into_iter().for_each(|path| self.remove_path(new.peer, path));
        self.add(new);
    }

    /// Removes that of a path.
    pub fn remove_path(&mut self, peer: Handle, path: usize) {
        let Some(place) = self.by_path.remove(&(peer, path)) else { return };
        let sender = self.list.swap_remove(place);
        self.move_place(sender, place, None);
        // The last one has moved there.
        if let Some(&moved) = self.list.get(place) {
            self.by_path.insert((moved.peer, moved.path), place);
            self.move_place(moved, self.list.len(), Some(place));
        }
    }

    /// Removes those of a connection.
    pub fn remove(&mut self, peer: Handle) {
        (0..MAX_PATHS).for_each(|path| self.remove_path(peer, path));
    }

    /// A sender is no longer at one place of the list, but at another, or nowhere.
    fn move_place(&mut self, sender: Sender, before: usize, after: Option<usize>) {
        let source = (sender.address, sender.port);
        let Some(places) = self.by_source.get_mut(&source) else { return };
        if let Some(at) = places.iter().position(|place| *place == before) {
            match after {
                Some(after) => places[at] = after,
                None => _ = places.swap_remove(at),
            }
        }
        if places.is_empty() {
            self.by_source.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing::{handles, successors};

    fn sender(address: u8, port: Option<u16>, peer: Handle, path: usize) -> Sender {
        Sender { address: [10, 0, 0, address].into(), port, peer, path }
    }

    fn found(senders: &Senders, address: u8, port: u16) -> Option<(Handle, usize)> {
        senders.find(([10, 0, 0, address], port).into()).map(|sender| (sender.peer, sender.path))
    }

    #[test]
    fn few_and_many_are_found_the_same_way_and_go_with_their_connection() {
        let (mut senders, handles) = (Senders::default(), handles(40));
        senders.add(sender(1, None, handles[0], 0));
        for peer in 1..40 {
            senders.add(sender(2, Some(1000 + u16::try_from(peer).unwrap()), handles[peer], 0));
            senders.add(sender(100 + u8::try_from(peer).unwrap(), Some(4754), handles[peer], 1));
            assert_eq!(found(&senders, 1, 9), Some((handles[0], 0)));
            assert_eq!(found(&senders, 2, 1001), Some((handles[1], 0)));
        }
        assert_eq!(found(&senders, 2, 1039), Some((handles[39], 0)));
        assert_eq!(found(&senders, 2, 4754), None);
        for peer in (1..40).step_by(2) {
            senders.remove(handles[peer]);
        }
        for peer in 1..40_u8 {
            let of = |path| (peer % 2 == 0).then_some((handles[usize::from(peer)], path));
            assert_eq!(found(&senders, 2, 1000 + u16::from(peer)), of(0));
            assert_eq!(found(&senders, 100 + peer, 4754), of(1));
        }
        assert_eq!(senders.iter().count(), 1 + 19 * 2);
        for peer in handles {
            senders.remove(peer);
        }
        assert!(senders.list.is_empty() && senders.by_source.is_empty() && senders.by_path.is_empty());
    }

    #[test]
    fn an_address_that_a_path_takes_over_is_no_other_path_s_of_that_connection() {
        let (mut senders, handles) = (Senders::default(), handles(2));
        senders.add(sender(1, Some(1), handles[0], 0));
        senders.add(sender(1, Some(2), handles[0], 1));
        senders.replace(sender(1, Some(2), handles[0], 0));
        assert_eq!((found(&senders, 1, 1), found(&senders, 1, 2)), (None, Some((handles[0], 0))));
        assert_eq!(senders.iter().count(), 1);
        // Another connection may expect datagrams from there, too.
        senders.replace(sender(1, Some(2), handles[1], 0));
        assert_eq!(senders.iter().count(), 2);
        let source = ([10, 0, 0, 1], 2).into();
        assert_eq!(senders.find_of(handles[1], source).map(|it| it.peer), Some(handles[1]));
    }

    #[test]
    fn who_went_takes_nothing_away_from_who_came_to_the_same_slot() {
        let (mut senders, [before, after]) = (Senders::default(), successors());
        senders.add(sender(1, Some(1), after, 0));
        senders.remove(before);
        assert_eq!(found(&senders, 1, 1), Some((after, 0)));
    }
}
