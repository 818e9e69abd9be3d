//! Whose datagrams come to a socket from where.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Up to so many, searching is cheaper than hashing.
const FEW: usize = 8;

/// The peer's end of a path on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The peer's address.
    pub address: IpAddr,
    /// Its port; `None`: any.
    pub port: Option<u16>,
    /// The connection's position.
    pub peer: usize,
    /// The path's index within the connection.
    pub path: usize,
}

impl Sender {
    fn is_at(&self, source: SocketAddr) -> bool {
        self.address == source.ip() && self.port.is_none_or(|port| port == source.port())
    }
}

/// The senders of one socket.
#[derive(Debug, Default)]
pub struct Senders {
    list: Vec<Sender>,
    /// Positions in the list by address, when there are more than a few. Peers behind one NAT share an address.
    by_address: HashMap<IpAddr, Vec<usize>>,
}

impl Senders {
    /// The path that datagrams from `source` belong to.
    pub fn find(&self, source: SocketAddr) -> Option<Sender> {
        self.find_where(source, |_| true)
    }

    /// The path of this connection that datagrams from `source` belong to.
    pub fn find_of(&self, peer: usize, source: SocketAddr) -> Option<Sender> {
        self.find_where(source, |sender| sender.peer == peer)
    }

    fn find_where(&self, source: SocketAddr, fits: impl Fn(&Sender) -> bool) -> Option<Sender> {
        let fits = |sender: &&Sender| sender.is_at(source) && fits(sender);
        if self.list.len() <= FEW {
            return self.list.iter().find(fits).copied();
        }
        let places = self.by_address.get(&source.ip())?;
        places.iter().filter_map(|place| self.list.get(*place)).find(fits).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Sender> {
        self.list.iter()
    }

    /// Adds one.
    pub fn add(&mut self, sender: Sender) {
        self.by_address.entry(sender.address).or_default().push(self.list.len());
        self.list.push(sender);
    }

    /// A path's remote end is this one from now on; a path of the same connection that had it has none.
    pub fn replace(&mut self, new: Sender) {
        let is_there = |sender: &Sender| (sender.address, sender.port) == (new.address, new.port);
        self.retain(|sender| sender.peer != new.peer || sender.path != new.path && !is_there(sender));
        self.add(new);
    }

    /// Removes that of a path.
    pub fn remove_path(&mut self, peer: usize, path: usize) {
        self.retain(|sender| (sender.peer, sender.path) != (peer, path));
    }

    /// Removes those of a connection.
    pub fn remove(&mut self, peer: usize) {
        self.retain(|sender| sender.peer != peer);
    }

    fn retain(&mut self, keep: impl Fn(&Sender) -> bool) {
        let mut place = 0;
        while let Some(sender) = self.list.get(place).copied() {
            if keep(&sender) {
                place += 1;
                continue;
            }
            self.list.swap_remove(place);
            self.forget(sender.address, place);
            if let Some(moved) = self.list.get(place) {
                let last = self.list.len();
                let places = self.by_address.get_mut(&moved.address).into_iter().flatten();
                places.filter(|it| **it == last).for_each(|it| *it = place);
            }
        }
    }

    fn forget(&mut self, address: IpAddr, place: usize) {
        let Some(places) = self.by_address.get_mut(&address) else { return };
        places.retain(|it| *it != place);
        if places.is_empty() {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(address: u8, port: Option<u16>, peer: usize, path: usize) -> Sender {
        Sender { address: [10, 0, 0, address].into(), port, peer, path }
    }

    fn found(senders: &Senders, address: u8, port: u16) -> Option<(usize, usize)> {
        senders.find(([10, 0, 0, address], port).into()).map(|sender| (sender.peer, sender.path))
    }

    #[test]
    fn few_and_many_are_found_the_same_way_and_go_with_their_connection() {
        let mut senders = Senders::default();
        senders.add(sender(1, None, 0, 0));
        for peer in 1..40 {
            senders.add(sender(2, Some(1000 + u16::try_from(peer).unwrap()), peer, 0));
            senders.add(sender(100 + u8::try_from(peer).unwrap(), Some(4754), peer, 1));
            assert_eq!(found(&senders, 1, 9), Some((0, 0)));
            assert_eq!(found(&senders, 2, 1001), Some((1, 0)));
        }
        assert_eq!(found(&senders, 2, 1039), Some((39, 0)));
        assert_eq!(found(&senders, 2, 4754), None);
        for peer in (1..40).step_by(2) {
            senders.remove(peer);
        }
        for peer in 1..40_u8 {
            let of = |path| (peer % 2 == 0).then_some((usize::from(peer), path));
            assert_eq!(found(&senders, 2, 1000 + u16::from(peer)), of(0));
            assert_eq!(found(&senders, 100 + peer, 4754), of(1));
        }
        assert_eq!(senders.iter().count(), 1 + 19 * 2);
        for peer in 0..40 {
            senders.remove(peer);
        }
        assert!(senders.iter().next().is_none() && senders.by_address.is_empty());
    }

    #[test]
    fn an_address_that_a_path_takes_over_is_no_other_path_s_of_that_connection() {
        let mut senders = Senders::default();
        senders.add(sender(1, Some(1), 0, 0));
        senders.add(sender(1, Some(2), 0, 1));
        senders.replace(sender(1, Some(2), 0, 0));
        assert_eq!((found(&senders, 1, 1), found(&senders, 1, 2)), (None, Some((0, 0))));
        assert_eq!(senders.iter().count(), 1);
    }
}
