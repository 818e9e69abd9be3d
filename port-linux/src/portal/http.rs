//! One request by HTTP over one link, and what its answer says: enough of HTTP/1.0 for a check.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Address, By, Finding, Portal, Question};
use crate::clock::Clock;
use crate::config::{self, CheckUrl, PortalAnswer};
use crate::socket::Tie;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read: more than any head that is taken, and than any text that is compared.
const ANSWER_MAX: usize = 16 << 10;

/// Asks the host of the check, which has this address, over the link of the question.
///
/// # Errors
/// What the kernel says; no answer within [`PATIENCE`].
pub(super) fn ask(
    question: &Question,
    check: &config::Portal,
    host: SocketAddr,
    tie: &dyn Tie,
) -> io::Result<Finding> {
    let clock = Clock::start();
    let end = clock.now() + PATIENCE;
    let mut stream = connect(question, host, tie)?;
    let url = &check.url;
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: mpt\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority()
    );
    stream.set_write_timeout(Some(CONNECT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    loop {
        // Time out of a read without time is an error of its own.
        let left = end.since(clock.now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        let mut some = [0; 2048];
        let length = match stream.read(&mut some) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What came until then may say enough.
            Err(error) if answer.is_empty() => return Err(error),
            Err(_) => 0,
        };
        answer.extend_from_slice(&some[..length]);
        let is_whole = length == 0 || answer.len() >= ANSWER_MAX;
        if let Some(finding) = read(&answer, is_whole, url, &check.answer) {
            return Ok(finding);
        }
        if is_whole || clock.now() >= end {
            return Ok(Finding::Unknown);
        }
    }
}

/// Connects from the address of the path, where it has one of that IP version, through its interface alone.
pub(super) fn connect(question: &Question, host: SocketAddr, tie: &dyn Tie) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(host), Type::STREAM, Some(Protocol::TCP))?;
    tie.tie(socket.as_fd(), Some(&question.interface.name))?;
    if !question.local.is_unspecified() && question.local.is_ipv4() == host.is_ipv4() {
        socket.bind(&SocketAddr::new(question.local, 0).into())?;
    }
    socket.connect_timeout(&host.into(), CONNECT)?;
    Ok(socket.into())
}

/// What an answer says; `None`: it is not known yet. `is_whole`: nothing more of it is read.
fn read(answer: &[u8], is_whole: bool, url: &CheckUrl, expected: &PortalAnswer) -> Option<Finding> {
    let Some((head, body)) = head(answer) else { return is_whole.then_some(Finding::Unknown) };
    let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    // It is not HTTP.
    let Some(status) = lines.next().and_then(status) else { return Some(Finding::Unknown) };
    match expected {
        PortalAnswer::Status(expected) if *expected == status => return Some(Finding::Free),
        PortalAnswer::Text(expected) if status == 200 => {
            // It begins otherwise, or is longer: no more of it is needed.
            if body.trim_ascii() == expected.as_bytes() && is_whole {
                return Some(Finding::Free);
            }
            let can_become = expected.as_bytes().starts_with(body.trim_ascii());
            if can_become && !is_whole {
                return None;
            }
        }
        _ => {}
    }
    let page = match status {
        300..=399 => lines.find_map(location).and_then(|location| absolute(location, url)),
        // RFC 6585 section 6: a login is wanted.
        200..=299 | 511 => None,
        // The host itself may have a fault.
        _ => return Some(Finding::Unknown),
    };
    // Who asks for the same gets the page.
    let page = page.or_else(|| Address::new(url.to_string().as_bytes()));
    Some(page.map_or(Finding::Unknown, |url| Finding::Portal(Portal { url, by: By::Http })))
}

/// The head of an answer and what follows, once there is an empty line in between. Portals are not careful: a library would refuse the
/// heads of some.
fn head(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 0;
    for line in answer.split_inclusive(|&byte| byte == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            return Some((answer.get(..end)?, answer.get(end + line.len()..)?));
        }
        end += line.len();
    }
    None
}

/// `HTTP/1.1 302 Found`
fn status(line: &[u8]) -> Option<u16> {
    let digits = line.strip_prefix(b"HTTP/1.")?.get(1..)?.trim_ascii_start().get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// `Location: http://login.example/`
fn location(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = line.split_at(colon);
    name.eq_ignore_ascii_case(b"location").then_some(value.get(1..)?)
}

/// The address that a redirect leads to.
fn absolute(location: &[u8], url: &CheckUrl) -> Option<Address> {
    let location = location.trim_ascii();
    let base = match location {
        [b'/', b'/', ..] => "http:".to_owned(),
        [b'/', ..] => format!("http://{}", url.authority()),
        _ => String::new(),
    };
    Address::new(&[base.as_bytes(), location].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FromText;

    fn url() -> CheckUrl {
        CheckUrl::from_text("http://check.example/204").unwrap()
    }

    /// Of an answer that is whole; as it comes, byte by byte, it says the same.
    fn says(answer: &str, expected: &PortalAnswer) -> Finding {
        let whole = read(answer.as_bytes(), true, &url(), expected).expect("nothing more comes");
        for end in 0..answer.len() {
            if let Some(early) = read(&answer.as_bytes()[..end], false, &url(), expected) {
                assert_eq!(early, whole, "after {end} bytes of {answer}");
            }
        }
        whole
    }

    fn portal(url: &str) -> Finding {
        Finding::Portal(Portal { url: Address::new(url.as_bytes()).unwrap(), by: By::Http })
    }

    #[test]
    fn the_known_answer_is_no_portal_and_another_one_is() {
        let status = PortalAnswer::Status(204);
        assert_eq!(says("HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", &status), Finding::Free);
        let here = portal("http://check.example/204");
        assert_eq!(says("HTTP/1.1 200 OK\r\n\r\n<html>Welcome</html>", &status), here);
        assert_eq!(says("HTTP/1.1 511 Network Authentication Required\r\n\r\n", &status), here);
        let text = PortalAnswer::Text("success".to_owned());
        assert_eq!(says("HTTP/1.0 200 OK\r\n\r\nsuccess\n", &text), Finding::Free);
        assert_eq!(says("HTTP/1.0 200 OK\r\n\r\nsuccess story", &text), here);
        assert_eq!(says("HTTP/1.0 200 OK\r\n\r\nsucc", &text), here);
        assert_eq!(says("HTTP/1.0 204 No Content\r\n\r\n", &text), here);
    }

    #[test]
    fn a_redirect_leads_to_the_page() {
        let status = PortalAnswer::Status(204);
        let leads = |location: &str, to: &str| {
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(says(&answer, &status), portal(to), "{location}");
        };
        leads("https://login.hotel.example/?x=1", "https://login.hotel.example/?x=1");
        leads("//login.hotel.example/", "http://login.hotel.example/");
        leads("/login", "http://check.example/login");
        leads("javascript:alert(1)", "http://check.example/204");
        leads("http://a/b c\u{1b}[2J", "http://a/b%20c%1B[2J");
        assert_eq!(says("HTTP/1.1 302 Found\r\n\r\n", &status), portal("http://check.example/204"));
    }

    #[test]
    fn faults_of_the_host_and_what_is_not_http_say_nothing() {
        let status = PortalAnswer::Status(204);
        for answer in [
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 999 x\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: http://a/",
            "",
        ] {
            assert_eq!(says(answer, &status), Finding::Unknown, "{answer}");
        }
    }

    #[test]
    fn whatever_comes_is_read_to_an_end() {
        let mut random = fastrand::Rng::with_seed(7);
        let whole = b"HTTP/1.1 302 Found\r\nLocation: http://login.example/?a=b\r\n\r\n<html>".to_vec();
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..6) {
                let place = random.usize(..bytes.len());
                bytes[place] = random.u8(..);
            }
            if let Some(Finding::Portal(portal)) = read(&bytes, true, &url(), &PortalAnswer::Status(204)) {
                assert!(portal.url.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
