//! Items as messages of rtnetlink, and back.

use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::{
    EXIT_PRIORITY, EXIT_TABLE, Exit, Family, Item, LAST_METRIC, MARK, NEXT_PRIORITY, PAST_PRIORITY, PRIORITY,
    PROTOCOL, Past, REPLY_MARK, TABLE, Traffic,
};

/// The main table.
pub(super) const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;
/// What attributes of rules say that are not set.
const UNSET: u32 = u32::MAX;

impl Family {
    pub(super) const fn address_family(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }
}

pub(super) fn is_ours(route: &RouteMessage) -> bool {
    route.header.protocol == RouteProtocol::Other(PROTOCOL)
}

/// A route as it is added and removed; `None` if the item is none.
pub(super) fn route_message(item: &Item, interface: u32) -> Option<RouteMessage> {
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
pub(super) fn rule_message(item: &Item) -> Option<RuleMessage> {
    let (traffic, action) = match item {
        Item::PastRule(past) => return Some(past_message(*past)),
        Item::ExitRule(device, family) => return Some(exit_rule(device, *family)),
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
        Traffic::Replies(_) => message.attributes.push(RuleAttribute::FwMark(REPLY_MARK)),
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

/// A rule that leads the datagrams of the paths of a device to their router.
fn exit_rule(device: &str, family: Family) -> RuleMessage {
    let action = vec![RuleAttribute::Priority(EXIT_PRIORITY), RuleAttribute::Table(EXIT_TABLE)];
    let mut message = lookup(family, action);
    message.attributes.push(RuleAttribute::FwMark(MARK));
    message.attributes.push(RuleAttribute::Oifname(device.to_owned()));
    message
}

/// The route to a router, through its device, which has this number now. The number is the metric as well: the routes of a
/// table differ in it.
pub(super) fn exit_route(exit: &Exit, interface: u32) -> RouteMessage {
    let family = exit.family();
    let mut message = RouteMessage::default();
    message.header.address_family = family.address_family();
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.kind = RouteType::Unicast;
    message.header.scope = RouteScope::Universe;
    // The device is on the router's link, whatever other routes say.
    message.header.flags = RouteFlags::Onlink;
    message.attributes = vec![
        RouteAttribute::Table(EXIT_TABLE),
        RouteAttribute::Priority(interface),
        RouteAttribute::Oif(interface),
        RouteAttribute::Gateway(exit.gateway.into()),
    ];
    message
}

/// The item that a rule is, if mpt has made it.
pub(super) fn item_of(rule: &RuleMessage, family: Family) -> Option<Item> {
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
    let device = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Oifname(device) => Some(device.clone()),
        _ => None,
    });
    let replies = Item::TunnelRule(Traffic::Replies(family));
    [Item::NarrowRule(traffic), Item::TunnelRule(traffic), replies, Item::PastRule(past)]
        .into_iter()
        .chain(device.map(|device| Item::ExitRule(device, family)))
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

    fn traffics() -> [Traffic; 6] {
        let networks = ["192.168.6.0/24", "fd06::/64"].map(|network| network.parse().unwrap());
        [
            Traffic::All(Family::V4),
            Traffic::All(Family::V6),
            Traffic::From(networks[0]),
            Traffic::From(networks[1]),
            Traffic::Replies(Family::V4),
            Traffic::Replies(Family::V6),
        ]
    }

    #[test]
    fn a_rule_of_mpt_is_known_again_as_the_kernel_lists_it() {
        for traffic in traffics() {
            for item in [Item::NarrowRule(traffic), Item::TunnelRule(traffic)] {
                // Answers go back whatever other routes there are.
                if matches!(item, Item::NarrowRule(Traffic::Replies(_))) {
                    continue;
                }
                let mut rule = rule_message(&item).unwrap();
                rule.attributes.reverse();
                let narrow = matches!(item, Item::NarrowRule(_));
                if !narrow {
                    rule.attributes.push(RuleAttribute::SuppressPrefixLen(UNSET));
                }
                if let Traffic::All(_) | Traffic::Replies(_) = traffic {
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
    fn a_rule_for_a_device_is_known_again() {
        let item = Item::ExitRule("wwan0".into(), Family::V6);
        let mut rule = rule_message(&item).unwrap();
        rule.attributes.reverse();
        rule.attributes.push(RuleAttribute::FwMask(UNSET));
        assert_eq!(item_of(&rule, Family::V6), Some(item));
        rule.attributes.retain(|attribute| !matches!(attribute, RuleAttribute::FwMark(_)));
        assert_eq!(item_of(&rule, Family::V6), None);
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
