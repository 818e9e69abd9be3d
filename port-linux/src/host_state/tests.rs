use super::*;
use crate::config::{Share, Transport};

/// A configuration with these lines in `[tunnel]` and these networks behind the peer.
fn wanted(tunnel: &str, networks: &[(&str, Option<&str>)]) -> HostState {
    let networks: String = networks
        .iter()
        .map(|(to, from)| {
            let from = from.map_or(String::new(), |from| format!("from = \"{from}\"\n"));
            format!("[[connection.network]]\nto = \"{to}\"\n{from}")
        })
        .collect();
    let text = format!(
        "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.1/24\", \"fd00::1/128\"]\n{tunnel}\n\
         [[connection]]\nname = \"c\"\npeer = [\"10.0.0.2\", \"fd00::2\"]\n{networks}\
         [[connection.path]]\nname = \"p\"\nlocal = \"172.16.1.10\"\nremote = \"172.16.1.20\"\n"
    );
    HostState::wanted(&Config::parse(&text, "mpt.toml").unwrap())
}

fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Of the interface itself, and to the peers: whatever the networks are.
fn basis() -> BTreeSet<Item> {
    BTreeSet::from([
        Item::Up,
        Item::Address(network("10.0.0.1/24")),
        Item::Address(network("fd00::1/128")),
        Item::Route(network("10.0.0.0/24")),
        Item::Route(network("fd00::2/128")),
    ])
}

#[test]
fn networks_that_are_not_everything_are_plain_routes_and_need_neither_rules_nor_a_mark() {
    let state = wanted("", &[("192.168.7.0/24", None), ("10.1.0.0/16", Some("192.168.6.0/24"))]);
    let mut expected = basis();
    expected.extend(["192.168.7.0/24", "10.1.0.0/16"].map(|to| Item::Route(network(to))));
    assert_eq!(state.items, expected);
    assert!(!state.is_gateway() && !state.concerns_rules());
    assert_eq!(state.carries_all(), []);
}

#[test]
fn a_default_route_is_in_a_table_of_its_own_for_each_ip_version_that_wants_one() {
    for (to, family) in [("0.0.0.0/0", Family::V4), ("::/0", Family::V6)] {
        let state = wanted("", &[(to, None)]);
        let mut expected = basis();
        let all = Traffic::All(family);
        expected.extend([Item::Default(family), Item::NarrowRule(all), Item::TunnelRule(all)]);
        assert_eq!(state.items, expected);
        assert!(state.is_gateway());
        assert_eq!(state.carries_all(), [family]);
    }
}

#[test]
fn a_default_route_from_some_networks_has_rules_for_those_and_one_from_everywhere_makes_them_needless() {
    let of_rules = |state: &HostState| -> Vec<Item> {
        let is_rule = |item: &&Item| matches!(item, Item::NarrowRule(_) | Item::TunnelRule(_));
        state.items.iter().filter(is_rule).cloned().collect()
    };
    let (lan, guests) = ("192.168.6.0/24", "192.168.8.0/24");
    let state = wanted("", &[("0.0.0.0/0", Some(lan)), ("0.0.0.0/0", Some(guests))]);
    let from = [lan, guests].map(|from| Traffic::From(network(from)));
    let expected = [from.map(Item::NarrowRule), from.map(Item::TunnelRule)].concat();
    assert_eq!(of_rules(&state), expected);
    assert!(state.is_gateway());
    assert_eq!(state.carries_all(), []);

    let state = wanted("", &[("0.0.0.0/0", Some(lan)), ("0.0.0.0/0", None)]);
    let all = Traffic::All(Family::V4);
    assert_eq!(of_rules(&state), [Item::NarrowRule(all), Item::TunnelRule(all)]);
}

#[test]
fn the_kill_switch_is_one_route_more_for_each_default_route() {
    let networks = [("0.0.0.0/0", None), ("::/0", Some("fd06::/64")), ("192.168.7.0/24", None)];
    let [without, with] = ["", "kill_switch = true"].map(|key| wanted(key, &networks));
    let difference = with.difference(&without.items);
    assert_eq!(difference.missing, [Item::Unreachable(Family::V4), Item::Unreachable(Family::V6)]);
    assert_eq!(difference.excess, []);
}

#[test]
fn a_lan_that_shares_the_tunnel_needs_a_table_and_forwarding_of_its_ip_versions() {
    let share = |share: &str| -> Vec<Item> {
        let state = wanted(&format!("share = [{share}]"), &[("192.168.7.0/24", None)]);
        assert!(!state.is_gateway() && state.outlives_interface());
        let plain = wanted("", &[("192.168.7.0/24", None)]);
        assert!(!plain.outlives_interface());
        state.difference(&plain.items).missing
    };
    let rule = |share| Item::TableRule(TableRule::Share(share));
    let lan = rule(Share::Network(network("192.168.6.0/24")));
    let behind = rule(Share::Interface("lan0".into()));
    let [v4, v6] = Family::BOTH.map(Item::Forwarding);
    assert_eq!(share("\"192.168.6.0/24\""), [Item::Table, lan.clone(), v4.clone()]);
    assert_eq!(
        share("\"lan0\", \"192.168.6.0/24\""),
        [Item::Table, lan, behind, v4, v6],
        "forwarding is last"
    );
}

#[test]
fn direct_networks_are_rules_and_other_exceptions_are_marks_of_a_table() {
    let direct = "direct = [\"198.51.100.0/24\", \"tcp 22\", \"user backup\"]";
    let difference = |networks: &[(&str, Option<&str>)]| {
        wanted(direct, networks).difference(&wanted("", networks).items).missing
    };
    let mark = |exception: Exception, forwarded| Item::TableRule(TableRule::Direct { exception, forwarded });
    let port = Exception::Ports { protocol: Transport::Tcp, first: 22, last: 22 };
    let own =
        ["10.0.0.1", "fd00::1"].map(|own| Item::TableRule(TableRule::DirectSource(own.parse().unwrap())));
    let mut expected = vec![
        Item::PastRule(Past::To(network("198.51.100.0/24"))),
        Item::Table,
        mark(port.clone(), false),
        mark(port, true),
        mark(Exception::User("backup".into()), false),
    ];
    expected.extend(own);
    assert_eq!(difference(&[("0.0.0.0/0", None)]), expected);
    // Rules for a network do not ask for the mark.
    expected.insert(1, Item::PastRule(Past::Marked(Family::V4)));
    assert_eq!(difference(&[("0.0.0.0/0", Some("192.168.6.0/24"))]), expected);
    assert_eq!(difference(&[("192.168.7.0/24", None)]), []);
}

#[test]
fn a_path_with_a_router_of_its_own_has_a_route_and_a_rule_that_needs_the_mark() {
    let state = |lines: &str| {
        let text = format!(
            "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.1/24\"]\n[[connection]]\nname = \"c\"\n\
             peer = [\"10.0.0.2\"]\n[[connection.path]]\nname = \"p\"\nlocal = \"0.0.0.0\"\n\
             device = \"usb0\"\nremote = \"198.51.100.7\"\n{lines}\n[[connection.path]]\nname = \"q\"\nlocal = \"::\"\n\
             device = \"usb0\"\nremote = \"2001:db8::7\"\n"
        );
        HostState::wanted(&Config::parse(&text, "mpt.toml").unwrap())
    };
    let (with, without) = (state("gateway = \"192.168.8.1\""), state(""));
    let exit = Exit { device: "usb0".into(), gateway: "192.168.8.1".parse().unwrap() };
    let expected = [Item::ExitRoute(exit), Item::ExitRule("usb0".into(), Family::V4)];
    assert_eq!(with.difference(&without.items).missing, expected);
    assert!(with.needs_mark() && !with.is_gateway() && !without.needs_mark());
}

#[test]
fn the_resolver_is_an_item_with_its_servers_in_their_order() {
    let state = wanted("dns = [\"10.0.0.2\", \"fd00::2\"]", &[]);
    let servers = ["10.0.0.2", "fd00::2"].map(|server| server.parse().unwrap());
    assert!(state.items.contains(&Item::Resolver(servers.into())));
}

/// What is there afterwards, by the simplest reasoning: an item after the other is added to and taken from a list.
fn carried_out(found: &BTreeSet<Item>, difference: &Difference) -> Vec<Item> {
    let mut list: Vec<Item> = found.iter().cloned().collect();
    for item in &difference.excess {
        let place = list.iter().position(|there| there == item).expect("what is removed is there");
        list.remove(place);
    }
    for item in &difference.missing {
        assert!(!list.contains(item), "{item:?} is there already");
        list.push(item.clone());
    }
    list.sort();
    list
}

#[test]
fn the_difference_makes_what_is_wanted_of_whatever_is_there_and_touches_nothing_else() {
    let everything: Vec<Item> = {
        let networks = [("0.0.0.0/0", None), ("::/0", None), ("192.168.7.0/24", None), ("fd07::/48", None)];
        let mut items = wanted("kill_switch = true", &networks).items;
        let from = ["192.168.6.0/24", "fd06::/64"].map(|from| Traffic::From(network(from)));
        items.extend(from.map(Item::NarrowRule));
        items.extend(from.map(Item::TunnelRule));
        items.into_iter().collect()
    };
    let mut random = fastrand::Rng::with_seed(1);
    let mut some = || -> BTreeSet<Item> {
        let share = random.f64();
        everything.iter().filter(|_| random.f64() < share).cloned().collect()
    };
    for _ in 0..2000 {
        let (items, found) = (some(), some());
        let state = HostState { device: "mpt0".into(), items };
        let difference = state.difference(&found);
        assert!(carried_out(&found, &difference).iter().eq(&state.items));
        // What is needed comes before what needs it: rules last, and first to go.
        assert!(difference.missing.is_sorted());
        assert!(difference.excess.iter().rev().is_sorted());
    }
}

#[test]
fn what_is_in_the_way_of_a_default_route_is_named_with_the_command_that_mends_it() {
    let plain = wanted("", &[("192.168.7.0/24", None)]);
    let both = wanted("", &[("0.0.0.0/0", None), ("::/0", None)]);
    let cases = [
        (Obstacle::Gateway("mpt1".into()), "interface mpt1 of another mpt has the default route"),
        (Obstacle::Route(Family::V6), "sudo ip -6 route flush table 4754"),
        (Obstacle::Rule(Family::V4, 14_755), "sudo ip -4 rule delete priority 14755"),
    ];
    for (obstacle, words) in cases {
        let found = Found { obstacles: vec![obstacle], ..Found::default() };
        let error = both.admits(&found).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(plain.admits(&found).is_ok() && HostState::nothing("mpt0").admits(&found).is_ok());
    }
}

#[test]
fn a_kernel_without_policy_rules_is_no_obstacle_but_for_the_ip_version_that_needs_them() {
    let four = wanted("", &[("0.0.0.0/0", None)]);
    let lacks = |family| Found { without_rules: vec![family], ..Found::default() };
    assert!(four.admits(&lacks(Family::V6)).is_ok());
    let error = four.admits(&lacks(Family::V4)).unwrap_err().to_string();
    assert!(error.contains("0.0.0.0/0") && error.contains("CONFIG_IP_MULTIPLE_TABLES"), "{error}");
}
