//! What mpt says when this machine does not let it start, and what it waits for.

use std::fs;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use mpt_lab::host::run;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};

use crate::bench::{self, DIRECTORY, FAILED, Mpt, Settings, mpt, refused, says};
use crate::programs::Tool;

fn settings() -> Settings {
    Settings::new(Side::Pc1, Stack::V4OverV4, 1).clear()
}

/// `mpt run` as root without some capabilities, with a control socket in this directory.
fn without(
    net: &Topology,
    capabilities: &[&str],
    settings: &Settings,
    control: &str,
) -> anyhow::Result<Output> {
    fs::create_dir_all(DIRECTORY)?;
    let file = format!("{DIRECTORY}/start.toml");
    fs::write(&file, settings.text())?;
    let dropped: Vec<String> = capabilities.iter().map(|name| format!("-{name}")).collect();
    let mut command = net.pc1.command("timeout");
    command.args(["20", "setpriv"]).arg(format!("--bounding-set={}", dropped.join(",")));
    command.arg(format!("--inh-caps={}", dropped.join(","))).arg(mpt().get_program());
    Ok(command.args(["run", "-c", &file, "--control", &format!("{control}/PC1.sock")]).output()?)
}

#[test]
fn a_privileged_port_is_refused_with_the_capability_that_it_needs() {
    bench::test(&[Tool::Setpriv], || {
        let net = Topology::build(1, None)?;
        let output = without(&net, &["net_bind_service"], &settings().connection("port", 443), DIRECTORY)?;
        says(
            &output,
            FAILED,
            &[
                "cannot bind UDP 172.16.1.10:443",
                "CAP_NET_BIND_SERVICE",
                "sudo setcap cap_net_admin,cap_net_bind_service+ep",
            ],
        );
        Ok(())
    });
}

#[test]
fn all_that_an_ordinary_user_lacks_is_said_at_once() {
    bench::test(&[Tool::Setpriv], || {
        let net = Topology::build(1, None)?;
        let closed = "/run/closed";
        run(Command::new("install").args(["-d", "-m", "555", closed]))?;
        let output = without(&net, &["net_admin", "dac_override"], &settings(), closed)?;
        let directory = format!("sudo install -d -o $(id -un) {closed}");
        says(
            &output,
            FAILED,
            &["CAP_NET_ADMIN", "sudo setcap cap_net_admin+ep", "may not make the control socket", &directory],
        );
        Ok(())
    });
}

#[test]
fn a_tunnel_device_that_cannot_be_opened_is_told_with_what_mends_it() {
    bench::test(&[], || {
        let net = Topology::build(1, None)?;
        run(Command::new("mount").args(["--bind", "/dev/net", "/dev/net"]))?;
        run(Command::new("mount").args(["-o", "remount,bind,nodev", "/dev/net"]))?;
        says(
            &refused(&net.pc1, &settings())?,
            FAILED,
            &["/dev/net/tun cannot be opened", "nodev", "sudo mount -o remount,dev"],
        );
        run(Command::new("mount").args(["-t", "tmpfs", "none", "/dev/net"]))?;
        says(&refused(&net.pc1, &settings())?, FAILED, &["/dev/net/tun does not exist", "sudo modprobe tun"]);
        Ok(())
    });
}

#[test]
fn a_port_that_is_free_a_moment_later_is_waited_for() {
    bench::test(&[], || {
        let net = Topology::build(1, None)?;
        let address = format!("{}:4754", Side::Pc1.address(1, Version::V4));
        let holder = net.pc1.inside(|| std::net::UdpSocket::bind(&address))??;
        let release = thread::spawn(move || {
            thread::sleep(Duration::from_millis(400));
            drop(holder);
        });
        Mpt::start(&net.pc1, &settings())?;
        release.join().expect("it does not panic");
        Ok(())
    });
}
