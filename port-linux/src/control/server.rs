//! Serving the control socket from threads of its own, so that a slow client never holds up traffic.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Result;
use socket2::Socket;

use super::listener::{Listener, OURS, serve};
use super::{Answer, Command, parse};
use crate::config::Config;
use crate::wake::Waker;

/// Longest request in bytes: a command and a path's name.
const REQUEST_MAX: u64 = 4096;
/// Clients at a time; each has a thread.
const CLIENTS_MAX: usize = 16;
/// How long a client may neither ask nor read until it is dropped.
const PATIENCE: Duration = Duration::from_secs(30);
/// The event loop answers within a wake-up; when it does not, the client is told so.
const LOOP_PATIENCE: Duration = Duration::from_secs(5);

/// What the event loop is asked.
#[derive(Debug)]
pub enum Asked {
    /// A command.
    Command(Command),
    /// To pin a flow to the peer with this tunnel address to a path for a while: the answers to what the peer measures.
    PinToPeer {
        /// The peer's tunnel address.
        address: IpAddr,
        /// The path's number here.
        path: u8,
        /// Source and destination port.
        flow: (u16, u16),
        /// For how long; 0 ends it.
        seconds: u16,
    },
    /// To follow this configuration, which was read and checked meanwhile: the loop does not wait for files.
    Configuration(Box<Config>),
}

/// A question on its way to the event loop, and the way back.
#[derive(Debug)]
pub struct Query {
    /// What is asked.
    pub asked: Asked,
    /// Where the answer goes.
    pub answer: mpsc::Sender<Answer>,
}

/// What the socket is called in messages.
const NAME: &str = "control socket";

/// A listening control socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Server(Listener);

impl Server {
    /// See [`Listener::check`].
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn check(path: &Path) -> Result<()> {
        Listener::check(path, NAME)
    }

    /// See [`Listener::bind`]; only our own user may connect.
    ///
    /// # Errors
    /// What [`check`](Self::check) finds, and what the file system says.
    pub fn bind(path: &Path) -> Result<Self> {
        Listener::bind(path, NAME, OURS, i32::try_from(CLIENTS_MAX).unwrap_or(i32::MAX)).map(Self)
    }

    /// Starts to serve: questions arrive at the receiver of `queries`, and `waker` is rung for each. For `reload`, the configuration is
    /// read from the file `config`.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn serve(&self, config: PathBuf, queries: mpsc::Sender<Query>, waker: Waker) -> Result<()> {
        let refusal = line(&Answer::error("too many clients"))?;
        serve(self.0.socket.try_clone()?, ("control", CLIENTS_MAX), refusal, move |client| {
            let _ = serve_client(client, &config, &queries, &waker);
        })
    }
}

fn serve_client(
    client: &Socket,
    config: &Path,
    queries: &mpsc::Sender<Query>,
    waker: &Waker,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(client);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(REQUEST_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == REQUEST_MAX {
            return write(client, &Answer::error(format!("a request has at most {REQUEST_MAX} bytes")));
        }
        let answer = match parse(&line) {
            Ok(Command::Reload) => reload(config, queries, waker),
            Ok(command) => relay(Asked::Command(command), queries, waker),
            Err(error) => Answer::error(error),
        };
        write(client, &answer)?;
    }
}

/// Reads the configuration again, and asks the event loop to follow it. One with an error changes nothing.
pub fn reload(config: &Path, queries: &mpsc::Sender<Query>, waker: &Waker) -> Answer {
    // Of two at once, the one that reads later is followed later.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match Config::load(config) {
        Ok(config) => relay(Asked::Configuration(Box::new(config)), queries, waker),
        Err(error) => Answer::error(error.to_string()),
    }
}

/// Asks the event loop behind `queries`, which `waker` wakes, and waits for its answer.
pub fn relay(asked: Asked, queries: &mpsc::Sender<Query>, waker: &Waker) -> Answer {
    let (sender, receiver) = mpsc::channel();
    if queries.send(Query { asked, answer: sender }).is_err() {
        return Answer::error("mpt is ending");
    }
    waker.wake();
    receiver.recv_timeout(LOOP_PATIENCE).unwrap_or_else(|_| Answer::error("mpt does not answer"))
}

fn write(mut client: &Socket, answer: &Answer) -> std::io::Result<()> {
    client.write_all(&line(answer)?)
}

fn line(answer: &Answer) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A server that answers every command with its own text as an error.
    fn start(path: &Path) -> Server {
        let server = Server::bind(path).unwrap();
        let (sender, queries) = mpsc::channel();
        server.serve(PathBuf::from("/nonexistent"), sender, Waker::new().unwrap()).unwrap();
        std::thread::spawn(move || {
            for query in queries {
                let _ = query.answer.send(Answer::error(format!("{:?}", query.asked)));
            }
        });
        server
    }

    fn exchange(path: &Path, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn requests_are_answered_line_by_line_on_one_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/mpt0.sock");
        let _server = start(&path);
        let answers = exchange(
            &path,
            b"{\"version\":1,\"command\":\"status\"}\nrubbish\n{\"version\":1,\"command\":\"path_up\",\"path\":\"a\"}\n",
        );
        let lines: Vec<&str> = answers.lines().collect();
        assert_eq!(lines.len(), 3, "{answers}");
        assert!(
            lines[0].contains("Status") && lines[1].contains("not a request") && lines[2].contains("PathUp")
        );
    }

    #[test]
    fn an_endless_line_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mpt0.sock");
        let _server = start(&path);
        assert!(exchange(&path, &[b'x'; 5000]).contains("at most 4096 bytes"));
    }

    #[test]
    fn nobody_else_may_connect_and_the_file_goes_with_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mpt0.sock");
        let server = start(&path);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_server_is_refused_but_a_dead_ones_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mpt0.sock");
        let server = start(&path);
        assert!(Server::bind(&path).unwrap_err().to_string().contains("another mpt is running"));
        drop(server);
        // What a killed daemon leaves behind.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Server::bind(&path).unwrap());
        std::fs::write(&path, "a file").unwrap();
        assert!(Server::bind(&path).unwrap_err().to_string().contains("is no socket"));
    }
}
