//! The handshake against wireguard-go, over loopback. WireGuard (its paper, section 5.4) is the same pattern with another prologue,
//! other payloads and other datagrams around it; they are below, and nowhere else.
//!
//! It needs root, `/dev/net/tun` and the programs `wireguard-go` and `ip`. Without them it is skipped and says so; with
//! `MPT_REQUIRE_TOOLS=1` it fails.

use super::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::string::String;
use std::thread;
use std::time::Duration;

use crate::hash::keyed;

const PROLOGUE: [&[u8]; 1] = [b"WireGuard v1 zx2c4 Jason@zx2c4.com"];
const PRESHARED: PresharedKey = PresharedKey::from_bytes([3; KEY_LEN]);
const INDEX: [u8; 4] = [7, 7, 7, 7];
/// Tries, 10 ms apart, of what comes soon or never.
const TRIES: usize = 1000;

fn ours() -> PrivateKey {
    PrivateKey::from_bytes([1; KEY_LEN])
}

fn theirs() -> PrivateKey {
    PrivateKey::from_bytes([2; KEY_LEN])
}

/// A running wireguard-go whose only peer we are. It ends when dropped.
struct WireguardGo {
    process: Child,
    name: String,
}

impl WireguardGo {
    /// `None`, said or complained about, where it cannot run.
    fn start(test: &str) -> Option<Self> {
        let name = std::format!("wg{}{}", test.chars().next()?, std::process::id());
        let mut command = Command::new("wireguard-go");
        command.args(["-f", &name]).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn().ok().and_then(|process| Self { process, name }.link_up());
        if started.is_none() {
            let lacks = std::format!("{test}: it needs root, wireguard-go and iproute2");
            assert!(std::env::var_os("MPT_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "{lacks}");
            let _ = std::writeln!(std::io::stderr(), "SKIPPED {lacks}");
        }
        started
    }

    fn link_up(mut self) -> Option<Self> {
        for _ in 0..TRIES {
            let mut ip = Command::new("ip");
            ip.args(["link", "set", &self.name, "up"]).stderr(Stdio::null());
            if self.control().is_ok() && ip.status().ok()?.success() {
                return Some(self);
            }
            if self.process.try_wait().ok()?.is_some() {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn control(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(std::format!("/var/run/wireguard/{}.sock", self.name))
    }

    /// One command of its configuration protocol, and the answer.
    fn tell(&self, command: &str) -> String {
        let mut socket = self.control().unwrap();
        socket.write_all(command.as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\n\n") {
            let mut bytes = [0; 4096];
            let len = socket.read(&mut bytes).unwrap();
            assert!(len > 0, "{answer}");
            answer.push_str(core::str::from_utf8(&bytes[..len]).unwrap());
        }
        assert!(answer.contains("errno=0"), "{answer}");
        answer
    }

    /// It learns of us; returns where it listens.
    fn configure(&self, endpoint: Option<SocketAddr>) -> SocketAddr {
        let hex = |bytes: &[u8]| crate::testing::hex(bytes);
        let endpoint = endpoint.map_or(String::new(), |at| std::format!("endpoint={at}\n"));
        self.tell(&std::format!(
            "set=1\nprivate_key={}\nlisten_port=0\npublic_key={}\npreshared_key={}\n{endpoint}persistent_keepalive_interval=1\n\n",
            hex(theirs().as_bytes()),
            hex(ours().public().as_bytes()),
            hex(PRESHARED.as_bytes()),
        ));
        let port =
            |answer: &str| answer.lines().find_map(|line| line.strip_prefix("listen_port=")?.parse().ok());
        for _ in 0..TRIES {
            if let Some(port) = port(&self.tell("get=1\n\n")).filter(|port| *port != 0) {
                return (Ipv4Addr::LOCALHOST, port).into();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not listen");
    }
}

impl Drop for WireguardGo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// The next datagram of a kind and a length.
fn receive(socket: &UdpSocket, kind: u8, len: usize) -> (Vec<u8>, SocketAddr) {
    loop {
        let mut bytes = [0; 2048];
        let (got, from) = socket.recv_from(&mut bytes).unwrap();
        if bytes[..4] == [kind, 0, 0, 0] && got == len {
            return (bytes[..len].to_vec(), from);
        }
    }
}

/// A handshake datagram to the owner of a public key: mac1, and no mac2.
fn with_macs(mut datagram: Vec<u8>, receiver: &PublicKey) -> Vec<u8> {
    let mac1: [u8; 16] = keyed(&hash(&[b"mac1----", receiver.as_bytes()]), &[&datagram]);
    datagram.extend(mac1);
    datagram.extend([0; 16]);
    datagram
}

/// Its first transport datagram, without content, opens with our key; ours with our key is counted there.
fn check_transport(
    there: &WireguardGo,
    socket: &UdpSocket,
    at: SocketAddr,
    secrets: &Secrets,
    index: [u8; 4],
) {
    let cipher = ChaCha20Poly1305::new((&secrets.send).into());
    let tag = cipher.encrypt_inout_detached(&Nonce::default(), &[], [].as_mut_slice().into()).unwrap();
    let ours = [&[4, 0, 0, 0][..], &index, &[0; 8], &tag].concat();
    socket.send_to(&ours, at).unwrap();
    let (datagram, _) = receive(socket, 4, 32);
    assert_eq!(datagram[4..8], INDEX);
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&datagram[8..16]);
    let tag: [u8; TAG_LEN] = datagram[16..].try_into().unwrap();
    let cipher = ChaCha20Poly1305::new((&secrets.receive).into());
    let opened = cipher.decrypt_inout_detached((&nonce).into(), &[], [].as_mut_slice().into(), (&tag).into());
    assert!(opened.is_ok(), "what it sealed");
    let is_heard = || {
        let state = there.tell("get=1\n\n");
        let value = |key: &str| state.lines().find_map(|line| line.strip_prefix(key)?.parse().ok());
        value("last_handshake_time_sec=").is_some_and(|time: u64| time > 0)
            && value("rx_bytes=").is_some_and(|bytes: u64| bytes >= 32)
    };
    for _ in 0..TRIES {
        if is_heard() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not take our datagram: {}", there.tell("get=1\n\n"));
}

#[test]
fn a_handshake_that_we_begin_with_wireguard_go_gives_both_the_same_keys() {
    let Some(there) = WireguardGo::start("begun by us") else { return };
    let at = there.configure(None);
    let socket = socket();
    let mut datagram = [&[1, 0, 0, 0][..], &INDEX, &[0; FIRST_LEN + 12]].concat();
    // TAI64N: any time later than the one before.
    let time = [0x40, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0, 1];
    let ephemeral = PrivateKey::from_bytes([4; KEY_LEN]);
    let begun =
        Initiator::start(&PROLOGUE, &ours(), &theirs().public(), ephemeral, &time, &mut datagram[8..]);
    let initiator = begun.ok().unwrap();
    let datagram = with_macs(datagram, &theirs().public());
    assert_eq!(datagram.len(), 148);
    socket.send_to(&datagram, at).unwrap();
    let (response, _) = receive(&socket, 2, 92);
    assert_eq!(response[8..12], INDEX);
    let finished = initiator.finish(&ours(), &PRESHARED, &response[12..60], &mut []);
    let secrets = finished.expect("its response decrypts");
    let index = response[4..8].try_into().unwrap();
    check_transport(&there, &socket, at, &secrets, index);
}

#[test]
fn a_handshake_that_wireguard_go_begins_with_us_gives_both_the_same_keys() {
    let Some(there) = WireguardGo::start("answered by us") else { return };
    let socket = socket();
    there.configure(Some(socket.local_addr().unwrap()));
    let (datagram, at) = receive(&socket, 1, 148);
    let claim = Claim::read(&PROLOGUE, &ours(), &datagram[8..116]).expect("its key decrypts");
    assert_eq!(*claim.public(), theirs().public());
    let mut time = [0; 12];
    let responder = claim.read_payload(&ours(), &mut time).expect("its time decrypts");
    let index: [u8; 4] = datagram[4..8].try_into().unwrap();
    let mut response = [&[2, 0, 0, 0][..], &INDEX, &index, &[0; SECOND_LEN]].concat();
    let ephemeral = PrivateKey::from_bytes([5; KEY_LEN]);
    let answered = responder.answer(&ephemeral, &PRESHARED, &[], &mut response[12..]);
    let secrets = answered.ok().unwrap();
    socket.send_to(&with_macs(response, &theirs().public()), at).unwrap();
    check_transport(&there, &socket, at, &secrets, index);
}
