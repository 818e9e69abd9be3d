//! What mpt refuses, and how: with a message that says what to do, the right exit code, and before anything is
//! changed.

use std::fs::{self, File};
use std::process::{Command, Output};

use anyhow::ensure;
use mpt_lab::host;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};

use crate::bench::{
    self, DEVICE, DIRECTORY, FAILED, MISCONFIGURED, Mpt, Settings, mpt, mpt_on, refused, says, until,
};
use crate::programs::{Tool, all_pass};

/// In the clear, as files of these names have no key beside them.
fn settings() -> Settings {
    Settings::new(Side::Pc1, Stack::V4OverV4, 2).clear()
}

/// Everything that `mpt run` could have changed on a host.
fn state(net: &Topology) -> anyhow::Result<String> {
    let links = net.pc1.run("ip -brief link show")?;
    let addresses = net.pc1.run("ip -brief address show scope global")?;
    let routes = bench::routes(&net.pc1)?;
    // Their local addresses: what waits in them is traffic.
    let sockets = net.pc1.run("ss -Hlnu")?;
    let sockets: Vec<_> = sockets.lines().map(|line| line.split_whitespace().nth(3)).collect();
    let control = fs::exists(format!("{DIRECTORY}/PC1.sock"))?;
    Ok(format!("{links}{addresses}{routes}{sockets:?}{control}"))
}

/// `mpt run` refuses these settings, and has changed nothing.
fn refuses(net: &Topology, settings: &Settings, code: i32, parts: &[&str]) -> anyhow::Result<()> {
    // The kernel tells of a new link's carrier when it finds time to.
    until("a carrier", || Ok(!net.pc1.run("ip -brief link show")?.contains("NO-CARRIER")))?;
    let before = state(net)?;
    says(&refused(&net.pc1, settings)?, code, parts);
    assert_eq!(state(net)?, before);
    Ok(())
}

#[test]
fn a_bad_key_is_named_with_file_line_and_what_is_allowed() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bad.toml");
    fs::write(&file, "[tunnel]\naddress = [\"10.0.0.1/24\"]\ncolour = 1\n").expect("a file");
    let at =
        format!("{}:3: tunnel.colour = 1: unknown key; allowed: name, address, mtu, queue", file.display());
    let run = mpt().arg("run").arg("-c").arg(&file).output().expect("mpt");
    says(&run, MISCONFIGURED, &[&at, "3 | colour = 1"]);
    let check = mpt().arg("check").arg(&file).output().expect("mpt");
    says(&check, MISCONFIGURED, &[&at]);
}

#[test]
fn two_paths_of_one_name_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bad.toml");
    fs::write(&file, settings().path(2, "name", "path1").text()).expect("a file");
    let run = mpt().arg("run").arg("-c").arg(&file).output().expect("mpt");
    says(&run, MISCONFIGURED, &["bad.toml:", "connection.path.name = \"path1\"", "allowed: "]);
}

#[test]
fn a_missing_file_is_named() {
    let run = mpt().args(["run", "-c", "/nowhere/mpt.toml"]).output().expect("mpt");
    says(&run, MISCONFIGURED, &["/nowhere/mpt.toml: cannot be read: No such file"]);
}

#[test]
fn a_command_that_does_not_exist_is_a_usage_error() {
    says(&mpt().arg("fly").output().expect("mpt"), MISCONFIGURED, &["fly", "--help"]);
}

#[test]
fn status_without_a_daemon_says_how_to_start_one() {
    let nowhere = ["--control", "/nowhere/mpt0.sock"];
    for command in [&["status"][..], &["status", "--json"], &["path", "down", "lte"]] {
        let output = mpt().args(command).args(nowhere).output().expect("mpt");
        says(&output, FAILED, &["no mpt is running behind /nowhere/mpt0.sock", "sudo mpt run -c FILE"]);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error_and_not_a_panic() {
    let full = || File::options().write(true).open("/dev/full").expect("/dev/full");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/pc1.toml");
    let output = mpt().args(["check", example]).stdout(full()).output().expect("mpt");
    says(&output, FAILED, &["cannot write to standard output: No space left on device"]);
}

#[test]
fn a_port_in_use_is_refused_before_anything_is_changed() {
    bench::test(&[], || {
        let net = Topology::build(2, None)?;
        let address = format!("{}:4754", Side::Pc1.address(2, Version::V4));
        let _holder = net.pc1.inside(|| std::net::UdpSocket::bind(&address))??;
        refuses(
            &net,
            &settings(),
            FAILED,
            &["cannot bind UDP 172.16.2.10:4754", "ss -ulpn sport = :4754", "Address already in use"],
        )
    });
}

#[test]
fn an_address_that_is_not_on_the_machine_is_refused_before_anything_is_changed() {
    bench::test(&[], || {
        let net = Topology::build(2, None)?;
        refuses(
            &net,
            &settings().path(2, "local", "192.0.2.7"),
            FAILED,
            &[
                "path path2 of connection pc2",
                "local = \"192.0.2.7\" is not an address of this machine, which has ",
                "172.16.2.10",
            ],
        )
    });
}

#[test]
fn an_interface_name_that_is_taken_is_refused_before_anything_is_changed() {
    bench::test(&[], || {
        let net = Topology::build(2, None)?;
        let said = ["the interface eth2 exists already", "choose another name in [tunnel]"];
        refuses(&net, &settings().tunnel("name", "eth2"), FAILED, &said)
    });
}

#[test]
fn a_second_instance_is_refused_and_the_first_goes_on() {
    bench::test(&[Tool::Ping], || {
        let tunnel = bench::Tunnel::start(1, Stack::V4OverV4, bench::unchanged)?;
        let net = &tunnel.net;
        let same = Settings::new(Side::Pc1, Stack::V4OverV4, 1);
        refuses(net, &same, FAILED, &["another mpt is running behind /run/mpt-test/PC1.sock"])?;
        // Behind another control socket, it is the interface that is taken; with another interface, the port.
        let second = |settings: &Settings| -> anyhow::Result<Output> {
            let file = format!("{DIRECTORY}/second.toml");
            fs::write(&file, settings.text())?;
            Ok(mpt_on(&net.pc1, &format!("run -c {file} --control /run/second.sock")).output()?)
        };
        says(&second(&same)?, FAILED, &["the interface tun0 exists already"]);
        says(&second(&same.tunnel("name", "tun1"))?, FAILED, &["cannot bind UDP 172.16.1.10:4754"]);
        assert!(!fs::exists("/run/second.sock")?);

        all_pass(&net.pc1, Side::Pc2.tunnel_address(Version::V4), 10, "")
    });
}

#[test]
fn without_the_capability_it_is_named_together_with_the_command_that_gives_it() {
    bench::test(&[Tool::Setpriv], || {
        let net = Topology::build(2, None)?;
        fs::create_dir_all(DIRECTORY)?;
        let file = format!("{DIRECTORY}/unprivileged.toml");
        fs::write(&file, settings().text())?;
        let before = state(&net)?;
        let mut command = net.pc1.command("setpriv");
        command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]).arg(mpt().get_program());
        command.args(["run", "-c", &file, "--control", &format!("{DIRECTORY}/PC1.sock")]);
        says(&command.output()?, FAILED, &["CAP_NET_ADMIN", "sudo setcap cap_net_admin+ep"]);
        assert_eq!(state(&net)?, before);
        Ok(())
    });
}

/// `mpt run` with a control socket at this place fails, and leaves no interface behind.
fn refuses_control(net: &Topology, control: &str, parts: &[&str]) -> anyhow::Result<()> {
    let before = state(net)?;
    let file = format!("{DIRECTORY}/control.toml");
    fs::create_dir_all(DIRECTORY)?;
    fs::write(&file, settings().text())?;
    let output = mpt_on(&net.pc1, &format!("run -c {file} --control {control}")).output()?;
    says(&output, FAILED, parts);
    ensure!(state(net)? == before, "something was changed");
    Ok(())
}

#[test]
fn a_control_socket_that_cannot_be_made_is_refused_before_anything_is_changed() {
    bench::test(&[], || {
        let net = Topology::build(2, None)?;
        for (directory, options) in [("/run/full", "nr_inodes=1"), ("/run/sealed", "ro")] {
            fs::create_dir(directory)?;
            let mut mount = Command::new("mount");
            host::run(mount.args(["-t", "tmpfs", "-o", options, "tmpfs", directory]))?;
        }
        let cannot = "cannot make the control socket";
        refuses_control(&net, "/run/full/mpt.sock", &[cannot, "/run/full/mpt.sock", "No space left"])?;
        refuses_control(&net, "/run/sealed/mpt.sock", &[cannot, "Read-only file system"])?;
        refuses_control(
            &net,
            "/dev/full",
            &["/dev/full is in the way of the control socket, and is no socket"],
        )?;
        refuses_control(&net, "/dev/null/mpt.sock", &["/dev/null/mpt.sock", "Not a directory"])?;
        assert!(fs::exists("/dev/full")?, "and nothing is removed");
        Ok(())
    });
}

#[test]
fn a_tunnel_mtu_that_ipv6_cannot_live_with_is_refused_before_anything_is_changed() {
    bench::test(&[], || {
        let net = Topology::build(2, None)?;
        let said = ["the tunnel MTU would be 1264 bytes, less than the 1280", "set [tunnel] mtu = 1280"];
        refuses(&net, &settings().path(2, "mtu", 1300), MISCONFIGURED, &said)
    });
}

#[test]
fn what_is_refused_once_starts_when_the_cause_is_gone() {
    bench::test(&[], || {
        let net = Topology::build(2, None)?;
        net.pc1.run(&format!("ip link add {DEVICE} type veth peer name other"))?;
        refuses(&net, &settings(), FAILED, &["the interface tun0 exists already"])?;
        net.pc1.run(&format!("ip link delete {DEVICE}"))?;
        let mut mpt = Mpt::start(&net.pc1, &settings())?;
        assert!(mpt.end(rustix::process::Signal::TERM)?.success());
        Ok(())
    });
}
