//! Ports of the server's public addresses that lead to the house: `[[forward]]`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::host::{Host, run};
use port_linux::report::State;
use rustix::process::Signal;

use super::World;
use crate::bench::{self, FAILED, Mpt, complains, done, mpt_on, printed, until, wire};
use crate::programs::{Background, Pings, Tool};

/// The server's public addresses, and those of the Internet host on the same wire.
const ENDS: [(&str, &str); 2] = [("8.8.4.1", "8.8.4.9"), ("2001:db8:4::1", "2001:db8:4::9")];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives the server and the Internet IPv6.
fn with_ipv6(world: &World) -> anyhow::Result<()> {
    world.net.pc2.run("ip address add 2001:db8:4::1/64 dev wan nodad")?;
    world.internet.run("ip address add 2001:db8:4::9/64 dev eth0 nodad")?;
    world.net.pc2.run("ip route add default via 2001:db8:4::9").map(drop)
}

/// Answers everybody who connects to a TCP port of a host with the address that it sees, and sends back what it gets.
fn serve_tcp(host: &Host, port: u16) -> anyhow::Result<()> {
    let listener = host.inside(|| TcpListener::bind(("::", port)))??;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || -> anyhow::Result<()> {
                let seen = stream.peer_addr()?.ip().to_canonical();
                stream.write_all(format!("{seen}\n").as_bytes())?;
                let mut byte = [0];
                while stream.read(&mut byte)? == 1 {
                    stream.write_all(&byte)?;
                }
                Ok(())
            });
        }
    });
    Ok(())
}

/// The same for UDP: answers each datagram with the address that it sees.
fn serve_udp(host: &Host, port: u16) -> anyhow::Result<()> {
    let socket = host.inside(|| UdpSocket::bind(("::", port)))??;
    thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
            let _ = socket.send_to(from.ip().to_canonical().to_string().as_bytes(), from);
        }
    });
    Ok(())
}

/// A connection from a host, and the address that its other end sees.
fn connect(host: &Host, to: &str, port: u16) -> anyhow::Result<(TcpStream, String)> {
    let to = SocketAddr::new(to.parse()?, port);
    host.inside(|| {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("to {to}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut seen = String::new();
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 && byte != *b"\n" {
            seen.push(byte[0].into());
        }
        Ok((stream, seen))
    })?
}

/// Whether what is sent comes back.
fn is_alive(stream: &mut TcpStream) -> anyhow::Result<bool> {
    stream.write_all(b"x")?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte == *b"x")
}

/// The address that a UDP server sees.
fn ask_udp(host: &Host, to: &str, port: u16) -> anyhow::Result<String> {
    let to = SocketAddr::new(to.parse()?, port);
    let unspecified = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    host.inside(|| {
        let socket = UdpSocket::bind(unspecified)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        socket.send(b"?")?;
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer).with_context(|| format!("no answer from {to}"))?;
        Ok(String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned())
    })?
}

/// A server whose peer `van` has these arguments, and the house online.
fn start(world: &World, arguments: &str) -> anyhow::Result<(Mpt, Mpt)> {
    let serving = world.serve()?;
    let joined = world.join(&world.peer(&format!("add van {arguments}"))?)?;
    world.until_online(&joined)?;
    Ok((serving, joined))
}

#[test]
fn ports_of_the_server_lead_home_with_the_address_of_who_comes_and_change_at_run_time() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        with_ipv6(&world)?;
        let (home, server, internet) = (&world.net.pc1, &world.net.pc2, &world.internet);
        let before = World::state(server)?;
        let (mut serving, _joined) = start(&world, "--forward 8443:443 --forward 7000-7010/udp")?;
        serve_tcp(home, 443)?;
        serve_tcp(home, 80)?;
        serve_udp(home, 7005)?;
        let mut streams = Vec::new();
        for (to, from) in ENDS {
            let (stream, seen) = connect(internet, to, 8443)?;
            ensure!(seen == from, "TCP to {to}: the house sees {seen}");
            streams.push(stream);
            let seen = ask_udp(internet, to, 7005)?;
            ensure!(seen == from, "UDP to {to}: the house sees {seen}");
            ensure!(connect(internet, to, 443).is_err(), "a port that was not asked for");
        }
        let shown = world.peer("show van")?;
        ensure!(shown.contains("tcp 8443 to ") && shown.contains("udp 7000-7010 to "), "{shown}");
        let own = shown.lines().find_map(|line| line.strip_prefix("  addresses in the tunnel: "));
        let own: IpAddr = own.and_then(|list| list.split(", ").next()).context("an address")?.parse()?;

        // One more, and away again, while another peer comes and goes, too: nobody notices.
        let pings = Background::start(home, super::INTERNET.parse()?, 400, "-i 0.01 -W 2")?;
        let file = format!("{}/server.d/van.toml", world.at_server);
        let first = fs::read_to_string(&file)?;
        fs::write(&file, format!("{first}\n[[forward]]\nproto = \"tcp\"\nport = 8080\nto = \"{own}:80\"\n"))?;
        let said = serving.done("reload")?;
        ensure!(said.contains("forwarded ports: 5, 1 as before"), "{said}");
        let (_, seen) = connect(internet, ENDS[0].0, 8080)?;
        ensure!(seen == ENDS[0].1, "{seen}");
        let refused =
            complains(server, &world.peer_arguments("add boat --forward 8080"), "", bench::MISCONFIGURED)?;
        ensure!(refused.contains("van.toml:") && refused.contains("boat.toml line"), "{refused}");
        world.peer("add boat --forward 9000:22")?;
        fs::write(&file, &first)?;
        world.peer("remove boat")?;
        ensure!(connect(internet, ENDS[0].0, 8080).is_err(), "a port that was taken away");
        ensure!(!server.run("nft list ruleset")?.contains("dport 9000"), "the port of a peer that is gone");
        let pinged = pings.finish()?;
        ensure!(pinged == Pings { sent: 400, received: 400, copies: 0 }, "{pinged:?}");
        for stream in &mut streams {
            ensure!(is_alive(stream)?, "a connection was cut");
        }
        // Another peer comes through the tunnel to an address of the server.
        server.run("ip address add 8.8.5.5/32 dev lo")?;
        let boat = world.join_boat("8.8.5.5/32")?;
        let (_, seen) = connect(internet, "8.8.5.5", 8443)?;
        ensure!(
            boat.status()?.tunnel.addresses.iter().any(|own| own.starts_with(&format!("{seen}/"))),
            "{seen}"
        );
        drop(boat);
        world.peer("remove boat")?;
        server.run("ip address delete 8.8.5.5/32 dev lo")?;

        // What is wrong changes nothing.
        fs::write(&file, format!("{first}\n[[forward]]\nproto = \"udp\"\nport = 4754\n"))?;
        let said = serving.complains("reload", FAILED)?;
        ensure!(said.contains("nothing was changed") && said.contains("UDP port 4754"), "{said}");
        fs::write(&file, &first)?;

        // What others flush comes back; what a killed mpt leaves is removed.
        server.run("nft flush ruleset")?;
        until("the ports are forwarded again", || {
            Ok(server.run("nft list ruleset")?.contains("dport 8443"))
        })?;
        serving.end(Signal::KILL)?;
        ensure!(World::state(server)?.contains("dport 8443"), "or else the test shows nothing");
        done(server, "clean mpt0", "")?;
        let after = World::state(server)?;
        ensure!(after == before, "left behind:\n{after}\nwas:\n{before}");
        let mut serving = world.serve()?;
        ensure!(serving.end(Signal::TERM)?.success(), "{}", serving.said());
        let after = World::state(server)?;
        ensure!(after == before, "left behind:\n{after}\nwas:\n{before}");
        Ok(())
    });
}

#[test]
fn a_host_of_the_lan_is_reached_through_the_house_whatever_else_takes_the_tunnel() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        with_ipv6(&world)?;
        let (home, internet) = (&world.net.pc1, &world.internet);
        let lan = Host::create("lan")?;
        wire([
            (home, "lan", &["192.168.6.1/24", "fd06::1/64"]),
            (&lan, "eth0", &["192.168.6.2/24", "fd06::2/64"]),
        ])?;
        lan.run("ip route add default via 192.168.6.1")?;
        lan.run("ip route add default via fd06::1")?;
        serve_tcp(&lan, 443)?;
        serve_udp(&lan, 7000)?;
        let before = World::state(home)?;
        let (_serving, mut joined) = start(&world, "--forward 8443:443 --forward 7000/udp")?;
        ensure!(connect(internet, ENDS[0].0, 8443).is_err(), "or else the test shows nothing");
        ensure!(joined.end(Signal::TERM)?.success(), "{}", joined.said());

        done(home, &format!("leave --directory {}", world.at_home), "")?;
        let forwards = "--share lan --forward 443:192.168.6.2 --forward 443:[fd06::2]:443 --forward 7000:192.168.6.2/udp --forward 7000:fd06::2/udp";
        let line = world.peer("renew van")?;
        done(home, &format!("{} {forwards}", world.join_arguments()), &line)?;
        let file = format!("{}/server.toml", world.at_home);
        let all = fs::read_to_string(&file)?;
        let answers_only = answers_only(&all)?;
        for (text, what) in [(all, "everything"), (answers_only, "answers only")] {
            fs::write(&file, text)?;
            done(home, &format!("check {file}"), "")?;
            let mut joined = Mpt::with_config(home, &file)?;
            joined.until("two paths up", |c| {
                c.paths.iter().filter(|path| path.state == State::Up).count() == 2
            })?;
            for (to, from) in ENDS {
                let (mut stream, seen) = connect(internet, to, 8443).context(what)?;
                ensure!(seen == from && is_alive(&mut stream)?, "{what}: TCP to {to}: the LAN sees {seen}");
                let seen = ask_udp(internet, to, 7000).context(what)?;
                ensure!(seen == from, "{what}: UDP to {to}: the LAN sees {seen}");
            }
            let route = home.run("ip -4 route get 8.8.9.9")?;
            ensure!(route.contains("mpt0") == (what == "everything"), "{what}: {route}");
            ensure!(joined.end(Signal::TERM)?.success(), "{}", joined.said());
            let after = World::state(home)?;
            ensure!(after == before, "left behind:\n{after}\nwas:\n{before}");
        }
        Ok(())
    });
}

/// The configuration of a house whose default routes are for its tunnel addresses alone.
fn answers_only(text: &str) -> anyhow::Result<String> {
    let own = text.lines().find_map(|line| line.strip_prefix("address = [")).context("its addresses")?;
    let own: Vec<&str> = own.split('"').filter(|part| part.contains('/')).collect();
    let [v4, v6] = own[..] else { anyhow::bail!("{own:?}") };
    let host = |own: &str, length: u8| own.split('/').next().map(|address| format!("{address}/{length}"));
    let mut text = text.to_owned();
    for (to, from) in [("0.0.0.0/0", host(v4, 32)), ("::/0", host(v6, 128))] {
        let line = format!("to = \"{to}\"");
        ensure!(text.contains(&line), "{text}");
        text = text.replace(&line, &format!("{line}\nfrom = \"{}\"", from.context("an address")?));
    }
    Ok(text)
}

#[test]
fn a_firewall_in_the_way_is_named_with_commands_that_let_the_ports_through() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let (home, server, internet) = (&world.net.pc1, &world.net.pc2, &world.internet);
        server.run("nft add table inet filter")?;
        let policy = "{ type filter hook forward priority filter ; policy drop ; }";
        run(server.command("nft").args(["add chain inet filter forward", policy]))?;
        let output = mpt_on(server, &world.peer_arguments("add van --forward 8443:443")).output()?;
        let (line, said) = (printed(&output)?, String::from_utf8(output.stderr)?);
        ensure!(said.contains("the chain forward of the nft table inet filter drops"), "{said}");
        let serving = world.serve()?;
        let joined = world.join(&line)?;
        serve_tcp(home, 443)?;
        let said = serving.said();
        ensure!(said.contains("the chain forward of the nft table inet filter drops"), "{said}");
        serving.until_around("connected", || Ok(world.peer("list")?.contains("connected")))?;
        let commands: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  sudo nft ")).collect();
        ensure!(commands.len() == 2, "{said}");
        for command in commands {
            server.run(&format!("nft {command}"))?;
        }
        let (_, seen) = connect(internet, ENDS[0].0, 8443)?;
        ensure!(seen == ENDS[0].1, "{seen}");
        world.until_online(&joined)?;
        let again = done(server, &format!("check {}", world.config()), "")?;
        ensure!(!again.contains("drops"), "{again}");
        Ok(())
    });
}
