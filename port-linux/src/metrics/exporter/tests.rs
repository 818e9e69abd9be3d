use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::control::Answer;
use crate::counters::sample::report;

/// An exporter whose event loop answers after a while, and how often that was asked.
struct World {
    directory: tempfile::TempDir,
    asked: Arc<AtomicU64>,
    exporter: Exporter,
}

impl World {
    fn start(wanted: &Metrics, pause: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let exporter = Exporter::bind(wanted, &directory.path().join("mpt0.sock")).unwrap();
        let (sender, queries) = mpsc::channel::<Query>();
        exporter.serve(&sender, &Waker::new().unwrap()).unwrap();
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for query in queries {
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(pause);
                let _ = query.answer.send(Answer::Report(report().into()));
            }
        });
        Self { directory, asked, exporter }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.directory.path().join("mpt0.metrics.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends a request, and reads what comes until the end.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

/// A port that is free now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What is answered to a request by TCP with this `Host`.
fn by_tcp(address: SocketAddr, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: mpt\r\n\r\n";
const BY_SOCKET: Metrics = Metrics { socket: true, listen: None };

#[test]
fn metrics_are_answered_with_their_length_and_form() {
    let world = World::start(&BY_SOCKET, Duration::ZERO);
    let answer = world.exchange(GET);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("mpt_path_up{tunnel=\"mpt0\",connection=\"vps\",path=\"dsl\"} 1\n"), "{body}");
    let open = world.exchange(
        b"GET /metrics HTTP/1.1\r\nHost: mpt\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n",
    );
    assert!(open.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
    let head = world.exchange(b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.ends_with("Connection: close\r\n\r\n"), "{head}");
}

#[test]
fn rubbish_is_refused_and_says_why() {
    let world = World::start(&BY_SOCKET, Duration::ZERO);
    assert!(world.exchange(b"hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(world.exchange(b"GET / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\nthere is only /metrics\n"));
    let posted = world.exchange(b"POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.contains("\r\nAllow: GET, HEAD\r\n"), "{posted}");
    let endless = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    // It may be cut off before the answer is read.
    let refused = world.exchange(&endless);
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
    assert_eq!(world.asked.load(Ordering::Relaxed), 0);
    assert!(world.exchange(GET).starts_with("HTTP/1.1 200 "));
}

#[test]
fn thousands_of_scrapes_ask_the_event_loop_once_a_second() {
    let world = World::start(&BY_SOCKET, Duration::ZERO);
    let start = Clock::start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_500 {
                    assert!(world.exchange(GET).starts_with("HTTP/1.1 200 "));
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs();
    let asked = world.asked.load(Ordering::Relaxed);
    assert!((1..=seconds + 1).contains(&asked), "asked {asked} times in {seconds} s");
}

#[test]
fn who_does_not_read_or_ask_takes_one_place_and_more_than_there_are_are_sent_away() {
    let world = World::start(&BY_SOCKET, Duration::ZERO);
    let idle: Vec<_> = (0..CLIENTS_MAX - 1).map(|_| world.connect()).collect();
    // The places are taken one after the other: the answer comes when all before have one.
    assert!(world.exchange(GET).starts_with("HTTP/1.1 200 "));
    let last = world.connect();
    let refused = (0..100).map(|_| world.exchange(b"")).find(|answer| !answer.is_empty());
    assert!(refused.is_some_and(|answer| answer.starts_with("HTTP/1.1 503 ")));
    drop((idle, last));
    // Their places are free again at once.
    let start = Clock::start();
    while !world.exchange(GET).starts_with("HTTP/1.1 200 ") {
        assert!(start.elapsed() < PATIENCE, "never free again");
    }
}

#[test]
fn who_fills_one_listener_does_not_shut_out_the_other() {
    let address = free_address();
    let world = World::start(&Metrics { socket: true, listen: Some(address) }, Duration::ZERO);
    let _idle: Vec<_> = (0..CLIENTS_MAX).map(|_| world.connect()).collect();
    let refused = (0..100).map(|_| world.exchange(b"")).find(|answer| !answer.is_empty());
    assert!(refused.is_some_and(|answer| answer.starts_with("HTTP/1.1 503 ")));
    assert!(by_tcp(address, "localhost").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_client_has_its_time_and_no_more() {
    let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    ours.set_send_buffer_size(4096).unwrap();
    let client = Client::new(&ours, Way::File, Duration::from_millis(200));
    // A byte now and then does not make it longer.
    let drip = thread::spawn(move || {
        while (&theirs).write(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let start = Clock::start();
    assert!(client.request().is_err());
    assert!(client.write(&[0; 1 << 20]).is_err());
    assert!(start.elapsed() < Duration::from_secs(30), "the test would wait for ever without a limit");
    drop(ours);
    drip.join().unwrap();

    let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    let client = Client::new(&ours, Way::File, Duration::from_millis(200));
    // Nobody reads: what the kernel has no room for is given up.
    assert!(client.write(&vec![0; 8 << 20]).is_err());
    drop(theirs);
}

#[test]
fn all_who_come_while_the_event_loop_is_slow_get_one_answer() {
    let world = World::start(&BY_SOCKET, Duration::from_millis(300));
    thread::scope(|scope| {
        for _ in 0..CLIENTS_MAX {
            scope.spawn(|| assert!(world.exchange(GET).starts_with("HTTP/1.1 200 ")));
        }
    });
    assert!(world.asked.load(Ordering::Relaxed) <= 2);
}

#[test]
fn an_event_loop_that_has_ended_is_told() {
    let source = Source::new(mpsc::channel().0, Waker::new().unwrap());
    assert_eq!(source.text(Format::Prometheus), Err("mpt is ending".into()));
}

#[test]
fn the_socket_is_the_groups_too_and_goes_with_the_exporter() {
    let world = World::start(&BY_SOCKET, Duration::ZERO);
    let path = world.directory.path().join("mpt0.metrics.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    let control = world.directory.path().join("mpt0.sock");
    assert!(
        Exporter::check(&BY_SOCKET, &control).unwrap_err().to_string().contains("another mpt is running")
    );
    drop(world.exporter);
    assert!(!path.exists());
    std::fs::write(&path, "a file").unwrap();
    let complaint = Exporter::bind(&BY_SOCKET, &control).unwrap_err().to_string();
    assert!(complaint.contains("in the way of the socket for metrics, and is no socket"), "{complaint}");
}

#[test]
fn by_tcp_they_are_the_same_and_a_port_that_is_taken_is_told() {
    let address = free_address();
    let wanted = Metrics { socket: false, listen: Some(address) };
    let world = World::start(&wanted, Duration::ZERO);
    let answer = by_tcp(address, "127.0.0.1:9475");
    assert!(answer.contains("\nmpt_tunnel_mtu_bytes{tunnel=\"mpt0\"} "), "{answer}");
    let refused = by_tcp(address, "attacker.example:9475");
    assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\n") && !refused.contains("mpt0"), "{refused}");
    assert!(!world.directory.path().join("mpt0.metrics.sock").exists());
    let complaint = format!("{:#}", Exporter::bind(&wanted, world.directory.path()).unwrap_err());
    assert!(
        complaint.starts_with(&format!("cannot serve metrics at {address}, which [metrics] listen")),
        "{complaint}"
    );
}
