//! `mpt lab`: its command line, and what each run is asked for.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum as _};
use mpt_link::GRAMMAR;
use mpt_proto::Policy;
use port_linux::output;

use super::links::{Part, Protocol};
use super::out::write;
use super::quick::Settings;
use super::rate::Rate;
use super::relay::link::{Links, MAX_LINKS};
use super::stack::Stack;
use super::topology::Cut;
use super::traffic::quic;
use super::traffic::stream::USUAL_CONGESTION;
use super::tunnel::{Security, policies};
use super::{
    attack, crowd, figure, home, links, mptcp, namespace, paper, quick, report, soak, speed, transfer,
};

/// What `mpt lab --help` says below the options, before the grammar of links.
const ABOUT: &str = "Builds the paper's two PCs as network namespaces, joined by four links of 100 Mbit/s, starts this \
    program on both, and sends TCP through the tunnel: over 1, 2, 3 and 4 paths, then over paths of \
    which one is cut and restored. Needs no configuration, and no root where the kernel allows user \
    namespaces. Everything vanishes with it.\n\n\
    Examples:\n  \
    mpt lab                          the default: about a minute\n  \
    mpt lab --cut silent --ip 66     IPv6 over IPv6; the cut path eats packets\n  \
    mpt lab --speed                  links without a limit, beside kernel MPTCP: three minutes\n  \
    mpt lab --speed --measure udp --repeats 1    datagrams a second: one minute\n  \
    mpt lab --speed --full --out figures         everything: half an hour\n  \
    mpt lab --paper --out figures    the paper's figures beside kernel MPTCP: half an hour\n  \
    mpt lab --paper --repeats 1 --seconds 4 --size 100000000    a taste of it: three minutes\n  \
    mpt lab --links \"100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%\" --out figures\n                                   \
    unequal links beside kernel MPTCP: six minutes\n  \
    mpt lab --links \"starlink, 5g\" --flow tcp,quic --udp-in-order\n                                   \
    links as people have them, by TCP and by QUIC: eight minutes\n  \
    mpt lab --links \"lte, dsl\" --flow call --only tcp,mptcp,mpt --congestion cubic\n                                   \
    a call beside a download, over each link and all: two minutes\n  \
    mpt lab --links \"50mbit 20ms, 50mbit 40ms\" --flow wireguard --only tcp,mpt\n                                   \
    WireGuard through the tunnel: four minutes\n  \
    mpt lab --soak --seconds 60      a minute of full rate and cut links, each byte checked\n  \
    mpt lab --attack                 a sealed tunnel while one end is flooded: three minutes\n  \
    mpt lab --peers 1000             one server and so many peers: two minutes\n  \
    mpt lab --peers 100 --load 150 --rate 20mbit --share\n                                   \
    a server with thin links, which it shares out: a minute\n  \
    mpt lab home                     a house, its LAN and a server, and what a house goes through\n\n\
    The links of --links, separated by commas, are emulated in user space: no netem is needed.";

/// Arguments of `mpt lab`.
#[derive(Debug, Parser)]
#[command(
    about = "Measure the tunnel on this machine: two hosts in namespaces, shaped links, real traffic",
    // All in here: a subcommand's own long text would take the place of a `long_about`.
    after_help = format!("{ABOUT}\n\n{GRAMMAR}"),
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
)]
pub struct Args {
    #[command(subcommand)]
    world: Option<World>,
    /// Number of links between the two hosts, and of paths
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_LINKS)))]
    paths: u8,
    /// Rate of each link, in tc's units [default: 100mbit; with --speed and --soak no limit]
    #[arg(long)]
    rate: Option<Rate>,
    /// Length of each transfer; the first second of it does not count [default: 8; with --speed 4; with --attack 6; with
    /// --paper 10; with --links 20; with --soak 600]
    #[arg(long, value_parser = transfer::seconds)]
    seconds: Option<f64>,
    /// IP versions above and below the tunnel: 46 is IPv4 over IPv6
    #[arg(long, value_enum, default_value = "44", conflicts_with = "paper")]
    ip: Stack,
    /// How the tunnel chooses a path for each packet [default: adaptive]
    #[arg(long, conflicts_with = "paper", value_parser = PossibleValuesParser::new(policies()))]
    policy: Option<String>,
    /// Whether the tunnel is sealed, by keys made for it [default: keys; with --paper none, as in the paper]. --speed measures both
    #[arg(long, value_enum, conflicts_with_all = ["paper", "speed"], value_name = "HOW")]
    security: Option<Security>,
    /// How the last path is cut; with --links each in turn
    #[arg(long, value_enum, default_value = "link", conflicts_with = "paper")]
    cut: Cut,
    /// Measure goodput by the real iperf3 (the hand-over gap is still measured by the built-in generator)
    #[arg(long)]
    iperf3: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write results and figures into this directory [default with --paper: mpt-lab]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Measure what the paper's figures 5 to 8 and 10 show, beside kernel MPTCP
    #[arg(long, group = "long_run")]
    paper: bool,
    /// With --paper, have the links take single packets: better for MPTCP's goodput, worse for its CPU time
    #[arg(long, requires = "paper")]
    no_gso: bool,
    /// Measure how fast the tunnel is, beside TCP, kernel MPTCP and wireguard-go
    #[arg(long, group = "long_run", conflicts_with_all = ["paper", "ip", "cut", "iperf3"])]
    speed: bool,
    /// What --speed measures [default: flow,latency; with --full everything]
    #[arg(
        long,
        requires = "speed",
        conflicts_with = "paper",
        value_enum,
        value_delimiter = ',',
        value_name = "WHAT,..."
    )]
    measure: Vec<speed::Measure>,
    /// With --speed: everything, every policy, and once more with links for which large segments must be cut before
    #[arg(long, requires = "speed", conflicts_with = "paper")]
    full: bool,
    /// Send at full rate while a link is cut every 5 s; check every byte and that both ends' counters add up
    #[arg(long, group = "long_run", conflicts_with_all = ["paper", "speed", "cut", "iperf3", "repeats"])]
    soak: bool,
    /// Measure what a sealed tunnel carries while one end is flooded as fast as one processor core can, by who knows so much
    /// [default: all]
    #[arg(long, group = "long_run", value_enum, value_delimiter = ',', value_name = "FLOOD,...", num_args = 0..,
          conflicts_with_all = ["paper", "speed", "soak", "cut", "iperf3", "security", "congestion"])]
    attack: Option<Vec<attack::Flood>>,
    /// Measure one server with so many peers: memory, processor, fairness, a quiet one beside busy ones, and a restart
    #[arg(long, group = "long_run", value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=20_000),
          conflicts_with_all = ["paper", "speed", "soak", "attack", "links", "paths", "ip", "policy", "cut", "iperf3", "security",
                                "congestion", "repeats"])]
    peers: Option<u16>,
    /// With --peers, so many of them send and are sent to
    #[arg(long, requires = "peers", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    senders: u16,
    /// With --peers, what all of them send together, in per cent of what the links carry
    #[arg(long, requires = "peers", value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..=1000))]
    load: u16,
    /// With --peers, tell the server what the links carry, as uplink and downlink in [listen]: it shares that among the peers
    #[arg(long, requires = "peers")]
    share: bool,
    /// Measure one flow over unequal links beside TCP and kernel MPTCP: "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%"
    #[arg(long, group = "long_run", value_name = "LINKS",
          conflicts_with_all = ["paper", "speed", "soak", "attack", "paths", "rate", "iperf3"])]
    links: Option<Links>,
    /// With --links, what is drawn of them follows from: losses, delays that wander, dips
    #[arg(long, default_value_t = 1, requires = "links")]
    seed: u64,
    /// With --links, measure only that
    #[arg(long, requires = "links", value_enum, value_delimiter = ',', value_name = "WHAT,...",
          default_values_t = Part::ALL, hide_default_value = true)]
    only: Vec<Part>,
    /// With --links, what is sent: the kernel's TCP; QUIC by quinn with MTU discovery and GSO; TCP inside wireguard-go, with
    /// its usual MTU of 1420 and with one that fits; TCP with a call beside it, 50 packets a second each way
    #[arg(
        long,
        requires = "links",
        value_enum,
        value_delimiter = ',',
        value_name = "PROTOCOL,...",
        default_value = "tcp"
    )]
    flow: Vec<Protocol>,
    /// With --links, set udp_in_order in the tunnel's configuration: the policy adaptive keeps UDP, and so QUIC, in order
    #[arg(long, requires = "links")]
    udp_in_order: bool,
    /// Congestion control of the flow; several with --links and --speed [default: cubic; with --links cubic,bbr]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', conflicts_with_all = ["paper", "iperf3"],
          value_parser = links::CONGESTION)]
    congestion: Vec<String>,
    /// Repeats of each measurement with --paper, --speed, --attack or --links; medians are reported [default: 3; with
    /// --speed 5; with --links 1]
    #[arg(long, requires = "long_run", value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: Option<u32>,
    /// With --paper, size of the file that is downloaded
    #[arg(long, default_value_t = 1_000_000_000, requires = "paper", value_name = "BYTES",
          value_parser = clap::value_parser!(u64).range(1_000_000..))]
    size: u64,
}

/// What else than the paper's two PCs can be built.
#[derive(Debug, Subcommand)]
enum World {
    /// Build a house with three links, and a server for it, and try all that a house goes through: a minute
    Home(home::Args),
}

/// Runs `mpt lab`.
///
/// # Errors
/// When something is missing (the error says what, and the command that fixes it), or a measurement fails.
pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(World::Home(args)) = &args.world {
        home::check()?;
        namespace::enter()?;
        return home::run(args, &std::env::current_exe().context("cannot find this program's file")?);
    }
    if args.iperf3 && !namespace::is_installed("iperf3") {
        bail!("--iperf3 needs the program `iperf3`: apt install iperf3");
    }
    if args.flow.contains(&Protocol::Quic) && !quic::IS_BUILT_IN {
        bail!("--flow quic: {}", quic::NOT_BUILT_IN);
    }
    if args.udp_in_order {
        let policy = args.policy.as_deref().unwrap_or(Policy::default().name());
        ensure!(
            policy == Policy::Adaptive.name(),
            "--udp-in-order is for the policy adaptive: {policy} has no such setting"
        );
    }
    // Before a minute of measuring, not after it.
    let out = args.out.clone().or_else(|| args.paper.then(|| PathBuf::from("mpt-lab")));
    if let Some(directory) = &out {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        ensure!(
            !directory.canonicalize()?.starts_with("/run"),
            "--out: /run inside the laboratory is its own"
        );
    }
    namespace::enter()?;
    let mpt = std::env::current_exe().context("cannot find this program's file")?;
    let congestion: Vec<&'static str> = links::CONGESTION
        .into_iter()
        .filter(|name| args.congestion.iter().any(|wanted| wanted == name))
        .collect();
    if args.speed {
        ensure!(
            args.paths <= mptcp::MOST_LINKS,
            "--speed compares with kernel MPTCP, which uses at most 8 links"
        );
        let plan = speed::Plan {
            links: args.paths,
            seconds: args.seconds.unwrap_or(4.0),
            repeats: args.repeats.unwrap_or(5),
            rate: args.rate,
            measures: args.measure,
            congestion: if congestion.is_empty() { vec![USUAL_CONGESTION] } else { congestion },
            policy: args.policy,
            full: args.full,
        };
        return speed::run(&plan, &mpt, out.as_deref(), args.json);
    }
    let rate = args.rate.unwrap_or(Rate::FAST_ETHERNET);
    if args.paper {
        ensure!(
            args.paths <= mptcp::MOST_LINKS,
            "--paper compares with kernel MPTCP, which uses at most 8 links"
        );
        let plan = paper::Plan {
            links: args.paths,
            rate,
            seconds: args.seconds.unwrap_or(10.0),
            repeats: args.repeats.unwrap_or(3),
            size: args.size,
            iperf3: args.iperf3,
            gso: !args.no_gso,
        };
        return paper::run(&plan, &mpt, &out.unwrap_or_default(), args.json);
    }
    let policy = args.policy.unwrap_or_else(|| Policy::default().name().to_owned());
    let security = args.security.unwrap_or(Security::Keys);
    if args.soak {
        let time = Duration::from_secs_f64(args.seconds.unwrap_or(600.0));
        let congestion = only(&congestion)?;
        let plan = soak::Plan {
            links: args.paths,
            rate: args.rate,
            time,
            stack: args.ip,
            policy,
            security,
            congestion,
        };
        return soak::run(&plan, &mpt, out.as_deref(), args.json);
    }
    if let Some(floods) = args.attack {
        let floods = if floods.is_empty() { attack::Flood::value_variants().to_vec() } else { floods };
        let plan = attack::Plan {
            links: args.paths,
            rate,
            time: Duration::from_secs_f64(args.seconds.unwrap_or(6.0)),
            repeats: args.repeats.unwrap_or(3),
            stack: args.ip,
            policy,
            floods,
        };
        return attack::run(&plan, &mpt, out.as_deref(), args.json);
    }
    if let Some(peers) = args.peers {
        let time = Duration::from_secs_f64(args.seconds.unwrap_or(10.0));
        let (senders, load_percent, share) = (args.senders.min(peers), args.load, args.share);
        let plan = crowd::Plan { peers, senders, load_percent, share, rate, time };
        return crowd::run(&plan, &mpt, out.as_deref(), args.json);
    }
    if let Some(Links(links)) = args.links {
        let plan = links::Plan {
            links,
            stack: args.ip,
            time: Duration::from_secs_f64(args.seconds.unwrap_or(20.0)),
            repeats: args.repeats.unwrap_or(1),
            policy,
            security,
            cut: args.cut,
            seed: args.seed,
            parts: args.only,
            flows: Protocol::ALL.into_iter().filter(|flow| args.flow.contains(&flow.asked_for())).collect(),
            congestion: if congestion.is_empty() { links::CONGESTION.to_vec() } else { congestion },
            udp_in_order: args.udp_in_order,
        };
        return links::run(&plan, &mpt, out.as_deref(), args.json);
    }
    let settings = Settings {
        paths: args.paths,
        rate,
        seconds: args.seconds.unwrap_or(8.0),
        stack: args.ip,
        policy,
        security,
        cut: args.cut,
        iperf3: args.iperf3,
        congestion: only(&congestion)?,
    };
    let outcome = quick::run(&settings, &mpt)?;
    let json = serde_json::to_string_pretty(&outcome)?;
    if let Some(directory) = &out {
        write(directory, "lab.json", &json)?;
        if let Some(handover) = &outcome.handover {
            write(directory, "hand-over.svg", &figure::hand_over(handover)?)?;
        }
    }
    output::print(&if args.json { json + "\n" } else { report::text(&outcome) })?;
    Ok(())
}

/// The congestion control of a run that has one flow.
fn only(congestion: &[&'static str]) -> anyhow::Result<Option<&'static str>> {
    ensure!(congestion.len() < 2, "--congestion: only --links and --speed measure several");
    Ok(congestion.first().copied())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_defaults_are_the_papers() {
        Args::command().debug_assert();
        crate::traffic::Args::command().debug_assert();
        let args = Args::try_parse_from(["lab"]).expect("defaults");
        assert_eq!((args.paths, args.rate, args.ip), (4, None, Stack::V4OverV4));
    }

    #[test]
    fn options_of_the_long_run_are_refused_without_it() {
        assert!(Args::try_parse_from(["lab", "--repeats", "2"]).is_err());
        assert!(Args::try_parse_from(["lab", "--paper", "--ip", "66"]).is_err());
        assert!(Args::try_parse_from(["lab", "--paper", "--repeats", "2", "--size", "5000000"]).is_ok());
        assert!(Args::try_parse_from(["lab", "--speed", "--repeats", "2"]).is_ok());
        assert!(Args::try_parse_from(["lab", "--speed", "--measure", "udp,flows", "--out", "x"]).is_ok());
        let shaped = ["lab", "--speed", "--rate", "100mbit", "--congestion", "cubic,bbr", "--policy", "flow"];
        assert!(Args::try_parse_from(shaped).is_ok());
        assert!(Args::try_parse_from(["lab", "--measure", "udp"]).is_err());
        assert!(Args::try_parse_from(["lab", "--paper", "--full"]).is_err());
        assert!(Args::try_parse_from(["lab", "--speed", "--paper"]).is_err());
        assert!(
            Args::try_parse_from(["lab", "--links", "1mbit 5ms", "--repeats", "2", "--seed", "7"]).is_ok()
        );
        assert!(Args::try_parse_from(["lab", "--links", "1mbit 5ms", "--rate", "2mbit"]).is_err());
        assert!(Args::try_parse_from(["lab", "--links", "1mbit 5ms", "--speed"]).is_err());
        assert!(Args::try_parse_from(["lab", "--seed", "7"]).is_err());
        let quic = ["lab", "--links", "1mbit 5ms", "--flow", "tcp,quic", "--udp-in-order"];
        let quic = Args::try_parse_from(quic).expect("both flows");
        assert_eq!((quic.flow, quic.udp_in_order), (vec![Protocol::Tcp, Protocol::Quic], true));
        let others = ["lab", "--links", "1mbit 5ms", "--flow", "wireguard,call"];
        let others = Args::try_parse_from(others).expect("both flows");
        assert_eq!(others.flow, [Protocol::Wireguard, Protocol::Call]);
        assert!(Args::try_parse_from(["lab", "--flow", "quic"]).is_err());
        assert!(Args::try_parse_from(["lab", "--udp-in-order"]).is_err());
        assert!(Args::try_parse_from(["lab", "--links", "1mbit 5ms", "--flow", "sctp"]).is_err());
        assert!(Args::try_parse_from(["lab", "--soak", "--policy", "weighted", "--rate", "1gbit"]).is_ok());
        assert!(Args::try_parse_from(["lab", "--soak", "--speed"]).is_err());
        assert!(Args::try_parse_from(["lab", "--attack", "--repeats", "1", "--paths", "2"]).is_ok());
        let attack = Args::try_parse_from(["lab", "--attack", "initiations,replays"]).expect("two kinds");
        assert_eq!(attack.attack, Some(vec![attack::Flood::Initiations, attack::Flood::Replays]));
        assert!(Args::try_parse_from(["lab", "--attack", "nonsense"]).is_err());
        assert!(Args::try_parse_from(["lab", "--attack", "--security", "none"]).is_err());
        assert!(Args::try_parse_from(["lab", "--soak", "--congestion", "bbr"]).is_ok());
    }

    #[test]
    fn a_run_with_one_flow_takes_one_congestion_control() {
        assert_eq!(only(&[]).expect("the usual one"), None);
        assert_eq!(only(&["bbr"]).expect("that one"), Some("bbr"));
        assert!(only(&["cubic", "bbr"]).is_err());
    }

    #[test]
    fn a_mistake_in_the_links_is_one_of_usage_and_says_which_link() {
        let error = Args::try_parse_from(["lab", "--links", "1mbit 5ms, 2mbit 5"]).expect_err("no unit");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("link 2, `2mbit 5`: `5` is not a time"), "{error}");
    }

    #[test]
    fn a_transfer_without_a_second_to_count_is_refused() {
        assert!(Args::try_parse_from(["lab", "--seconds", "1"]).is_err());
        assert!(Args::try_parse_from(["lab", "--seconds", "NaN"]).is_err());
    }
}
