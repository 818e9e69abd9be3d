//! The least that a tunnel in user space does: what the kernel wants sent leaves as it is, a large packet as one run of
//! datagrams, and what arrives is handed to the kernel as it is. One path, no headers, no order, nothing checked. So it
//! shows what the tunnel device and UDP cost by themselves.

use std::net::SocketAddr;

use anyhow::Context as _;
use mpt_proto::Ecn;
use rustix::event::{PollFd, PollFlags, poll};

use port_linux::offload::{HEADER_LEN, MAX_PACKET};
use port_linux::socket::{Batch, Maker, Socket};
use port_linux::tun::Tun;

/// Bytes of a datagram: what fits an Ethernet frame over IPv4.
const DATAGRAM: usize = 1472;
/// Packets read from the tunnel device before what arrived has its turn.
const AT_ONCE: usize = 4;
/// Buffers of the socket.
const BUFFER: usize = 4 << 20;

/// Makes the tunnel device and pipes until the process is ended.
///
/// # Errors
/// When the device or the socket cannot be had, or waiting fails.
pub fn run(device: &str, local: SocketAddr, remote: SocketAddr) -> anyhow::Result<()> {
    let tun = Tun::create(device, true)?;
    let socket =
        Socket::bind(local, None, &Maker::new(BUFFER)).with_context(|| format!("cannot use {local}"))?;
    let mut packet = vec![0; HEADER_LEN + MAX_PACKET];
    let mut batch = Batch::new();
    loop {
        let mut ready = [PollFd::new(&tun, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
        poll(&mut ready, None)?;
        let [from_kernel, from_peer] = ready.map(|ready| ready.revents().contains(PollFlags::IN));
        if from_peer && socket.receive(&mut batch).is_ok() {
            for mut run in batch.runs() {
                // The kernel may have joined small packets; a large one is the whole run. What it does not take is lost.
                if run.stride() == DATAGRAM {
                    let _ = tun.write(&[], run.bytes());
                } else {
                    run.datagrams().for_each(|datagram| drop(tun.write(&[], datagram)));
                }
            }
        }
        for _ in 0..if from_kernel { AT_ONCE } else { 0 } {
            let Some(len) = tun.read(&mut packet)? else { break };
            // What does not leave is lost, as on any link.
            let _ = socket.send(remote, &packet[..len], DATAGRAM, Ecn::NotEct);
        }
    }
}
