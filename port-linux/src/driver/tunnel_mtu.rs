//! The tunnel's MTU: that of the packets which all paths in use carry whole, as far as is known.
//!
//! The kernel then does the rest: local programs and TCP get smaller packets at once, and whoever sends larger ones through this machine
//! is told by ICMP. The MTU falls as soon as a path is known to carry less. It rises a while after that path went or got wider, so
//! that a path that comes and goes does not change it each time.

use std::time::Duration;

use mpt_proto::Instant;

/// Before the MTU rises: most outages of a path are shorter.
const RISE_AFTER: Duration = Duration::from_secs(10);

/// See the module. Sizes are bytes of an inner packet.
#[derive(Debug)]
pub struct TunnelMtu {
    least: u16,
    most: u16,
    current: u16,
    wanted: u16,
    /// When it may become what is wanted.
    due: Option<Instant>,
    /// Gives the interface of this name another MTU. A pointer, so that a host without the means does not link them.
    pub set: fn(&str, u16) -> anyhow::Result<()>,
}

impl TunnelMtu {
    /// For an interface that begins with the MTU `most`, takes `least` in any case, and is given another one by `set`.
    pub fn new(least: u16, most: u16, set: fn(&str, u16) -> anyhow::Result<()>) -> Self {
        Self { least: least.min(most), most, current: most, wanted: most, due: None, set }
    }

    /// All paths in use carry packets of `common` bytes from now on; `None`: none is in use, and nothing changes.
    pub fn handle_sizes(&mut self, common: Option<u16>, now: Instant) {
        let Some(common) = common else { return };
        self.wanted = common.clamp(self.least, self.most);
        self.due = match self.wanted.cmp(&self.current) {
            std::cmp::Ordering::Less => Some(now),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => self.due.or(Some(now + RISE_AFTER)),
        };
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Time has passed. Returns the MTU that the interface is to have from now on, if that is another one.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<u16> {
        self.due.filter(|due| *due <= now)?;
        self.due = None;
        self.current = self.wanted;
        Some(self.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(1_000_000);

    #[test]
    fn it_falls_at_once_and_rises_after_a_while() {
        let mut mtu = TunnelMtu::new(1280, 1456, |_, _| Ok(()));
        assert_eq!((mtu.poll_timeout(), mtu.handle_timeout(NOW)), (None, None));
        mtu.handle_sizes(Some(1448), NOW);
        assert_eq!((mtu.poll_timeout(), mtu.handle_timeout(NOW)), (Some(NOW), Some(1448)));
        mtu.handle_sizes(Some(9000), NOW);
        mtu.handle_sizes(Some(1456), NOW + RISE_AFTER / 2);
        assert_eq!(mtu.poll_timeout(), Some(NOW + RISE_AFTER));
        assert_eq!(mtu.handle_timeout(NOW + RISE_AFTER / 2), None);
        assert_eq!(mtu.handle_timeout(NOW + RISE_AFTER), Some(1456));
        assert_eq!(mtu.poll_timeout(), None);
    }

    #[test]
    fn a_path_that_goes_for_a_moment_changes_nothing_and_no_size_is_below_the_least() {
        let mut mtu = TunnelMtu::new(1280, 1456, |_, _| Ok(()));
        mtu.handle_sizes(Some(600), NOW);
        assert_eq!(mtu.handle_timeout(NOW), Some(1280));
        mtu.handle_sizes(Some(1456), NOW);
        mtu.handle_sizes(None, NOW);
        mtu.handle_sizes(Some(600), NOW);
        assert_eq!((mtu.poll_timeout(), mtu.handle_timeout(NOW + RISE_AFTER)), (None, None));
    }
}
