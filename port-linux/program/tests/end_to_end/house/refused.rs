//! What goes wrong between a server and those who join it: each time a sentence that says what to do, and everything as before.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::host;
use rustix::process::Signal;

use super::{INTERNET, SERVER, World};
use crate::bench::{self, DIRECTORY, FAILED, MISCONFIGURED, Mpt, complains, done, run, until, until_within};
use crate::gateway::{install, without};
use crate::programs::{Tool, all_pass};

/// For what takes some silences.
const MINUTE: Duration = Duration::from_secs(60);

/// The names of all files in a directory.
fn files(directory: &str) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<anyhow::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn two_machines_with_one_line_are_told_of_at_the_server() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let serving = world.serve()?;
        let line = world.peer("add van")?;
        let joined = world.join(&line)?;
        world.until_online(&joined)?;
        // The other one is elsewhere, and reaches the server as well.
        let other = host::Host::create("other")?;
        bench::wire([(&world.net.pc2, "cable", &["172.16.3.20/24"]), (&other, "eth0", &["172.16.3.10/24"])])?;
        other.run("ip route add default via 172.16.3.20")?;
        let elsewhere = format!("{DIRECTORY}/elsewhere");
        fs::create_dir_all(&elsewhere)?;
        done(&other, &format!("join --directory {elsewhere} --no-start"), &line)?;
        let _second = Mpt::with_config(&other, format!("{elsewhere}/server.toml"))?;
        // Each notices by some seconds of silence that the other one has the tunnel.
        until_within(MINUTE, "told of", || {
            Ok(serving.said().contains("van: two machines have its line")
                && serving.said().contains("mpt peer renew van"))
        })
    });
}

#[test]
fn two_peers_with_one_address_are_refused_by_name() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let at_server = &world.at_server;
        let serving = world.serve()?;
        let joined = world.join(&world.peer("add van")?)?;
        world.peer("add boat")?;
        world.until_online(&joined)?;
        let [van, boat] = ["van", "boat"].map(|name| format!("{at_server}/server.d/{name}.toml"));
        let allowed = |file: &str| -> anyhow::Result<String> {
            let text = fs::read_to_string(file)?;
            Ok(text.lines().find(|line| line.starts_with("allowed_ips")).context("addresses")?.to_owned())
        };
        let good = fs::read_to_string(&boat)?;
        fs::write(&boat, good.replace(&allowed(&boat)?, &allowed(&van)?))?;
        let said = serving.complains("reload", FAILED)?;
        let address = allowed(&van)?.split('"').nth(1).context("an address")?.to_owned();
        ensure!(
            said.contains(&address)
                && said.contains("/boat.toml")
                && said.contains("/van.toml")
                && said.contains("nothing was changed"),
            "{said}"
        );
        all_pass(&world.net.pc1, INTERNET.parse()?, 5, "")?;
        fs::write(&boat, good)?;
        serving.done("reload").map(drop)
    });
}

/// Runs `mpt` while the disk of a directory has no page left, one page, two and so on, until it succeeds; `undo` takes that back. Each
/// time before, it complains, and leaves the directory as it was.
fn on_a_full_disk(
    (host, directory): (&host::Host, &str),
    (arguments, input): (&str, &str),
    undo: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    const PAGES: usize = 64;
    let before = files(directory)?;
    let filling = format!("{directory}/.filling");
    for left in 0..PAGES {
        // All that there is, and then less.
        let mut file = fs::File::create(&filling)?;
        let full = loop {
            match file.write(&[b'x'; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break file.metadata()?.len(),
                Err(error) => return Err(error.into()),
            }
        };
        file.set_len(full.saturating_sub(u64::try_from(left)? << 12))?;
        let output = run(host, arguments, input)?;
        fs::remove_file(&filling)?;
        if output.status.success() {
            ensure!(left > 0, "the disk was not full");
            return undo();
        }
        let said = bench::complaint(&output, FAILED)?;
        ensure!(said.contains("cannot write") || said.contains("cannot make"), "{said}");
        ensure!(said.contains("No space left") && said.contains(directory), "{said}");
        ensure!(files(directory)? == before, "{left} pages: {:?}", files(directory)?);
    }
    anyhow::bail!("mpt {arguments} never succeeds")
}

#[test]
fn a_full_disk_at_any_moment_leaves_nothing_half_done() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        let (home, server) = (&world.net.pc1, &world.net.pc2);
        let (at_home, at_server) = (world.at_home.as_str(), world.at_server.as_str());
        let small = |directory: &str| {
            host::run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none", directory]))
                .map(drop)
        };
        small(at_home)?;
        small(at_server)?;
        let setup = format!("server setup --directory {at_server} --no-start");
        on_a_full_disk((server, at_server), (&setup, ""), || Ok(()))?;
        let peers = format!("{at_server}/server.d");
        let add = world.peer_arguments("add boat");
        on_a_full_disk((server, &peers), (&add, ""), || world.peer("remove boat").map(drop))?;
        let line = world.peer("add van")?;
        on_a_full_disk((home, at_home), (&world.join_arguments(), &line), || Ok(()))
    });
}

#[test]
fn without_nft_a_server_says_what_to_install_and_is_not_made() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        let before = World::state(&world.net.pc2)?;
        let setup = format!("server setup --directory {} --no-start", world.at_server);
        let said = without("nft", || complains(&world.net.pc2, &setup, "", FAILED))?;
        ensure!(said.contains("sudo apt install nftables"), "{said}");
        ensure!(files(&world.at_server)?.is_empty(), "{:?}", files(&world.at_server)?);
        ensure!(World::state(&world.net.pc2)? == before, "{}", World::state(&world.net.pc2)?);
        // A house that shares its LAN needs it, too; one that does not, does not.
        world.set_server_up()?;
        let line = world.peer("add van")?;
        let join = world.join_arguments();
        let said = without("nft", || {
            complains(&world.net.pc1, &format!("{join} --share 192.168.6.0/24"), &line, FAILED)
        })?;
        ensure!(said.contains("sudo apt install nftables"), "{said}");
        ensure!(files(&world.at_home)?.is_empty(), "{:?}", files(&world.at_home)?);
        without("nft", || done(&world.net.pc1, &join, &line)).map(drop)
    });
}

#[test]
fn ufw_and_firewalld_are_told_what_they_have_to_let_through() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        let setup = || world.set_server_up();
        let quiet = setup()?;
        ensure!(!quiet.contains("ufw") && !quiet.contains("firewall-cmd"), "{quiet}");
        install(&[
            ("ufw", "#!/bin/sh\necho 'Status: active'\n"),
            ("firewall-cmd", "#!/bin/sh\necho running\n"),
        ])?;
        let said = setup()?;
        for line in [
            "sudo ufw allow 4754/udp",
            "sudo ufw route allow in on mpt0",
            "sudo firewall-cmd --permanent --add-port=4754/udp",
            "--zone=trusted --add-interface=mpt0",
            "sudo firewall-cmd --reload",
        ] {
            ensure!(said.contains(line), "{line}: {said}");
        }
        // Off, they are not spoken of.
        install(&[
            ("ufw", "#!/bin/sh\necho 'Status: inactive'\n"),
            ("firewall-cmd", "#!/bin/sh\necho 'not running'\nexit 252\n"),
        ])?;
        let said = setup()?;
        ensure!(!said.contains("ufw") && !said.contains("firewall-cmd"), "{said}");
        Ok(())
    });
}

/// Has a host, and the tunnel that it will have, without IPv6.
fn switch_ipv6_off(host: &host::Host) -> anyhow::Result<()> {
    ["all", "default"]
        .iter()
        .try_for_each(|name| host.sysctl(&format!("net.ipv6.conf.{name}.disable_ipv6"), "1"))
}

#[test]
fn where_ipv6_is_switched_off_a_tunnel_has_ipv4_alone() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let home = &world.net.pc1;
        let line = world.peer("add van")?;
        switch_ipv6_off(home)?;
        let said =
            complains(home, &format!("{} --network ::/0", world.join_arguments()), &line, MISCONFIGURED)?;
        ensure!(said.contains("--network ::/0: IPv6 is switched off here"), "{said}");
        ensure!(files(&world.at_home)?.is_empty(), "{:?}", files(&world.at_home)?);
        let said = done(home, &world.join_arguments(), &line)?;
        ensure!(said.contains("IPv6 is switched off here"), "{said}");
        let _serving = world.serve()?;
        let joined = Mpt::with_config(home, format!("{}/server.toml", world.at_home))?;
        world.until_online(&joined)?;
        all_pass(home, INTERNET.parse()?, 5, "")?;
        // Switched off later, mpt says what to do about it.
        drop(joined);
        done(home, &format!("leave --directory {}", world.at_home), "")?;
        for name in ["all", "default"] {
            home.sysctl(&format!("net.ipv6.conf.{name}.disable_ipv6"), "0")?;
        }
        done(home, &world.join_arguments(), &line)?;
        switch_ipv6_off(home)?;
        let said = complains(home, &format!("run -c {}/server.toml", world.at_home), "", FAILED)?;
        ensure!(said.contains("IPv6 is switched off") && said.contains("sysctl"), "{said}");
        Ok(())
    });
}

#[test]
fn a_server_whose_kernel_has_no_ipv6_serves_ipv4() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let server = &world.net.pc2;
        switch_ipv6_off(server)?;
        let setup = format!("server setup --directory {} --no-start --network fd00:1::/64", world.at_server);
        let said = complains(server, &setup, "", MISCONFIGURED)?;
        ensure!(said.contains("--network fd00:1::/64: IPv6 is switched off here"), "{said}");
        let said = world.set_server_up()?;
        ensure!(said.contains("IPv6 is switched off here"), "{said}");
        let serving = world.serve()?;
        let joined = world.join(&world.peer("add van")?)?;
        world.until_online(&joined)?;
        all_pass(&world.net.pc1, INTERNET.parse()?, 5, "")?;
        ensure!(!serving.said().contains("rror"), "{}", serving.said());
        Ok(())
    });
}

#[test]
fn a_second_tunnel_that_would_take_everything_is_refused_and_the_first_goes_on() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let _serving = world.serve()?;
        let home = &world.net.pc1;
        let joined = world.join(&world.peer("add van")?)?;
        world.until_online(&joined)?;
        let before = World::state(home)?;
        let at_other = format!("{DIRECTORY}/other");
        fs::create_dir_all(&at_other)?;
        let networks = "--network 10.199.0.0/24 --network fd5a:1b2c:3d4e::/64";
        let other = |arguments: &str| done(&world.internet, arguments, "");
        other(&format!(
            "server setup --name other --directory {at_other} --no-start --endpoint {SERVER} {networks}"
        ))?;
        let line = other(&format!("peer add van --config {at_other}/other.toml"))?;
        let said = complains(home, &world.join_arguments(), &line, FAILED)?;
        ensure!(
            said.contains("mpt0")
                && said.contains("only one tunnel of a host can")
                && said.contains("take the network"),
            "{said}"
        );
        ensure!(
            !files(&world.at_home)?.iter().any(|name| name.starts_with("other")),
            "{:?}",
            files(&world.at_home)?
        );
        ensure!(World::state(home)? == before, "{}", World::state(home)?);
        all_pass(home, INTERNET.parse()?, 5, "")
    });
}

#[test]
fn a_server_that_does_not_answer_is_named_with_what_may_be_the_reason() {
    bench::test(&[Tool::Nft], || {
        let world = World::with_server()?;
        // Nobody serves. A systemd that starts what it should.
        let line = world.peer("add van")?;
        fs::create_dir_all("/run/systemd/system")?;
        host::run(Command::new("mount").args(["-t", "tmpfs", "none", "/etc/systemd/system"]))?;
        fs::write("/etc/systemd/system/mpt@.service", "")?;
        let (mpt, home) = (bench::mpt(), &world.at_home);
        let mpt = mpt.get_program().to_string_lossy().into_owned();
        let systemctl = format!(
            "#!/bin/sh\ncase $1 in\nenable) {mpt} run -c {home}/server.toml >/run/house.log 2>&1 & echo $! >/run/house.pid ;;\n\
             disable) kill $(cat /run/house.pid); while grep -q '^State:.[^Z]' /proc/$(cat /run/house.pid)/status; do sleep 0.1; done ;;\nesac\n"
        );
        install(&[("systemctl", &systemctl)])?;
        let before = World::state(&world.net.pc1)?;
        let said = complains(&world.net.pc1, &format!("join --directory {home}"), &line, FAILED)?;
        for words in [
            &format!("no answer from {SERVER} port 4754"),
            "journalctl -u mpt@server",
            "sudo mpt leave server",
        ] {
            ensure!(said.contains(words), "{words}: {said}");
        }
        // The server's host says so, as often as it may.
        let causes = [
            "says that nobody listens on UDP port 4754",
            "does mpt run there, and does the provider's firewall let UDP in?",
        ];
        ensure!(causes.iter().any(|cause| said.contains(cause)), "{said}");
        // What it says helps: once the server serves, the tunnel is there, and `mpt leave` takes everything back.
        let mut serving = world.serve()?;
        until("online", || world.is_online())?;
        done(&world.net.pc1, &format!("leave --directory {home}"), "")?;
        ensure!(
            files(home)?.is_empty() && World::state(&world.net.pc1)? == before,
            "{}",
            World::state(&world.net.pc1)?
        );
        ensure!(serving.end(Signal::TERM)?.success());
        Ok(())
    });
}
