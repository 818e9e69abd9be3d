//! The program `mpt`, whatever the platform: commands to functions, errors to exit codes.

#![deny(unsafe_code)]

pub mod cli;

use std::process::ExitCode;

use clap::Parser;
use port_linux::config::ConfigError;
use port_linux::enrol::{join, list, peers, server, standby};
use port_linux::failure::Misconfigured;
use port_linux::import::ImportError;
use port_linux::keys::commands;
use port_linux::logs::{self, Flood, Form};
use port_linux::measure::{ping, speed};
use port_linux::plans::{self, Change};
use port_linux::run;
pub use port_linux::run::Defaults;
use port_linux::{
    alone, check, clean, doctor, history, import, init, metrics, output, record, replay, status, top,
};

use self::cli::{Cli, Command, Data, DataWay, Join, Named, Peer, Server, Way, What};

/// Reads the command line, does what it says, and returns the exit code. `defaults` are the platform's.
pub fn main(defaults: &Defaults) -> ExitCode {
    let cli = Cli::parse();
    let flood = if matches!(cli.command, Command::Run(_)) { Flood::Limited } else { Flood::Written };
    let form = logs::start(cli.verbose, cli.log, flood);
    match dispatch(cli.command, defaults) {
        Ok(code) => code,
        Err(error) => {
            match form {
                Form::Text => output::complain(&format!("mpt: {error:#}\n")),
                Form::Journal | Form::Json => tracing::error!("{error:#}"),
            }
            exit_code(&error)
        }
    }
}

/// 2 for what the user wrote (configuration, usage), 1 for what happened at run time.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let is_what_the_user_wrote = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<Misconfigured>() || cause.is::<ConfigError>() || cause.is::<ImportError>()
    };
    if error.chain().any(is_what_the_user_wrote) { ExitCode::from(2) } else { ExitCode::FAILURE }
}

fn dispatch(command: Command, defaults: &Defaults) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Doctor(args) => {
            let is_well = doctor::doctor(args.config.as_deref(), args.control.socket.as_deref(), args.json)?;
            return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Portal(args) => {
            return alone::portal(&args.path, &args.program, args.control.socket.as_deref());
        }
        Command::Ping(args) => ping::Ping::from(args).run(),
        Command::Speed(args) => speed::Speed::from(args).run(),
        Command::Run(args) => run::run(&args.config, args.control.as_deref(), defaults),
        Command::Check(args) => check::check(&args.file, args.offline),
        Command::Clean(args) => clean::clean(args.name.as_deref(), args.config.as_deref()),
        Command::Status(args) if args.watch => top::top(args.name.as_deref(), args.control.socket.as_deref()),
        Command::Status(args) => {
            status::status(args.name.as_deref(), args.json, args.control.socket.as_deref())
        }
        Command::History(args) => history::show::show(&args.into()),
        Command::Top(args) => top::top(args.name.as_deref(), args.control.socket.as_deref()),
        Command::Metrics(args) => metrics::metrics(args.name.as_deref(), args.control.socket.as_deref()),
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
        Command::Data(args) => self::data(args),
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
        #[cfg(feature = "lab")]
        Command::Lab(args) => mpt_lab::run(args),
        #[cfg(feature = "lab")]
        Command::Traffic(args) => mpt_lab::traffic::run(args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn data(args: Data) -> anyhow::Result<()> {
    let (change, amount) = match args.way {
        None => return plans::show(args.name.as_deref(), args.json, args.control.socket.as_deref()),
        Some(DataWay::Set(amount)) => (Change::Set(amount.amount), amount),
        Some(DataWay::Add(amount)) => (Change::Add(amount.amount), amount),
    };
    plans::change(&amount.name, change, amount.json, amount.control.socket.as_deref())
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
