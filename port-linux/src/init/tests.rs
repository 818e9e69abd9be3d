use super::*;
use crate::config::Config;

fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Interface {
        name: name.into(),
        other_names: Vec::new(),
        has_neighbours: true,
        index,
        mtu: 1500,
        running: !addresses.is_empty(),
        addresses,
        kind: None,
    }
}

fn wanted(remotes: &[&str]) -> Wanted {
    Wanted {
        remotes: remotes.iter().map(|remote| remote.parse().unwrap()).collect(),
        addresses: vec!["10.0.0.1/24".parse().unwrap()],
        peers: vec!["10.0.0.2".parse().unwrap()],
        public_key: None,
        invited: None,
    }
}

fn route(interface: u32, gateway: &str) -> DefaultRoute {
    let gateway: IpAddr = gateway.parse().unwrap();
    DefaultRoute { interface, ipv4: gateway.is_ipv4(), gateway: Some(gateway) }
}

fn pi() -> Machine {
    let interfaces = vec![
        interface(1, "lo", &["127.0.0.1"]),
        interface(4, "usb0", &["192.168.42.5"]),
        interface(3, "wlan0", &["192.168.1.9", "fe80::9"]),
        interface(2, "eth0", &["192.168.1.8"]),
        Interface { kind: Some("bridge".into()), ..interface(5, "docker0", &["172.17.0.1"]) },
        Interface { kind: Some("wireguard".into()), ..interface(6, "wg0", &["10.9.0.1"]) },
    ];
    Machine {
        interfaces: interfaces.into(),
        default_routes: vec![route(2, "192.168.1.1"), route(3, "192.168.1.1"), route(4, "192.168.42.129")],
    }
}

fn drafted(
    machine: &Machine,
    wanted: &Wanted,
    has_route: impl Fn(&Interface, IpAddr) -> bool,
) -> Result<Draft> {
    let lookup = |name: &str| match name {
        "vps.example.net" => Ok(vec!["2001:db8:1::7".parse().unwrap(), "198.51.100.7".parse().unwrap()]),
        _ => Err("nobody knows it".to_owned()),
    };
    let (remotes, mut warnings) = Remote::all(&wanted.remotes, lookup);
    draft(machine, (wanted, &remotes), Path::new("home.key"), &mut warnings, has_route)
}

/// What `mpt run` makes of a draft once its key is there and the peer's is known.
fn parsed(text: &str) -> Config {
    let directory = tempfile::tempdir().expect("a directory");
    crate::keys::create(&directory.path().join("home.key"), &crate::keys::random_private().unwrap()).unwrap();
    let file = directory.path().join("home.toml").display().to_string();
    let text =
        text.replace("public_key = \"\"", "public_key = \"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\"");
    let config = Config::parse(&text, &file).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(config.warnings(), [] as [String; 0]);
    config
}

fn devices(text: &str) -> Vec<String> {
    let config = parsed(text);
    config.connections[0].paths.iter().filter_map(|path| path.device.clone()).collect()
}

#[test]
fn each_real_interface_becomes_a_path_wired_ones_first() {
    let draft = drafted(&pi(), &wanted(&["198.51.100.7"]), |_, _| true).unwrap();

    assert_eq!(devices(&draft.text), ["eth0", "wlan0", "usb0"]);
    assert!(draft.text.contains("# device = \"wwan0\""), "proposed as a comment: {}", draft.text);
    assert!(draft.text.contains("policy = \"adaptive\""), "{}", draft.text);
    let paid = parsed(&draft.text).connections[0].paths.clone();
    let paid: Vec<_> = paid.iter().map(|path| (path.name.as_str(), path.tier.default)).collect();
    assert_eq!(paid, [("eth0", 1), ("wlan0", 1), ("usb0", 2)]);
}

#[test]
fn a_commented_path_is_right_once_the_comment_signs_are_taken_away() {
    let draft = drafted(&pi(), &wanted(&["198.51.100.7"]), |_, _| true).unwrap();
    let (before, commented) = draft.text.split_once("# wwan0: ").unwrap();
    let (_, commented) = commented.split_once('\n').unwrap();
    let uncommented: String =
        commented.lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
    let uncommented =
        uncommented.replace("weight = 1 #", "# weight = 1 #").replace("rank = 1 #", "# rank = 1 #");

    assert_eq!(devices(&(before.to_owned() + &uncommented)), ["eth0", "wlan0", "usb0", "wwan0"]);
}

#[test]
fn two_ways_to_the_same_router_are_called_out() {
    let draft = drafted(&pi(), &wanted(&["198.51.100.7"]), |_, _| true).unwrap();

    assert_eq!(draft.warnings.len(), 1, "{:?}", draft.warnings);
    assert!(draft.warnings[0].contains("eth0 and wlan0 lead to the same router 192.168.1.1"));
    assert!(draft.text.contains("# Note: eth0 and wlan0"));
}

#[test]
fn two_default_routes_through_one_link_are_called_out() {
    let mut machine = pi();
    machine.default_routes = vec![route(2, "192.168.1.1"), route(2, "192.168.1.254")];

    let draft = drafted(&machine, &wanted(&["198.51.100.7"]), |_, _| true).unwrap();

    assert!(draft.warnings[0].contains("two default routes go through eth0"), "{:?}", draft.warnings);
    assert_eq!(devices(&draft.text).iter().filter(|device| *device == "eth0").count(), 1);
}

#[test]
fn an_interface_without_a_route_to_the_peer_is_called_out() {
    let draft = drafted(&pi(), &wanted(&["198.51.100.7"]), |interface, _| interface.name != "usb0").unwrap();

    let about: Vec<&String> = draft.warnings.iter().filter(|warning| warning.contains("no route")).collect();
    assert_eq!(about.len(), 1);
    assert!(about[0].contains("usb0"));
}

#[test]
fn a_name_is_taken_by_interfaces_of_the_versions_that_it_has() {
    let machine = Machine {
        interfaces: vec![interface(2, "eth0", &["2001:db8::8"]), interface(3, "wlan0", &["192.168.1.9"])]
            .into(),
        default_routes: Vec::new(),
    };
    let draft = drafted(&machine, &wanted(&["vps.example.net"]), |_, _| true).unwrap();
    let paths = parsed(&draft.text).connections.remove(0).paths;
    let ends: Vec<_> =
        paths.iter().map(|path| (path.local.to_string(), path.remote_name.as_deref())).collect();
    assert_eq!(
        ends,
        [("::".to_owned(), Some("vps.example.net")), ("0.0.0.0".to_owned(), Some("vps.example.net"))]
    );
    assert_eq!(draft.warnings, [""; 0]);

    let draft = drafted(&machine, &wanted(&["nobody.example.net"]), |_, _| true).unwrap();
    assert!(draft.warnings[0].contains("nobody.example.net cannot be resolved now"), "{:?}", draft.warnings);
    assert_eq!(parsed(&draft.text).connections[0].paths.len(), 1);
}

#[test]
fn an_interface_takes_the_remote_of_the_version_it_has() {
    let machine = Machine {
        interfaces: vec![interface(2, "eth0", &["2001:db8::8"]), interface(3, "wlan0", &["192.168.1.9"])]
            .into(),
        default_routes: Vec::new(),
    };
    let draft = drafted(&machine, &wanted(&["198.51.100.7", "2001:db8:1::7"]), |_, _| true).unwrap();
    let config = parsed(&draft.text);
    let remotes: Vec<String> =
        config.connections[0].paths.iter().map(|path| path.remote.to_string()).collect();
    assert_eq!(remotes, ["2001:db8:1::7", "198.51.100.7"]);
}

#[test]
fn an_interface_without_address_is_a_comment_and_none_at_all_is_an_error() {
    let mut machine = pi();
    machine.interfaces = vec![
        interface(2, "eth0", &["192.168.1.8"]),
        Interface { running: true, ..interface(3, "wlan0", &[]) },
    ]
    .into();
    let one = drafted(&machine, &wanted(&["198.51.100.7"]), |_, _| true).unwrap();
    assert_eq!(devices(&one.text), ["eth0"]);
    assert!(one.text.contains("# wlan0: it has no address that leads to the peer."), "{}", one.text);

    machine.interfaces = vec![interface(1, "lo", &["127.0.0.1"]), interface(2, "eth0", &[])].into();
    let none = drafted(&machine, &wanted(&["198.51.100.7"]), |_, _| true).unwrap_err().to_string();
    assert!(none.contains("eth0: it is switched off or has no carrier"), "{none}");
}

#[test]
fn more_interfaces_than_paths_are_cut_at_sixteen() {
    let many = (1u8..=20).map(|n| interface(n.into(), &format!("eth{n}"), &[&format!("10.0.{n}.1")]));
    let machine = Machine { interfaces: many.collect::<Vec<_>>().into(), default_routes: Vec::new() };

    let draft = drafted(&machine, &wanted(&["198.51.100.7"]), |_, _| true).unwrap();

    assert_eq!(devices(&draft.text).len(), 16);
    assert!(draft.warnings[0].contains("at most 16 paths"));
}

#[test]
fn a_draft_has_a_key_and_asks_for_the_peers() {
    let draft = drafted(&pi(), &wanted(&["1.2.3.4"]), |_, _| true).unwrap();
    let config = parsed(&draft.text);
    assert!(config.security.is_some() && config.connections[0].keys.is_some());
    assert!(config.connections[0].paths.iter().all(|path| path.roaming));

    let directory = tempfile::tempdir().expect("a directory");
    crate::keys::create(&directory.path().join("home.key"), &crate::keys::random_private().unwrap()).unwrap();
    let file = directory.path().join("home.toml").display().to_string();
    let error = Config::parse(&draft.text, &file).unwrap_err().to_string();
    assert!(error.contains("connection.public_key = \"\": empty"), "{error}");

    let known = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
    let wanted = Wanted { public_key: Some(known.into()), ..wanted(&["1.2.3.4"]) };
    assert!(
        drafted(&pi(), &wanted, |_, _| true).unwrap().text.contains(&format!("public_key = \"{known}\""))
    );
}
