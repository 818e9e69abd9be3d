//! A running tunnel: port-linux's event loop on a thread of its own, and the ways to it.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use port_linux::config::Config;
use port_linux::control::{self, Answer, Asked, Command, Query};
use port_linux::link::Interfaces;
use port_linux::run::hosted;
use port_linux::socket::{Maker, Tie};
use port_linux::wake::Waker;
use tracing_subscriber::fmt::MakeWriter;

use crate::networks::{Mark, Networks};
use crate::stats;

/// Bytes of socket buffer asked for, each way: 40 ms of a path of 200 Mbit/s, and more than a phone grants mostly.
const SOCKET_BUFFER: usize = 1 << 20;
/// Bytes that a connection under the adaptive policy has for packets that it sends: 200 Mbit/s for the 210 ms of a mobile
/// round trip of 130 ms, the time until it is known what arrived and the queue, half as much again.
const ADAPTIVE_MEMORY: usize = 8 << 20;

/// The app, as a tunnel sees it. A socket is tied to a network by protecting it from the VPN and binding it to the
/// network; all calls come from the tunnel's thread.
pub trait App: Tie {
    /// Something that people may want to read.
    fn log(&self, line: &str);
    /// The tunnel has ended although nobody stopped it, and why.
    fn ended(&self, why: &str);
}

/// A running tunnel. Dropping it stops it.
pub struct Tunnel {
    running: Mutex<Option<Running>>,
    networks: Mutex<Networks>,
    interfaces: Sender<Interfaces>,
    queries: Sender<Query>,
    bell: Waker,
    /// Full names of the paths and the networks they take.
    paths: Vec<(String, String)>,
}

struct Running {
    thread: JoinHandle<()>,
    /// Closing it ends the loop.
    stop: UnixStream,
}

impl Tunnel {
    /// Starts a tunnel over `device`. It has no network yet.
    ///
    /// # Errors
    /// What is wrong with the configuration, or that the process has no descriptor or thread left.
    pub fn start(config: Config, device: OwnedFd, app: Arc<dyn App>) -> Result<Self> {
        let paths = config.connections.iter().flat_map(|connection| {
            let full = |path: &port_linux::config::Path| {
                (format!("{}/{}", connection.name, path.name), path.device.clone().unwrap_or_default())
            };
            connection.paths.iter().map(full)
        });
        let paths = paths.collect();
        let (stop, stopped) = UnixStream::pair().context("no descriptor is left")?;
        let bell = Waker::new().context("no descriptor is left")?;
        let (interfaces, interfaces_told) = mpsc::channel();
        let (queries, asked) = mpsc::channel();
        let host = hosted::Host {
            device,
            maker: Maker {
                buffer: SOCKET_BUFFER,
                tie: Arc::new(Ties(Arc::clone(&app))),
                offload: config.tunnel.offload,
            },
            adaptive_memory: ADAPTIVE_MEMORY,
            interfaces: interfaces_told,
            queries: asked,
            bell: bell.clone(),
            stop: stopped,
        };
        let (ready, outcome) = mpsc::channel();
        let body = move || {
            let log = Log(Arc::clone(&app));
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::INFO)
                .with_ansi(false)
                .with_level(false)
                .with_target(false)
                .without_time()
                .with_writer(log)
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                let started = Cell::new(false);
                let outcome = hosted::run(&config, host, || {
                    started.set(true);
                    let _ = ready.send(Ok(()));
                });
                match outcome {
                    Ok(()) => {}
                    Err(error) if started.get() => app.ended(&format!("{error:#}")),
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        };
        let thread = thread::Builder::new().name("mpt".into()).spawn(body).context("no thread can be had")?;
        outcome.recv().context("the tunnel's thread has died")??;
        let running = Mutex::new(Some(Running { thread, stop }));
        Ok(Self { running, networks: Mutex::default(), interfaces, queries, bell, paths })
    }

    /// A network has come or changed: its paths are added, or follow. As [`Networks::put`].
    ///
    /// # Errors
    /// There is no such kind of network.
    pub fn put_network(&self, name: &str, is_new: bool, mtu: u32, addresses: Vec<IpAddr>) -> Result<()> {
        let mut networks = lock(&self.networks);
        networks.put(name, is_new, mtu, addresses)?;
        self.tell(&networks);
        Ok(())
    }

    /// A network has gone, and its paths with it.
    pub fn remove_network(&self, name: &str) {
        let mut networks = lock(&self.networks);
        if networks.remove(name) {
            self.tell(&networks);
        }
    }

    fn tell(&self, networks: &Networks) {
        // A loop that has ended has said so.
        let _ = self.interfaces.send(networks.interfaces());
        self.bell.wake();
    }

    /// Says when the paths of a network are used.
    ///
    /// # Errors
    /// The tunnel has ended.
    pub fn mark_network(&self, name: &str, mark: Mark) -> Result<()> {
        for (path, _) in self.paths.iter().filter(|(_, network)| network == name) {
            let path = path.clone();
            self.ask(match mark {
                Mark::Bond => Command::PathUp { path },
                Mark::Backup => Command::PathSpare { path },
                Mark::Never => Command::PathDown { path },
            })?;
        }
        Ok(())
    }

    /// The paths now, as [`stats::lines`] has them.
    ///
    /// # Errors
    /// The tunnel has ended.
    pub fn stats(&self) -> Result<String> {
        Ok(stats::lines(&self.ask(Command::Status)?.report()?))
    }

    fn ask(&self, command: Command) -> Result<Answer> {
        match control::relay(Asked::Command(command), &self.queries, &self.bell) {
            Answer::Error { error, .. } => bail!(error),
            answer => Ok(answer),
        }
    }

    /// Ends the tunnel and waits until its thread, its sockets and its device are gone. Once is enough.
    pub fn stop(&self) {
        let Some(Running { thread, stop }) = lock(&self.running).take() else { return };
        drop(stop);
        // From the thread itself (the app stops it in a call of ours) there is nothing to wait for.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The app as what ties sockets.
struct Ties(Arc<dyn App>);

impl Tie for Ties {
    fn tie(&self, socket: rustix::fd::BorrowedFd<'_>, device: Option<&str>) -> io::Result<()> {
        self.0.tie(socket, device)
    }
}

/// Hands log lines to the app.
struct Log(Arc<dyn App>);

/// One line in the making.
struct Line<'l>(&'l dyn App);

impl<'l> MakeWriter<'l> for Log {
    type Writer = Line<'l>;

    fn make_writer(&'l self) -> Line<'l> {
        Line(&*self.0)
    }
}

impl io::Write for Line<'_> {
    /// The subscriber writes whole lines.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.log(String::from_utf8_lossy(bytes).trim());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
