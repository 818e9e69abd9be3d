//! What is read of a request for metrics: enough of HTTP/1.1 for `GET /metrics`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Format;

/// Longest request in bytes, without what a body may have.
pub(super) const REQUEST_MAX: usize = 8 << 10;
/// Most headers of one.
const HEADERS_MAX: usize = 64;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the Unix socket, which no browser reaches.
    File,
    /// By TCP.
    Tcp,
}

/// What a request comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// It is not whole yet.
    Partial,
    /// For the metrics in this form; whether they are wanted, or only what is said about them (`HEAD`).
    Metrics(Format, bool),
    /// It gets this status and explanation.
    Refused(u16, &'static str),
}

/// Reads a request that may not be whole.
pub(super) fn parse(bytes: &[u8], way: Way) -> Request {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(status) if status.is_complete() => {}
        Ok(_) if bytes.len() < REQUEST_MAX => return Request::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Request::Refused(431, "the request is too long");
        }
        Err(_) => return Request::Refused(400, "this is no request of HTTP/1.1"),
    }
    let is_named = |name: &str, header: &httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
    let is_foreign = |header: &httparse::Header<'_>| is_named("host", header) && !is_own_host(header.value);
    if way == Way::Tcp && request.headers.iter().any(is_foreign) {
        return Request::Refused(403, "the Host is to be an IP address or localhost");
    }
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let is_get = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Request::Refused(405, "only GET and HEAD are answered"),
    };
    if path != "/metrics" {
        return Request::Refused(404, "there is only /metrics");
    }
    let accepts = |header: &httparse::Header<'_>| {
        is_named("accept", header)
            && String::from_utf8_lossy(header.value).contains("application/openmetrics-text")
    };
    let format = if request.headers.iter().any(accepts) { Format::OpenMetrics } else { Format::Prometheus };
    Request::Metrics(format, is_get)
}

/// Whether a `Host` is an IP address or `localhost`, with or without a port. A web page whose own name was made to lead to this host
/// (DNS rebinding) has that name there.
fn is_own_host(value: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(value) else { return false };
    let port = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let name = port.map_or(host, |(name, _)| name);
    let ipv6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || ipv6.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::Way::{File, Tcp};
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_asked_for() {
        let plain = parse(b"GET /metrics HTTP/1.1\r\nHost: mpt\r\nAccept: */*\r\n\r\n", File);
        assert_eq!(plain, Request::Metrics(Format::Prometheus, true));
        let open = parse(
            b"GET /metrics?x=1 HTTP/1.1\r\nHost: mpt\r\naccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n",
            File,
        );
        assert_eq!(open, Request::Metrics(Format::OpenMetrics, true));
        assert_eq!(
            parse(b"HEAD /metrics HTTP/1.0\r\n\r\n", File),
            Request::Metrics(Format::Prometheus, false)
        );
    }

    #[test]
    fn what_is_not_whole_is_waited_for_and_what_is_too_long_is_not() {
        assert_eq!(parse(b"", File), Request::Partial);
        assert_eq!(parse(b"GET /metrics HTTP/1.1\r\nHost: mpt\r\n", File), Request::Partial);
        let long = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; REQUEST_MAX]].concat();
        assert_eq!(parse(&long, File), Request::Refused(431, "the request is too long"));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        assert!(matches!(parse(many.as_bytes(), File), Request::Refused(431, _)));
    }

    #[test]
    fn anything_else_is_refused_with_what_would_be_right() {
        for (bytes, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], 404),
            (b"GET /metrics/../secret HTTP/1.1\r\n\r\n", 404),
            (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
            (b"{\"version\":1,\"command\":\"status\"}\n\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00", 400),
            (b"GET /metrics SPDY/9\r\n\r\n", 400),
        ] {
            assert!(matches!(parse(bytes, File), Request::Refused(found, _) if found == status), "{bytes:?}");
        }
    }

    #[test]
    fn by_tcp_a_host_is_an_address_or_localhost() {
        let of =
            |host: &str, way| parse(format!("GET /metrics HTTP/1.1\r\nhOsT: {host}\r\n\r\n").as_bytes(), way);
        let answered = Request::Metrics(Format::Prometheus, true);
        for host in ["127.0.0.1", "127.0.0.1:9475", "[::1]", "[::1]:9475", "localhost", "LocalHost:80"] {
            assert_eq!(of(host, Tcp), answered, "{host}");
        }
        for host in [
            "attacker.example",
            "attacker.example:9475",
            "127.0.0.1.attacker.example",
            "localhost.attacker.example:80",
            "mpt",
            "",
        ] {
            assert!(matches!(of(host, Tcp), Request::Refused(403, _)), "{host}");
            assert_eq!(of(host, File), answered, "{host}");
        }
        let two = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n";
        assert!(matches!(parse(two, Tcp), Request::Refused(403, _)));
        assert_eq!(parse(b"GET /metrics HTTP/1.0\r\n\r\n", Tcp), answered);
    }

    #[test]
    fn rubbish_never_panics() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut bytes = b"GET /metrics HTTP/1.1\r\nHost: mpt\r\n\r\n".to_vec();
            for _ in 0..random.usize(..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            parse(&bytes, Tcp);
        }
    }
}
