//! What a house goes through, step by step.

use std::net::IpAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::Figures;
use super::end::{End, PATIENCE};
use super::internet::{self, Internet, NAME};
use super::pulse::Pulse;
use super::table::{Said, Steps};
use super::world::{self, LAN, LAPTOP, SERVER_V4, SERVER_V6, WEB_V4, WEB_V6, World};
use crate::host::Host;
use crate::quick::WARM_UP;
use crate::traffic::quic;
use crate::traffic::stream::Amount;

/// Seconds that curl may take for a page, and for one that should not come.
const PAGE: u32 = 10;
const NO_PAGE: u32 = 1;
/// Ports of the server that lead to port 80 of the machine, and of the laptop in its LAN.
const HOME_PORT: u16 = 8080;
const LAN_PORT: u16 = 8081;
/// After something has broken, until it is certain how long nothing came. Nothing for so long is a failure.
const SETTLE: Duration = Duration::from_secs(2);
/// Seconds that a step is expected to take for which nothing better is known.
const SHORT: f64 = 0.1;

/// The hosts with what runs on them.
struct House {
    world: World,
    internet: Internet,
    home: End,
    server: End,
}

/// Builds a house, and tries everything.
///
/// # Errors
/// When the hosts cannot be built.
pub(super) fn house(
    mpt: &Path,
    time: Duration,
    steps: &mut Steps,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    world::ask_for_names_on_the_internet()?;
    let world = World::build()?;
    let internet = Internet::start(&world.web)?;
    let (home, server) = (End::new(&world.home, mpt)?, End::new(&world.server, mpt)?);
    let before = [World::state(&world.home)?, World::state(&world.server)?];
    let mut house = House { world, internet, home, server };

    let seconds = time.as_secs_f64();
    let best = house.world.uplinks[0].device;
    steps.run(&format!("download without mpt, over {best}"), seconds, || house.download_alone(time, figures));
    if !house.set_up(steps) {
        return Ok(());
    }
    house.browse(steps);
    house.be_visited(steps);
    steps.run("download over all links", seconds, || house.download(time, figures));
    if quic::IS_BUILT_IN {
        steps.run("upload by QUIC over all links", seconds, || house.upload_by_quic(time));
    } else {
        steps.leave_out("upload by QUIC over all links", quic::NOT_BUILT_IN);
    }
    if let Err(error) = house.lose_links(steps) {
        steps.run("links that go and come back", 0.0, || Err(error));
    }
    if let Err(error) = house.crash(steps) {
        steps.run("ends that are killed", 0.0, || Err(error));
    }
    house.leave(steps, &before);
    Ok(())
}

impl House {
    /// As the README has it. Whether the tunnel works.
    fn set_up(&mut self, steps: &mut Steps) -> bool {
        let Self { world, home, server, .. } = self;
        let mut line = String::new();
        steps.run("on the server: mpt server setup", SHORT, || {
            let said = server.set_server_up()?;
            let open = said.lines().find(|line| line.contains("UDP port")).context("no word about UDP")?;
            ensure!(open.contains(&SERVER_V4.to_string()), "it did not find its address: {open}");
            server.start()?;
            server.until_it_answers()?;
            Ok(Said::all(format!("it runs, at {SERVER_V4}")))
        }) && steps.run("on the server: mpt peer add house", SHORT, || {
            line = server.add_peer(&format!("--forward {HOME_PORT}:80 --forward {LAN_PORT}"))?;
            Ok(Said::all(format!("a line of {} characters", line.trim().len())))
        }) && steps.run("at home: mpt join", SHORT, || {
            let said =
                home.join(&format!("--share {LAN} --kill-switch --forward {LAN_PORT}:{LAPTOP}:80"), &line)?;
            let paths = said.split("paths over ").nth(1).and_then(|rest| rest.split('.').next());
            Ok(Said::all(format!("paths over {}", paths.context("no word about paths")?)))
        }) && steps.run("at home: mpt run, until the first packet is back", SHORT, || {
            home.start()?;
            home.until("a path is up", |end| end.up() > 0)?;
            let pulse = Pulse::start(&world.home)?;
            let first = pulse.answered_since(Duration::ZERO, PATIENCE);
            first.context("no answer came through the tunnel")?;
            Ok(Said::all("through the tunnel"))
        }) && steps.run("all links are up, behind all NATs", SHORT, || {
            let all = world.uplinks.len();
            home.until_up(all)?;
            server.until_up(all)?;
            let links = world.uplinks.iter().map(|it| format!("{} ({})", it.device, it.nat));
            // From now on nothing may leave past it.
            world.leaked()?;
            Ok(Said::all(links.collect::<Vec<_>>().join(", ")))
        })
    }

    /// The page by its name, from the machine and from its LAN.
    fn browse(&self, steps: &mut Steps) {
        for (host, place) in [(&self.world.home, "at home"), (&self.world.laptop, "in the LAN")] {
            for (version, own) in [("-4", IpAddr::from(SERVER_V4)), ("-6", SERVER_V6.into())] {
                steps.run(&format!("{place}: curl {version} http://{NAME}/"), SHORT, || {
                    self.internet.who_asked();
                    let visitor = internet::visitor(&page(host, version, NAME, PAGE)?)?;
                    ensure!(visitor == own, "the page came past the tunnel: it saw {visitor}");
                    let asked = self.internet.who_asked().context("nobody asked for the name")?;
                    ensure!(
                        asked == IpAddr::from(SERVER_V4),
                        "the name was asked for past the tunnel, by {asked}"
                    );
                    Ok(Said::all(format!("the page; it saw the server, {visitor}")))
                });
            }
        }
    }

    /// Ports of the server that lead to the machine and to its LAN.
    fn be_visited(&self, steps: &mut Steps) {
        let places = [("home", &self.world.home, HOME_PORT), ("the LAN", &self.world.laptop, LAN_PORT)];
        for (place, host, port) in places {
            let what = format!("from the Internet: a page of {place}, by port {port} of the server");
            steps.run(&what, SHORT, || {
                internet::serve_pages(host)?;
                let mut ways = vec![("-4", format!("{SERVER_V4}:{port}"), IpAddr::from(WEB_V4))];
                if port == HOME_PORT {
                    ways.push(("-6", format!("[{SERVER_V6}]:{port}"), WEB_V6.into()));
                }
                for (version, to, own) in &ways {
                    let visitor = internet::visitor(&page(&self.world.web, version, to, PAGE)?)?;
                    ensure!(visitor == *own, "it saw {visitor}, and not who came, {own}");
                }
                let versions = if ways.len() > 1 { "IPv4 and IPv6" } else { "IPv4" };
                Ok(Said::all(format!("the page, by {versions}; it saw who came")))
            });
        }
    }

    /// The best link alone, without mpt.
    fn download_alone(&self, time: Duration, figures: &mut Figures) -> anyhow::Result<Said> {
        let received = internet::download(&self.world.home, time)?;
        let goodput = received.goodput(WARM_UP.min(time / 3), time);
        figures.alone_mbit_s = Some(goodput);
        let visitor = internet::visitor(&page(&self.world.home, "-4", NAME, PAGE)?)?;
        ensure!(visitor != IpAddr::from(SERVER_V4), "the server was there already");
        ensure!(
            !self.world.leaked()?.is_empty(),
            "what leaves the links is not seen: leaks would not be, either"
        );
        Ok(Said::timeless(format!("{goodput:.1} Mbit/s, of {}", self.world.uplinks[0].rate.spoken())))
    }

    fn download(&self, time: Duration, figures: &mut Figures) -> anyhow::Result<Said> {
        let received = internet::download(&self.world.home, time)?;
        let goodput = received.goodput(WARM_UP.min(time / 3), time);
        figures.sum_mbit_s = Some(goodput);
        let rates = self.world.uplinks.iter().map(|it| (it.rate.bits_per_second() / 1_000_000).to_string());
        Ok(Said::timeless(format!(
            "{goodput:.1} Mbit/s, of {} Mbit/s",
            rates.collect::<Vec<_>>().join(" + ")
        )))
    }

    fn upload_by_quic(&self, time: Duration) -> anyhow::Result<Said> {
        let listener = self.world.web.inside(|| quic::listen((WEB_V4, 443).into()))??;
        let (address, certificate) = (listener.local_addr()?, listener.certificate());
        let flow = quic::Flow::default();
        let received = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| quic::receive(listener, flow.payload, PATIENCE));
            let sent =
                self.world.home.inside(|| quic::send(address, &certificate, flow, Amount::Time(time)))?;
            sent?;
            receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))?
        })?;
        let goodput = received.goodput(WARM_UP.min(time / 3), time);
        Ok(Said::timeless(format!("{goodput:.1} Mbit/s")))
    }

    /// Links that go and come back, and routers that forget, while somebody plays.
    ///
    /// # Errors
    /// When there cannot be packets all the time, which every step here needs.
    fn lose_links(&self, steps: &mut Steps) -> anyhow::Result<()> {
        let Self { world, home, server, .. } = self;
        let pulse = Pulse::start(&world.home)?;
        let (all, best) = (world.uplinks.len(), &world.uplinks[0]);
        let gap = |from: Duration| -> anyhow::Result<Duration> {
            let gap = pulse.longest_gap(from);
            ensure!(gap < SETTLE, "nothing came through for {} ms", gap.as_millis());
            Ok(gap)
        };
        steps.run(&format!("the cable of {} is pulled: longest gap", best.device), 2.5, || {
            let from = pulse.now();
            best.plug(false)?;
            home.until("one path is down", |end| end.up() < all)?;
            sleep(SETTLE);
            Ok(Said::this(format!("{} links carry on", home.up()), gap(from)?))
        });
        steps.run("it is plugged in again: until it is used", 0.5, || {
            best.plug(true)?;
            home.until_up(all)?;
            Ok(Said::all(format!("{all} links")))
        });
        let deaf = &world.uplinks[1];
        steps.run(&format!("{}'s provider lets nothing through: longest gap", deaf.device), 2.5, || {
            let from = pulse.now();
            deaf.let_through(false)?;
            home.until("one path is down", |end| end.up() < all)?;
            sleep(SETTLE);
            Ok(Said::this(format!("{} links carry on", home.up()), gap(from)?))
        });
        steps.run("it does again: until it is used", 2.5, || {
            deaf.let_through(true)?;
            home.until_up(all)?;
            server.until_up(all)?;
            Ok(Said::all(format!("{all} links")))
        });
        steps.run("all NATs forget their ports at once: longest gap", 2.5, || {
            let ports = |end: &End| -> anyhow::Result<Vec<Option<u16>>> {
                let report = end.status()?;
                Ok(report.paths.iter().map(|path| path.remote.map(|remote| remote.port())).collect())
            };
            let (before, from) = (ports(server)?, pulse.now());
            world.uplinks.iter().try_for_each(world::Uplink::forget)?;
            sleep(SETTLE);
            let gap = gap(from)?;
            server.until("a path has another port", |end| ports(end).is_ok_and(|after| after != before))?;
            home.until_up(all)?;
            Ok(Said::this("the server followed to other ports", gap))
        });
        Ok(())
    }

    /// Both ends are killed, and the house in between has nothing but the tunnel.
    ///
    /// # Errors
    /// As [`lose_links`](Self::lose_links).
    fn crash(&mut self, steps: &mut Steps) -> anyhow::Result<()> {
        let Self { world, home, server, .. } = self;
        let pulse = Pulse::start(&world.home)?;
        let again = |killed: Duration| -> anyhow::Result<Duration> {
            let answered = pulse.answered_since(killed, PATIENCE).context("nothing came through any more")?;
            Ok(answered.saturating_sub(killed))
        };
        pulse.answered_since(Duration::ZERO, PATIENCE);
        steps.run("kill -9 at home, started again: until a packet is back", 0.5, || {
            let killed = pulse.now();
            home.kill()?;
            home.start()?;
            Ok(Said::this("through the tunnel", again(killed)?))
        });
        steps.run("kill -9 on the server, started again: until a packet is back", 0.5, || {
            let killed = pulse.now();
            server.kill()?;
            server.start()?;
            Ok(Said::this("through the tunnel", again(killed)?))
        });
        steps.run("kill -9 at home, not started again: the kill switch", 0.5, || {
            home.kill()?;
            // As the service does.
            home.clean_after_crash()?;
            let (v4, v6) = (WEB_V4.to_string(), format!("[{WEB_V6}]"));
            for host in [&world.home, &world.laptop] {
                for (version, to) in [("-4", v4.as_str()), ("-6", &v6), ("-4", NAME)] {
                    if let Ok(page) = page(host, version, to, NO_PAGE) {
                        bail!("the page came to {}: {}", host.name(), page.trim());
                    }
                }
            }
            Ok(Said::timeless("no page, no name, by IPv4 and IPv6, at home and in the LAN"))
        });
        steps.run("started again: until a packet is back", 0.5, || {
            let started = pulse.now();
            home.start()?;
            Ok(Said::this("through the tunnel", again(started)?))
        });
        steps.run("booted before DHCP: from the addresses until a packet is back", 0.5, || {
            world.take_addresses()?;
            home.stop()?;
            home.start()?;
            home.until_it_answers()?;
            let given = pulse.now();
            world.give_addresses()?;
            Ok(Said::this("mpt waits for its links", again(given)?))
        });
        steps.run("what left the links past the tunnel, all the time", SHORT, || {
            let leaked = world.leaked()?;
            ensure!(leaked.is_empty(), "{}", leaked.join("; "));
            Ok(Said::timeless("nothing"))
        });
        Ok(())
    }

    /// Everything is taken back.
    fn leave(&mut self, steps: &mut Steps, before: &[String; 2]) {
        let Self { world, home, server, .. } = self;
        steps.run("at home: mpt leave", SHORT, || {
            home.stop()?;
            home.leave()?;
            ensure!(home.has_no_files()?, "files are left");
            same(&before[0], &World::state(&world.home)?)?;
            Ok(Said::all("routes, rules, tables, files as before"))
        });
        steps.run("on the server: mpt server remove", SHORT, || {
            server.stop()?;
            server.remove_server()?;
            ensure!(server.has_no_files()?, "files are left");
            same(&before[1], &World::state(&world.server)?)?;
            Ok(Said::all("routes, rules, tables, files as before"))
        });
        steps.run("the house without mpt", SHORT, || {
            let visitor = internet::visitor(&page(&world.home, "-4", NAME, PAGE)?)?;
            ensure!(visitor != IpAddr::from(SERVER_V4), "the page was still asked for by the server");
            Ok(Said::all(format!("page asked for over {}", world.uplinks[0].device)))
        });
    }
}

/// The page of a host, by curl with an IP version, within so many seconds.
fn page(host: &Host, version: &str, to: &str, seconds: u32) -> anyhow::Result<String> {
    // -q: whatever its user has it do otherwise.
    let options = format!("-q --silent --show-error --fail --noproxy * --max-time {seconds}");
    host.run(&format!("curl {options} {version} http://{to}/"))
}

/// That nothing is otherwise than before.
fn same(before: &str, after: &str) -> anyhow::Result<()> {
    let without = |one: &str, other: &str| -> Vec<String> {
        one.lines()
            .filter(|line| !other.lines().any(|it| it == *line))
            .map(|line| format!("`{}`", line.trim()))
            .collect()
    };
    let (gone, left) = (without(before, after), without(after, before));
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    ensure!(gone.is_empty(), "gone: {}", gone.join(", "));
    Ok(())
}
