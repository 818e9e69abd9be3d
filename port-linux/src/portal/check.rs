//! Looks whether a network has a portal, each time on a thread of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};

use super::{Address, By, Check, Finding, Found, Portal, Question, http};
use crate::config::{self, Endpoint};
use crate::link;
use crate::names;
use crate::socket::Tie;
use crate::wake::Waker;

/// What an API of a network says it has where it has no portal (RFC 8910 section 2).
const UNRESTRICTED: &str = "urn:ietf:params:capport:unrestricted";
/// Addresses of the host that are tried.
const MOST_ADDRESSES: usize = 2;

/// Asks over links, by sockets that are tied as those of paths are.
pub struct Checker {
    tie: Arc<dyn Tie>,
    sender: mpsc::Sender<Found>,
    found: mpsc::Receiver<Found>,
    bell: Waker,
}

impl Checker {
    /// Rings `bell` when something was found.
    pub fn new(tie: Arc<dyn Tie>, bell: Waker) -> Self {
        let (sender, found) = mpsc::channel();
        Self { tie, sender, found, bell }
    }
}

impl Check for Checker {
    fn ask(&self, question: Question) {
        let (tie, sender, bell) = (self.tie.clone(), self.sender.clone(), self.bell.clone());
        let number = question.number;
        let work = move || {
            // The loop ends with the process.
            let _ = sender.send(Found { number, what: look(&question, &*tie) });
            bell.wake();
        };
        if let Err(error) = std::thread::Builder::new().name("portal".into()).spawn(work) {
            tracing::debug!("cannot start a thread: {error}");
            let _ = self.sender.send(Found { number, what: Finding::Unknown });
            self.bell.wake();
        }
    }

    fn found(&self) -> Vec<Found> {
        self.found.try_iter().collect()
    }
}

/// What HTTP says, or else what DHCP has said.
fn look(question: &Question, tie: &dyn Tie) -> Finding {
    let by_http = question.http.as_ref().map(|check| ask(question, check, tie));
    match by_http {
        Some(known @ (Finding::Portal(_) | Finding::Free)) => known,
        Some(Finding::Unknown) | None => {
            let url = link::Leases::default().portal(&question.interface).filter(|url| url != UNRESTRICTED);
            let url = url.and_then(|url| Address::new(url.as_bytes()));
            url.map_or(Finding::Unknown, |url| Finding::Portal(Portal { url, by: By::Dhcp }))
        }
    }
}

fn ask(question: &Question, check: &config::Portal, tie: &dyn Tie) -> Finding {
    let hosts = match &check.url.host {
        Endpoint::Address(address) => vec![*address],
        Endpoint::Name(name) => addresses(name, question, tie),
    };
    let device = &question.interface.name;
    for host in hosts.into_iter().take(MOST_ADDRESSES) {
        let host = SocketAddr::new(host, check.url.port);
        match http::ask(question, check, host, tie) {
            Ok(Finding::Unknown) => tracing::debug!("portal: {host} over {device} answers something else"),
            Ok(finding) => return finding,
            Err(error) => tracing::debug!("portal: {host} over {device}: {error}"),
        }
    }
    Finding::Unknown
}

/// What the servers of the link say of a name, or those of this host, asked over the link.
fn addresses(name: &str, question: &Question, tie: &dyn Tie) -> Vec<IpAddr> {
    let servers = link::Leases::default().name_servers(&question.interface);
    names::over(name, servers, &question.interface.name, tie)
}
