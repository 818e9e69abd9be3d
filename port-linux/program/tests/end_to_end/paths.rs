//! Paths that come and go while their connection goes on: by `mpt path`, and by a configuration that is read again.

use anyhow::ensure;
use mpt_lab::relay::link::Links;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use port_linux::report::{ConnectionReport, State};

use crate::bench::{self, FAILED, Mpt, Settings};
use crate::programs::{Background, Pings, Tool};

/// Two hosts with three links, and mpt with paths over the first two.
struct World {
    net: Topology,
    pc1: Mpt,
    pc2: Mpt,
}

fn settings(side: Side, paths: u8, policy: &str) -> Settings {
    Settings::new(side, Stack::V4OverV4, paths).connection("policy", policy)
}

impl World {
    fn start(policy: &str) -> anyhow::Result<Self> {
        Self::start_on(Topology::build(3, None)?, policy)
    }

    fn start_on(net: Topology, policy: &str) -> anyhow::Result<Self> {
        let start = |side| Mpt::start(net.host(side), &settings(side, 2, policy));
        let (pc1, pc2) = (start(Side::Pc1)?, start(Side::Pc2)?);
        pc1.until_up()?;
        pc2.until_up()?;
        Ok(Self { net, pc1, pc2 })
    }

    /// Pings while something is done, all of which are answered.
    fn pinging(&self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let to = Side::Pc2.tunnel_address(Version::V4);
        let pings = Background::start(&self.net.pc1, to, 1000, "-i 0.01 -W 2")?;
        work()?;
        let Pings { sent, received, .. } = pings.finish()?;
        ensure!(sent == 1000 && received == sent, "{received} of {sent} pings: {}", self.pc1.said());
        Ok(())
    }
}

fn is_up_on(count: usize) -> impl Fn(&ConnectionReport) -> bool {
    move |c| c.paths.len() == count && c.paths.iter().all(|path| path.state == State::Up)
}

/// Datagrams that came on a path.
fn received(mpt: &Mpt, name: &str) -> anyhow::Result<u64> {
    let report = mpt.connection()?;
    Ok(report.paths.iter().find(|path| path.name == name).map_or(0, |path| path.rx_datagrams))
}

fn handshakes(mpt: &Mpt) -> anyhow::Result<Option<u32>> {
    Ok(mpt.connection()?.seal.map(|seal| seal.handshakes))
}

fn a_path_comes_and_goes(world: &World) -> anyhow::Result<()> {
    let World { pc1, pc2, .. } = &world;
    let before = handshakes(pc1)?;
    world.pinging(|| {
        let said = pc1.path("add pc2 third --local 172.16.3.10 --remote 172.16.3.20")?;
        ensure!(said == "pc2/third is added\n", "{said}");
        pc2.path("add pc1 third --local 172.16.3.20 --remote 172.16.3.10")?;
        pc1.until("up on three", is_up_on(3))?;
        pc2.until("up on three", is_up_on(3))?;
        let so_far = received(pc2, "third")?;
        pc2.until("traffic on it", |c| c.paths[2].rx_datagrams > so_far + 10)?;
        let said = pc1.path("remove third")?;
        ensure!(said == "pc2/third is removed\n", "{said}");
        pc2.until_down(3, &["deaf", "silent"])?;
        ensure!(pc1.connection()?.paths.len() == 2);
        pc2.path("remove third").map(drop)
    })?;
    assert_eq!(handshakes(pc1)?, before, "the connection began anew");
    // The place is free for another one.
    for _ in 0..2 {
        pc1.path("add pc2 again --device eth3 --remote 172.16.3.20")?;
        pc2.path("add pc1 again --device eth3 --remote 172.16.3.10")?;
        pc1.until("up on three", is_up_on(3))?;
        pc2.until("up on three", is_up_on(3))?;
        pc1.path("remove pc2/again")?;
        pc2.path("remove pc1/again")?;
    }
    Ok(())
}

#[test]
fn a_path_is_added_and_removed_while_no_ping_is_lost() {
    bench::test(&[Tool::Ping], || a_path_comes_and_goes(&World::start("adaptive")?));
}

#[test]
fn by_weight_and_with_packets_under_way_as_well() {
    bench::test(&[Tool::Ping], || {
        let Links(links) = "20mbit 80ms, 20mbit 80ms, 20mbit 80ms".parse().map_err(anyhow::Error::msg)?;
        a_path_comes_and_goes(&World::start_on(Topology::emulate(&links, 1)?, "weighted")?)
    });
}

#[test]
fn reload_changes_paths_of_a_connection_that_goes_on() {
    bench::test(&[Tool::Ping], || {
        let world = World::start("weighted")?;
        let World { pc1, pc2, .. } = &world;
        let before = handshakes(pc1)?;
        let three = |side| settings(side, 3, "weighted");
        world.pinging(|| {
            let said = pc1.reload(&three(Side::Pc1))?;
            ensure!(said == "path pc2/path3 added, 1 as before\n", "{said}");
            pc2.reload(&three(Side::Pc2))?;
            pc1.until("up on three", is_up_on(3))?;
            pc2.until("up on three", is_up_on(3))?;
            // Another weight is another path; what the other end sends there meanwhile is taken in.
            let said = pc1.reload(&three(Side::Pc1).path(3, "weight", 5))?;
            ensure!(said == "path pc2/path3 changed, 1 as before\n", "{said}");
            pc1.until("up with it", |c| is_up_on(3)(c) && c.paths.iter().any(|path| path.weight == 5))?;
            let said = pc1.reload(&three(Side::Pc1).without_path(1))?;
            ensure!(said.contains("path pc2/path1 removed"), "{said}");
            pc1.until("up on two", is_up_on(2)).map(drop)
        })?;
        assert_eq!(handshakes(pc1)?, before, "the connection began anew");

        // One that was added by hand stays, unless the file has it meanwhile.
        pc1.path("add pc2 hand --device eth1 --remote 172.16.1.20")?;
        let said = pc1.reload(&settings(Side::Pc1, 3, "weighted").without_path(1))?;
        ensure!(said.contains("as before"), "{said}");
        pc1.until("up on three", is_up_on(3))?;

        // What concerns the connection itself makes it begin anew, as ever.
        let said = pc1.reload(&three(Side::Pc1).connection("slices", false))?;
        ensure!(said.contains("pc2 changed"), "{said}");
        pc1.until("up", |c| c.paths.iter().filter(|path| path.state == State::Up).count() >= 3)?;
        Ok(())
    });
}

#[test]
fn what_cannot_be_added_or_removed_is_refused_and_changes_nothing() {
    bench::test(&[], || {
        let net = Topology::build(1, None)?;
        let pc1 = Mpt::start(&net.pc1, &Settings::new(Side::Pc1, Stack::V4OverV4, 1))?;
        let refusals = [
            ("add pc7 x --device eth1", "no connection is named pc7; there are pc2"),
            ("add pc2 path1 --device eth1", "name = \"path1\": path pc2/path1 has this name already"),
            ("add pc2 x", "the unspecified address does not tell the interface, and `device` is missing"),
            (
                "add pc2 x --device eth1 --tier 9",
                "tier = 9: out of range; allowed: a whole number from 1 to 8",
            ),
            ("add pc2 x --local 172.16.77.1", "is not an address of this machine"),
            (
                "add pc2 x --local 172.16.1.10 --remote 172.16.1.20",
                "has the same addresses, ports and device",
            ),
            ("remove path7", "no path is named path7; there are pc2/path1"),
            ("remove path1", "path1 is the only path of pc2"),
        ];
        let before = pc1.connection()?.paths.len();
        for (arguments, part) in refusals {
            let said = pc1.complains(&format!("path {arguments}"), FAILED)?;
            ensure!(said.contains(part), "{arguments}: {said}");
        }
        ensure!(pc1.connection()?.paths.len() == before);
        Ok(())
    });
}

#[test]
fn a_path_comes_while_another_one_has_lost_its_address() {
    bench::test(&[Tool::Ping], || {
        let world = World::start("adaptive")?;
        let World { pc1, pc2, net } = &world;
        net.pc1.run("ip address del 172.16.1.10/24 dev eth1")?;
        pc1.until_down(1, &["link"])?;
        pc1.path("add pc2 third --device eth3 --remote 172.16.3.20")?;
        pc2.path("add pc1 third --device eth3 --remote 172.16.3.10")?;
        pc1.until("the third one", |c| c.paths.len() == 3 && c.paths[2].state == State::Up)?;
        net.pc1.run("ip address add 172.16.1.10/24 dev eth1")?;
        pc1.until("up on three", is_up_on(3)).map(drop)
    });
}
