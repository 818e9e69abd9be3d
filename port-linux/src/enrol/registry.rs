//! The server whose peers are meant: its configuration, their files, and the mpt that runs with them.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use super::DIRECTORY;
use crate::config::{Config, Connection, Listen};
use crate::control::{self, Command, default_socket};
use crate::failure::misconfigured;
use crate::report::ConnectionReport;

/// Which server.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Its configuration; `None`: the only one in `/etc/mpt` with `[listen]`.
    pub config: Option<PathBuf>,
    /// Its control socket; `None`: that of its tunnel interface.
    pub control: Option<PathBuf>,
}

/// A server's configuration, which has `[listen]`, its peers' files, and the running mpt, if it runs.
pub(super) struct Registry {
    pub(super) config: Config,
    pub(super) listen: Listen,
    control: PathBuf,
    /// The name of the configuration.
    pub(super) name: String,
}

impl Registry {
    pub(super) fn load(which: &Which) -> Result<Self> {
        let file = which.config.clone().map_or_else(|| find(Path::new(DIRECTORY)), Ok)?;
        let config = Config::load(&file)?;
        let Some(listen) = config.listen.clone() else {
            return Err(misconfigured(format!(
                "{}: there is no [listen], so no peers can come; `mpt server setup` makes a configuration for a server",
                file.display()
            )));
        };
        let control = which.control.clone().unwrap_or_else(|| default_socket(&config.tunnel.name));
        let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Self { config, listen, control, name })
    }

    pub(super) fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.listen.peers.join(format!("{name}.{extension}"))
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Connection> {
        self.config.connections.iter().filter(|connection| connection.is_learned)
    }

    /// What the running server says of its connections; `None`: it does not run.
    pub(super) fn status(&self) -> Option<Vec<ConnectionReport>> {
        control::report(Some(&self.control)).ok().map(|report| report.connections)
    }

    /// Lets the running server read its files again. `false`: it does not run.
    pub(super) fn reload(&self) -> Result<bool> {
        if !control::is_there(&self.control) {
            return Ok(false);
        }
        control::ask(Some(&self.control), Command::Reload).map(|_| true)
    }

    /// As [`load`](Self::load), with a lock that keeps others from changing the peers until it is dropped.
    pub(super) fn load_alone(which: &Which) -> Result<(Self, File)> {
        let directory = Self::load(which)?.listen.peers;
        let context = || format!("cannot lock {}", directory.display());
        let file = File::open(&directory).with_context(context)?;
        flock(&file, FlockOperation::LockExclusive).with_context(context)?;
        // Who had it before may have changed them.
        Ok((Self::load(which)?, file))
    }

    /// The peer of this name.
    pub(super) fn peer(&self, name: &str) -> Result<&Connection> {
        self.peers().find(|peer| peer.name == name).with_context(|| self.unknown(name))
    }

    /// That there is no such peer, and which there are.
    pub(super) fn unknown(&self, name: &str) -> String {
        let names: Vec<&str> = self.peers().map(|peer| peer.name.as_str()).collect();
        let known = if names.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        };
        format!("no peer is named {name}; {known}")
    }
}

/// The only configuration of a server in a directory.
fn find(directory: &Path) -> Result<PathBuf> {
    let found = super::configurations(directory, |text| text.lines().any(|line| line.trim() == "[listen]"))?;
    match &found[..] {
        [file] => Ok(file.clone()),
        [] => Err(misconfigured(format!(
            "no configuration in {} has [listen]: this is no server yet. Make it one with: sudo mpt server setup",
            directory.display()
        ))),
        several => {
            let names: Vec<String> =
                several.iter().map(|file| format!("  --config {}", file.display())).collect();
            Err(misconfigured(format!("there are several servers; say which one with\n{}", names.join("\n"))))
        }
    }
}
