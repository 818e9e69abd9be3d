use super::super::facts::{LinkFacts, RouteFacts, Wanted};
use super::*;
use crate::doctor::finding::Outcome;
use crate::link::Discipline;

/// A tunnel with one path over `eth0`, in whose way nothing is.
fn sound() -> Facts {
    let link = |name: &str, kind: Option<&str>| LinkFacts {
        name: name.into(),
        kind: kind.map(str::to_owned),
        queue: Some(1000),
        sent: 1_000_000,
        dropped: 10,
        discipline: None,
        is_strict: false,
        answers_for_others: true,
    };
    let route = |to: &str, interface: &str| RouteFacts {
        to: to.parse().unwrap(),
        interface: interface.into(),
        is_main: true,
    };
    Facts {
        program: "1.0.0".into(),
        tunnel: "mpt0".into(),
        tunnel_networks: vec!["10.77.0.1/24".parse().unwrap()],
        wanted: Some(Wanted { queue: 1000, offload: true, all_v4: true, all_v6: true }),
        links: vec![
            link("eth0", None),
            link("eth1", None),
            link("wg0", Some("wireguard")),
            link("mpt0", Some("tun")),
        ],
        routes: vec![
            route("0.0.0.0/0", "eth0"),
            route("192.168.1.0/24", "eth0"),
            route("192.168.2.0/24", "eth1"),
            route("10.77.0.0/24", "mpt0"),
        ],
        paths: vec![path("one", "eth0"), path("two", "eth1")],
        ..Facts::default()
    }
}

fn path(name: &str, interface: &str) -> PathFacts {
    PathFacts {
        connection: "vps".into(),
        name: name.into(),
        local: [192, 168, 1, 2].into(),
        remote: [203, 0, 113, 7].into(),
        device: Some(interface.into()),
        has_gateway: false,
        own: Some(interface.into()),
        leaves_by: Some(interface.into()),
        answers_by: Some(interface.into()),
        is_routed: true,
        missing: None,
    }
}

fn names(facts: &Facts) -> Vec<&'static str> {
    Outcome::of(&CHECKS, facts).findings.iter().map(|finding| finding.check).collect()
}

/// The fault provokes this finding and no other.
fn provokes(name: &str, fault: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = sound();
    fault(&mut facts);
    assert_eq!(names(&facts), [name]);
    let check = CHECKS.iter().find(|check| check.name == name).unwrap();
    (check.look)(&facts).remove(0)
}

#[test]
fn nothing_is_found_on_a_sound_host() {
    assert!(names(&sound()).is_empty());
}

#[test]
fn a_dialled_link_is_no_tunnel() {
    let mut facts = sound();
    facts.links[1].kind = Some("ppp".into());
    assert!(names(&facts).is_empty());
}

#[test]
fn a_configuration_with_an_error_or_a_warning_is_found() {
    provokes("configuration", |facts| facts.errors.push("mpt.toml:1: no".into()));
    provokes("configuration", |facts| facts.warnings.push("mpt.toml:1: hm".into()));
}

#[test]
fn a_path_whose_interface_is_not_there_is_found_unless_a_running_tunnel_says_so_itself() {
    let gone = |facts: &mut Facts| {
        (facts.paths[1].missing, facts.paths[1].is_routed) =
            (Some("there is no interface eth1".into()), false);
    };
    provokes("missing_link", gone);
    let mut facts = sound();
    gone(&mut facts);
    facts.report = Some(super::super::made_up::report());
    assert!(names(&facts).is_empty());
}

#[test]
fn a_name_or_a_port_that_somebody_else_has_is_found() {
    provokes("name_taken", |facts| facts.links[3].kind = Some("bridge".into()));
    let found = provokes("port_taken", |facts| {
        facts.taken_ports.push(("path vps/one".into(), ([192, 168, 1, 2], 4754).into()));
    });
    assert_eq!(found.what, "path vps/one: another program has UDP port 4754 of 192.168.1.2");
}

#[test]
fn a_strict_filter_is_found_only_where_the_way_back_leads_elsewhere() {
    let mut facts = sound();
    facts.links[1].is_strict = true;
    assert!(names(&facts).is_empty());
    let found = provokes("rp_filter", |facts| {
        facts.links[1].is_strict = true;
        facts.paths[1].answers_by = Some("eth0".into());
    });
    assert_eq!(found.mend, "sudo sysctl net.ipv4.conf.eth1.rp_filter=2");
}

#[test]
fn two_links_in_one_lan_are_found_unless_each_answers_for_itself() {
    let one_lan = |facts: &mut Facts| facts.routes[2].to = facts.routes[1].to;
    provokes("arp_flux", one_lan);
    let mut facts = sound();
    one_lan(&mut facts);
    facts.links.iter_mut().for_each(|link| link.answers_for_others = false);
    assert!(names(&facts).is_empty());
}

#[test]
fn a_path_without_a_route_is_found_unless_it_names_its_router() {
    let found = provokes("missing_route", |facts| facts.paths[1].is_routed = false);
    assert!(found.what.contains("vps/two") && found.mend.contains("dev eth1"), "{found:?}");
    let mut facts = sound();
    (facts.paths[1].is_routed, facts.paths[1].has_gateway) = (false, true);
    assert!(names(&facts).is_empty());
}

#[test]
fn a_path_that_leaves_through_another_link_than_its_own_is_found() {
    let found = provokes("wrong_interface", |facts| {
        (facts.paths[1].device, facts.paths[1].leaves_by) = (None, Some("eth0".into()));
    });
    assert!(found.mend.contains("device = \"eth1\""), "{found:?}");
}

#[test]
fn a_path_through_the_tunnel_itself_is_a_fault_and_one_through_another_tunnel_a_note() {
    for (through, severity) in [("mpt0", Severity::Fault), ("wg0", Severity::Note)] {
        let found = provokes("nested_path", |facts| {
            (facts.paths[1].device, facts.paths[1].leaves_by) = (None, Some(through.into()));
        });
        assert_eq!(found.severity, severity);
    }
}

#[test]
fn a_lan_or_a_peer_with_the_tunnels_addresses_is_found() {
    provokes("same_network", |facts| facts.routes[2].to = "10.77.0.0/16".parse().unwrap());
    provokes("same_network", |facts| facts.paths[0].remote = [10, 77, 0, 9].into());
}

#[test]
fn two_halves_of_a_default_route_past_the_tunnel_are_found_if_it_has_one_itself() {
    let halves = |facts: &mut Facts| {
        facts.routes.push(RouteFacts {
            to: "128.0.0.0/1".parse().unwrap(),
            interface: "tun7".into(),
            is_main: true,
        });
    };
    provokes("other_default_route", halves);
    let mut facts = sound();
    halves(&mut facts);
    facts.wanted.as_mut().unwrap().all_v4 = false;
    assert!(names(&facts).is_empty());
}

#[test]
fn a_queue_that_is_too_short_or_drops_much_is_found() {
    let found = provokes("tunnel_queue", |facts| facts.links[3].queue = Some(10));
    assert_eq!(found.mend, "sudo ip link set mpt0 txqueuelen 1000");
    let found = provokes("tunnel_queue", |facts| facts.links[3].dropped = 50_000);
    assert!(found.mend.contains("queue = 2000"), "{found:?}");
}

/// The tunnel of `sound` runs.
fn running(facts: &mut Facts) -> &mut crate::report::ConnectionReport {
    facts.report = Some(super::super::made_up::report());
    &mut facts.report.as_mut().unwrap().connections[0]
}

#[test]
fn datagrams_that_mpt_did_not_queue_on_a_full_link_are_found_with_the_policy_that_knows_it() {
    let full = |facts: &mut Facts, policy: &str| {
        let connection = running(facts);
        connection.policy = policy.into();
        (connection.paths[0].tx_datagrams, connection.paths[0].not_sent.full) = (100_000, 5000);
    };
    let found = provokes("path_queue", |facts| full(facts, "weighted"));
    assert!(found.mend.starts_with("policy = \"adaptive\""), "{found:?}");
    let found = provokes("path_queue", |facts| full(facts, "adaptive"));
    assert!(found.mend.contains("tc -s qdisc show dev eth0"), "{found:?}");
}

#[test]
fn a_queue_before_a_link_that_drops_many_packets_is_found_with_what_makes_it_longer() {
    let drops = |facts: &mut Facts, kind: &str, dropped: u64| {
        running(facts);
        facts.links[1].discipline = Some(Discipline { kind: kind.into(), passed: 100_000, dropped });
    };
    let found = provokes("path_queue", |facts| drops(facts, "pfifo_fast", 3000));
    assert_eq!(found.mend, "sudo ip link set eth1 txqueuelen 2000");
    let found = provokes("path_queue", |facts| drops(facts, "fq_codel", 3000));
    assert!(found.what.starts_with("the queue of eth1 (fq_codel) dropped 3000 packets"), "{found:?}");
    let mut facts = sound();
    drops(&mut facts, "fq_codel", 1500);
    assert!(names(&facts).is_empty(), "as much tells a TCP the rate of a link");
}
