//! The two ends.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use port_linux::link::unspecified;
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, ServerConfig, StoppedError,
    TokioRuntime, TransportConfig, VarInt,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::super::PATIENCE;
use super::super::meter::{Meter, Received, mbit_per_second};
use super::super::stream::{Amount, CHUNK, CONNECT, Check, Payload, Source};
use super::super::udp;
use super::{Counts, Flow, Sent, stream};
use crate::stopwatch::Stopwatch;

/// Flow control lets this many bytes be on the way: twice the bandwidth-delay product of 300 Mbit/s and 400 ms, and as
/// many as the laboratory lets TCP's buffers have.
const WINDOW: u32 = 32 << 20;

/// The sender holds at least this many bytes that are not acknowledged: twice what quinn's congestion control starts
/// with, many times.
const LEAST_BUFFER: u64 = 256 << 10;

/// The stream of bytes goes in this many bytes of a QUIC stream at a time, one QUIC stream after the other. quinn ends a
/// connection when a QUIC stream has more than 1,024 gaps at the receiver, and the losses at the end of slow start make
/// more on a link of 300 Mbit/s; so many bytes are less than a thousand packets.
const SEGMENT: u64 = 1 << 20;

/// The name in the certificate.
const NAME: &str = "pc2";

/// The receiver closes the connection with this code when it has read the whole stream. (0 is what quinn says when an end
/// goes without a word.)
const DONE: VarInt = VarInt::from_u32(1);

/// The receiver closes the connection with this code when a byte was not what it should be.
const DAMAGED: VarInt = VarInt::from_u32(2);

/// How long either end waits for the other one's last packet, which may be lost without harm.
const FAREWELL: Duration = Duration::from_secs(1);

/// A socket that takes one connection, and the certificate that it shows.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// The certificate of a [`Listener`]: what its sender trusts.
#[derive(Debug)]
pub struct Certificate(CertificateDer<'static>);

impl Listener {
    /// The address and the port that it listens on.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What a sender must trust.
    pub fn certificate(&self) -> Certificate {
        Certificate(self.certificate.clone())
    }
}

/// Listens on a UDP address, with a fresh certificate; port 0 takes a free one.
///
/// # Errors
/// When the address is not on this host or the port is taken.
pub fn listen(address: SocketAddr) -> anyhow::Result<Listener> {
    let socket = udp::bind(address)?;
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).context("cannot make a certificate")?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    Ok(Listener { socket, certificate: made.cert.into(), key })
}

/// Waits at most `patience` for one connection, and reads its stream of bytes to the end.
///
/// # Errors
/// When nobody connects in time, the connection breaks, it is silent for 20 s, or a byte is not what was sent.
pub fn receive(listener: Listener, payload: Payload, patience: Duration) -> anyhow::Result<Received> {
    let Listener { socket, certificate, key } = listener;
    let mut config = ServerConfig::with_single_cert(vec![certificate], key)?;
    config.transport_config(Arc::new(transport()?));
    runtime()?.block_on(async {
        let endpoint = endpoint(Some(config), socket)?;
        let incoming = timeout(patience, endpoint.accept()).await;
        let incoming =
            incoming.with_context(|| format!("nobody connected within {} s", patience.as_secs()))?;
        let connection =
            incoming.context("the endpoint was closed")?.await.context("the handshake failed")?;
        let received = drain(&connection, payload).await;
        connection.close(if received.is_ok() { DONE } else { DAMAGED }, b"");
        let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
        received
    })
}

/// Reads QUIC streams in their order; an empty one is the end.
async fn drain(connection: &Connection, payload: Payload) -> anyhow::Result<Received> {
    let clock = Stopwatch::start();
    let mut meter = Meter::default();
    let mut check = Check::new(payload);
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut stream = connection.accept_uni().await.context("receiving ended early")?;
        let mut is_empty = true;
        while let Some(bytes) = stream.read(&mut buffer).await.context("receiving ended early")? {
            meter.record(clock.elapsed(), bytes);
            check.next(&buffer[..bytes])?;
            is_empty = false;
        }
        if is_empty {
            return Ok(meter.finish());
        }
    }
}

/// Connects, sends, and waits until the receiver has acknowledged it all.
///
/// # Errors
/// When the receiver does not answer within 5 s, is not the one with that certificate, or is silent for 20 s, or the
/// congestion control has another name than `cubic` and `bbr`.
pub fn send(
    address: SocketAddr,
    certificate: &Certificate,
    flow: Flow,
    amount: Amount,
) -> anyhow::Result<Sent> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.0.clone())?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    let mut transport = transport()?;
    transport.congestion_controller_factory(controller(flow.congestion)?);
    config.transport_config(Arc::new(transport));
    let any = SocketAddr::new(unspecified(address.is_ipv4()), 0);
    runtime()?.block_on(async {
        let endpoint = endpoint(None, udp::bind(any)?)?;
        let connecting = timeout(CONNECT, endpoint.connect_with(config, address, NAME)?).await;
        let connection = connecting
            .map_err(anyhow::Error::from)
            .and_then(|connected| Ok(connected?))
            .with_context(|| format!("cannot connect to {address}"))?;
        let clock = Stopwatch::start();
        let bytes = fill(&connection, flow.payload, amount, &clock).await?;
        let seconds = clock.elapsed().as_secs_f64();
        let counts = counts(&connection);
        let _ = timeout(FAREWELL, connection.closed()).await;
        let stream = stream::Sent { bytes, seconds, goodput_mbit_s: mbit_per_second(bytes, seconds) };
        Ok(Sent { stream, counts })
    })
}

/// Sends QUIC streams, and an empty one as the end, until all are acknowledged, and tells their bytes.
async fn fill(
    connection: &Connection,
    payload: Payload,
    amount: Amount,
    clock: &Stopwatch,
) -> anyhow::Result<u64> {
    let source = Source::new(payload);
    let (mut bytes, mut streams) = (0, Vec::new());
    loop {
        let mut stream = connection.open_uni().await?;
        // What was lost of an earlier one goes first, as in a single stream.
        stream.set_priority(-i32::try_from(streams.len())?)?;
        let begin = bytes;
        loop {
            let room = usize::try_from(begin + SEGMENT - bytes)?;
            let left = amount.left(bytes, clock.elapsed()).min(room);
            if left == 0 {
                break;
            }
            // As much as Linux lets TCP hold. With a window that does not follow the congestion window, a slow link
            // would take minutes to send what is left when the time is over.
            let buffer = connection.stats().path.cwnd.saturating_mul(2).clamp(LEAST_BUFFER, WINDOW.into());
            connection.set_send_window(buffer);
            bytes += stream.write(source.at(bytes, left)).await.context("sending ended early")? as u64;
        }
        stream.finish()?;
        streams.push(stream);
        if bytes == begin {
            break;
        }
    }
    for stream in &mut streams {
        match stream.stopped().await {
            Ok(None) => {}
            // The receiver had read all before its last acknowledgement arrived.
            Err(StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(close)))
                if close.error_code == DONE => {}
            Ok(Some(code)) => bail!("the receiver stopped the stream with code {code}"),
            Err(error) => return Err(error).context("the receiver did not take the rest"),
        }
    }
    Ok(bytes)
}

fn counts(connection: &Connection) -> Counts {
    let path = connection.stats().path;
    Counts {
        sent_packets: path.sent_packets,
        lost_packets: path.lost_packets,
        congestion_events: path.congestion_events,
        udp_payload: path.current_mtu,
        rtt_ms: path.rtt.as_secs_f64() * 1e3,
        congestion_window: path.cwnd,
    }
}

/// What both ends have: windows that limit nothing, and the generator's patience. All else is as quinn has it.
fn transport() -> anyhow::Result<TransportConfig> {
    let mut config = TransportConfig::default();
    config.stream_receive_window(WINDOW.into());
    config.receive_window(WINDOW.into());
    config.max_idle_timeout(Some(PATIENCE.try_into()?));
    Ok(config)
}

fn controller(name: &str) -> anyhow::Result<Arc<dyn ControllerFactory + Send + Sync>> {
    Ok(match name {
        "cubic" => Arc::new(CubicConfig::default()),
        "bbr" => Arc::new(BbrConfig::default()),
        _ => bail!("QUIC has no congestion control {name}: cubic or bbr"),
    })
}

/// Of this thread: a socket belongs to the host on which it was made, whichever thread uses it.
fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot make an event loop")
}

fn endpoint(server: Option<ServerConfig>, socket: UdpSocket) -> anyhow::Result<Endpoint> {
    let runtime = Arc::new(TokioRuntime);
    Endpoint::new(EndpointConfig::default(), server, socket, runtime).context("cannot make a QUIC endpoint")
}

#[cfg(test)]
mod tests {
    use std::thread;

    use std::net::Ipv4Addr;

    use super::*;

    fn carry(flow: Flow, amount: Amount) -> (anyhow::Result<Received>, anyhow::Result<Sent>) {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).expect("listens");
        let (address, certificate) = (listener.local_addr().expect("an address"), listener.certificate());
        let sender = thread::spawn(move || send(address, &certificate, flow, amount));
        let received = receive(listener, flow.payload, PATIENCE);
        (received, sender.join().expect("no panic"))
    }

    #[test]
    fn every_byte_that_is_sent_is_received_with_either_congestion_control() {
        for congestion in ["cubic", "bbr"] {
            let flow = Flow { congestion, payload: Payload::Pattern };
            let (received, sent) = carry(flow, Amount::Bytes(3 * SEGMENT + 1));
            let (received, sent) = (received.expect("receives"), sent.expect("sends"));
            assert_eq!((sent.stream.bytes, received.bytes), (3 * SEGMENT + 1, 3 * SEGMENT + 1));
            assert!(sent.counts.sent_packets > 100 && sent.counts.udp_payload >= 1200, "{sent:?}");
        }
    }

    #[test]
    fn a_transfer_of_no_bytes_and_one_by_time_end() {
        let (received, sent) = carry(Flow::default(), Amount::Bytes(0));
        assert_eq!((received.expect("receives").bytes, sent.expect("sends").stream.bytes), (0, 0));
        let (received, sent) = carry(Flow::default(), Amount::Time(Duration::from_millis(100)));
        assert_eq!(received.expect("receives").bytes, sent.expect("sends").stream.bytes);
    }

    #[test]
    fn a_damaged_byte_is_found() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).expect("listens");
        let (address, certificate) = (listener.local_addr().expect("an address"), listener.certificate());
        let sender =
            thread::spawn(move || send(address, &certificate, Flow::default(), Amount::Bytes(3_000_000)));
        let error = receive(listener, Payload::Pattern, PATIENCE).expect_err("zeros").to_string();
        assert!(error.contains("damaged"), "{error}");
        assert!(sender.join().expect("no panic").is_err());
    }

    #[test]
    fn a_receiver_with_another_certificate_is_refused() {
        let [listener, other] = [(); 2].map(|()| listen((Ipv4Addr::LOCALHOST, 0).into()).expect("listens"));
        let address = listener.local_addr().expect("an address");
        let trusted = other.certificate();
        let sender = thread::spawn(move || send(address, &trusted, Flow::default(), Amount::Bytes(1)));
        assert!(receive(listener, Payload::Zeros, PATIENCE).is_err());
        let error = format!("{:#}", sender.join().expect("no panic").expect_err("a stranger"));
        assert!(error.contains("cannot connect") && error.contains("certificate"), "{error}");
    }

    #[test]
    fn a_receiver_that_nobody_calls_gives_up_and_an_unknown_congestion_control_is_named() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).expect("listens");
        let certificate = listener.certificate();
        let address = listener.local_addr().expect("an address");
        let flow = Flow { congestion: "vegas", payload: Payload::Zeros };
        let error = send(address, &certificate, flow, Amount::Bytes(1)).expect_err("unknown").to_string();
        assert!(error.contains("vegas"), "{error}");
        let error =
            receive(listener, Payload::Zeros, Duration::from_millis(10)).expect_err("nobody").to_string();
        assert!(error.contains("nobody connected"), "{error}");
    }
}
