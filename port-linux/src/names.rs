//! Names of peers: what the system's resolver says of them, asked on threads of their own, as it may take half a minute.
//!
//! Where this host's packets go through the tunnel, the resolver can be reached through the tunnel alone, which is down when
//! a name matters most. Then the servers that this host had from elsewhere are asked as well, past the tunnel (`past`).

#[cfg(feature = "program")]
mod past;

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc;
#[cfg(feature = "program")]
use std::sync::{Arc, Mutex};

#[cfg(feature = "program")]
pub(crate) use past::of_host;
#[cfg(feature = "program")]
pub use past::{Past, over};

use crate::wake::Waker;

/// What was found of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name.
    pub name: String,
    /// Its addresses, best first, at least one; or why there is none.
    pub addresses: Result<Vec<IpAddr>, String>,
}

/// Asks the system's resolver, which may take half a minute.
///
/// # Errors
/// What the resolver says.
pub fn system(name: &str) -> Result<Vec<IpAddr>, String> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for found in (name, 0).to_socket_addrs().map_err(|error| plain(&error))? {
        let address = found.ip().to_canonical();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

/// What the resolver says, without the words that the standard library puts before it.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").map_or(text.clone(), str::to_owned)
}

/// Asks for names without making the caller wait.
pub struct Resolver {
    sender: mpsc::Sender<Found>,
    found: mpsc::Receiver<Found>,
    bell: Waker,
    #[cfg(feature = "program")]
    past: Option<Arc<Mutex<Past>>>,
}

impl Resolver {
    /// The system's; `bell` is rung when something was found.
    pub fn new(bell: Waker) -> Self {
        let (sender, found) = mpsc::channel();
        Self {
            sender,
            found,
            bell,
            #[cfg(feature = "program")]
            past: None,
        }
    }

    /// The same, and past the tunnel.
    #[cfg(feature = "program")]
    #[must_use]
    pub fn and_past(self, past: Option<Past>) -> Self {
        Self { past: past.map(|past| Arc::new(Mutex::new(past))), ..self }
    }

    /// Asks for a name; the answer is among those [found](Self::found) later.
    pub fn ask(&self, name: &str) {
        let ask = {
            let name = name.to_owned();
            #[cfg(feature = "program")]
            let past = self.past.clone();
            move || {
                #[cfg(feature = "program")]
                if let Some(past) = past {
                    return past::first(&name, &past);
                }
                system(&name)
            }
        };
        let (sender, bell, asked) = (self.sender.clone(), self.bell.clone(), name.to_owned());
        let work = move || {
            // The loop ends with the process.
            let _ = sender.send(Found { addresses: ask(), name: asked });
            bell.wake();
        };
        if let Err(error) = std::thread::Builder::new().name("names".into()).spawn(work) {
            let found = Found { name: name.to_owned(), addresses: Err(error.to_string()) };
            let _ = self.sender.send(found);
        }
    }

    /// What was found since the last call.
    pub fn found(&self) -> impl Iterator<Item = Found> + '_ {
        self.found.try_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_hosts_file_is_found_and_one_that_nobody_has_is_not() {
        let addresses = system("localhost").unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback) && !addresses.is_empty(), "{addresses:?}");
        // RFC 6761 section 6.4: nobody has it.
        let error = system("nobody.invalid").unwrap_err();
        assert!(!error.is_empty() && !error.contains("failed to lookup"), "{error}");
    }
}
