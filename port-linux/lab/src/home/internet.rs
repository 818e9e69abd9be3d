//! A host of the Internet: a name server, a web server whose page says who asked, a download without an end, and an echo.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::world::{WEB_V4, WEB_V6};
use crate::host::Host;
use crate::stopwatch::Stopwatch;
use crate::traffic::meter::{Meter, Received};

/// The name of the page's host.
pub(super) const NAME: &str = "www.example";

/// UDP: what comes goes back (RFC 862).
pub(super) const ECHO: u16 = 7;

/// What the page says before the visitor's address.
const GREETING: &str = "You are ";

/// The path of a download without an end.
const ENDLESS: &str = "/endless";

/// A browser that is silent for longer than this is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are written or read at once.
const CHUNK: usize = 64 << 10;

/// Codes of the DNS (RFC 1035 sections 3.2 and 4.1.1, RFC 3596 section 2.1).
const A: u16 = 1;
const AAAA: u16 = 28;
const NO_SUCH_NAME: u8 = 3;
/// A query's header, in bytes.
const HEADER: usize = 12;
/// Seconds that an answer may be kept: not at all, as each step asks anew.
const NOT_KEPT: [u8; 4] = [0; 4];

/// The servers. They end with the process.
#[derive(Debug)]
pub(super) struct Internet {
    /// Who asked for a name last.
    asked: Arc<Mutex<Option<IpAddr>>>,
}

impl Internet {
    /// Starts them on a host that has both addresses.
    pub(super) fn start(host: &Host) -> anyhow::Result<Self> {
        let asked = Arc::new(Mutex::new(None));
        serve_pages(host)?;
        let echo = host.inside(|| UdpSocket::bind((WEB_V4, ECHO)))?.context("port 7")?;
        thread::spawn(move || answer(&echo, |_, query| Some(query.to_vec())));
        let names = host.inside(|| UdpSocket::bind((WEB_V4, 53)))?.context("port 53")?;
        let noted = Arc::clone(&asked);
        thread::spawn(move || {
            answer(&names, |from, query| {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(from.ip());
                resolve(query)
            });
        });
        Ok(Self { asked })
    }

    /// Who asked for a name since this was called last.
    pub(super) fn who_asked(&self) -> Option<IpAddr> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// From now on a host has the page, for whoever comes by IPv4 or IPv6.
pub(super) fn serve_pages(host: &Host) -> anyhow::Result<()> {
    let web = host.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)))?.context("port 80")?;
    thread::spawn(move || serve(&web));
    Ok(())
}

/// The visitor whom a page names.
pub(super) fn visitor(page: &str) -> anyhow::Result<IpAddr> {
    let address = page.trim().strip_prefix(GREETING).with_context(|| format!("another page came: {page}"))?;
    Ok(address.parse()?)
}

/// Downloads for so long on a host, and measures at the browser's end.
///
/// # Errors
/// When the server cannot be reached, or the connection breaks.
pub(super) fn download(host: &Host, time: Duration) -> anyhow::Result<Received> {
    host.inside(|| {
        let server = SocketAddr::from((WEB_V4, 80));
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)
            .with_context(|| format!("cannot connect to {server}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {ENDLESS} HTTP/1.0\r\n\r\n")?;
        let (clock, mut meter, mut buffer) = (Stopwatch::start(), Meter::default(), vec![0; CHUNK]);
        while clock.elapsed() < time {
            let bytes = stream.read(&mut buffer).context("the download broke off")?;
            ensure!(bytes > 0, "the server ended the download");
            meter.record(clock.elapsed(), bytes);
        }
        Ok(meter.finish())
    })?
}

fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // A visitor who goes early is no error.
        thread::spawn(move || show(stream).ok());
    }
}

/// Reads one request, and answers it.
fn show(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let visitor = stream.peer_addr()?.ip().to_canonical();
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().context("no request")??;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")?;
    if request.split(' ').nth(1) == Some(ENDLESS) {
        let zeros = vec![0; CHUNK];
        loop {
            stream.write_all(&zeros)?;
        }
    }
    Ok(writeln!(stream, "{GREETING}{visitor}")?)
}

/// Answers datagrams.
fn answer(socket: &UdpSocket, mut respond: impl FnMut(SocketAddr, &[u8]) -> Option<Vec<u8>>) {
    let mut buffer = [0; 2048];
    loop {
        // An error is one that a datagram before caused, as a host that cannot be reached: the next one may be well.
        let Ok((bytes, from)) = socket.recv_from(&mut buffer) else { continue };
        let query = buffer.get(..bytes).unwrap_or_default();
        if let Some(response) = respond(from, query) {
            let _ = socket.send_to(&response, from);
        }
    }
}

/// What a name server says to a query with one question: the addresses of [`NAME`], and that there is no other name. `None`: it is no
/// query.
fn resolve(query: &[u8]) -> Option<Vec<u8>> {
    let (head, question) = query.split_at_checked(HEADER)?;
    // The name: labels with their lengths, up to an empty one; then type and class.
    let mut labels = Vec::new();
    let mut rest = question;
    loop {
        let (&length, after) = rest.split_first()?;
        if length == 0 {
            rest = after;
            break;
        }
        let (label, after) = after.split_at_checked(length.into())?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = after;
    }
    let wanted = u16::from_be_bytes(*rest.first_chunk()?);
    let question = question.get(..question.len() - rest.len() + 4)?;
    let is_known = labels.join(".") == NAME;
    let address = match wanted {
        A if is_known => WEB_V4.octets().to_vec(),
        AAAA if is_known => WEB_V6.octets().to_vec(),
        _ => Vec::new(),
    };
    let mut response = head.get(..2)?.to_vec();
    // An answer with authority, to a query that may want recursion, with or without the error; one question.
    let recursion = head.get(2)? & 1;
    response.extend([0x84 | recursion, 0x80 | if is_known { 0 } else { NO_SUCH_NAME }, 0, 1, 0]);
    response.extend([u8::from(!address.is_empty()), 0, 0, 0, 0]);
    response.extend(question);
    if !address.is_empty() {
        // The name is that of the question, at byte 12.
        response.extend([0xc0, 12]);
        response.extend(wanted.to_be_bytes());
        response.extend([0, 1]);
        response.extend(NOT_KEPT);
        response.extend(u16::try_from(address.len()).ok()?.to_be_bytes());
        response.extend(address);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        query
    }

    #[test]
    fn the_name_has_both_addresses_and_no_other_name_has_one() {
        let a = resolve(&query(NAME, A)).unwrap();
        assert_eq!(a[..HEADER], [7, 9, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert!(a.ends_with(&WEB_V4.octets()) && a.len() == query(NAME, A).len() + 16);
        assert!(resolve(&query("WWW.Example", AAAA)).unwrap().ends_with(&WEB_V6.octets()));
        let none = resolve(&query("mail.example", A)).unwrap();
        assert_eq!((none[3] & 0x0f, none[7]), (NO_SUCH_NAME, 0));
        // Known, without an address of that kind.
        let mx = resolve(&query(NAME, 15)).unwrap();
        assert_eq!((mx[3] & 0x0f, mx[7]), (0, 0));
    }

    #[test]
    fn what_is_cut_off_is_no_query() {
        let whole = query(NAME, A);
        for end in 0..whole.len() - 2 {
            assert_eq!(resolve(&whole[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn a_page_names_its_visitor() {
        assert_eq!(visitor(&format!("{GREETING}192.88.99.6\n")).unwrap(), IpAddr::from([192, 88, 99, 6]));
        assert!(visitor("404").is_err());
    }
}
