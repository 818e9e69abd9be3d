//! The program `mpt`, whatever the platform: commands to functions, errors to exit codes.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, Join, Named, Peer, Server, Way, What};
use crate::enrol::{join, list, peers, server, standby};
use crate::keys::commands;
use crate::run::Defaults;
use crate::status::Show;
use crate::{check, clean, failure, import, init, lab, output, record, replay, run, status};

/// Reads the command line, does what it says, and returns the exit code. `defaults` are the platform's.
pub fn main(defaults: &Defaults) -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.verbose);
    match dispatch(cli.command, defaults) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("mpt: {error:#}\n"));
            failure::exit_code(&error)
        }
    }
}

fn dispatch(command: Command, defaults: &Defaults) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run::run(&args.config, args.control.as_deref(), defaults),
        Command::Check(args) => check::check(&args.file),
        Command::Clean(args) => clean::clean(args.name.as_deref(), args.config.as_deref()),
        Command::Status(args) => {
            let show = Show { json: args.json, watch: args.watch };
            status::status(args.name.as_deref(), show, args.control.socket.as_deref())
        }
        Command::Reload(args) => status::reload(args.control.socket.as_deref()),
        Command::Path(args) => {
            let set =
                |path: Named, enabled| status::set_path(&path.name, enabled, path.control.socket.as_deref());
            match args.way {
                Way::Up(path) => set(path, true),
                Way::Down(path) => set(path, false),
                Way::Add(args) => {
                    let (connection, control) = (args.connection.clone(), args.control.socket.clone());
                    status::add_path(connection, (*args).into(), control.as_deref())
                }
                Way::Remove(path) => status::remove_path(path.name, path.control.socket.as_deref()),
            }
        }
        Command::Record(args) => match args.what {
            What::Start(args) => record::start(args.connection, args.size, args.control.socket.as_deref()),
            What::Stop(args) => record::stop(args.connection, args.control.socket.as_deref()),
            What::Save(args) => record::save(&args.file, args.connection, args.control.socket.as_deref()),
        },
        Command::Replay(args) => replay::replay(&(*args).into()),
        Command::Init(args) => {
            let output = args.output.clone();
            init::run(&args.into(), output.as_deref())
        }
        Command::Genkey(args) => commands::genkey(args.output.as_deref()),
        Command::Pubkey(args) => commands::pubkey(args.file.as_deref()),
        Command::Genpsk(args) => commands::genpsk(args.output.as_deref()),
        Command::Server(Server::Setup(args)) => server::setup(&args.into()),
        Command::Server(Server::Remove(args)) => server::remove(&args.name, &args.directory, args.yes),
        Command::Peer(peer) => self::peer(peer),
        Command::Join(args) if args.new => join::new_key(args.name.as_deref(), &args.place.directory),
        Command::Join(Join { standby_of: Some(first), place, .. }) => {
            standby::stand_by(&first, &place.directory)
        }
        Command::Join(args) => join::join(&args.into()),
        Command::Leave(args) => join::leave(args.name.as_deref(), &args.directory),
        Command::Import(args) => output::print(&import::import(&args.dir)?).map(drop),
        Command::Lab(args) => lab::run(args),
        Command::Traffic(args) => lab::traffic::run(args),
    }
}

fn peer(command: Peer) -> anyhow::Result<()> {
    match command {
        Peer::Add(args) => {
            let (which, new) = args.split();
            peers::add(&which, &new)
        }
        Peer::Renew(args) => {
            let (which, new) = args.split();
            peers::renew(&which, &new)
        }
        Peer::List(args) => list::list(&args.which.into(), None, args.json),
        Peer::Show(args) => list::list(&args.list.which.into(), Some(&args.name), args.list.json),
        Peer::Remove(args) => peers::remove(&args.which.into(), &args.name),
    }
}

fn log_to_stderr(verbose: u8) {
    let level = ["info", "debug", "trace"][usize::from(verbose.min(2))];
    // Of messages that netlink_proto does not know, as of IP settings that change, nobody can do anything.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,port_linux={level},netlink_proto=off")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // It would be told on standard error, too, and end the program where that takes nothing more.
        .log_internal_errors(false)
        .init();
}
