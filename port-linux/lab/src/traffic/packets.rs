//! As many datagrams a second as arrive: the sender keeps a window of them under way, and the receiver says what
//! came, so that the rate is one that the network really carries, and not how fast it can drop.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_proto::Ecn;
use port_linux::link::unspecified;
use port_linux::socket::{Batch, Maker, Socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use socket2::SockRef;

use super::udp::is_passing;
use crate::stopwatch::Stopwatch;

/// Datagrams under way: less than the queue of any network interface (1,000 by default), so that none overflows, and
/// enough for a rate of 500,000 a second at a millisecond of delay.
const WINDOW: u64 = 512;
/// Datagrams of one call.
const AT_ONCE: usize = 32;
/// The receiver answers so many datagrams at once, a quarter of the window, or what there is after a while.
const ANSWERED_AT_ONCE: u64 = 128;
const ANSWER_DELAY: Duration = Duration::from_millis(1);
/// How often a receiver that nothing comes to looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);
/// What is not answered in this time is lost, and its room in the window free again.
const LOST: Duration = Duration::from_millis(20);
/// Of the time, this part does not count: rates settle in it.
const WARM_UP: f64 = 0.25;
/// Buffers of the sockets: the window, whatever the kernel adds to each datagram.
const BUFFER: usize = 4 << 20;

/// A socket to receive on, at a port that the kernel chooses.
///
/// # Errors
/// When the address is not on this host.
pub fn bind(address: SocketAddr) -> anyhow::Result<Socket> {
    Socket::bind(address, None, &Maker::new(BUFFER)).with_context(|| format!("cannot listen on {address}"))
}

/// Receives and answers until told to stop.
///
/// # Errors
/// When waiting fails, which is for lack of memory.
pub fn answer(socket: &Socket, stop: &AtomicBool) -> anyhow::Result<()> {
    let (delay, glance) = (Timespec::try_from(ANSWER_DELAY)?, Timespec::try_from(GLANCE)?);
    let mut batch = Batch::new();
    let (mut came, mut answered, mut sender) = (0u64, 0, None);
    while !stop.load(Relaxed) {
        let mut ready = [PollFd::new(socket, PollFlags::IN)];
        let waiting = poll(&mut ready, Some(if came > answered { &delay } else { &glance }))? > 0;
        // Errors are what answers to a sender that is gone provoke.
        if waiting && socket.receive(&mut batch).is_ok() {
            for run in batch.runs() {
                sender = Some(run.source);
                came += run.count() as u64;
            }
        }
        let least = if waiting { ANSWERED_AT_ONCE } else { 1 };
        if let Some(sender) = sender.filter(|_| came - answered >= least) {
            answered = came;
            // What an answer that is lost says, the next one says, too.
            let _ = socket.send(sender, &came.to_be_bytes(), 8, Ecn::NotEct);
        }
    }
    Ok(())
}

/// Sends datagrams of `size` bytes for `time`, and returns how many a second arrived.
///
/// # Errors
/// When the kernel refuses one for another reason than a full queue, or none arrives.
pub fn rate(address: SocketAddr, size: u16, time: Duration) -> anyhow::Result<f64> {
    let socket = UdpSocket::bind((unspecified(address.is_ipv4()), 0))?;
    socket.connect(address).with_context(|| format!("cannot send to {address}"))?;
    SockRef::from(&socket).set_send_buffer_size(BUFFER)?;
    socket.set_read_timeout(Some(LOST))?;
    let datagram = vec![0; size.into()];
    let clock = Stopwatch::start();
    let (mut sent, mut lost, mut arrived, mut warm) = (0u64, 0u64, 0u64, None);
    while clock.elapsed() < time {
        let under_way = sent.saturating_sub(lost + arrived);
        let room = usize::try_from(WINDOW.saturating_sub(under_way)).unwrap_or(0).min(AT_ONCE);
        if room < AT_ONCE {
            match heard(&socket) {
                Some(count) => arrived = arrived.max(count),
                None => lost = sent - arrived.min(sent),
            }
        } else {
            sent += put(&socket, &datagram, room)? as u64;
        }
        if warm.is_none() && clock.elapsed() >= time.mul_f64(WARM_UP) {
            warm = Some((arrived, clock.elapsed()));
        }
    }
    let (before, since) = warm.context("too short a time")?;
    let seconds = (clock.elapsed() - since).as_secs_f64();
    ensure!(arrived > before, "no datagram of {size} bytes arrives at {address}");
    Ok((arrived - before) as f64 / seconds)
}

/// The next answer; `None` after a while without.
fn heard(socket: &UdpSocket) -> Option<u64> {
    let mut answer = [0; 8];
    let len = socket.recv(&mut answer).ok()?;
    (len == answer.len()).then(|| u64::from_be_bytes(answer))
}

/// Sends a datagram so many times in one call, and returns how often the kernel took it.
fn put(socket: &UdpSocket, datagram: &[u8], times: usize) -> anyhow::Result<usize> {
    let slices = [IoSlice::new(datagram)];
    let mut control: [_; AT_ONCE] = std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut messages: Vec<MMsgHdr<'_>> =
        control.iter_mut().take(times).map(|control| MMsgHdr::new(&slices, control)).collect();
    match sendmmsg(socket, &mut messages, SendFlags::empty()) {
        Ok(taken) => Ok(taken),
        Err(error) if is_passing(&error.into()) => Ok(0),
        Err(error) => Err(error).context("sending ended early"),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_arrives_over_loopback_is_counted() {
        let socket = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("binds");
        let address = socket.local_address().expect("an address");
        let stop = AtomicBool::new(false);
        let rate = thread::scope(|scope| {
            let answerer = scope.spawn(|| answer(&socket, &stop));
            let rate = rate(address, 100, Duration::from_millis(300));
            stop.store(true, Relaxed);
            answerer.join().expect("no panic").expect("answers until the end");
            rate
        });
        let rate = rate.expect("arrives");
        assert!(rate > 100.0, "{rate} datagrams a second");
    }
}
