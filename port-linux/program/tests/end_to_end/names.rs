//! Peers that have names: found when the resolver knows them, followed to another address, and asked for past a tunnel that is down.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use mpt_lab::host::{self, Host};
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use port_linux::report::{ConnectionReport, State};
use rustix::process::Signal;
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, QTYPE, ResourceRecord, TYPE};

use crate::bench::{self, DIRECTORY, MISCONFIGURED, Mpt, Settings, done, refused, says};
use crate::programs::{Tool, all_pass};

/// The name of PC2.
const NAME: &str = "pc2.example.net";
/// Where PC2 is later.
const MOVED: &str = "172.16.1.21";
/// Until a name is asked for again and another address has been tried: 5 s, then 30 s and more, and a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// Has a file of the test's own stand at this place, in the test alone.
fn replace(place: &str, text: &str) -> anyhow::Result<String> {
    fs::create_dir_all(DIRECTORY)?;
    let file = format!("{DIRECTORY}/{}", place.rsplit('/').next().unwrap_or("file"));
    fs::write(&file, text)?;
    host::run(Command::new("mount").args(["--bind", &file, place]))?;
    Ok(file)
}

fn client() -> Settings {
    Settings::new(Side::Pc1, Stack::V4OverV4, 1).path(1, "remote", NAME)
}

/// PC2, which does not know where PC1 is and speaks second; at whatever address it has.
fn server() -> Settings {
    let settings = Settings::new(Side::Pc2, Stack::V4OverV4, 1).path(1, "remote", "172.16.1.10");
    settings.path(1, "local", "0.0.0.0").path(1, "device", "eth1")
}

fn is_up(connection: &ConnectionReport) -> bool {
    connection.paths.iter().all(|path| path.state == State::Up)
}

fn remote(connection: &ConnectionReport) -> Option<IpAddr> {
    connection.paths[0].remote.map(|remote| remote.ip())
}

fn passes(net: &Topology) -> anyhow::Result<()> {
    all_pass(&net.pc1, Side::Pc2.tunnel_address(Version::V4), 20, "")
}

/// PC2 answers at a name that is not known when PC1 starts, and at another address later.
fn is_found_and_followed(change: impl Fn(Settings) -> Settings) -> anyhow::Result<()> {
    let hosts = replace("/etc/hosts", "127.0.0.1 localhost\n")?;
    replace("/etc/resolv.conf", "")?;
    let net = Topology::build(1, None)?;
    let mut pc2 = Mpt::start(&net.pc2, &change(server()))?;
    let mut pc1 = Mpt::start(&net.pc1, &change(client()))?;
    let waits = format!("the name {NAME} is not known yet");
    pc1.until("waiting for the name", |c| c.paths[0].waits_for.as_deref() == Some(&waits))?;

    fs::write(&hosts, format!("172.16.1.20 {NAME}\n"))?;
    pc1.until_within(LONG, "up", is_up)?;
    passes(&net)?;
    let said = pc1.said();
    assert_eq!(said.matches("cannot be resolved").count(), 1, "{said}");
    assert!(pc1.has_told("name_unknown")? && pc1.has_told("name_known")?, "{said}");

    // Another machine has the name now, or the same one another address: the keys are gone in any case.
    pc2.end(Signal::KILL)?;
    net.pc2.run("ip address del 172.16.1.20/24 dev eth1")?;
    net.pc2.run(&format!("ip address add {MOVED}/24 dev eth1"))?;
    let _pc2 = Mpt::start(&net.pc2, &change(server()).path(1, "enabled", false))?;
    pc1.until_down(1, &["silent", "deaf", "unheard"])?;
    fs::write(&hosts, format!("{MOVED} {NAME}\n"))?;
    // PC2's path is disabled and sends nothing: PC1 has to find it.
    let new: IpAddr = MOVED.parse()?;
    pc1.until_within(LONG, "at the new address", |c| remote(c) == Some(new))?;
    _pc2.set_path("up", "path1")?;
    pc1.until_within(LONG, "up again", |c| is_up(c) && remote(c) == Some(new))?;
    passes(&net)?;

    // What was found is known at the next start, although nobody tells it then.
    pc1.end(Signal::TERM)?;
    fs::write(&hosts, "")?;
    let pc1 = Mpt::start(&net.pc1, &change(client()))?;
    let up = pc1.until_within(LONG, "up from memory", is_up)?;
    assert_eq!(remote(&up), Some(new));
    Ok(())
}

#[test]
fn a_peer_is_found_by_its_name_and_followed_to_another_address() {
    bench::test(&[Tool::Ping], || is_found_and_followed(|settings| settings));
}

#[test]
fn in_the_clear_a_name_does_as_well() {
    bench::test(&[Tool::Ping], || is_found_and_followed(Settings::clear));
}

#[test]
fn of_several_addresses_the_one_that_answers_is_found() {
    bench::test(&[Tool::Ping], || {
        replace("/etc/hosts", &format!("172.16.1.77 {NAME}\n172.16.1.20 {NAME}\n"))?;
        let net = Topology::build(1, None)?;
        let (_pc2, pc1) = (
            Mpt::start(&net.pc2, &server().path(1, "remote", "0.0.0.0").path(1, "local", "172.16.1.20"))?,
            Mpt::start(&net.pc1, &client())?,
        );
        let up = pc1.until_within(LONG, "up at the second address", is_up)?;
        assert_eq!(remote(&up), Some("172.16.1.20".parse()?));
        Ok(())
    });
}

/// A server for names on a host that knows [`NAME`], and nothing of IPv6.
fn serve_names(host: &Host, address: Ipv4Addr) -> anyhow::Result<()> {
    let socket = host.inside(|| UdpSocket::bind("0.0.0.0:53"))??;
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let Ok(query) = Packet::parse(&buffer[..length]) else { continue };
            let Some(question) = query.questions.first().cloned() else { continue };
            let mut reply = Packet::new_reply(query.id());
            if question.qtype == QTYPE::TYPE(TYPE::A) && question.qname.to_string() == NAME {
                let data = RData::A(A { address: address.into() });
                reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, data));
            }
            reply.questions.push(question);
            let _ = socket.send_to(&reply.build_bytes_vec().unwrap_or_default(), client);
        }
    });
    Ok(())
}

/// What resolvconf does, in short: mpt's servers take the place of those that DHCP brought, which are kept beside.
const RESOLVCONF: &str = r#"#!/bin/sh
mkdir -p /run/resolvconf/interfaces
case "$1" in
    -a) cat >"/run/resolvconf/interfaces/$2"; cat "/run/resolvconf/interfaces/$2" >/etc/resolv.conf ;;
    *) shift; rm -f "/run/resolvconf/interfaces/$2"; cat /run/resolvconf/interfaces/* >/etc/resolv.conf ;;
esac
"#;

#[test]
fn names_are_found_past_a_tunnel_that_is_down_though_the_resolver_is_behind_it() {
    bench::test(&[Tool::Ping], || {
        let net = Topology::build(1, None)?;
        replace("/etc/hosts", "")?;
        replace("/etc/resolv.conf", "nameserver 172.16.1.20\n")?;
        fs::create_dir_all("/run/resolvconf/interfaces")?;
        fs::write("/run/resolvconf/interfaces/eth1.dhcp", "nameserver 172.16.1.20\n")?;
        host::run(Command::new("mount").args(["-t", "tmpfs", "none", "/usr/local/sbin"]))?;
        fs::write("/usr/local/sbin/resolvconf", RESOLVCONF)?;
        host::run(Command::new("chmod").args(["755", "/usr/local/sbin/resolvconf"]))?;
        net.pc1.run("ip route add default via 172.16.1.20 dev eth1")?;

        // Nobody answers yet, as when the machine starts before its links are there.
        let settings = client().network("0.0.0.0/0").tunnel("dns", vec!["10.0.0.2"]);
        let pc1 = Mpt::start(&net.pc1, &settings)?;
        pc1.until_around("the tunnel's resolver", || {
            Ok(fs::read_to_string("/etc/resolv.conf")?.contains("10.0.0.2"))
        })?;
        assert!(!fs::read_to_string("/etc/resolv.conf")?.contains("172.16.1.20"));
        serve_names(&net.pc2, Ipv4Addr::new(172, 16, 1, 20))?;
        let _pc2 = Mpt::start(&net.pc2, &server())?;
        pc1.until_within(LONG, "up", is_up)?;
        passes(&net)
    });
}

#[test]
fn check_and_the_start_say_what_is_wrong_with_a_name() {
    bench::test(&[], || {
        replace("/etc/hosts", &format!("2001:db8::20 {NAME}\n"))?;
        replace("/etc/resolv.conf", "")?;
        let net = Topology::build(1, None)?;
        let pc1 = Mpt::start(&net.pc1, &client())?;
        let waits = format!("the name {NAME} has no IPv4 address, which `local` wants");
        pc1.until("waiting for IPv4", |c| c.paths[0].waits_for.as_deref() == Some(&waits))?;
        let check = |config: &str| bench::mpt_on(&net.pc1, &format!("check {config}")).output();
        let config = format!("{DIRECTORY}/PC1.toml");
        says(&check(&config)?, 0, &[&format!("path path1: the name {NAME} has no IPv4 address now")]);
        replace("/etc/hosts", "")?;
        says(&check(&config)?, 0, &[&format!("the name {NAME} cannot be resolved now: ")]);
        let printed = done(&net.pc1, &format!("check {config}"), "")?;
        assert!(printed.contains(&format!("-> {NAME} port 4754")), "{printed}");

        let bad = refused(&net.pc1, &client().path(1, "remote", "172.16.1.300"))?;
        says(
            &bad,
            MISCONFIGURED,
            &[
                "connection.path.remote = \"172.16.1.300\": not an IP address",
                "a name such as vps.example.net",
            ],
        );
        let bad = refused(&net.pc1, &client().path(1, "remote", "vps example"))?;
        says(&bad, MISCONFIGURED, &["neither an IP address nor a name"]);
        Ok(())
    });
}
