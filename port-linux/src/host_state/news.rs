//! News of what is not among the messages of routes, rules and addresses: nft rules, which come through netfilter's netlink,
//! and forwarding, whose messages `rtnetlink` cannot read.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rtnetlink::sys::{AsyncSocket, TokioSocket};
use rustix::io::Errno;

use super::{Depth, HostState, Item};

/// NETLINK_ROUTE and NETLINK_NETFILTER of linux/netlink.h.
const ROUTE: isize = 0;
const NETFILTER: isize = 12;
/// The group of news of nft rules: NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h.
const NFTABLES: u32 = 7;
/// The groups of news of forwarding: RTNLGRP_IPV4_NETCONF and RTNLGRP_IPV6_NETCONF of linux/rtnetlink.h.
const NETCONF: [u32; 2] = [24, 25];

/// Sockets with news, each with how closely the host is to be looked at after them.
pub(super) struct News(Vec<(TokioSocket, Depth)>);

impl News {
    /// Listens from now on to what concerns a state.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn listen(state: &HostState) -> io::Result<Self> {
        let mut sockets = Vec::new();
        if state.items.contains(&Item::Table) {
            sockets.push((socket(NETFILTER, &[NFTABLES])?, Depth::Whole));
        }
        if state.items.iter().any(|item| matches!(item, Item::Forwarding(_))) {
            sockets.push((socket(ROUTE, &NETCONF)?, Depth::Quick));
        }
        Ok(Self(sockets))
    }

    /// Waits for news; for ever, if there is nothing to listen to.
    ///
    /// # Errors
    /// When a socket fails.
    pub(super) async fn next(&self) -> io::Result<Depth> {
        poll_fn(|context| {
            for (socket, depth) in &self.0 {
                // That something is new matters, and not what: it may be cut off.
                let mut message = [0; 64];
                match socket.poll_recv(context, &mut &mut message[..]) {
                    Poll::Ready(Err(error)) if Errno::from_io_error(&error) != Some(Errno::NOBUFS) => {
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(_) => return Poll::Ready(Ok(*depth)),
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// A socket that is in these groups.
fn socket(protocol: isize, groups: &[u32]) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(protocol)?;
    socket.socket_mut().bind_auto()?;
    for group in groups {
        socket.socket_ref().add_membership(*group)?;
    }
    Ok(socket)
}
