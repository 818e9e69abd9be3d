//! Names that are asked for past the tunnel, at the servers that this host has from elsewhere: its DHCP clients, its administrator.
//!
//! What is asked for is a peer's address alone, and who answers wrongly keeps a peer from being found, no more: with keys it proves
//! who it is.

use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

use super::system;
use crate::entropy;
use crate::link::unspecified;
use crate::socket::Tie;

/// The files of this host that name servers: the one that programs read, and those that systemd-resolved and NetworkManager keep
/// of what they know themselves, whatever the first one says.
const FILES: [&str; 3] =
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/resolv.conf"];
/// Where resolvconf's implementations keep what each interface has brought.
const RECORDS: [&str; 3] =
    ["/run/resolvconf/interface", "/run/resolvconf/interfaces", "/run/resolvconf/keys"];
/// How long the system's resolver is waited for, which knows more (/etc/hosts), until others are asked.
const START: Duration = Duration::from_secs(1);
/// How long a server is waited for. A round trip over a satellite is 0.6 s, and the server may have to ask others.
const PATIENCE: Duration = Duration::from_secs(3);
/// Servers that are asked, one after the other.
const MOST_SERVERS: usize = 4;
/// Datagrams of a server that are looked at for an answer: late ones to questions before come first.
const STRAYS: usize = 8;
/// The port of DNS.
const PORT: u16 = 53;
/// Longest answer without EDNS (RFC 1035 section 4.2.1), which nobody asks for here; some servers send more.
const ANSWER_MAX: usize = 1500;

/// How names are asked for past the tunnel.
pub struct Past {
    /// Ties sockets to what leaves past the tunnel.
    tie: Arc<dyn Tie>,
    /// The servers in the tunnel, of `tunnel.dns`.
    inside: Vec<IpAddr>,
    /// The servers that were known last: when the tunnel is there, no file may name them any more.
    servers: Vec<IpAddr>,
}

impl Past {
    /// Past a tunnel whose servers are `inside`. What the host has of servers now is remembered.
    pub fn new(tie: Arc<dyn Tie>, inside: Vec<IpAddr>) -> Self {
        let mut past = Self { tie, inside, servers: Vec::new() };
        past.look();
        past
    }

    /// Looks which servers there are; those that are known stay if there is none.
    fn look(&mut self) {
        let mut servers = of_host();
        servers.retain(|server| !self.inside.contains(server));
        servers.truncate(MOST_SERVERS);
        if !servers.is_empty() {
            self.servers = servers;
        }
    }
}

/// The servers that this host has, each once, but for those on itself: they ask others the way that programs do.
pub(crate) fn of_host() -> Vec<IpAddr> {
    let mut files: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    files.extend(RECORDS.iter().flat_map(|directory| entries(Path::new(directory))));
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let mut servers = Vec::new();
    for server in texts.flat_map(|text| servers_in(&text)) {
        if !server.is_loopback() && !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

/// The addresses of a name by the first server that knows it, asked through an interface alone: one of these, or one that this host has.
/// Empty: none knows it.
pub fn over(name: &str, mut servers: Vec<IpAddr>, device: &str, tie: &dyn Tie) -> Vec<IpAddr> {
    servers.extend(of_host());
    for server in servers.into_iter().take(MOST_SERVERS) {
        match ask(name, server, Some(device), tie) {
            Ok(addresses) if !addresses.is_empty() => return addresses,
            Ok(_) => tracing::debug!("{name}: {server} over {device} knows no address"),
            Err(error) => tracing::debug!("{name}: {server} over {device}: {error}"),
        }
    }
    Vec::new()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// `nameserver 192.168.8.1`
fn servers_in(text: &str) -> Vec<IpAddr> {
    let values = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    values.filter_map(|value| value.trim().parse().ok()).collect()
}

/// The first answer: of the system's resolver, or from past the tunnel.
///
/// # Errors
/// What the system's resolver says, if nobody knows the name.
pub(super) fn first(name: &str, past: &Mutex<Past>) -> Result<Vec<IpAddr>, String> {
    let (sender, answers) = mpsc::channel();
    let (asked, ask_system) = (name.to_owned(), sender.clone());
    let spawned = std::thread::Builder::new().name("names".into()).spawn(move || {
        let _ = ask_system.send(system(&asked));
    });
    if let Err(error) = spawned {
        return Err(error.to_string());
    }
    let mut said = None;
    match answers.recv_timeout(START) {
        Ok(Ok(addresses)) => return Ok(addresses),
        Ok(Err(error)) => said = Some(error),
        Err(_) => {}
    }
    let (tie, servers) = {
        let mut past = past.lock().unwrap_or_else(PoisonError::into_inner);
        past.look();
        (past.tie.clone(), past.servers.clone())
    };
    for server in servers {
        match ask(name, server, None, &*tie) {
            Ok(addresses) if !addresses.is_empty() => {
                tracing::debug!("{name} is known past the tunnel, to {server}");
                return Ok(addresses);
            }
            Ok(_) => tracing::debug!("{name}: {server} knows no address"),
            Err(error) => tracing::debug!("{name}: {server}: {error}"),
        }
    }
    drop(sender);
    match said {
        Some(error) => Err(error),
        None => answers.recv().unwrap_or_else(|_| Err("the resolver does not answer".to_owned())),
    }
}

/// What a server knows of a name.
fn ask(name: &str, server: IpAddr, device: Option<&str>, tie: &dyn Tie) -> io::Result<Vec<IpAddr>> {
    let socket = UdpSocket::bind((unspecified(server.is_ipv4()), 0))?;
    tie.tie(socket.as_fd(), device)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((server, PORT))?;
    // Some servers never answer for IPv6.
    match (ask_for(&socket, name, TYPE::A), ask_for(&socket, name, TYPE::AAAA)) {
        (Err(error), Err(_)) => Err(error),
        (v4, v6) => Ok([v4, v6].into_iter().flatten().flatten().collect()),
    }
}

/// Addresses of one kind, from the server that `socket` is connected to.
fn ask_for(socket: &UdpSocket, name: &str, kind: TYPE) -> io::Result<Vec<IpAddr>> {
    let mut id = [0; 2];
    entropy::fill(&mut id)?;
    let id = u16::from_ne_bytes(id);
    let query = query(id, name, kind).map_err(io::Error::other)?;
    socket.send(&query)?;
    let mut buffer = [0; ANSWER_MAX];
    for _ in 0..STRAYS {
        let length = socket.recv(&mut buffer)?;
        let answer = buffer.get(..length).unwrap_or_default();
        if let Some(addresses) = answered(answer, id) {
            return Ok(addresses);
        }
    }
    Err(io::Error::other("it answers something else"))
}

fn query(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, simple_dns::SimpleDnsError> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name)?, QTYPE::TYPE(kind), CLASS::IN.into(), false));
    packet.build_bytes_vec()
}

/// The addresses in an answer, those of other names that the name stands for among them; `None`: it answers something else.
fn answered(answer: &[u8], id: u16) -> Option<Vec<IpAddr>> {
    let packet = Packet::parse(answer).ok()?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    if packet.rcode() != RCODE::NoError {
        return Some(Vec::new());
    }
    let addresses = packet.answers.iter().filter_map(|record| match &record.rdata {
        RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
        RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.address.to_be_bytes())),
        _ => None,
    });
    Some(addresses.collect())
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, AAAA, CNAME};

    use super::*;

    const ID: u16 = 0x1234;

    fn reply(id: u16, records: Vec<RData<'static>>) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        let name = Name::new("vps.example.net").unwrap();
        packet.answers =
            records.into_iter().map(|data| ResourceRecord::new(name.clone(), CLASS::IN, 60, data)).collect();
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn a_question_is_the_one_of_rfc_1035() {
        let bytes = query(ID, "vps.example.net", TYPE::A).unwrap();
        assert_eq!(
            bytes,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03vps\x07example\x03net\x00\x00\x01\x00\x01"
        );
    }

    #[test]
    fn addresses_are_read_and_aliases_passed_over() {
        let alias = RData::CNAME(CNAME(Name::new("host.example.org").unwrap()));
        let records = vec![alias, RData::A(A { address: 0xc633_6407 }), RData::AAAA(AAAA { address: 1 })];
        let addresses = answered(&reply(ID, records), ID).unwrap();
        assert_eq!(addresses, ["198.51.100.7".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(answered(&reply(ID, Vec::new()), ID), Some(Vec::new()));
    }

    #[test]
    fn what_answers_something_else_is_not_taken() {
        assert_eq!(answered(&reply(ID + 1, vec![RData::A(A { address: 1 })]), ID), None);
        assert_eq!(answered(&query(ID, "vps.example.net", TYPE::A).unwrap(), ID), None);
        let whole = reply(ID, vec![RData::A(A { address: 1 })]);
        for end in 0..whole.len() {
            let _ = answered(&whole[..end], ID);
        }
    }

    #[test]
    fn whatever_a_server_answers_is_read_to_an_end() {
        let mut random = fastrand::Rng::with_seed(7);
        let whole = reply(ID, vec![RData::A(A { address: 1 }), RData::AAAA(AAAA { address: 1 })]);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..6) {
                let place = random.usize(..bytes.len());
                bytes[place] = random.choice([0, 1, 0x0c, 0x3f, 0xc0, 0xff]).unwrap();
            }
            let _ = answered(&bytes, ID);
        }
    }

    #[test]
    fn servers_are_read_from_resolv_conf() {
        let text = "# by hand\nsearch example.net\nnameserver 192.168.8.1\n  nameserver fe80::1%eth0\nnameserver 2001:db8::53\n";
        assert_eq!(
            servers_in(text),
            ["192.168.8.1".parse::<IpAddr>().unwrap(), "2001:db8::53".parse().unwrap()]
        );
    }
}
