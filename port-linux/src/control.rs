//! The control socket: one JSON object a line, asked and answered.
//!
//! Requests: `{"version":1,"command":"status"}`, `{"version":1,"command":"path_up","path":"eth1"}`,
//! `{"version":1,"command":"path_down","path":"pc2/eth1"}`, and `path_spare` likewise;
//! `{"version":1,"command":"path_add","connection":"vps","new":{"name":"lte","device":"wwan0"}}`, `{"version":1,"command":"path_remove","path":"vps/lte"}`;
//! `{"version":1,"command":"data_set","path":"vps/lte","bytes":5000000000}`, and `data_add` likewise; `reload`;
//! `{"version":1,"command":"pin","path":"vps/lte","flows":[[40000,4756]],"seconds":60}`;
//! `{"version":1,"command":"record_start","connection":"vps","bytes":64000000}`, `record_stop` and `record_state` likewise. Answers carry `"version":1` and either what was
//! asked for or `"error"`, a sentence.

mod client;
mod listener;
mod server;

pub use client::{ask, find, first_line, is_there, report};
pub use listener::{Listener, serve};
pub use server::{Asked, Query, Server, relay, reload};

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::config::{NewPath, Rate};
use crate::data::DataReport;
use crate::report::{Report, VERSION};
use crate::state_directory::RUNTIME;

/// Most seconds for which flows are pinned by one command.
pub const MOST_PINNED: u16 = 300;

/// Where the control socket of a tunnel interface is unless `--control` says otherwise.
pub fn default_socket(tunnel: &str) -> PathBuf {
    Path::new(RUNTIME).join(format!("{tunnel}.sock"))
}

/// How the name of a socket for metrics ends.
const METRICS: &str = "metrics.sock";

/// The socket beside a control socket from which metrics are read.
pub fn metrics_socket(socket: &Path) -> PathBuf {
    socket.with_extension(METRICS)
}

/// The file beside a control socket that says where peers were last.
pub fn places(socket: &Path) -> PathBuf {
    socket.with_extension("peers")
}

/// The file beside a control socket that says which addresses names had last.
pub fn names(socket: &Path) -> PathBuf {
    socket.with_extension("names")
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// For a [`Report`].
    Status,
    /// Reads the configuration again.
    Reload,
    /// Enables a path, named `PATH` or, when several connections have one, `CONNECTION/PATH`.
    PathUp {
        /// The name.
        path: String,
    },
    /// Disables a path.
    PathDown {
        /// The name.
        path: String,
    },
    /// Makes a path a spare: used while no other path of its connection is up. Enabling or disabling it ends that.
    PathSpare {
        /// The name.
        path: String,
    },
    /// Says how much a path has used of its data plan.
    DataSet {
        /// The name.
        path: String,
        /// Bytes.
        bytes: u64,
    },
    /// Says how much more a path may use.
    DataAdd {
        /// The name.
        path: String,
        /// Bytes.
        bytes: u64,
    },
    /// Adds a path to a connection, until mpt ends.
    PathAdd {
        /// The connection's name.
        connection: String,
        /// The path.
        new: NewPath,
    },
    /// Removes a path, until the configuration is read again if the file has it.
    PathRemove {
        /// The name.
        path: String,
    },
    /// Pins flows to the peer to one path for a while, whatever the policy, to measure that path by itself.
    Pin {
        /// The path's name.
        path: String,
        /// Source and destination port of each flow, TCP or UDP.
        flows: Vec<(u16, u16)>,
        /// For how long; [`MOST_PINNED`] at most, and 0 to end it.
        seconds: u16,
    },
    /// Records a connection from now on, until mpt ends or the connection begins anew.
    RecordStart {
        /// Its name; `None`: the only one.
        #[serde(default)]
        connection: Option<String>,
        /// Most bytes of its files.
        bytes: u64,
    },
    /// Ends the recording of a connection.
    RecordStop {
        /// Its name; `None`: the only one that is recorded.
        #[serde(default)]
        connection: Option<String>,
    },
    /// For the [`RecordingState`] of a connection.
    RecordState {
        /// Its name; `None`: the only one that is recorded.
        #[serde(default)]
        connection: Option<String>,
        /// Lets everything up to now go to the files.
        #[serde(default)]
        flush: bool,
    },
}

/// A line to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What is asked.
    #[serde(flatten)]
    pub command: Command,
}

/// A line from the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `status`.
    Report(Box<Report>),
    /// To `path_up`, `path_down`, `path_spare`, `path_add` and `path_remove`.
    Path {
        /// [`VERSION`].
        version: u32,
        /// The path's full name, `CONNECTION/PATH`.
        path: String,
        /// Whether it is enabled now.
        enabled: bool,
    },
    /// To `data_set` and `data_add`.
    Data {
        /// [`VERSION`].
        version: u32,
        /// The path's full name, `CONNECTION/PATH`.
        path: String,
        /// How its plan stands now.
        data: DataReport,
    },
    /// To `pin`.
    Pinned {
        /// [`VERSION`].
        version: u32,
        /// The path's full name, `CONNECTION/PATH`.
        pinned: String,
        /// The number by which the peer knows the path.
        peer_number: u8,
    },
    /// To `reload`.
    Reload {
        /// [`VERSION`].
        version: u32,
        /// What it changed.
        reloaded: Box<Reloaded>,
    },
    /// To `record_start`, `record_stop` and `record_state`.
    Recording {
        /// [`VERSION`].
        version: u32,
        /// How it is.
        recording: Box<RecordingState>,
    },
    /// It cannot be done.
    Error {
        /// [`VERSION`].
        version: u32,
        /// Why not.
        error: String,
    },
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingState {
    /// Name of the connection.
    pub connection: String,
    /// Where its files are.
    pub directory: PathBuf,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that the thread that writes it was handed.
    pub handed: u64,
    /// Those of them that are in the files.
    pub written: u64,
    /// It has ended: the files cannot be written.
    pub is_over: bool,
}

/// What another configuration changed: connections, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// Those that came.
    pub added: Vec<String>,
    /// Those that went.
    pub removed: Vec<String>,
    /// Those that are set up otherwise now, and began anew.
    pub changed: Vec<String>,
    /// Those whose `limit` is another now, and that notice nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limited: Vec<String>,
    /// Paths that came, as `CONNECTION/PATH`, to connections that went on.
    #[serde(default)]
    pub paths_added: Vec<String>,
    /// Paths that went from connections that went on.
    #[serde(default)]
    pub paths_removed: Vec<String>,
    /// Those that noticed nothing.
    pub kept: usize,
    /// How many forwarded ports there are now, if they are others than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwards: Option<usize>,
    /// How many hooks there are now, if they are others than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<usize>,
    /// Bits a second of `listen.uplink` and `listen.downlink`, if they are others than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<[Option<u64>; 2]>,
}

impl Reloaded {
    /// Whether it changed no connection, no forwarded port and no hook.
    pub fn is_nothing(&self) -> bool {
        let lists = [
            &self.added,
            &self.removed,
            &self.changed,
            &self.limited,
            &self.paths_added,
            &self.paths_removed,
        ];
        let is_as_before = self.forwards.is_none() && self.hooks.is_none() && self.access.is_none();
        is_as_before && lists.iter().all(|list| list.is_empty())
    }
}

/// `van-7 added, van-3 removed, 12 as before`
impl fmt::Display for Reloaded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            (&self.added, "added"),
            (&self.changed, "changed"),
            (&self.removed, "removed"),
            (&self.limited, "has another limit"),
        ];
        for (names, what) in lists {
            for name in names {
                write!(out, "{name} {what}, ")?;
            }
        }
        // One that is set up otherwise has gone and come.
        for name in &self.paths_added {
            let is_changed = self.paths_removed.contains(name);
            write!(out, "path {name} {}, ", if is_changed { "changed" } else { "added" })?;
        }
        for name in self.paths_removed.iter().filter(|name| !self.paths_added.contains(name)) {
            write!(out, "path {name} removed, ")?;
        }
        if let Some(forwards) = self.forwards {
            write!(out, "forwarded ports: {forwards}, ")?;
        }
        if let Some(hooks) = self.hooks {
            write!(out, "hooks: {hooks}, ")?;
        }
        if let Some(access) = self.access {
            let [up, down] =
                access.map(|rate| rate.map_or("not shared".to_owned(), |rate| Rate(rate).to_string()));
            write!(out, "uplink {up}, downlink {down}, ")?;
        }
        write!(out, "{} as before", self.kept)
    }
}

impl Answer {
    /// It cannot be done, and why not.
    pub fn error(error: impl Into<String>) -> Self {
        Self::Error { version: VERSION, error: error.into() }
    }

    /// The answer to `status`.
    ///
    /// # Errors
    /// It is another one: why it cannot be done, if it is that.
    pub fn report(self) -> Result<Report> {
        match self {
            Self::Report(report) => Ok(*report),
            other => Err(other.unexpected()),
        }
    }

    /// The path's full name and whether it is enabled, which commands about paths answer.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub fn path(self) -> Result<(String, bool)> {
        match self {
            Self::Path { path, enabled, .. } => Ok((path, enabled)),
            other => Err(other.unexpected()),
        }
    }

    /// The path's full name and how its data plan stands, which `data_set` and `data_add` answer.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub fn data(self) -> Result<(String, DataReport)> {
        match self {
            Self::Data { path, data, .. } => Ok((path, data)),
            other => Err(other.unexpected()),
        }
    }

    /// The number by which the peer knows the path, which `pin` answers.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub fn peer_number(self) -> Result<u8> {
        match self {
            Self::Pinned { peer_number, .. } => Ok(peer_number),
            other => Err(other.unexpected()),
        }
    }

    /// The answer to `reload`.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub fn reloaded(self) -> Result<Reloaded> {
        match self {
            Self::Reload { reloaded, .. } => Ok(*reloaded),
            other => Err(other.unexpected()),
        }
    }

    /// The answer to commands about recordings.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub fn recording(self) -> Result<RecordingState> {
        match self {
            Self::Recording { recording, .. } => Ok(*recording),
            other => Err(other.unexpected()),
        }
    }

    fn unexpected(self) -> anyhow::Error {
        match self {
            Self::Error { error, .. } => anyhow!(error),
            other => anyhow!("mpt answered what was not asked for: {other:?}"),
        }
    }
}

/// Reads a request.
///
/// # Errors
/// What is wrong with a line that is none.
fn parse(line: &[u8]) -> Result<Command, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(line)
        .map_err(|error| format!("not a request of the form {{\"version\":1,\"command\":…}}: {error}"))?;
    if version != VERSION {
        return Err(format!("version {version} is not spoken here; version {VERSION} is"));
    }
    let request: Request = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    Ok(request.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        parse(line.as_bytes()).unwrap_err()
    }

    #[test]
    fn each_command_is_read_from_its_documented_line() {
        assert_eq!(parse(br#"{"version":1,"command":"status"}"#), Ok(Command::Status));
        assert_eq!(
            parse(br#"{"version":1,"command":"path_up","path":"eth1"}"#),
            Ok(Command::PathUp { path: "eth1".into() })
        );
        assert_eq!(
            parse(br#"{"version":1,"command":"path_down","path":"pc2/eth1"}"#),
            Ok(Command::PathDown { path: "pc2/eth1".into() })
        );
        assert_eq!(
            parse(br#"{"version":1,"command":"path_spare","path":"lte"}"#),
            Ok(Command::PathSpare { path: "lte".into() })
        );
        assert_eq!(
            parse(br#"{"version":1,"command":"pin","path":"lte","flows":[[40000,4756]],"seconds":60}"#),
            Ok(Command::Pin { path: "lte".into(), flows: vec![(40_000, 4756)], seconds: 60 })
        );
    }

    #[test]
    fn a_request_is_written_as_it_is_read() {
        let request = Request { version: VERSION, command: Command::PathUp { path: "eth1".into() } };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"version":1,"command":"path_up","path":"eth1"}"#);
        assert_eq!(parse(line.as_bytes()), Ok(request.command));
    }

    #[test]
    fn a_line_that_is_no_request_gets_an_error_that_says_why() {
        assert!(error("").contains("not a request"));
        assert!(error("status").contains("not a request"));
        assert!(error(r#"{"command":"status"}"#).contains("version"));
        assert!(error(r#"{"version":2,"command":"status"}"#).contains("version 2 is not spoken"));
        assert!(error(r#"{"version":1,"command":"reboot"}"#).contains("reboot"));
        assert!(error(r#"{"version":1,"command":"path_up"}"#).contains("path"));
    }

    #[test]
    fn another_answer_than_was_asked_for_is_an_error_that_says_what_it_is() {
        let refused = Answer::error("no path is named eth9").path().unwrap_err();
        assert_eq!(refused.to_string(), "no path is named eth9");
        let path = Answer::Path { version: VERSION, path: "pc2/eth1".into(), enabled: true };
        assert_eq!(path.clone().path().unwrap(), ("pc2/eth1".to_owned(), true));
        let other = path.report().unwrap_err().to_string();
        assert!(other.starts_with("mpt answered what was not asked for: Path"), "{other}");
    }

    #[test]
    fn the_small_answers_are_told_apart() {
        for line in [
            r#"{"version":1,"path":"pc2/eth1","enabled":false}"#,
            r#"{"version":1,"error":"no path is named eth9"}"#,
            r#"{"version":1,"pinned":"pc2/eth1","peer_number":3}"#,
        ] {
            let answer: Answer = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&answer).unwrap(), line);
        }
    }
}
