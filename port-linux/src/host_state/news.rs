//! News of the nft rules of the host, which come through netfilter's netlink, not the one of routes.

use std::future::{pending, poll_fn};
use std::io;

use rtnetlink::sys::{AsyncSocket, TokioSocket};
use rustix::io::Errno;

/// NETLINK_NETFILTER of linux/netlink.h.
const NETFILTER: isize = 12;
/// The group of news of nft rules: NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h.
const NFTABLES: u32 = 7;

/// A socket with the news of the nft rules.
pub(super) struct TableNews(Option<TokioSocket>);

impl TableNews {
    /// Listens from now on; not if `is_wanted` is false.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn listen(is_wanted: bool) -> io::Result<Self> {
        if !is_wanted {
            return Ok(Self(None));
        }
        let mut socket = TokioSocket::new(NETFILTER)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_ref().add_membership(NFTABLES)?;
        Ok(Self(Some(socket)))
    }

    /// Waits for news; for ever, if there is nothing to listen to.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) async fn next(&self) -> io::Result<()> {
        let Some(socket) = &self.0 else { return pending().await };
        // That something is new matters, and not what: it may be cut off.
        let mut message = [0; 64];
        match poll_fn(|context| socket.poll_recv(context, &mut &mut message[..])).await {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::NOBUFS) => Err(error),
            _ => Ok(()),
        }
    }
}
