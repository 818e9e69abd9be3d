//! Items of the host's state, read, added and removed through rtnetlink.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::{Error, Handle, IpVersion, LinkUnspec};
use rustix::io::Errno;

use super::messages::{MAIN, exit_route, is_ours, item_of, route_message, rule_message};
use super::{
    Depth, Difference, EXIT_PRIORITY, EXIT_TABLE, Exit, Family, Found, HostState, Item, NEXT_PRIORITY,
    Obstacle, PAST_PRIORITY, PRIORITY, TABLE, firewall, forwarding, resolver,
};
use crate::link::{attributes, destination, plain};

/// An open netlink socket. It works within the runtime that it was opened in.
pub(super) struct Netlink(Handle);

impl Netlink {
    /// Opens one through which the kernel selects what it lists. Kernels before 4.20 list everything, so that answers are
    /// selected here as well.
    pub(super) fn open() -> Result<Self> {
        let opened = rtnetlink::new_connection_with_strict_check().or_else(|_| rtnetlink::new_connection());
        let (connection, handle, _) = opened.context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Reads what is there of what mpt could have added.
    pub(super) async fn find(&self, state: &HostState, depth: Depth) -> Result<Found> {
        let mut found = Found::default();
        if let Some((interface, is_up)) = self.interface(&state.device).await? {
            found.interface = Some(interface);
            let mut present = if is_up { vec![Item::Up] } else { Vec::new() };
            present.extend(self.addresses(interface).await?.into_iter().map(Item::Address));
            found.items.extend(present.into_iter().filter(|item| state.items.contains(item)));
            for family in Family::BOTH {
                for route in self.routes(family, MAIN, Some(interface)).await? {
                    let Some(to) = destination(&route) else { continue };
                    // Others' routes through the interface are theirs, but serve as well.
                    let item = Item::Route(to);
                    if is_ours(&route) || state.items.contains(&item) {
                        found.items.insert(item);
                    }
                }
            }
        }
        if state.concerns_rules() {
            for family in Family::BOTH {
                self.find_gateway(family, &mut found).await?;
            }
            self.find_exits(state, &mut found).await?;
            // Rules do not tell whose they are: a tunnel that is there has them.
            if found.obstacles.iter().any(|obstacle| matches!(obstacle, Obstacle::Gateway(_))) {
                found.items.retain(|item| !item.is_of_gateway());
            }
        }
        found.items.extend(firewall::present(state, depth)?);
        found.items.extend(resolver::present(state, depth));
        found.items.extend(forwarding::present(state));
        Ok(found)
    }

    /// The items of a default route through the tunnel.
    async fn find_gateway(&self, family: Family, found: &mut Found) -> Result<()> {
        for route in self.routes(family, TABLE, None).await? {
            let interface = attributes::interface(&route.attributes);
            let is_default = is_ours(&route) && route.header.destination_prefix_length == 0;
            match route.header.kind {
                RouteType::Unreachable if is_default => {
                    found.items.insert(Item::Unreachable(family));
                }
                RouteType::Unicast if is_default && interface == found.interface => {
                    found.items.insert(Item::Default(family));
                }
                RouteType::Unicast if is_default => {
                    let name = self.name(interface.unwrap_or(0)).await?;
                    // An interface that is gone meanwhile has taken its routes with it.
                    found.obstacles.extend(name.map(Obstacle::Gateway));
                }
                _ => found.obstacles.push(Obstacle::Route(family)),
            }
        }
        let Some(rules) = self.rules(family).await? else {
            found.without_rules.push(family);
            return Ok(());
        };
        for rule in rules {
            let priority = rule.attributes.iter().find_map(|attribute| match attribute {
                RuleAttribute::Priority(priority) => Some(*priority),
                _ => None,
            });
            let Some(priority @ (EXIT_PRIORITY | PAST_PRIORITY | PRIORITY | NEXT_PRIORITY)) = priority else {
                continue;
            };
            if let Some(item) = item_of(&rule, family) {
                found.items.insert(item);
            } else {
                found.obstacles.push(Obstacle::Rule(family, priority));
            }
        }
        Ok(())
    }

    /// The routes to the routers of paths. Those of other tunnels are left alone, but where nothing is wanted at all.
    async fn find_exits(&self, state: &HostState, found: &mut Found) -> Result<()> {
        // By the names that the configuration has for them, which may be alternative ones.
        let mut devices = BTreeMap::new();
        for item in &state.items {
            let Item::ExitRoute(exit) = item else { continue };
            if let Some((interface, true)) = self.interface(&exit.device).await? {
                devices.insert(interface, exit.device.clone());
            } else {
                // Without the device there is no route, and nothing to be done.
                found.items.insert(item.clone());
            }
        }
        for family in Family::BOTH {
            for route in self.routes(family, EXIT_TABLE, None).await? {
                let interface = attributes::interface(&route.attributes).unwrap_or(0);
                let device = match devices.get(&interface) {
                    Some(device) => Some(device.clone()),
                    None => self.name(interface).await?,
                };
                let gateway = attributes::gateway(&route.attributes).filter(|_| is_ours(&route));
                let exit = device.zip(gateway).map(|(device, gateway)| Exit { device, gateway });
                found.items.extend(exit.map(Item::ExitRoute));
            }
        }
        // One router for a device: another one is in the way, whoever named it.
        let is_in_the_way = |item: &Item| {
            let Item::ExitRoute(exit) = item else { return false };
            state.items.contains(&Item::ExitRule(exit.device.clone(), exit.family()))
        };
        if !state.items.is_empty() {
            found
                .items
                .retain(|item| !item.is_of_exit() || state.items.contains(item) || is_in_the_way(item));
        }
        Ok(())
    }

    /// Does what [`HostState::apply`] says.
    pub(super) async fn apply(&self, state: &HostState) -> Result<Difference> {
        let mut done = Difference::default();
        let outcome = self.change(state, Depth::Start, &mut done).await;
        if outcome.is_err() {
            let interface =
                self.interface(&state.device).await.ok().flatten().map(|(interface, _)| interface);
            for item in done.missing.iter().rev() {
                let nothing = HostState::nothing(&state.device);
                let _ = self.remove(item, interface.unwrap_or(0), &nothing).await;
            }
        }
        outcome.map(|()| done)
    }

    /// Adds what is missing, as far as the kernel lets it. Returns what was added, and the first refusal.
    pub(super) async fn repair(&self, state: &HostState, depth: Depth) -> (Vec<Item>, Result<()>) {
        let mut done = Difference::default();
        let outcome = self.change(state, depth, &mut done).await;
        (done.missing, outcome)
    }

    /// At the start nothing more is added after a refusal; a repair adds the others.
    async fn change(&self, state: &HostState, depth: Depth, done: &mut Difference) -> Result<()> {
        let stops = depth == Depth::Start;
        let found = self.find(state, depth).await?;
        if stops {
            state.admits(&found)?;
        }
        let difference = state.difference(&found.items);
        let interface = found.interface.unwrap_or(0);
        for item in difference.excess {
            let outcome = self.remove(&item, interface, state).await;
            outcome.with_context(|| format!("cannot remove {}", item.text(&state.device)))?;
            done.excess.push(item);
        }
        let mut missing = difference.missing;
        if missing.is_empty() {
            return Ok(());
        }
        let interface =
            found.interface.with_context(|| format!("the interface {} vanished", state.device))?;
        let (mut outcome, mut has_table) = (Ok(()), false);
        for of_interface in [true, false] {
            // With addresses, the kernel adds routes.
            if *done != Difference::default() {
                missing = state.difference(&self.find(state, depth).await?.items).missing;
            }
            for item in missing.extract_if(.., |item| item.is_of_interface() == of_interface) {
                if item.is_of_table() && std::mem::replace(&mut has_table, true) {
                    // Set, or refused, as a whole.
                    done.missing.extend(outcome.is_ok().then_some(item));
                    continue;
                }
                outcome = outcome.and(self.add(item, interface, state, done).await);
                if outcome.is_err() && stops {
                    return outcome;
                }
            }
        }
        outcome
    }

    /// Adds an item, unless it has come there meanwhile.
    async fn add(&self, item: Item, interface: u32, state: &HostState, done: &mut Difference) -> Result<()> {
        let others = match &item {
            Item::Table | Item::TableRule(_) => Some(firewall::set(state)),
            Item::Resolver(servers) => Some(resolver::set(&state.device, servers)),
            Item::Forwarding(family) => Some(forwarding::switch_on(&state.device, *family)),
            _ => None,
        };
        if let Some(outcome) = others {
            // Also what was begun is undone when the start fails.
            done.missing.push(item);
            return outcome;
        }
        match self.try_add(&item, interface).await {
            Ok(()) => done.missing.push(item),
            Err(error) => {
                if errno(&error) != Some(Errno::EXIST)
                    || !self.find(state, Depth::Quick).await?.items.contains(&item)
                {
                    return Err(plain(error)).with_context(|| item.refusal(&state.device));
                }
            }
        }
        Ok(())
    }

    async fn try_add(&self, item: &Item, interface: u32) -> Result<(), Error> {
        if let Some(route) = self.route(item, interface).await {
            return self.0.route().add(route).execute().await;
        }
        if let Some(rule) = rule_message(item) {
            let mut add = self.0.rule().add();
            *add.message_mut() = rule;
            return add.execute().await;
        }
        if let Item::Address(address) = item {
            let mut add = self.0.address().add(interface, address.addr(), address.prefix_len());
            if address.addr().is_ipv6() {
                // Nobody else on a tunnel interface could have it, and until the kernel has got round to that
                // conclusion it would refuse packets and programs that bind to the address.
                add.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            }
            return add.execute().await;
        }
        self.0.link().set(LinkUnspec::new_with_index(interface).up().build()).execute().await
    }

    /// A route as it is added and removed; `None` if the item is none.
    async fn route(&self, item: &Item, interface: u32) -> Option<RouteMessage> {
        let Item::ExitRoute(exit) = item else { return route_message(item, interface) };
        let device = self.interface(&exit.device).await.ok().flatten();
        // The kernel says what is wrong with an interface that has gone meanwhile.
        Some(exit_route(exit, device.map_or(0, |(index, _)| index)))
    }

    /// Removes an item; one that is gone already is no error. What is of the interface goes with it.
    async fn remove(&self, item: &Item, interface: u32, state: &HostState) -> Result<()> {
        match item {
            // With what else is wanted of the table, if anything is.
            Item::Table | Item::TableRule(_) => return firewall::set(state),
            Item::Resolver(_) => return resolver::restore(&state.device),
            Item::Forwarding(family) => return forwarding::restore(&state.device, *family),
            _ => {}
        }
        let outcome = if let Some(route) = self.route(item, interface).await {
            self.0.route().del(route).execute().await
        } else if let Some(rule) = rule_message(item) {
            self.0.rule().del(rule).execute().await
        } else {
            Ok(())
        };
        match outcome {
            Err(error) if matches!(errno(&error), Some(Errno::SRCH | Errno::NOENT | Errno::NODEV)) => Ok(()),
            other => other.map_err(plain),
        }
    }

    /// The number of an interface, and whether it is switched on.
    pub(super) async fn interface(&self, name: &str) -> Result<Option<(u32, bool)>> {
        let mut links = self.0.link().get().match_name(name).execute();
        match links.try_next().await {
            Ok(link) => Ok(link.map(|link| (link.header.index, link.header.flags.contains(LinkFlags::Up)))),
            Err(error) if errno(&error) == Some(Errno::NODEV) => Ok(None),
            Err(error) => Err(plain(error)).context("cannot list interfaces"),
        }
    }

    /// The name of an interface.
    async fn name(&self, interface: u32) -> Result<Option<String>> {
        let mut links = self.0.link().get().match_index(interface).execute();
        // An error is the answer that there is no such interface.
        let link = links.try_next().await.ok().flatten();
        Ok(link.and_then(|link| {
            link.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            })
        }))
    }

    async fn addresses(&self, interface: u32) -> Result<Vec<IpNet>> {
        let mut addresses = Vec::new();
        let mut answers = self.0.address().get().set_link_index_filter(interface).execute();
        while let Some(message) = answers.try_next().await.map_err(plain).context("cannot list addresses")? {
            if message.header.index != interface {
                continue;
            }
            let own = attributes::own(&message);
            addresses.extend(own.and_then(|own| IpNet::new(own, message.header.prefix_len).ok()));
        }
        Ok(addresses)
    }

    /// The routes of a table, perhaps only those through one interface.
    async fn routes(&self, family: Family, table: u32, interface: Option<u32>) -> Result<Vec<RouteMessage>> {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family.address_family();
        wanted.attributes.push(RouteAttribute::Table(table));
        wanted.attributes.extend(interface.map(RouteAttribute::Oif));
        let matches = |route: &RouteMessage| {
            route.header.address_family == family.address_family()
                && route.attributes.contains(&RouteAttribute::Table(table))
                && interface.is_none_or(|index| route.attributes.contains(&RouteAttribute::Oif(index)))
        };
        let mut routes = Vec::new();
        let mut answers = self.0.route().get(wanted).execute();
        loop {
            match answers.try_next().await {
                Ok(Some(route)) => routes.extend(Some(route).filter(matches)),
                Ok(None) => return Ok(routes),
                // No route has ever been in this table, or the interface has just gone.
                Err(error) if matches!(errno(&error), Some(Errno::NOENT | Errno::NODEV)) => {
                    return Ok(Vec::new());
                }
                Err(error) => return Err(plain(error)).context("cannot list routes"),
            }
        }
    }

    /// The rules of an IP version; `None` if the kernel has none at all.
    async fn rules(&self, family: Family) -> Result<Option<Vec<RuleMessage>>> {
        let version = match family {
            Family::V4 => IpVersion::V4,
            Family::V6 => IpVersion::V6,
        };
        let mut rules = Vec::new();
        let mut answers = self.0.rule().get(version).execute();
        loop {
            match answers.try_next().await {
                Ok(Some(rule)) => {
                    rules.extend(Some(rule).filter(|rule| rule.header.family == family.address_family()));
                }
                Ok(None) => return Ok(Some(rules)),
                Err(error) if matches!(errno(&error), Some(Errno::AFNOSUPPORT | Errno::OPNOTSUPP)) => {
                    return Ok(None);
                }
                Err(error) => return Err(plain(error)).context("cannot list policy rules"),
            }
        }
    }
}

fn errno(error: &Error) -> Option<Errno> {
    match error {
        Error::NetlinkError(message) => Errno::from_io_error(&message.to_io()),
        _ => None,
    }
}
