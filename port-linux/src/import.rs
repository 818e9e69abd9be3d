//! Reads the configuration of the original MPT and writes the same as our TOML.
//!
//! `ini` reads the file format, `original`, `path` and `address` give it meaning with the original's own defaults,
//! `remarks` explains what has no equivalent, `print` writes the result.

mod address;
mod ini;
mod original;
mod path;
mod print;
mod remarks;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::{Config, PORT};
use ini::Ini;
use original::Connection;

/// Why a configuration of the original could not be converted: one line with file, line, key, what was
/// found, what is wrong and what is allowed. The program exits with code 2 after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportError {
    message: String,
}

impl fmt::Display for ImportError {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for ImportError {}

/// Converts the configuration in `dir`: `interface.conf` and `connections/*.conf`, in `dir` itself or in its
/// folder `conf`. The result is the text of a file that [`Config::load`] accepts.
///
/// # Errors
///
/// When a file is missing, cannot be read, or says something that mpt cannot do.
pub fn import(dir: &Path) -> Result<String, ImportError> {
    let folder =
        [dir.to_owned(), dir.join("conf")].into_iter().find(|folder| folder.join("interface.conf").is_file());
    let folder = folder.ok_or_else(|| ImportError {
        message: format!(
            "{0}: no interface.conf; allowed: a folder with interface.conf and connections/, \
            or with conf/ that has them",
            dir.display()
        ),
    })?;
    let interface_file = folder.join("interface.conf");
    let mut interface = original::interface(read(&interface_file, dir)?)?;
    let (connection_files, ignored) = connection_files(&folder.join("connections"))?;
    interface.remarks.extend(
        ignored
            .iter()
            .map(|file| format!("{}: not read, as its name does not end in .conf", shown(file, dir))),
    );

    let mut connections: Vec<Connection> = Vec::new();
    for file in &connection_files {
        let connection = original::connection(read(file, dir)?, &interface.addresses)?;
        match connections.iter_mut().find(|earlier| sockets(earlier) == sockets(&connection)) {
            Some(earlier) => merge(earlier, connection),
            None => connections.push(connection),
        }
    }
    let files: Vec<String> =
        [&interface_file].into_iter().chain(&connection_files).map(|file| shown(file, dir)).collect();
    let text = print::configuration(&interface, &connections, &files);
    match Config::parse(&text, "the converted file") {
        Ok(_) => Ok(text),
        Err(error) => {
            Err(ImportError { message: format!("{}: mpt cannot do this: {error}", files.join(", ")) })
        }
    }
}

/// The `.conf` files of a folder in the order of their names, and the files that are not such.
fn connection_files(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ImportError> {
    let unreadable = |error: std::io::Error| ImportError {
        message: format!(
            "{}: cannot be read: {error}; allowed: a folder with the original's connection files",
            folder.display()
        ),
    };
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut files =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    files.retain(|file| file.is_file());
    files.sort();
    let (files, ignored): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.extension().is_some_and(|extension| extension == "conf"));
    if files.is_empty() {
        let message = format!("{}: no connection; allowed: one file *.conf or more", folder.display());
        return Err(ImportError { message });
    }
    Ok((files, ignored))
}

fn read(file: &Path, dir: &Path) -> Result<Ini, ImportError> {
    let bytes = std::fs::read(file).map_err(|error| ImportError {
        message: format!(
            "{}: cannot be read: {error}; allowed: a file that this user may read",
            file.display()
        ),
    })?;
    // Comments of the original's time may be in any character set.
    Ini::parse(&String::from_utf8_lossy(&bytes), &shown(file, dir))
}

/// A file's name as messages and comments show it: as seen from the folder that was asked for.
fn shown(file: &Path, dir: &Path) -> String {
    file.strip_prefix(dir).unwrap_or(file).display().to_string()
}

/// What makes two connections of the original the same one here: their sockets.
fn sockets(connection: &Connection) -> BTreeSet<Socket> {
    let port = connection.port.unwrap_or(PORT);
    let socket = |path: &path::Path| Socket {
        local: (path.local, port),
        remote: (path.remote, connection.remote_port),
        device: path.device.clone(),
    };
    connection.paths.iter().map(socket).collect()
}

/// What the kernel tells sockets apart by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
    device: Option<String>,
}

/// Adds a connection to an earlier one with the same ports and paths.
///
/// The original needs one connection for each version of tunnel addresses, as it writes the connection's
/// version into each GRE header. mpt writes the packet's, and identifies a connection by its sockets, so the
/// two have to be one.
fn merge(earlier: &mut Connection, other: Connection) {
    let file = other.files.join(", ");
    earlier.remarks.push(format!(
        "{file}: merged with {}: the same ports and paths, and mpt carries IPv4 \
        and IPv6 over one connection; the peer's file is merged in the same way",
        earlier.files.join(", ")
    ));
    if (other.window, other.delay_ms) != (earlier.window, earlier.delay_ms) {
        earlier.remarks.push(format!(
            "{file}: its reorder_window = {} and max_buffdelay_msec = {} are given up for those of the \
            other file",
            other.window, other.delay_ms
        ));
    }
    for path in &mut earlier.paths {
        let twin = other.paths.iter().find(|twin| {
            (twin.local, twin.remote) == (path.local, path.remote) && twin.device == path.device
        });
        let Some(twin) = twin else { continue };
        if (twin.weight, twin.keepalive, twin.enabled) != (path.weight, path.keepalive, path.enabled) {
            path.remarks.push(format!(
                "{file}: its weight_out, keepalive_time, dead_time or status of \
                this path differs and is given up"
            ));
        }
        for (key, ports) in &twin.pins {
            match path.pins.iter_mut().find(|(pinned, _)| pinned == key) {
                Some((_, pinned)) => pinned.extend(ports),
                None => path.pins.push((key, ports.clone())),
            }
        }
        for remark in &twin.remarks {
            path.remarks.push(remark.clone());
        }
    }
    earlier.peers.extend(other.peers);
    earlier.networks.extend(other.networks);
    earlier.remarks.extend(other.remarks);
    earlier.files.extend(other.files);
}
