//! A Unix socket with a name in the file system, for one mpt alone; and how those are served who connect to it, or by TCP.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

/// A listening socket; its file is removed when this is dropped. In messages it is called `name`.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    /// The socket.
    pub socket: Socket,
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

    /// Makes the directory if it is missing, replaces a socket that nobody listens to, and listens. `mode` says who may connect,
    /// `backlog` how many clients may wait until they are accepted.
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
fn listen(path: &Path, backlog: i32) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Serves whoever comes, for ever, each in a thread, from a thread that accepts. Who comes while `most` are served gets `refusal`.
///
/// # Errors
/// When no thread can be had.
pub fn serve(
    listener: Socket,
    (name, most): (&str, usize),
    refusal: Vec<u8>,
    serve: impl Fn(&Socket) + Send + Sync + 'static,
) -> Result<()> {
    let of_client = name.to_owned();
    // Each client has one of them.
    let (places, serve) = (Arc::new(()), Arc::new(serve));
    let accept = move || {
        loop {
            let Ok((client, _)) = listener.accept() else {
                // No descriptors left, most likely: let others close theirs.
                sleep(Duration::from_millis(100));
                continue;
            };
            if Arc::strong_count(&places) > most {
                let _ = client.set_nonblocking(true).and_then(|()| (&client).write_all(&refusal));
                continue;
            }
            let (place, serve) = (Arc::clone(&places), Arc::clone(&serve));
            let serve_one = move || {
                serve(&client);
                // Before the client sees the end: who asks again then finds the place free.
                drop(place);
                drop(client);
            };
            // Without a thread, the client sees the end at once.
            let _ = Builder::new().name(of_client.clone()).spawn(serve_one);
        }
    };
    Builder::new().name(name.into()).spawn(accept).context("cannot start a thread")?;
    Ok(())
}
