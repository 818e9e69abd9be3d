//! Datagrams on their way out on one path: runs of equal size leave in one call.

use mpt_proto::wire::slice;
use mpt_proto::{Ecn, HEADROOM};

/// Bytes of a run: what one UDP segmentation call takes, headers of IPv6 and UDP aside.
const CAPACITY: usize = 65_535 - 48;
/// Bytes of the largest datagram: it leaves alone.
const LARGEST: usize = 65_535;
/// Datagrams of a run: what the kernel takes in one call (`UDP_MAX_SEGMENTS` was 64 until Linux 6.9).
const MAX_RUN: usize = 64;

/// Bytes of the largest packet that leaves in one call, in slices or in segments that fill a tunnel of this MTU; `sealing` bytes are
/// added to each datagram.
pub fn largest_packet(mtu: u16, sealing: usize) -> u32 {
    let datagrams = (CAPACITY / (usize::from(mtu) + HEADROOM + sealing)).clamp(1, MAX_RUN);
    let bytes = datagrams * usize::from(mtu).saturating_sub(slice::LEN);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A run of datagrams for one path, in the order they are to leave: all of one size but the last, which may be
/// shorter, and of one congestion mark.
#[derive(Debug)]
pub struct Outbox {
    /// Room for a run, of which the first `len` bytes are one; none until the first datagram.
    bytes: Vec<u8>,
    len: usize,
    size: usize,
    count: usize,
    ecn: Ecn,
}

impl Outbox {
    /// Empty. Memory is taken once, for the first datagram.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), len: 0, size: 0, count: 0, ecn: Ecn::NotEct }
    }

    /// Appends a datagram. `send` gets the run that stood before it if it does not fit in, as bytes, size of a
    /// datagram, and mark. `max_run` is the most that one call takes.
    pub fn push(&mut self, datagram: &[u8], ecn: Ecn, max_run: usize, send: impl FnMut(&[u8], usize, Ecn)) {
        let copy = |place: &mut [u8]| {
            place.copy_from_slice(datagram);
            true
        };
        self.push_with(datagram.len(), ecn, max_run, copy, send);
    }

    /// Appends a datagram of `len` bytes, which `write` makes in place; it returns whether there is one. The rest as for
    /// [`push`](Self::push).
    pub fn push_with(
        &mut self,
        len: usize,
        ecn: Ecn,
        max_run: usize,
        write: impl FnOnce(&mut [u8]) -> bool,
        send: impl FnMut(&[u8], usize, Ecn),
    ) {
        self.make_room(len, ecn, max_run, send);
        // A datagram that is larger than all a socket takes does not leave.
        let Some(place) = self.bytes.get_mut(self.len..self.len + len) else { return };
        if write(place) {
            self.len += len;
            self.count += 1;
        }
    }

    /// Sends the run that stands there if a datagram of `len` bytes may not follow it.
    fn make_room(&mut self, len: usize, ecn: Ecn, max_run: usize, send: impl FnMut(&[u8], usize, Ecn)) {
        let fits = self.count < max_run.min(MAX_RUN)
            && self.ecn == ecn
            // Only the last one may be shorter, and it ends the run.
            && self.len == self.count * self.size
            && len <= self.size
            && self.len + len <= CAPACITY;
        if !fits {
            self.flush(send);
            if self.bytes.is_empty() {
                self.bytes = vec![0; LARGEST];
            }
            self.size = len;
            self.ecn = ecn;
        }
    }

    /// Sends what is there.
    pub fn flush(&mut self, mut send: impl FnMut(&[u8], usize, Ecn)) {
        if self.count > 0 {
            send(&self.bytes[..self.len], self.size, self.ecn);
            (self.len, self.count) = (0, 0);
        }
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runs that datagrams of these lengths make, as lengths.
    fn runs(datagrams: &[(usize, Ecn)], max_run: usize) -> Vec<Vec<usize>> {
        let mut runs = Vec::new();
        let mut sent = Vec::new();
        let mut outbox = Outbox::new();
        let all: Vec<Vec<u8>> = (1..).zip(datagrams).map(|(mark, (len, _))| vec![mark; *len]).collect();
        let mut send = |bytes: &[u8], size: usize, _| {
            runs.push(bytes.chunks(size).map(<[u8]>::len).collect());
            sent.extend_from_slice(bytes);
        };
        for (datagram, (_, ecn)) in all.iter().zip(datagrams) {
            outbox.push(datagram, *ecn, max_run, &mut send);
        }
        outbox.flush(&mut send);
        outbox.flush(|_, _, _| panic!("nothing is left"));
        assert_eq!(sent, all.concat(), "everything, in order");
        runs
    }

    #[test]
    fn a_run_is_of_one_size_but_the_last() {
        let same = |lengths: &[usize]| lengths.iter().map(|len| (*len, Ecn::NotEct)).collect::<Vec<_>>();
        assert_eq!(runs(&same(&[9, 9, 9]), 64), [vec![9, 9, 9]]);
        assert_eq!(runs(&same(&[9, 9, 4, 9]), 64), [vec![9, 9, 4], vec![9]]);
        assert_eq!(runs(&same(&[4, 9, 9]), 64), [vec![4], vec![9, 9]]);
        assert_eq!(runs(&same(&[9, 4, 4]), 64), [vec![9, 4], vec![4]]);
    }

    #[test]
    fn a_run_is_of_one_mark_and_no_longer_than_allowed() {
        assert_eq!(runs(&[(9, Ecn::NotEct), (9, Ecn::Ce)], 64), [[9], [9]]);
        assert_eq!(runs(&[(9, Ecn::NotEct); 3], 2), [vec![9, 9], vec![9]]);
        assert_eq!(runs(&[(9, Ecn::NotEct); 2], 1), [[9], [9]]);
        assert_eq!(runs(&[(40_000, Ecn::NotEct); 2], 64), [[40_000], [40_000]]);
        assert_eq!(runs(&[(9, Ecn::NotEct); 65], 128).len(), 2);
    }
}
