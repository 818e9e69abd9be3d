//! A configuration that is read again while the tunnel runs: connections come, go and change, and the others notice nothing.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};

use super::change::Difference;
use super::plan::{Plan, bind};
use super::{Driver, FIRST_SOCKET};
use crate::config::{self, Config, Listen};
use crate::control::{Answer, Reloaded};
use crate::link::WantedWays;
use crate::report::VERSION;

/// Makes the host's network as a configuration wants it, or leaves it as it was.
pub type MakeHost<'s> = Box<dyn FnMut(&Config) -> Result<()> + 's>;

/// What is needed to follow another configuration.
pub struct Reload<'s> {
    /// The configuration that holds.
    pub config: Config,
    /// Most connections that the layer that seals has room for.
    pub room: usize,
    /// The network of this host.
    pub host: MakeHost<'s>,
    /// Which ways out are looked for by who watches the interfaces.
    pub ways: WantedWays,
}

/// What cannot change of `[listen]`.
fn fixed_part(config: &Config) -> Option<Listen> {
    config.listen.clone().map(|listen| Listen { uplink: None, downlink: None, ..listen })
}

impl Reload<'_> {
    /// Whether this can be followed without a new start.
    fn admits(&self, new: &Config) -> Result<()> {
        let old = &self.config;
        let fixed = [
            ("[tunnel]", old.tunnel != new.tunnel),
            ("[security]", old.security != new.security),
            ("[listen]", fixed_part(old) != fixed_part(new)),
            ("[metrics]", old.metrics != new.metrics),
        ];
        let changed: Vec<&str> =
            fixed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect();
        if !changed.is_empty() {
            bail!(
                "{} cannot change while mpt runs, and nothing was changed: restart it",
                changed.join(" and ")
            );
        }
        // An error in the file of a peer that is not known yet, or not any more, is no reason to keep the others from what is new.
        let is_known = |name: &str| old.connections.iter().any(|it| it.is_learned && it.name == name);
        if let Some(error) = new.peer_errors().iter().find(|error| is_known(&error.name)) {
            bail!("nothing was changed: {error}");
        }
        if new.connections.len() > self.room {
            bail!(
                "{} connections are more than the {} that there is room for, and nothing was changed: restart mpt",
                new.connections.len(),
                self.room
            );
        }
        Ok(())
    }
}

impl<'s> Driver<'s> {
    /// Follows a configuration that was read again, and tells what that changed.
    pub(super) fn answer_config(&mut self, mut new: Config) -> Answer {
        for error in new.peer_errors() {
            tracing::error!("this peer is left out: {error}");
        }
        if let Some(reload) = &self.reload {
            // Those of before were told.
            for warning in new.warnings().iter().filter(|warning| !reload.config.warnings().contains(warning))
            {
                tracing::warn!("{warning}");
            }
            for path in new.keep_added(&reload.config) {
                tracing::info!(
                    "path {path}, which no file has, is left out: it does not go with what the file has, or there is no room for it"
                );
            }
        }
        let (new, _) = new.with_auto_paths(&self.interfaces, &[], |name, ipv4| self.may_lead(name, ipv4));
        match self.reconfigure(new) {
            Ok(reloaded) => {
                if !reloaded.is_nothing() {
                    tracing::info!("configuration read again: {reloaded}");
                }
                Answer::Reload { version: VERSION, reloaded: Box::new(reloaded) }
            }
            Err(error) => Answer::error(format!("{error:#}")),
        }
    }

    /// Follows another configuration. With an error nothing was changed.
    pub(super) fn reconfigure(&mut self, new: Config) -> Result<Reloaded> {
        let Some(mut reload) = self.reload.take() else {
            bail!("this tunnel is set up by the program that it is part of");
        };
        let outcome = self.follow(&mut reload, new);
        self.reload = Some(reload);
        outcome
    }

    fn follow(&mut self, reload: &mut Reload<'s>, new: Config) -> Result<Reloaded> {
        reload.admits(&new)?;
        let has = |connection: &config::Connection, path: &config::Path| {
            self.peers.iter().any(|peer| peer.config.name == connection.name && peer.has_path(path))
        };
        let mut plan = Plan::again(&new, &self.interfaces, has)?;
        let first_new = self.outside.sockets.len();
        let sockets = plan.place_sockets(&mut self.outside.sockets);
        let made = bind(self.outside.sockets.get_mut(first_new..).unwrap_or_default(), &self.maker, 0);
        if let Err(error) = made.and_then(|()| (reload.host)(&new)) {
            self.outside.sockets.truncate(first_new);
            return Err(error.context("nothing was changed"));
        }
        for (number, shared) in (FIRST_SOCKET..).zip(&self.outside.sockets).skip(first_new) {
            if let Some(socket) = shared.descriptor() {
                self.listen(socket, number)?;
            }
        }

        // Keys and addresses of those that go may be of those that come.
        let old = &reload.config;
        let mut reloaded = Reloaded {
            forwards: (old.forwards != new.forwards).then_some(new.forwards.len()),
            hooks: (old.hooks != new.hooks).then_some(new.hooks.len()),
            ..Reloaded::default()
        };
        let wanted: HashMap<&str, &config::Connection> =
            new.connections.iter().map(|connection| (connection.name.as_str(), connection)).collect();
        let mut other_paths = Vec::new();
        for handle in self.peers.handles() {
            let peer = &self.peers[handle];
            let name = peer.config.name.clone();
            let wanted = wanted.get(name.as_str()).copied();
            match wanted.map(|wanted| (peer.difference(wanted), wanted.limit, wanted.record)) {
                Some((Difference::Other, ..)) => reloaded.changed.push(name),
                None => reloaded.removed.push(name),
                Some((difference, limit, record)) => {
                    let peer = &mut self.peers[handle];
                    if record != peer.config.record && !peer.config.is_learned {
                        peer.config.record = record;
                        self.resources.record(peer, record);
                    }
                    if limit == peer.config.limit {
                        reloaded.kept += 1;
                    } else {
                        self.peers[handle].set_limit(limit);
                        reloaded.limited.push(name);
                    }
                    if difference == Difference::Paths {
                        other_paths.push(handle);
                    }
                    continue;
                }
            }
            self.inside.forget(handle);
            self.resources.disconnect(handle, &mut self.outside, &mut self.peers);
        }
        let there: HashSet<String> = self.peers.iter().map(|peer| peer.config.name.clone()).collect();
        for (config, planned) in new.connections.iter().zip(&plan.connections) {
            if there.contains(&config.name) {
                continue;
            }
            self.resources.connect(config, planned, &sockets, &mut self.outside, &mut self.peers)?;
            if !reloaded.changed.contains(&config.name) {
                reloaded.added.push(config.name.clone());
            }
        }
        let now = self.clock.now();
        if reload.config.listen != new.listen {
            self.follow_shares(new.listen.as_ref());
            reloaded.access = new.listen.as_ref().map(|listen| [listen.uplink, listen.downlink]);
        }
        for handle in other_paths {
            let name = &self.peers[handle].config.name;
            let planned = new.connections.iter().zip(&plan.connections);
            if let Some((config, planned)) = planned.into_iter().find(|(config, _)| config.name == *name) {
                self.change_paths(handle, (config, planned, &sockets), &mut reloaded, now);
            }
        }
        self.inside.flush();
        self.begin_standbys(&new.connections, now);
        self.portals.follow(&new.portal);
        self.begin_tiers(&new.connections, now);
        self.begin_data(&new.connections, &reloaded.changed, now);
        self.inside.routes = self.routes(&new.tunnel.addresses, &new.tunnel.share);
        self.close_unused_sockets();
        reload.ways.set(new.wanted_ways());
        reload.config = new;
        self.note_places(now);
        self.begin_names(now);
        self.check_links(now);
        self.settle(now);
        Ok(reloaded)
    }
}
