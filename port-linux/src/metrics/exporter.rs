//! Serving metrics by HTTP, from threads of its own: on a Unix socket beside the control socket, and by TCP on a loopback address.
//!
//! The event loop is asked as by `mpt status`, at most once in [`FRESH`], however many ask; nobody who reads slowly, or does not
//! read, keeps it waiting.

use std::io::{Error, ErrorKind, Read, Result as IoResult, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use super::request::{REQUEST_MAX, Request, Way, parse};
use super::{Format, write};
use crate::clock::Clock;
use crate::config::Metrics;
use crate::control::{self, Asked, Command, Listener, Query, metrics_socket};
use crate::report::Report;
use crate::wake::Waker;

/// How long an answer of the event loop serves all who ask.
const FRESH: Duration = Duration::from_secs(1);
/// Clients of one listener at a time; each has a thread.
const CLIENTS_MAX: usize = 8;
/// Clients that may wait until they are accepted.
const BACKLOG: i32 = 16;
/// How long a client may take to ask and to read: as long as Prometheus itself waits by default.
const PATIENCE: Duration = Duration::from_secs(10);
/// What may be read and written by the group of mpt, so that a collector need not be root.
const MODE: u32 = 0o660;

/// What the sockets are called in messages.
const NAME: &str = "socket for metrics";

/// Sockets that are listened to; the file of the Unix socket is removed when this is dropped.
#[derive(Debug)]
pub struct Exporter {
    file: Option<Listener>,
    tcp: Option<Socket>,
}

impl Exporter {
    /// Checks, without changing anything, that [`bind`](Self::bind) will not find another mpt, or a file that is no socket.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn check(wanted: &Metrics, control: &Path) -> Result<()> {
        if wanted.socket { Listener::check(&metrics_socket(control), NAME) } else { Ok(()) }
    }

    /// Listens where the configuration says; the Unix socket is beside the control socket.
    ///
    /// # Errors
    /// What [`check`](Self::check) finds, what the file system says, and that the address is taken.
    pub fn bind(wanted: &Metrics, control: &Path) -> Result<Self> {
        let path = metrics_socket(control);
        let file = wanted.socket.then(|| Listener::bind(&path, NAME, MODE, BACKLOG)).transpose()?;
        let tcp = wanted.listen.map(|address| {
            let listen = || {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                // Connections of an mpt that has ended keep no address.
                socket.set_reuse_address(true)?;
                socket.bind(&address.into())?;
                socket.listen(BACKLOG)?;
                IoResult::Ok(socket)
            };
            listen()
                .with_context(|| format!("cannot serve metrics at {address}, which [metrics] listen says"))
        });
        Ok(Self { file, tcp: tcp.transpose()? })
    }

    /// Starts to serve: the event loop is asked by `queries`, and `waker` rung for it.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn serve(&self, queries: &mpsc::Sender<Query>, waker: &Waker) -> Result<()> {
        let source = Arc::new(Source::new(queries.clone(), waker.clone()));
        let file = self.file.as_ref().map(|file| (Way::File, &file.socket));
        let tcp = self.tcp.as_ref().map(|tcp| (Way::Tcp, tcp));
        for (way, socket) in file.into_iter().chain(tcp) {
            let (socket, source) = (socket.try_clone()?, Arc::clone(&source));
            let busy = refusal(503, "too many ask at once");
            control::serve(socket, ("metrics", CLIENTS_MAX), busy.into(), move |client| {
                let _ = serve(&Client::new(client, way, PATIENCE), &source);
            })?;
        }
        Ok(())
    }
}

/// Answers one request.
fn serve(client: &Client<'_>, source: &Source) -> IoResult<()> {
    let (format, is_wanted) = match client.request()? {
        Request::Metrics(format, is_wanted) => (format, is_wanted),
        Request::Refused(status, why) => return client.write(refusal(status, why).as_bytes()),
        Request::Partial => return Ok(()),
    };
    match source.text(format) {
        Ok(text) => {
            client.write(head(200, format.content_type(), text.len()).as_bytes())?;
            if is_wanted { client.write(text.as_bytes()) } else { Ok(()) }
        }
        Err(why) => client.write(refusal(503, &why).as_bytes()),
    }
}

fn head(status: u16, content: &str, len: usize) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content}\r\nContent-Length: {len}\r\n{allow}Connection: close\r\n\r\n"
    )
}

fn refusal(status: u16, why: &str) -> String {
    head(status, "text/plain; charset=utf-8", why.len() + 1) + why + "\n"
}

/// Somebody who asks, and has a limited time for it.
struct Client<'s> {
    socket: &'s Socket,
    way: Way,
    since: Clock,
    patience: Duration,
}

impl<'s> Client<'s> {
    fn new(socket: &'s Socket, way: Way, patience: Duration) -> Self {
        Self { socket, way, since: Clock::start(), patience }
    }

    /// What is left of its time; nothing left is an error.
    fn left(&self) -> IoResult<Option<Duration>> {
        let left = self.patience.saturating_sub(self.since.elapsed());
        if left.is_zero() { Err(Error::from(ErrorKind::TimedOut)) } else { Ok(Some(left)) }
    }

    fn request(&self) -> IoResult<Request> {
        let (mut socket, mut bytes, mut chunk) = (self.socket, Vec::new(), [0; 1024]);
        loop {
            socket.set_read_timeout(self.left()?)?;
            let room = chunk.len().min(REQUEST_MAX - bytes.len());
            let len = socket.read(&mut chunk[..room])?;
            bytes.extend_from_slice(&chunk[..len]);
            match parse(&bytes, self.way) {
                Request::Partial if len > 0 => {}
                request => return Ok(request),
            }
        }
    }

    fn write(&self, mut bytes: &[u8]) -> IoResult<()> {
        let mut socket = self.socket;
        while !bytes.is_empty() {
            socket.set_write_timeout(self.left()?)?;
            let len = socket.write(bytes)?;
            bytes = bytes.get(len..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Where the metrics come from.
struct Source {
    queries: mpsc::Sender<Query>,
    waker: Waker,
    last: Mutex<Option<Last>>,
}

/// What the event loop said last.
struct Last {
    at: Clock,
    said: Result<Arc<Report>, String>,
    open_metrics: Option<Arc<str>>,
    prometheus: Option<Arc<str>>,
}

impl Source {
    fn new(queries: mpsc::Sender<Query>, waker: Waker) -> Self {
        Self { queries, waker, last: Mutex::new(None) }
    }

    /// The metrics, no older than [`FRESH`]; or why there are none.
    fn text(&self, format: Format) -> Result<Arc<str>, String> {
        // Who comes meanwhile waits for the same answer.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|last| last.at.elapsed() > FRESH) {
            *last = None;
        }
        let last = last.get_or_insert_with(|| {
            let said = self.ask();
            Last { at: Clock::start(), said, open_metrics: None, prometheus: None }
        });
        let report = last.said.clone()?;
        let text = match format {
            Format::OpenMetrics => &mut last.open_metrics,
            Format::Prometheus => &mut last.prometheus,
        };
        if let Some(text) = text {
            return Ok(Arc::clone(text));
        }
        let written: Arc<str> = write(report, format).map_err(|error| error.to_string())?.into();
        Ok(Arc::clone(text.insert(written)))
    }

    fn ask(&self) -> Result<Arc<Report>, String> {
        let answer = control::relay(Asked::Command(Command::Status), &self.queries, &self.waker);
        answer.report().map(Arc::new).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
