//! Items of the host's state, read, added and removed through rtnetlink.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{Error, Handle, IpVersion, LinkUnspec};
use rustix::io::Errno;

use super::{
    Depth, Difference, Family, Found, HostState, Item, LAST_METRIC, MARK, Obstacle, PRIORITY, PROTOCOL, Past,
    TABLE, Traffic, firewall, forwarding, resolver,
};
use crate::link::plain;

/// The main table.
const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;
/// What attributes of rules say that are not set.
const UNSET: u32 = u32::MAX;

impl Family {
    const fn address_family(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }
}

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
                    let Some(to) = destination(&route, family) else { continue };
                    // Others' routes through the interface are theirs, but serve as well.
                    let item = Item::Route(to);
                    if is_ours(&route) || state.items.contains(&item) {
                        found.items.insert(item);
                    }
                }
            }
        }
        if state.with_rules {
            for family in Family::BOTH {
                self.find_gateway(family, &mut found).await?;
            }
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
            let interface = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(interface) => Some(*interface),
                _ => None,
            });
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
            let Some(priority @ (PAST_PRIORITY | PRIORITY | NEXT_PRIORITY)) = priority else { continue };
            if let Some(item) = item_of(&rule, family) {
                found.items.insert(item);
            } else {
                found.obstacles.push(Obstacle::Rule(family, priority));
            }
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
        if difference.missing.is_empty() {
            return Ok(());
        }
        let interface =
            found.interface.with_context(|| format!("the interface {} vanished", state.device))?;
        let (mut outcome, mut has_table) = (Ok(()), false);
        for of_interface in [true, false] {
            // With addresses, the kernel adds routes.
            let found = self.find(state, depth).await?;
            let missing = state.difference(&found.items).missing.into_iter();
            for item in missing.filter(|item| item.is_of_interface() == of_interface) {
                let is_table = matches!(item, Item::Table | Item::TableRule(_));
                if is_table && std::mem::replace(&mut has_table, true) {
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
        if let Some(route) = route_message(item, interface) {
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

    /// Removes a route or a rule; one that is gone already is no error. What is of the interface goes with it.
    async fn remove(&self, item: &Item, interface: u32, state: &HostState) -> Result<()> {
        match item {
            // With what else is wanted of the table, if anything is.
            Item::Table | Item::TableRule(_) => return firewall::set(state),
            Item::Resolver(_) => return resolver::restore(&state.device),
            Item::Forwarding(family) => return forwarding::restore(&state.device, *family),
            _ => {}
        }
        let outcome = if let Some(route) = route_message(item, interface) {
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
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            let address = local.or(address).and_then(|own| IpNet::new(own, message.header.prefix_len).ok());
            addresses.extend(address);
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

/// The priority of the rules that lead to [`TABLE`].
const NEXT_PRIORITY: u32 = PRIORITY + 1;
/// The priority of the rules that lead past the tunnel.
const PAST_PRIORITY: u32 = PRIORITY - 1;

fn errno(error: &Error) -> Option<Errno> {
    match error {
        Error::NetlinkError(message) => Errno::from_io_error(&message.to_io()),
        _ => None,
    }
}

fn is_ours(route: &RouteMessage) -> bool {
    route.header.protocol == RouteProtocol::Other(PROTOCOL)
}

/// The network that a route leads to.
fn destination(route: &RouteMessage, family: Family) -> Option<IpNet> {
    let length = route.header.destination_prefix_length;
    if length == 0 {
        return Some(family.everything());
    }
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(to)) => IpNet::new((*to).into(), length).ok(),
        RouteAttribute::Destination(RouteAddress::Inet6(to)) => IpNet::new((*to).into(), length).ok(),
        _ => None,
    })
}

/// A route as it is added and removed; `None` if the item is none.
fn route_message(item: &Item, interface: u32) -> Option<RouteMessage> {
    let (to, table) = match item {
        Item::Route(to) => (*to, MAIN),
        Item::Default(family) | Item::Unreachable(family) => (family.everything(), TABLE),
        _ => return None,
    };
    let mut message = RouteMessage::default();
    message.header.address_family = Family::of(&to).address_family();
    message.header.destination_prefix_length = to.prefix_len();
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.attributes.push(RouteAttribute::Table(table));
    if to.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(match to {
            IpNet::V4(to) => RouteAddress::Inet(to.network()),
            IpNet::V6(to) => RouteAddress::Inet6(to.network()),
        }));
    }
    if let Item::Unreachable(_) = item {
        message.header.kind = RouteType::Unreachable;
        message.attributes.push(RouteAttribute::Priority(LAST_METRIC));
    } else {
        message.header.kind = RouteType::Unicast;
        message.header.scope = if let IpNet::V4(_) = to { RouteScope::Link } else { RouteScope::Universe };
        message.attributes.push(RouteAttribute::Oif(interface));
    }
    Some(message)
}

/// A rule as it is added and removed; `None` if the item is none.
fn rule_message(item: &Item) -> Option<RuleMessage> {
    let (traffic, action) = match item {
        Item::PastRule(past) => return Some(past_message(*past)),
        Item::NarrowRule(traffic) => (
            traffic,
            vec![
                RuleAttribute::Priority(PRIORITY),
                RuleAttribute::Table(MAIN),
                RuleAttribute::SuppressPrefixLen(0),
            ],
        ),
        Item::TunnelRule(traffic) => {
            (traffic, vec![RuleAttribute::Priority(NEXT_PRIORITY), RuleAttribute::Table(TABLE)])
        }
        _ => return None,
    };
    let mut message = lookup(traffic.family(), action);
    match *traffic {
        Traffic::All(_) => {
            message.header.flags = RuleFlags::Invert;
            message.attributes.push(RuleAttribute::FwMark(MARK));
        }
        Traffic::From(network) => {
            message.header.src_len = network.prefix_len();
            message.attributes.push(RuleAttribute::Source(network.network()));
        }
    }
    Some(message)
}

/// A rule of mpt's that leads to a table.
fn lookup(family: Family, attributes: Vec<RuleAttribute>) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family.address_family();
    message.header.action = RuleAction::ToTable;
    message.attributes = attributes;
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)));
    message
}

/// A rule that leads past the tunnel.
fn past_message(past: Past) -> RuleMessage {
    let action = vec![RuleAttribute::Priority(PAST_PRIORITY), RuleAttribute::Table(MAIN)];
    let mut message = lookup(past.family(), action);
    match past {
        Past::To(network) => {
            message.header.dst_len = network.prefix_len();
            message.attributes.push(RuleAttribute::Destination(network.network()));
        }
        Past::Marked(_) => message.attributes.push(RuleAttribute::FwMark(MARK)),
    }
    message
}

/// The item that a rule is, if mpt has made it.
fn item_of(rule: &RuleMessage, family: Family) -> Option<Item> {
    let source = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Source(source) => IpNet::new(*source, rule.header.src_len).ok(),
        _ => None,
    });
    let destination = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Destination(to) => IpNet::new(*to, rule.header.dst_len).ok(),
        _ => None,
    });
    let traffic = source.map_or(Traffic::All(family), Traffic::From);
    let past = destination.map_or(Past::Marked(family), Past::To);
    [Item::NarrowRule(traffic), Item::TunnelRule(traffic), Item::PastRule(past)]
        .into_iter()
        .find(|item| rule_message(item).is_some_and(|ours| is_same_rule(rule, &ours)))
}

/// Whether two rules do the same for the same packets. The kernel lists attributes in an order of its own, and some that are not set.
fn is_same_rule(one: &RuleMessage, other: &RuleMessage) -> bool {
    let head = |rule: &RuleMessage| {
        let header = &rule.header;
        let invert = header.flags.contains(RuleFlags::Invert);
        (header.family, header.action, header.src_len, header.dst_len, header.tos, invert)
    };
    let set = |rule: &RuleMessage| -> Vec<RuleAttribute> {
        let is_set = |attribute: &&RuleAttribute| {
            !matches!(
                attribute,
                RuleAttribute::SuppressPrefixLen(UNSET)
                    | RuleAttribute::SuppressIfGroup(UNSET)
                    | RuleAttribute::FwMask(UNSET)
            )
        };
        rule.attributes.iter().filter(is_set).cloned().collect()
    };
    let (ones, others) = (set(one), set(other));
    head(one) == head(other)
        && ones.len() == others.len()
        && ones.iter().all(|attribute| others.contains(attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffics() -> [Traffic; 4] {
        let networks = ["192.168.6.0/24", "fd06::/64"].map(|network| network.parse().unwrap());
        [
            Traffic::All(Family::V4),
            Traffic::All(Family::V6),
            Traffic::From(networks[0]),
            Traffic::From(networks[1]),
        ]
    }

    #[test]
    fn a_rule_of_mpt_is_known_again_as_the_kernel_lists_it() {
        for traffic in traffics() {
            for item in [Item::NarrowRule(traffic), Item::TunnelRule(traffic)] {
                let mut rule = rule_message(&item).unwrap();
                rule.attributes.reverse();
                let narrow = matches!(item, Item::NarrowRule(_));
                if !narrow {
                    rule.attributes.push(RuleAttribute::SuppressPrefixLen(UNSET));
                }
                if let Traffic::All(_) = traffic {
                    rule.attributes.push(RuleAttribute::FwMask(UNSET));
                }
                rule.header.table = if narrow { RouteHeader::RT_TABLE_MAIN } else { 252 };
                assert_eq!(item_of(&rule, traffic.family()), Some(item));
            }
        }
    }

    #[test]
    fn a_rule_past_the_tunnel_is_known_again_and_told_from_the_others() {
        let networks = ["198.51.100.0/24", "2001:db8::/32"].map(|network| network.parse().unwrap());
        let past = [
            Past::To(networks[0]),
            Past::To(networks[1]),
            Past::Marked(Family::V4),
            Past::Marked(Family::V6),
        ];
        for past in past {
            let item = Item::PastRule(past);
            let mut rule = rule_message(&item).unwrap();
            rule.attributes.reverse();
            rule.attributes.push(RuleAttribute::SuppressPrefixLen(UNSET));
            assert_eq!(item_of(&rule, past.family()), Some(item));
            rule.attributes.push(RuleAttribute::Oifname("eth0".into()));
            assert_eq!(item_of(&rule, past.family()), None);
        }
    }

    #[test]
    fn a_rule_that_differs_in_anything_is_somebody_elses() {
        let traffic = Traffic::All(Family::V4);
        let ours = rule_message(&Item::TunnelRule(traffic)).unwrap();
        type Change = fn(&mut RuleMessage);
        let changes: [Change; 6] = [
            |rule| rule.header.flags = RuleFlags::empty(),
            |rule| rule.header.action = RuleAction::Blackhole,
            |rule| rule.header.dst_len = 8,
            |rule| rule.attributes.push(RuleAttribute::Iifname("lo".into())),
            |rule| rule.attributes.push(RuleAttribute::FwMask(0xff)),
            |rule| rule.attributes.retain(|a| !matches!(a, RuleAttribute::Protocol(_))),
        ];
        for change in changes {
            let mut rule = ours.clone();
            change(&mut rule);
            assert_eq!(item_of(&rule, Family::V4), None, "{rule:?}");
        }
    }
}
