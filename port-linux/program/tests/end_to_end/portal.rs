//! A network that wants a login before it lets packets pass.

#[cfg(feature = "quic")]
mod api;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::host::Host;
use mpt_lab::stack::Stack;
use mpt_lab::topology::{Side, Topology};
use port_linux::events::{Event, What};
use port_linux::portal::{By, Portal};
use port_linux::report::{ConnectionReport, State};
use rustix::process::Signal;

use crate::bench::{self, DIRECTORY, FAILED, Mpt, Settings, complaint, printed, wire};
use crate::programs::Tool;

/// The address of the server on the Internet, to which the hotel's network leads.
const SERVER: &str = "198.51.100.7";
/// A host of the Internet that is asked for whether somebody is in between.
const CHECK: &str = "203.0.113.80";
/// Its name.
const NAME: &str = "check.example";
/// What the portal says of its page, with what terminals would obey.
const LOCATION: &str = "http://login.hotel.example/?mac=02:00&x=\u{1b}[2J";
/// The same as people may see it.
const PAGE: &str = "http://login.hotel.example/?mac=02:00&x=%1B[2J";

/// What the hotel's DHCP names.
const API: &str = "https://api.hotel.example/captive";

/// PC1 with one link to PC2, and another one to a hotel's network, behind which PC2 is, too.
struct World {
    net: Topology,
    hotel: Host,
    /// Requests that the portal has answered.
    requests: Arc<AtomicUsize>,
}

impl World {
    fn build() -> anyhow::Result<Self> {
        let net = Topology::build(1, None)?;
        let hotel = Host::create("hotel")?;
        wire([(&net.pc1, "wlan0", &["192.168.50.2/24"]), (&hotel, "lan", &["192.168.50.1/24"])])?;
        wire([(&hotel, "wan", &["198.51.100.1/24"]), (&net.pc2, "wan", &["198.51.100.7/24"])])?;
        net.pc1.run("ip route add default via 192.168.50.1 dev wlan0")?;
        hotel.sysctl("net.ipv4.ip_forward", "1")?;
        let requests = Arc::new(AtomicUsize::new(0));
        let listener = hotel.inside(|| TcpListener::bind("0.0.0.0:8080"))??;
        let counted = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                // Who asks may go meanwhile.
                let _ = answer(stream);
            }
        });
        let names = hotel.inside(|| UdpSocket::bind("192.168.50.1:53"))??;
        thread::spawn(move || serve_names(&names));
        let world = Self { net, hotel, requests };
        world.rules("udp dport != 53 drop", "tcp dport 80 redirect to :8080")?;
        Ok(world)
    }

    /// What the hotel does with packets of its guests.
    fn rules(&self, forward: &str, redirect: &str) -> anyhow::Result<()> {
        let rules = format!(
            "flush ruleset\ntable ip hotel {{\n\
             chain forward {{ type filter hook forward priority 0; iifname \"lan\" {forward}; }}\n\
             chain pre {{ type nat hook prerouting priority dstnat; iifname \"lan\" {redirect}; }}\n\
             chain post {{ type nat hook postrouting priority srcnat; oifname \"wan\" masquerade; }}\n}}\n"
        );
        fs::write("/run/hotel.nft", rules)?;
        self.hotel.run("nft -f /run/hotel.nft").map(drop)
    }

    /// Writes down, as systemd-networkd does, what the hotel's DHCP has said, and this of the link.
    fn lease(&self, of_link: &str) -> anyhow::Result<()> {
        let index = self.net.pc1.run("cat /sys/class/net/wlan0/ifindex")?;
        let write = |kind: &str, text: &str| {
            let directory = format!("/run/systemd/netif/{kind}");
            fs::create_dir_all(&directory)?;
            fs::write(format!("{directory}/{}", index.trim()), text)
        };
        write("leases", "ADDRESS=192.168.50.2\nDNS=192.168.50.1\n")?;
        Ok(write("links", &format!("ADMIN_STATE=configured\n{of_link}"))?)
    }

    /// Somebody has logged in.
    fn log_in(&self) -> anyhow::Result<()> {
        self.rules("accept", "accept")
    }

    fn settings(side: Side) -> Settings {
        let settings = Settings::new(side, Stack::V4OverV4, 2).connection("policy", "adaptive");
        let settings = settings.table("portal", &format!("url = \"http://{CHECK}/generate_204\""));
        match side {
            Side::Pc1 => {
                settings.path(2, "local", "0.0.0.0").path(2, "device", "wlan0").path(2, "remote", SERVER)
            }
            Side::Pc2 => settings.path(2, "local", SERVER).path(2, "remote", "0.0.0.0"),
        }
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = [0; 1024];
    let length = stream.read(&mut request)?;
    assert!(request[..length].starts_with(b"GET /generate_204 HTTP/1.0\r\n"), "{request:?}");
    write!(stream, "HTTP/1.1 302 Found\r\nLocation: {LOCATION}\r\nContent-Length: 0\r\n\r\n")
}

/// Answers each question for an IPv4 address (RFC 1035 section 4) with that of the check.
fn serve_names(socket: &UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let mut answer = query[..length].to_vec();
        // A response without an error.
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        if answer.ends_with(&[0, 1, 0, 1]) {
            // One answer: the same name, type A, class IN, 60 s, four bytes.
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(CHECK.parse::<Ipv4Addr>().expect("an address").octets());
        }
        // Who asks may be gone.
        let _ = socket.send_to(&answer, from);
    }
}

fn portal(connection: &ConnectionReport) -> Option<&Portal> {
    connection.paths.get(1)?.portal.as_ref()
}

#[test]
fn a_path_that_ends_at_a_login_page_says_so_until_packets_pass() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        world.lease("")?;
        let told = format!("{DIRECTORY}/portals");
        let run = ["/bin/sh", "-c", &format!("cat >> {told}")];
        // The host has a name that only the hotel's own server knows.
        let url = format!("url = \"http://{NAME}/generate_204\"");
        let settings = World::settings(Side::Pc1).table("portal", &url).hook(&["path_portal"], &run);
        let _pc2 = Mpt::start(&world.net.pc2, &World::settings(Side::Pc2))?;
        // What is paid by volume is not asked for by itself.
        let metered = settings.clone().path(2, "tier", 2);
        let pc1 = Mpt::start(&world.net.pc1, &metered)?;
        pc1.until("the path is silent", |c| c.paths[1].problem.is_some())?;
        ensure!(world.requests.load(Ordering::Relaxed) == 0, "{}", pc1.said());
        pc1.reload(&metered.path(2, "portal_check", true))?;

        let found = pc1.until("the portal is found", |c| portal(c).is_some())?;
        let (found, path) = (portal(&found).context("a portal")?, &found.paths[1]);
        ensure!(found.url.to_string() == PAGE && found.by == By::Http, "{found:?}");
        let waits = path.waits_for.as_deref().unwrap_or_default();
        ensure!(waits == format!("a login at the portal of its network, {PAGE}"), "{waits}");
        ensure!(path.problem.is_none() && path.state == State::Down, "{path:?}");
        let is_it = |event: &Event| matches!(&event.what, What::PathPortal { url, .. } if *url == found.url);
        let events = pc1.status()?.events;
        ensure!(events.iter().filter(|event| is_it(event)).count() == 1, "{events:?}");
        ensure!(pc1.said().contains(PAGE) && !pc1.said().contains("\u{1b}[2J"), "{}", pc1.said());
        let is_told = || Ok(fs::read_to_string(&told).unwrap_or_default().contains("login.hotel.example"));
        pc1.until_around("told by the hook", is_told)?;

        world.log_in()?;
        let up = pc1.until("up", |c| c.paths[1].state == State::Up)?;
        ensure!(portal(&up).is_none() && up.paths[1].waits_for.is_none(), "{up:?}");
        Ok(())
    });
}

/// `mpt portal` of PC1, called by the user nobody through sudo.
fn portal_of(world: &World, pc1: &Mpt, arguments: &[&str]) -> Command {
    let mut command = bench::mpt_on(&world.net.pc1, "portal path2 --control");
    command.arg(pc1.control()).args(arguments).env("SUDO_UID", "65534");
    command
}

/// Groups that were made for programs of the tunnel.
fn groups(world: &World) -> anyhow::Result<usize> {
    let list = "mkdir -p /run/groups && mount -t cgroup2 none /run/groups && ls -d /run/groups/mpt-portal-hotel0-*; umount /run/groups";
    let listed = world.net.pc1.command("sh").args(["-c", list]).output()?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().count())
}

#[test]
fn a_program_leaves_over_one_link_alone_past_the_tunnel_and_nothing_is_left_of_it() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        world.lease(&format!("CAPTIVE_PORTAL={API}\n"))?;
        let _pc2 = Mpt::start(&world.net.pc2, &World::settings(Side::Pc2))?;
        let settings = World::settings(Side::Pc1).path(2, "tier", 2).tunnel("name", "hotel0");
        let settings = settings.tunnel("kill_switch", true).network("0.0.0.0/0");
        let mut pc1 = Mpt::start(&world.net.pc1, &settings)?;
        // Nothing is asked for on a metered path, and DHCP has named a page.
        let found = pc1.until("a portal by DHCP", |c| portal(c).is_some())?;
        let found = portal(&found).context("a portal")?;
        ensure!(found.by == By::Dhcp && found.url.to_string() == API, "{found:?}");
        ensure!(printed(&portal_of(&world, &pc1, &[]).output()?)? == format!("{API}\n"));

        let first = portal_of(&world, &pc1, &["--", "true"]).output()?;
        let is_root = fs::read_to_string("/proc/self/uid_map")?.contains("4294967295");
        if !is_root && !first.status.success() {
            let _ = writeln!(std::io::stderr(), "SKIPPED the program over one link: {first:?}");
            return Ok(());
        }
        printed(&first)?;

        // Everything takes the tunnel, and this program the hotel's network.
        let request = format!(
            "exec 3<>/dev/tcp/{CHECK}/80 && printf 'GET /generate_204 HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3; id -u; echo $MPT_PORTAL; \
             cat /etc/resolv.conf"
        );
        let before = world.requests.load(Ordering::Relaxed);
        ensure!(before == 0, "{before} requests");
        let said = printed(&portal_of(&world, &pc1, &["--", "bash", "-c", &request]).output()?)?;
        ensure!(world.requests.load(Ordering::Relaxed) == 1, "{said}");
        ensure!(said.contains("Location: http://login.hotel.example/"), "{said}");
        ensure!(
            said.contains(&format!("\n65534\n{API}\n")) && said.contains("nameserver 192.168.50.1\n"),
            "{said}"
        );
        ensure!(!fs::read_to_string("/etc/resolv.conf").unwrap_or_default().contains("192.168.50.1"));
        ensure!(groups(&world)? == 0);
        let code = portal_of(&world, &pc1, &["--", "sh", "-c", "exit 7"]).status()?.code();
        ensure!(code == Some(7), "{code:?}");
        let output = portal_of(&world, &pc1, &["--", "/no/such/program"]).output()?;
        ensure!(complaint(&output, FAILED)?.contains("cannot run /no/such/program"), "{output:?}");
        ensure!(groups(&world)? == 0);

        // Killed, it leaves a group that is tied still, until nobody is of it.
        let mut sleeping = world.net.pc1.spawn(&mut portal_of(&world, &pc1, &["--", "sleep", "3"]))?;
        bench::until("a group", || Ok(groups(&world)? == 1))?;
        thread::sleep(Duration::from_millis(500));
        sleeping.signal(Signal::KILL);
        sleeping.wait(bench::PATIENCE)?;
        pc1.end(Signal::TERM)?;
        let clean = || bench::done(&world.net.pc1, "clean hotel0", "");
        bench::until("cleaned", || Ok(clean()?.contains("removed: control group mpt-portal-hotel0-")))?;
        ensure!(groups(&world)? == 0);
        Ok(())
    });
}
