//! The API of a network (RFC 8908), which says whether a login is wanted: asked by the program curl, as mpt has no TLS of its own.
//!
//! curl reaches no network. It speaks through a socket of this host to a thread of mpt, which passes bytes on to the API's host over the
//! link of the question, by a socket that is tied as those of paths are. So what is asked leaves through that link alone, also past the
//! tunnel and its kill switch; what comes is bounded here, whatever curl does; and curl, which reads what a stranger sends, has no right of
//! mpt's.

use std::env;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as LocalAddr, UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use mpt_proto::Instant;
use rustix::net::sockopt::socket_peercred;
use serde::Deserialize;
use serde_json::Value;

use super::{Access, Address};
use crate::child::{Child, Ending, Start};
use crate::clock::Clock;
use crate::config::{Endpoint, authority};
use crate::entropy;

/// How long curl may take, in seconds: as long as the check by HTTP.
const PATIENCE_S: u64 = 10;
/// How long it is waited for beyond that, before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes of an answer that are taken. Those of RFC 8908 have some hundred.
const ANSWER_MAX: usize = 16 << 10;
/// Bytes that are passed on each way: an answer, and the certificates that come before it, which are some 5 kB.
const PASSED_MAX: usize = 64 << 10;
/// How often it is looked whether curl has called.
const GLANCE: Duration = Duration::from_millis(5);
/// What an administrator may have set for curl: other certificates than the host's.
const CERTIFICATES: [&str; 3] = ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// The last line that curl prints: the status of HTTP, and why it has failed (since curl 7.75). What it would say on standard error has
/// several lines.
const WRITE_OUT: &str = "\n%{http_code} %{errormsg}";
/// Bytes of why it has failed that are shown.
const REASON_MAX: usize = 200;

/// What an API says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Whether a login is wanted, and what the network grants.
    pub(super) access: Access,
    /// The page of the login, if it names one.
    pub(super) page: Option<Address>,
}

/// Why an API has said nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its address is none that may be asked.
    Address(&'static str),
    /// The network, or this host.
    Io(io::Error),
    /// curl failed: with what it has said.
    Curl(String),
    /// The answer is not one of RFC 8908.
    Answer(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(why) | Self::Answer(why) => out.write_str(why),
            Self::Io(error) => error.fmt(out),
            Self::Curl(said) => write!(out, "curl: {said}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where an API is: by https, as RFC 8908 section 4.1 wants it.
pub(super) fn host(url: &Address) -> Result<(Endpoint, u16), Failure> {
    let of = url.origin().strip_prefix("https://").ok_or(Failure::Address("its address is not of https"))?;
    authority(of, 443).map_err(Failure::Address)
}

/// Asks an API by the program `curl`, over a connection to its host that is there already.
pub(super) fn ask(curl: &Path, url: &Address, network: &TcpStream) -> Result<Said, Failure> {
    let clock = Clock::start();
    let end = clock.now() + Duration::from_secs(PATIENCE_S);
    let (listener, name) = listen()?;
    let certificates = CERTIFICATES.iter().filter_map(|name| Some((*name, env::var(name).ok()?)));
    let certificates: Vec<(&str, String)> = certificates.collect();
    let environment: Vec<(&str, &str)> =
        certificates.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let start = Start {
        environment: &environment,
        printed_max: ANSWER_MAX + REASON_MAX,
        without_rights: true,
        ..Start::default()
    };
    let mut child = Child::start(&command(curl, url, &name), start)?;
    if let Some(local) = accept(&listener, &mut child, (&clock, end))? {
        pass_on(&local, network, (&clock, end));
    }
    match child.wait(clock, end.since(clock.now()) + GRACE, || false) {
        Ending::Good => read(child.printed()),
        Ending::Bad { status, .. } => Err(Failure::Curl(format!("{}{status}", reason(child.printed())))),
        Ending::TooLong | Ending::Stopped => Err(Failure::Curl("it does not end".to_owned())),
    }
}

/// What is run. The address stands behind its option and begins with `https://`, so that it is never taken for another option.
fn command(curl: &Path, url: &Address, socket: &str) -> Vec<String> {
    let (patience, most) = (PATIENCE_S.to_string(), ANSWER_MAX.to_string());
    let (curl, url) = (curl.display().to_string(), url.to_string());
    let words = [
        curl.as_str(),
        // First of all: no file of settings.
        "--disable",
        "--silent",
        // Brackets and braces are what they are.
        "--globoff",
        "--proto",
        "=https",
        "--noproxy",
        "*",
        "--http1.1",
        "--max-redirs",
        "0",
        "--max-time",
        &patience,
        "--max-filesize",
        &most,
        "--user-agent",
        "mpt",
        "--header",
        "Accept: application/captive+json",
        "--write-out",
        WRITE_OUT,
        "--abstract-unix-socket",
        socket,
        "--url",
        &url,
    ];
    words.map(str::to_owned).to_vec()
}

/// A socket of this host that curl finds by its name, and that no other program can have guessed.
fn listen() -> io::Result<(UnixListener, String)> {
    let mut random = [0; 16];
    entropy::fill(&mut random)?;
    let name = format!("mpt-portal-{:032x}", u128::from_ne_bytes(random));
    let listener = UnixListener::bind_addr(&LocalAddr::from_abstract_name(&name)?)?;
    listener.set_nonblocking(true)?;
    Ok((listener, name))
}

/// Waits until the child calls; `None`: it has ended, or takes too long. Others are not let in: /proc/net/unix has the name.
fn accept(
    listener: &UnixListener,
    child: &mut Child,
    (clock, end): (&Clock, Instant),
) -> io::Result<Option<UnixStream>> {
    while clock.now() < end {
        match listener.accept() {
            Ok((stream, _)) => {
                let caller = socket_peercred(&stream)?.pid.as_raw_nonzero().get();
                if u32::try_from(caller) == Ok(child.id()) {
                    stream.set_nonblocking(false)?;
                    return Ok(Some(stream));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !child.runs() {
                    return Ok(None);
                }
                thread::sleep(GLANCE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Passes bytes on both ways, until one end has closed both directions, too much has come, or the time is over.
fn pass_on(local: &UnixStream, network: &TcpStream, (clock, end): (&Clock, Instant)) {
    let close = || {
        let _ = local.shutdown(Shutdown::Both);
        let _ = network.shutdown(Shutdown::Both);
    };
    let left = end.since(clock.now()).max(GLANCE);
    // A direction in which nothing more comes then is given up.
    let limited = [local.set_read_timeout(Some(left)), local.set_write_timeout(Some(left))]
        .into_iter()
        .chain([network.set_read_timeout(Some(left)), network.set_write_timeout(Some(left))])
        .all(|set| set.is_ok());
    if !limited {
        return close();
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(local, network, (clock, end));
            // curl closes when it has all that it wants.
            close();
        });
        copy(network, local, (clock, end));
        // It may still say goodbye; that nothing more comes is what it has to know.
        let _ = local.shutdown(Shutdown::Write);
    });
}

/// Passes bytes on one way, [`PASSED_MAX`] at most.
fn copy(mut from: impl Read, mut to: impl Write, (clock, end): (&Clock, Instant)) {
    let (mut left, mut buffer) = (PASSED_MAX, [0; 4096]);
    while left > 0 && clock.now() < end {
        let room = left.min(buffer.len());
        let length = match from.read(&mut buffer[..room]) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
        left -= length;
    }
}

/// The keys of RFC 8908 section 5. Of those that nobody needs, wrong ones are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    captive: bool,
    #[serde(default)]
    user_portal_url: Value,
    #[serde(default)]
    venue_info_url: Value,
    #[serde(default)]
    seconds_remaining: Value,
    #[serde(default)]
    bytes_remaining: Value,
}

/// The body that curl has printed, and the line behind it.
fn parts(printed: &[u8]) -> Option<(&[u8], &[u8])> {
    let last = printed.iter().rposition(|&byte| byte == b'\n')?;
    Some((printed.get(..last)?, printed.get(last..)?.trim_ascii()))
}

/// Why curl has failed, with a comma behind it; empty: it does not say.
fn reason(printed: &[u8]) -> String {
    let line = parts(printed).map_or(Vec::new(), |(_, line)| line[..line.len().min(REASON_MAX)].to_vec());
    let line = String::from_utf8_lossy(&line).into_owned();
    let reason = line.split_once(' ').map_or("", |(_, reason)| reason);
    // It may repeat what a stranger has sent.
    let reason: String = reason.chars().filter(|character| !character.is_control()).collect();
    if reason.is_empty() { reason } else { format!("{reason}, ") }
}

/// What curl has printed in the end.
fn read(printed: &[u8]) -> Result<Said, Failure> {
    let (body, status) = parts(printed).ok_or(Failure::Answer("no answer"))?;
    if status != b"200" {
        // A redirect is none: RFC 8908 section 4 has none, and who sends one is not the API.
        return Err(Failure::Answer("its answer has another status than 200, or is too long"));
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Failure::Answer("its answer is not that of RFC 8908"))?;
    let address = |value: &Value| value.as_str().and_then(|url| Address::new(url.as_bytes()));
    let access = Access {
        captive: answer.captive,
        seconds_left: answer.seconds_remaining.as_u64(),
        bytes_left: answer.bytes_remaining.as_u64(),
        venue: address(&answer.venue_info_url),
    };
    Ok(Said { access, page: address(&answer.user_portal_url) })
}

/// Connects to the first of the addresses that can be reached.
pub(super) fn connected(
    addresses: impl Iterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> io::Result<TcpStream>,
) -> Result<TcpStream, Failure> {
    let mut last = Failure::Address("the name of its host is not known");
    for address in addresses {
        match connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn address(text: &str) -> Address {
        Address::new(text.as_bytes()).unwrap()
    }

    fn says(body: &str) -> Option<Said> {
        read(format!("{body}\n200").as_bytes()).ok()
    }

    #[test]
    fn the_answer_of_the_rfc_is_read() {
        // Of section 6.
        let body = r#"{ "captive": true, "user-portal-url": "https://example.org/portal.html" }"#;
        let access = Access { captive: true, seconds_left: None, bytes_left: None, venue: None };
        assert_eq!(
            says(body),
            Some(Said { access: access.clone(), page: Some(address("https://example.org/portal.html")) })
        );
        let body = r#"{ "captive": false, "user-portal-url": "https://example.org/portal.html",
            "venue-info-url": "https://flight.example.com/entertainment", "seconds-remaining": 326,
            "can-extend-session": true, "bytes-remaining": 1000000 }"#;
        let said = says(body).unwrap();
        let venue = Some(address("https://flight.example.com/entertainment"));
        let granted = Access { captive: false, seconds_left: Some(326), bytes_left: Some(1_000_000), venue };
        assert_eq!(said.access, granted);
        // What nobody needs may be nonsense; whether a login is wanted must be said.
        let body = r#"{"captive":true,"user-portal-url":"javascript:alert(1)","seconds-remaining":-7.5,"bytes-remaining":null,"x":[]}"#;
        assert_eq!(says(body), Some(Said { access, page: None }));
        for wrong in ["", "{}", "[]", "null", "<html>", r#"{"captive":1}"#, r#"{"captive":true"#] {
            assert_eq!(says(wrong), None, "{wrong}");
        }
        assert_eq!(says(&"[".repeat(ANSWER_MAX)), None);
        for status in ["302", "404", "511", "000", "2000", ""] {
            assert!(read(format!("{body}\n{status}").as_bytes()).is_err(), "{status}");
        }
    }

    #[test]
    fn why_curl_fails_is_one_line_without_what_terminals_obey() {
        assert_eq!(
            reason(b"\n000 SSL certificate problem: \x1b[2Jexpired\xff"),
            "SSL certificate problem: [2Jexpired\u{fffd}, "
        );
        assert_eq!(reason(&[b"body\n200 ".as_slice(), &[b'a'; 1000]].concat()).len(), REASON_MAX - 4 + 2);
        for nothing in [b"".as_slice(), b"\n", b"\n000", b"\n000 ", b"000 x"] {
            assert_eq!(reason(nothing), "", "{nothing:?}");
        }
    }

    #[test]
    fn whatever_comes_is_read_to_an_end() {
        let mut random = fastrand::Rng::with_seed(7);
        let whole = br#"{"captive":true,"user-portal-url":"https://a/","seconds-remaining":1}"#;
        for _ in 0..20_000 {
            let mut bytes = [whole.as_slice(), b"\n200"].concat();
            for _ in 0..random.usize(1..6) {
                let place = random.usize(..bytes.len());
                bytes[place] = random.u8(..);
            }
            let _ = read(&bytes);
        }
    }

    #[test]
    fn only_hosts_of_https_are_asked() {
        let of = |text: &str| host(&address(text)).ok().map(|(host, port)| (host.to_string(), port));
        assert_eq!(of("https://api.example/x"), Some(("api.example".to_owned(), 443)));
        assert_eq!(of("https://192.0.2.1:8443"), Some(("192.0.2.1".to_owned(), 8443)));
        assert_eq!(of("https://[2001:db8::1]/"), Some(("2001:db8::1".to_owned(), 443)));
        for refused in [
            "http://api.example/",
            "https://user@api.example/",
            "https://api.example:0/",
            "https://api.example:443:1/",
            "https://-K/",
            "https://a%20b/",
            "https://[::1/",
        ] {
            assert_eq!(of(refused), None, "{refused}");
        }
    }

    #[test]
    fn what_a_network_says_is_one_word_of_the_command_behind_its_option() {
        let url = address("https://a/ --output /etc/passwd\n-K x{1,2}[3]");
        let words = command(Path::new("/usr/bin/curl"), &url, "name");
        assert_eq!(words[1], "--disable");
        let [option, last] = &words[words.len() - 2..] else { panic!("{words:?}") };
        assert_eq!((option.as_str(), last.as_str()), ("--url", url.to_string().as_str()));
        assert!(last.starts_with("https://") && last.bytes().all(|byte| byte.is_ascii_graphic()), "{last}");
    }

    #[test]
    fn bytes_are_passed_on_both_ways_and_a_flood_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let network = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (local, mut curl) = UnixStream::pair().unwrap();
        let flood = thread::spawn(move || {
            let mut question = [0; 8];
            server.read_exact(&mut question).unwrap();
            assert_eq!(&question, b"question");
            // More than may come, and it never closes by itself.
            let _ = server.write_all(&[7; 4 * PASSED_MAX]);
            let _ = server.read_to_end(&mut Vec::new());
        });
        let clock = Clock::start();
        let relay = thread::spawn(move || {
            let end = clock.now() + Duration::from_secs(30);
            pass_on(&local, &network, (&clock, end));
        });
        curl.write_all(b"question").unwrap();
        let mut came = Vec::new();
        curl.read_to_end(&mut came).unwrap();
        assert_eq!(came, [7; PASSED_MAX]);
        drop(curl);
        relay.join().unwrap();
        flood.join().unwrap();
        assert!(clock.now() < Instant::ZERO + Duration::from_secs(20));
    }

    #[test]
    fn a_program_that_is_no_curl_is_a_failure() {
        let connection = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            TcpStream::connect(listener.local_addr().unwrap()).unwrap()
        };
        let asked = |program: &'static str| {
            let (program, network) = (Path::new(program), connection());
            // A thread that asks has no rights to give to programs any more.
            thread::scope(|scope| {
                scope.spawn(|| ask(program, &address("https://a/"), &network)).join().unwrap()
            })
        };
        assert!(matches!(asked("/bin/false"), Err(Failure::Curl(_))));
        assert!(matches!(asked("/bin/true"), Err(Failure::Answer(_))));
        assert!(matches!(asked("/nonexistent/curl"), Err(Failure::Io(_))));
    }
}
