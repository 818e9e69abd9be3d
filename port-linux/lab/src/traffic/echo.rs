//! Questions and answers of one byte: the latency that a request feels.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

use super::PATIENCE;
use super::stream::{Transport, connect};
use crate::stopwatch::Stopwatch;

/// Takes one connection and sends every byte back, until the asker closes.
///
/// # Errors
/// When the connection breaks, or is silent for 20 s.
pub fn answer(listener: &TcpListener) -> anyhow::Result<()> {
    let (mut stream, _) = listener.accept()?;
    prepare(&stream)?;
    let mut byte = [0];
    while stream.read(&mut byte).context("no question came")? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Asks so many times, each after the answer before, and tells how long each took.
///
/// # Errors
/// When nobody answers, or the connection breaks.
pub fn ask(address: SocketAddr, transport: Transport, times: usize) -> anyhow::Result<Vec<Duration>> {
    let mut stream = connect(address, transport)?;
    prepare(&stream)?;
    let mut byte = [1];
    (0..times)
        .map(|_| {
            let clock = Stopwatch::start();
            stream.write_all(&byte)?;
            stream.read_exact(&mut byte).context("no answer came")?;
            Ok(clock.elapsed())
        })
        .collect()
}

fn prepare(stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use super::*;
    use crate::traffic::stream::listen;

    #[test]
    fn every_question_is_answered() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), Transport::Tcp).expect("listens");
        let address = listener.local_addr().expect("an address");
        let asker = thread::spawn(move || ask(address, Transport::Tcp, 10));
        answer(&listener).expect("answers");
        assert_eq!(asker.join().expect("no panic").expect("asks").len(), 10);
    }
}
