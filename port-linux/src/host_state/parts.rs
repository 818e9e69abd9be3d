//! What single keys of a configuration want of this host's network.

use std::collections::BTreeSet;

use super::{Exit, Family, Item, Past, TableRule, Traffic};
use crate::config::{Config, Entrance, Exception, Share};

/// What paths with a router of their own need.
pub(super) fn ways_out(config: &Config) -> Vec<Item> {
    let paths = config.connections.iter().flat_map(|connection| &connection.paths);
    let exits = paths.filter_map(|path| {
        let (device, gateway) = path.device.clone().zip(path.gateway)?;
        Some(Exit { device, gateway })
    });
    exits
        .flat_map(|exit| [Item::ExitRule(exit.device.clone(), exit.family()), Item::ExitRoute(exit)])
        .collect()
}

/// What `tunnel.direct` needs beside the items of default routes.
pub(super) fn past_the_tunnel(config: &Config, of_defaults: &BTreeSet<Item>) -> Vec<Item> {
    let tunnel = &config.tunnel;
    let mut items = Vec::new();
    let mut marks = false;
    for exception in &tunnel.direct {
        if let Exception::Network(network) = exception {
            items.push(Item::PastRule(Past::To(*network)));
            continue;
        }
        marks = true;
        let rule = |forwarded| Item::TableRule(TableRule::Direct { exception: exception.clone(), forwarded });
        items.push(rule(false));
        // Programs and users are those of this host.
        if let Exception::Ports { .. } = exception {
            items.push(rule(true));
        }
    }
    if marks {
        items.extend(tunnel.addresses.iter().map(|own| Item::TableRule(TableRule::DirectSource(own.addr()))));
        let from = of_defaults.iter().filter_map(|item| match item {
            Item::TunnelRule(Traffic::From(network)) => Some(Family::of(network)),
            _ => None,
        });
        items.extend(from.map(|family| Item::PastRule(Past::Marked(family))));
    }
    items
}

/// What `tunnel.share` and `tunnel.masquerade` need.
pub(super) fn for_a_lan(config: &Config) -> Vec<Item> {
    let tunnel = &config.tunnel;
    let mut items = Vec::new();
    if tunnel.masquerade {
        items.push(Item::TableRule(TableRule::Masquerade));
        items.extend(tunnel.addresses.iter().map(|own| Item::Forwarding(Family::of(own))));
    }
    for share in &tunnel.share {
        items.push(Item::TableRule(TableRule::Share(share.clone())));
        let families = Family::BOTH.into_iter().filter(|family| match share {
            Share::Network(network) => Family::of(network) == *family,
            Share::Interface(_) => tunnel.addresses.iter().any(|own| Family::of(own) == *family),
        });
        items.extend(families.map(Item::Forwarding));
    }
    items
}

/// What `[[forward]]` needs beside the items of default routes.
pub(super) fn for_forwards(config: &Config, of_defaults: &BTreeSet<Item>) -> Vec<Item> {
    let mut items = Vec::new();
    for forward in &config.forwards {
        let family = if forward.to.is_ipv4() { Family::V4 } else { Family::V6 };
        items.push(Item::Forwarding(family));
        items.push(Item::TableRule(TableRule::Forward(forward.clone())));
        let is_partial = |item: &Item| matches!(item, Item::TunnelRule(Traffic::From(network)) if Family::of(network) == family);
        // Where all packets take the tunnel, answers do so anyway.
        if forward.at == Entrance::Tunnel && of_defaults.iter().any(is_partial) {
            let own = config.tunnel.addresses.iter().filter(|own| Family::of(own) == family);
            items.extend(own.map(|own| Item::TableRule(TableRule::Reply(own.addr()))));
            items.push(Item::TunnelRule(Traffic::Replies(family)));
        }
    }
    items
}
