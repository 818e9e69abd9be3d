//! A tunnel inside another program, such as an app: that one has made the device, knows the interfaces, and ties
//! sockets to them; here is only what drives the packets.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use anyhow::{Context, Result};
use typed_arena::Arena;

use super::tunnel_facts;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::Query;
use crate::driver::{self, Data, Driver, Names, Outside, Parts, Plan, Portals, Resources};
use crate::events::Journal;
use crate::failure::misconfigured;
use crate::link::Interfaces;
use crate::memory::{Memories, sealer_memory};
use crate::names::Resolver;
use crate::routes::Routes;
use crate::socket::Maker;
use crate::tun::Tun;
use crate::wake::Waker;

/// What the host program gives.
pub struct Host {
    /// The tunnel device, with addresses and routes, switched on. Its packets come without anything before them; its
    /// MTU is that of the configuration.
    pub device: OwnedFd,
    /// How sockets are made, and tied to what the configuration calls devices.
    pub maker: Maker,
    /// As [`super::Defaults::adaptive_memory`].
    pub adaptive_memory: usize,
    /// All interfaces, whenever one has come, gone or changed; at the start there is none.
    pub interfaces: mpsc::Receiver<Interfaces>,
    /// Commands.
    pub queries: mpsc::Receiver<Query>,
    /// Rung after something was put into `interfaces` or `queries`.
    pub bell: Waker,
    /// Ends the tunnel when its other end is closed.
    pub stop: UnixStream,
}

/// Drives a tunnel on the thread that calls this, until it is stopped. `ready` is called when nothing can be wrong
/// with the configuration any more.
///
/// # Errors
/// What is wrong with the configuration; after `ready`, that the device is gone.
pub fn run(config: &Config, host: Host, ready: impl FnOnce()) -> Result<()> {
    let Host { device, maker, adaptive_memory, interfaces, queries, bell, stop } = host;
    if config.wanted_ways().is_some() {
        return Err(misconfigured(
            "paths = \"auto\": which networks there are is known to the app; name each in [[connection.path]]",
        ));
    }
    let none = Interfaces::default();
    let plan = Plan::new(config, &none)?;
    let clock = Clock::start();
    let (arena, mut sealer_memory) = (Arena::new(), sealer_memory(config.connections.len()));
    let mut outside = Outside::new(driver::sealer(config, &mut sealer_memory, &clock));
    let memories = Memories::new(&arena, adaptive_memory, config.tunnel.mtu);
    let mut resources =
        Resources { clock, memories, joins: false, sealing: driver::sealing(config), recordings: None };
    let peers = resources.connect_all(config, plan, &mut outside)?;
    driver::bind(&mut outside.sockets, &maker, 0)?;
    let connections = peers.iter().map(|peer| (peer.handle, &peer.config));
    let routes = Routes::new(&config.tunnel.addresses, &config.tunnel.share, connections);
    let driver = Driver::new(Parts {
        tun: Tun::plain(device).context("tunnel device")?,
        tunnel: tunnel_facts(config, &peers)?,
        tunnel_mtu: None,
        outside,
        peers,
        resources,
        routes,
        bell: bell.clone(),
        signal: stop,
        queries,
        link_changes: interfaces,
        interfaces: none,
        maker,
        reload: None,
        remembered: None,
        names: Names::new(Resolver::new(bell)),
        journal: Journal::new(None),
        data: Data::default(),
        portals: Portals::default(),
    })?;
    ready();
    driver.run()
}
