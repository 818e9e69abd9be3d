//! Findings about a host: before its tunnel runs, and while its paths leave by ways that are not meant.

use std::fs;
use std::net::UdpSocket;

use anyhow::ensure;
use mpt_lab::stack::Stack;
use mpt_lab::topology::{Side, Topology};

use super::{diagnosis, findings, has, until_found};
use crate::bench::{self, DEVICE, DIRECTORY, Mpt, Settings};
use crate::programs::{Tool, drop_arriving};

#[test]
fn before_the_tunnel_runs_the_doctor_finds_what_is_in_its_way() {
    bench::test(&[], || {
        let net = Topology::build(2, None)?;
        fs::create_dir_all(DIRECTORY)?;
        let look = |settings: &Settings| {
            let file = format!("{DIRECTORY}/doctor.toml");
            fs::write(&file, settings.text())?;
            let (found, said) = diagnosis(&net.pc1, &format!("--config {file} --control {DIRECTORY}/none"))?;
            ensure!(said["left_out"].as_array().is_some_and(|left_out| left_out.len() == 1), "{said}");
            Ok(found)
        };
        let sound = Settings::new(Side::Pc1, Stack::V4OverV4, 2).clear();
        let found = look(&sound)?;
        ensure!(found.is_empty(), "{found:#?}");

        has(&look(&sound.clone().connection("policy", "fastest"))?, &[("configuration", "fastest")]);
        let other = net.pc1.inside(|| UdpSocket::bind("172.16.1.10:4754"))??;
        let absent = sound.clone().path(2, "device", "wwan0");
        has(&look(&absent)?, &[("port_taken", "172.16.1.10"), ("missing_link", "wwan0")]);
        drop(other);
        let foreign = sound.clone().path(2, "local", "192.0.2.1");
        net.pc1.run(&format!("ip link add {DEVICE} type bridge"))?;
        let found = look(&foreign)?;
        has(&found, &[("name_taken", DEVICE), ("missing_link", "192.0.2.1")]);
        ensure!(found.iter().all(|it| it.severity == "fault"), "{found:#?}");
        Ok(())
    });
}

#[test]
fn the_doctor_finds_paths_that_leave_by_ways_that_are_not_meant() {
    bench::test(&[Tool::Nft], || {
        let net = Topology::build(6, None)?;
        let to = |link| Side::Pc2.address(link, Stack::V4OverV4.outer());
        // The second path's datagrams leave through the first link. UDP is blocked on the fifth.
        net.pc1.run(&format!("ip route add {}/32 via {} dev eth1", to(2), to(1)))?;
        drop_arriving(&net.pc2, "eth5")?;
        // The fourth leads through a tunnel of another program, which is not up.
        net.pc1.run("ip tuntap add dev other mode tun")?;
        net.pc1.run("ip link set other up")?;
        let settings =
            Settings::new(Side::Pc1, Stack::V4OverV4, 6).network("0.0.0.0/0").path(4, "device", "other");
        let pc1 = Mpt::start(&net.pc1, &settings)?;
        let _pc2 = Mpt::start(&net.pc2, &Settings::new(Side::Pc2, Stack::V4OverV4, 6))?;
        // The third through the tunnel that it belongs to. Somebody else has made a default route of two halves.
        net.pc1.run(&format!("ip route add {}/32 dev {DEVICE}", to(3)))?;
        net.pc1.run(&format!("ip route add 128.0.0.0/1 via {}", to(1)))?;
        pc1.set_path("down", "path6")?;
        until_found(
            &net.pc1,
            &pc1,
            "no_answer",
            "pc2/path5: the peer at 172.16.5.20 has not heard us on it",
        )?;
        let found = findings(&net.pc1, &pc1)?;
        let expected = [
            ("wrong_interface", "of eth2, and leaves through eth1"),
            ("nested_path", "pc2/path3 leaves through tun0, the tunnel itself"),
            ("nested_path", "pc2/path4 leaves through other, which is a tunnel, too"),
            ("waiting_path", "pc2/path4 waits: "),
            ("other_default_route", "128.0.0.0/1 leads through eth1, past the tunnel"),
            ("path_out_of_use", "pc2/path6"),
        ];
        has(&found, &expected);
        Ok(())
    });
}
