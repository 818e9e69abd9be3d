//! A Unix socket with a name in the file system, for one mpt alone.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

/// A listening socket; its file is removed when this is dropped. In messages it is called `name`.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    /// The socket.
    pub socket: UnixListener,
}

impl Listener {
    /// Checks, without changing anything, that [`bind`](Self::bind) will not find a living daemon or a file
    /// that is no socket.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn check(path: &Path, name: &str) -> Result<()> {
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("{name} {}", path.display())),
        };
        if !metadata.file_type().is_socket() {
            bail!("{} is in the way of the {name}, and is no socket", path.display());
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Ok(_) => bail!(
                "another mpt is running behind {}: stop it first, or choose another --control and another \
                 [tunnel] name",
                path.display()
            ),
            Err(error) => Err(error).with_context(|| format!("{name} {}", path.display())),
        }
    }

    /// Makes the directory if it is missing, replaces a socket that nobody listens to, and listens, with room for so many
    /// that wait; `mode` says who may connect.
    ///
    /// # Errors
    /// What [`check`](Self::check) finds, and what the file system says.
    pub fn bind(path: &Path, name: &str, mode: u32, backlog: i32) -> Result<Self> {
        Self::check(path, name)?;
        let context = || format!("cannot make the {name} {}", path.display());
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).with_context(context)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(context),
            _ => {}
        }
        let socket = listen(path, backlog).with_context(context)?;
        let listener = Self { path: path.to_path_buf(), socket };
        if mode != OURS {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).with_context(context)?;
        }
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The mode of a socket to which only our own user may connect.
pub(super) const OURS: u32 = 0o600;

/// Listens at `path` with the mode [`OURS`]. It is set before the file exists (Linux gives a bound socket's
/// file the mode of the socket): at no moment may somebody else connect.
fn listen(path: &Path, backlog: i32) -> std::io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(backlog)?;
    Ok(OwnedFd::from(socket).into())
}
