//! Packets that leave past the tunnel in spite of a default route through it: `tunnel.direct`.

use mpt_lab::host::Host;
use rustix::process::Signal;

use super::lan::{lan, list, start_server, with_both};
use super::{INTERNET, World, client, client_with, reaches_the_internet};
use crate::bench::{self, DEVICE, Settings, complaint, refused, until};
use crate::programs::{Tool, iperf3};

/// Both versions of the host of the Internet answer a host: over TCP to iperf3's port, 5201.
fn transfers(world: &World, from: &Host) -> anyhow::Result<()> {
    for to in INTERNET {
        iperf3(&world.internet, from, to.parse()?, "-n 200K")?;
    }
    Ok(())
}

/// PC1, everything of which takes the tunnel, but for these.
fn with_direct(exceptions: &[&str]) -> Settings {
    with_both(client().tunnel("direct", list(exceptions)))
}

#[test]
fn networks_ports_and_users_leave_past_the_tunnel_and_nothing_else() {
    bench::test(&[Tool::Ping, Tool::Nft, Tool::Iperf3], || {
        let world = World::build()?;
        let pc1 = &world.net.pc1;
        let _server = start_server(&world)?;
        let before = world.state()?;
        let mut past = 0;
        let mut grown = || -> anyhow::Result<u64> {
            let now = world.past_the_tunnel()?;
            Ok(now - std::mem::replace(&mut past, now))
        };

        // Five pings over IPv4, and none over IPv6.
        let mut client = world.start_client(&with_direct(&["203.0.113.0/25"]))?;
        reaches_the_internet(pc1, 5)?;
        assert_eq!(grown()?, 5);
        let way = world.way(INTERNET[0])?;
        assert!(way.contains("dev eth1") && way.contains("src 172.16.1.10"), "{way}");
        assert!(client.end(Signal::TERM)?.success());
        assert_eq!(world.state()?, before);

        // A program asks for the route before there is a port: its packets have the tunnel's address at first.
        let mut client = world.start_client(&with_direct(&["tcp 5000-5300", "user 65534"]))?;
        reaches_the_internet(pc1, 5)?;
        assert_eq!(grown()?, 0);
        transfers(&world, pc1)?;
        assert!(grown()? > 20, "both transfers");
        assert!(client.end(Signal::TERM)?.success());
        assert_eq!(world.state()?, before);

        let mut client = world.start_client(&with_direct(&["user 0"]))?;
        reaches_the_internet(pc1, 5)?;
        assert_eq!(grown()?, 10);
        assert!(client.connection()?.paths.iter().all(|path| path.tx_bytes > 0), "the paths carry on");
        assert!(client.end(Signal::TERM)?.success());
        assert_eq!(world.state()?, before);
        Ok(())
    });
}

#[test]
fn what_a_lan_sends_to_a_port_leaves_past_the_tunnel_whichever_rules_lead_into_it() {
    bench::test(&[Tool::Ping, Tool::Nft, Tool::Iperf3], || {
        let world = World::build()?;
        let lan = lan(&world)?;
        // As a router at home does without mpt.
        world.pc1("nft add table inet home")?;
        world.pc1("nft add chain inet home out { type nat hook postrouting priority srcnat ; }")?;
        world.pc1("nft add rule inet home out oifname eth1 iifname lan masquerade")?;
        let _server = start_server(&world)?;
        let before = world.state()?;
        let lan_only = [("0.0.0.0/0", Some("192.168.6.0/24")), ("::/0", Some("fd06::/64"))];
        for settings in [client(), client_with(&lan_only)] {
            let settings = settings.tunnel("direct", list(&["tcp 5201"])).tunnel("share", list(&["lan"]));
            let past = world.past_the_tunnel()?;
            let mut client = world.start_client(&with_both(settings))?;
            reaches_the_internet(&lan, 5)?;
            assert_eq!(world.past_the_tunnel()?, past);
            transfers(&world, &lan)?;
            assert!(world.past_the_tunnel()? > past + 20);
            assert!(client.end(Signal::TERM)?.success());
            assert_eq!(world.state()?, before);
        }
        Ok(())
    });
}

#[test]
fn exceptions_come_back_and_are_cleaned_away_like_the_rest() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let _server = start_server(&world)?;
        let before = world.state()?;
        let settings = with_direct(&["203.0.113.0/25", "2001:db8:9::/64", "udp 53"]);
        let mut client = world.start_client(&settings)?;
        let during = world.state()?;
        world.pc1("ip -4 rule del priority 14753")?;
        world.pc1(&format!("nft delete table inet mpt_{DEVICE}"))?;
        until("all back", || Ok(world.state()? == during))?;
        reaches_the_internet(&world.net.pc1, 5)?;
        assert_eq!(world.past_the_tunnel()?, 10);

        client.end(Signal::KILL)?;
        let said = world.clean(DEVICE)?;
        let rule = "removed: `ip -6 rule` 14753: from all to 2001:db8:9::/64 lookup main";
        assert!(said.contains(rule), "{said}");
        assert_eq!(world.state()?, before);

        // Other exceptions than those of one that was killed.
        world.start_client(&settings)?.end(Signal::KILL)?;
        let mut client = world.start_client(&with_direct(&["tcp 22"]))?;
        let state = world.state()?;
        assert!(!state.contains("14753:") && !state.contains("udp dport") && state.contains("tcp dport 22"));
        assert!(client.end(Signal::TERM)?.success());
        assert_eq!(world.state()?, before);

        // What is in the way, and what the host does not know.
        world.pc1("ip rule add priority 14753 from 192.0.2.1 lookup main")?;
        let said = complaint(&refused(&world.net.pc1, &settings)?, 1)?;
        assert!(said.contains("sudo ip -4 rule delete priority 14753"), "{said}");
        world.pc1("ip rule del priority 14753")?;
        let said = complaint(&refused(&world.net.pc1, &with_direct(&["user no-such-user"]))?, 1)?;
        assert!(
            said.contains("cannot set the nft table mpt_tun0") && said.contains("no-such-user"),
            "{said}"
        );
        assert_eq!(world.state()?, before);
        Ok(())
    });
}
