//! Two servers, of which one takes over when the other does not answer.

use std::fs;

use anyhow::{Context as _, ensure};
use mpt_lab::host::Host;
use mpt_lab::topology::Topology;
use port_linux::report::Report;
use rustix::process::Signal;

use crate::bench::{self, DIRECTORY, MISCONFIGURED, Mpt, complains, done, wire};
use crate::programs::{Tool, all_pass};

/// A host behind both servers.
const INSIDE: &str = "203.0.113.9";

/// PC1, and two servers which both have the address 10.8.0.1 in the tunnel.
struct World {
    net: Topology,
    other: Host,
    /// The client's public key.
    client: String,
    /// Those of the servers.
    servers: [String; 2],
}

impl World {
    fn build() -> anyhow::Result<Self> {
        let net = Topology::build(1, None)?;
        let other = Host::create("other")?;
        wire([(&net.pc1, "eth2", &["198.18.0.10/24"]), (&other, "eth0", &["198.18.0.20/24"])])?;
        for server in [&net.pc2, &other] {
            server.run(&format!("ip address add {INSIDE}/32 dev lo"))?;
        }
        fs::create_dir_all(DIRECTORY)?;
        let key = |host: &Host| -> anyhow::Result<String> {
            let said = done(host, &format!("genkey -o {DIRECTORY}/{}.key", host.name()), "")?;
            Ok(said.split_whitespace().last().context("no key")?.to_owned())
        };
        let (client, servers) = (key(&net.pc1)?, [key(&net.pc2)?, key(&other)?]);
        Ok(Self { net, other, client, servers })
    }

    fn start_server(&self, host: &Host) -> anyhow::Result<Mpt> {
        let name = host.name();
        let peers = format!("{DIRECTORY}/{name}.d");
        fs::create_dir_all(&peers)?;
        let van = format!("public_key = \"{}\"\nallowed_ips = [\"10.8.0.2\"]\n", self.client);
        fs::write(format!("{peers}/van.toml"), van)?;
        let file = format!("{DIRECTORY}/{name}.toml");
        fs::write(
            &file,
            format!(
                "[security]\nprivate_key_file = \"{name}.key\"\n[tunnel]\nname = \"{}\"\naddress = [\"10.8.0.1/24\"]\n[listen]\npeers = \"{name}.d\"\n",
                bench::DEVICE
            ),
        )?;
        Mpt::with_config(host, file)
    }

    /// The client's configuration, with more keys in the connection to the second server.
    fn config(&self, more: &str) -> String {
        let [first, second] = &self.servers;
        let connection = |name: &str, key: &str, link: &str, remote: &str, keys: &str| {
            format!(
                "[[connection]]\nname = \"{name}\"\npeer = [\"10.8.0.1\"]\npublic_key = \"{key}\"\n\
                 liveness = {{ interval_ms = 50, idle_ms = 100, dead_ms = 1500 }}\n{keys}\n\
                 [[connection.path]]\nname = \"{link}\"\ndevice = \"{link}\"\nlocal = \"0.0.0.0\"\nremote = \"{remote}\"\n"
            )
        };
        let network = "[[connection.network]]\nto = \"203.0.113.0/24\"\n";
        format!(
            "[security]\nprivate_key_file = \"PC1.key\"\n[tunnel]\nname = \"{}\"\naddress = [\"10.8.0.2/24\"]\n{}{network}{}",
            bench::DEVICE,
            connection("first", first, "eth1", "172.16.1.20", ""),
            connection("second", second, "eth2", "198.18.0.20", more)
        )
    }

    fn start_client(&self, more: &str) -> anyhow::Result<Mpt> {
        let file = format!("{DIRECTORY}/PC1.toml");
        fs::write(&file, self.config(more))?;
        Mpt::with_config(&self.net.pc1, file)
    }

    /// Waits until packets take this server, and a host behind it answers.
    fn until_used(&self, client: &Mpt, name: &str) -> anyhow::Result<()> {
        let used = |report: &Report| {
            report
                .connections
                .iter()
                .filter(|it| it.used == Some(true))
                .map(|it| it.name.clone())
                .collect::<Vec<_>>()
        };
        client.until_around(name, || Ok(used(&client.status()?) == [name]))?;
        all_pass(&self.net.pc1, INSIDE.parse()?, 20, "")
    }
}

#[test]
fn a_second_server_takes_over_and_the_first_one_comes_back() {
    bench::test(&[Tool::Ping], || {
        let world = World::build()?;
        let mut first = world.start_server(&world.net.pc2)?;
        let second = world.start_server(&world.other)?;
        let client = world.start_client("standby_of = \"first\"\nstandby_after_s = 2\nstandby_back_s = 4")?;
        world.until_used(&client, "first")?;
        let sent = |server: &Mpt| anyhow::Ok(server.connection()?.counters.tx_packets);
        ensure!(sent(&first)? >= 20 && sent(&second)? == 0, "the second one has nothing to do");
        // Nothing tells the client that it is gone.
        first.end(Signal::KILL)?;
        world.until_used(&client, "second")?;
        ensure!(sent(&second)? >= 20);
        let status = client.done("status")?;
        ensure!(
            status.contains("in use, as first does not answer")
                && status.contains("another one has taken over"),
            "{status}"
        );
        let first = world.start_server(&world.net.pc2)?;
        world.until_used(&client, "first")?;
        ensure!(sent(&first)? >= 20);
        let said = client.said();
        ensure!(
            said.contains(" s: packets take second")
                && said.contains("first has answered for 4 s: packets take it again"),
            "{said}"
        );

        // A file that is read again changes nothing of it; without the second one there is no choice.
        let without =
            world.config("").split("[[connection]]\nname = \"second\"").next().unwrap_or_default().to_owned();
        fs::write(format!("{DIRECTORY}/PC1.toml"), without)?;
        let said = client.done("reload")?;
        ensure!(said == "second removed, 1 as before\n", "{said}");
        ensure!(client.connection()?.used.is_none());
        all_pass(&world.net.pc1, INSIDE.parse()?, 20, "")
    });
}

#[test]
fn one_that_took_over_stays_if_that_is_wanted() {
    bench::test(&[Tool::Ping], || {
        let world = World::build()?;
        let _second = world.start_server(&world.other)?;
        let client = world.start_client("standby_of = \"first\"\nstandby_after_s = 1\nstandby_back_s = 0")?;
        // The first one was never there.
        world.until_used(&client, "second")?;
        let _first = world.start_server(&world.net.pc2)?;
        let up = |report: &Report| {
            report
                .connections
                .iter()
                .all(|it| it.paths.iter().all(|path| path.state == port_linux::report::State::Up))
        };
        client.until_around("both up", || Ok(up(&client.status()?)))?;
        std::thread::sleep(std::time::Duration::from_secs(3));
        world.until_used(&client, "second")
    });
}

#[test]
fn what_does_not_go_with_a_standby_is_refused() {
    bench::test(&[], || {
        let world = World::build()?;
        let check = |more: &str| {
            fs::write(format!("{DIRECTORY}/PC1.toml"), world.config(more))?;
            complains(&world.net.pc1, &format!("check {DIRECTORY}/PC1.toml"), "", MISCONFIGURED)
        };
        for (more, parts) in [
            ("", ["connection.peer = \"10.8.0.1\"", "packets to it would have two ways"]),
            (
                "standby_of = \"third\"",
                ["connection.standby_of = \"third\": no such connection", "stands by for none: first"],
            ),
            (
                "standby_after_s = 5",
                ["connection.standby_after_s = 5: the connection stands by for none", "standby_of"],
            ),
            (
                "standby_of = \"first\"\nstandby_after_s = 0",
                ["connection.standby_after_s = 0", "from 1 to 3600"],
            ),
            (
                "standby_of = \"first\"\n[[connection.network]]\nto = \"192.168.9.0/24\"",
                ["it has the networks of first", "no [[connection.network]] here"],
            ),
        ] {
            let said = check(more)?;
            ensure!(parts.iter().all(|part| said.contains(part)), "{more}: {said}");
        }
        Ok(())
    });
}
