//! In place of QUIC where the program was built without it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::meter::Received;
use super::super::stream::{Amount, Payload};
use super::{Flow, NOT_BUILT_IN, Sent};

/// A listener, which cannot be made without QUIC.
#[derive(Debug)]
pub struct Listener(Infallible);

/// A listener's certificate, which cannot be made without QUIC.
#[derive(Debug)]
pub struct Certificate(Infallible);

impl Listener {
    /// Never called: there is no listener.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.0 {}
    }

    /// Never called: there is no listener.
    pub fn certificate(&self) -> Certificate {
        match self.0 {}
    }
}

/// Says that this program was built without QUIC.
///
/// # Errors
/// Always.
pub fn listen(_: SocketAddr) -> anyhow::Result<Listener> {
    anyhow::bail!(NOT_BUILT_IN)
}

/// Never called: there is no listener.
///
/// # Errors
/// None.
#[allow(clippy::needless_pass_by_value, reason = "as the real one has it")]
pub fn receive(listener: Listener, _: Payload, _: Duration) -> anyhow::Result<Received> {
    match listener.0 {}
}

/// Never called: there is no certificate.
///
/// # Errors
/// None.
pub fn send(_: SocketAddr, certificate: &Certificate, _: Flow, _: Amount) -> anyhow::Result<Sent> {
    match certificate.0 {}
}
