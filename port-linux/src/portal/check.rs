//! Looks whether a network has a portal, each time on a thread of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use super::{Address, By, Check, Finding, Found, Portal, Question, api, http, network_manager};
use crate::config::{self, Endpoint};
use crate::host_state::find_program;
use crate::link::{self, Interface};
use crate::names;
use crate::socket::Tie;
use crate::wake::Waker;

/// What an API of a network says it has where it has no portal (RFC 8910 section 2).
const UNRESTRICTED: &str = "urn:ietf:params:capport:unrestricted";
/// Addresses of the host that are tried.
const MOST_ADDRESSES: usize = 2;

/// Origins of APIs that people were told of, at most.
const MOST_TOLD: usize = 16;

/// Asks over links, by sockets that are tied as those of paths are.
pub struct Checker {
    tie: Arc<dyn Tie>,
    sender: mpsc::Sender<Found>,
    found: mpsc::Receiver<Found>,
    bell: Waker,
    told: Arc<Told>,
}

impl Checker {
    /// Rings `bell` when something was found.
    pub fn new(tie: Arc<dyn Tie>, bell: Waker) -> Self {
        let (sender, found) = mpsc::channel();
        Self { tie, sender, found, bell, told: Arc::default() }
    }
}

impl Check for Checker {
    fn ask(&self, question: Question) {
        let (tie, sender, bell) = (self.tie.clone(), self.sender.clone(), self.bell.clone());
        let (number, told) = (question.number, self.told.clone());
        let work = move || {
            // The loop ends with the process.
            let _ = sender.send(look(&question, &*tie, &told));
            bell.wake();
        };
        if let Err(error) = std::thread::Builder::new().name("portal".into()).spawn(work) {
            tracing::debug!("cannot start a thread: {error}");
            let _ = self.sender.send(Found { number, what: Finding::Unknown, access: None });
            self.bell.wake();
        }
    }

    fn found(&self) -> Vec<Found> {
        self.found.try_iter().collect()
    }
}

/// What people were told of APIs that say nothing.
#[derive(Default)]
struct Told {
    /// That there is no curl.
    of_curl: AtomicBool,
    /// Which ones fail.
    origins: Mutex<Vec<String>>,
}

impl Told {
    /// Tells once that an API is not asked.
    fn no_curl(&self, device: &str, url: &Address) {
        if !self.of_curl.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the network of {device} says at {url} whether it wants a login, which only the program curl can ask: it is not installed, \
                 so the check by HTTP decides alone"
            );
        }
    }

    /// Tells once that an API says nothing.
    fn failed(&self, device: &str, url: &Address, why: &api::Failure) {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = origins.iter().any(|origin| origin == url.origin());
        if is_told || origins.len() >= MOST_TOLD {
            tracing::debug!("portal: {url} over {device}: {why}");
            return;
        }
        origins.push(url.origin().to_owned());
        tracing::warn!(
            "the network of {device} names {url}, which was to say whether it wants a login: {why}. The check by HTTP decides alone"
        );
    }
}

/// What the network's API says, or HTTP, or else what DHCP has said.
fn look(question: &Question, tie: &dyn Tie, told: &Told) -> Found {
    let url = named(&question.interface);
    let said = url.as_ref().filter(|_| question.api).and_then(|url| ask_api(question, url, tie, told));
    let is_sure = |said: &api::Said| said.access.captive && said.page.is_some();
    let by_http = || question.http.as_ref().map(|check| ask(question, check, tie));
    // Of a portal whose page is known nothing more is to be found.
    let by_http = if said.as_ref().is_some_and(is_sure) { None } else { by_http() };
    let access = said.as_ref().map(|said| said.access.clone());
    Found { number: question.number, what: together(said, by_http, url), access }
}

/// What is found of what was said by the API, by HTTP and by DHCP, each `None` where nobody was asked, or nothing said.
fn together(said: Option<api::Said>, by_http: Option<Finding>, url: Option<Address>) -> Finding {
    let portal = |url: Option<Address>, by: By| {
        url.map_or(Finding::Unknown, |url| Finding::Portal(Portal { url, by }))
    };
    match (said, by_http) {
        (Some(api::Said { access, page: Some(page) }), _) if access.captive => portal(Some(page), By::Api),
        // Whatever the API says, somebody has answered in another one's place, and there is the page.
        (_, Some(found @ Finding::Portal(_))) => found,
        // A browser mostly gets a page at the address of the API.
        (Some(said), _) if said.access.captive => portal(url, By::Api),
        (Some(_), _) | (None, Some(Finding::Free)) => Finding::Free,
        (None, Some(Finding::Unknown) | None) => portal(url, By::Dhcp),
    }
}

/// The address that the network of an interface has named.
fn named(interface: &Interface) -> Option<Address> {
    let url = link::Leases::default().portal(interface);
    let url = url.or_else(|| network_manager::portal(&interface.name));
    url.filter(|url| url != UNRESTRICTED).and_then(|url| Address::new(url.as_bytes()))
}

/// What the API says that the network has named, if it can be asked.
fn ask_api(question: &Question, url: &Address, tie: &dyn Tie, told: &Told) -> Option<api::Said> {
    let device = &question.interface.name;
    // By http it would be a page, or an API that anybody can speak for.
    let (host, port) = api::host(url).inspect_err(|why| tracing::debug!("portal: {url}: {why}")).ok()?;
    let Some(curl) = find_program("curl") else {
        told.no_curl(device, url);
        return None;
    };
    let hosts = hosts(&host, question, tie).into_iter().map(|host| SocketAddr::new(host, port));
    let network = api::connected(hosts, |host| http::connect(question, host, tie));
    network
        .and_then(|network| api::ask(&curl, url, &network))
        .inspect_err(|why| told.failed(device, url, why))
        .ok()
}

/// The addresses of a host that are tried.
fn hosts(host: &Endpoint, question: &Question, tie: &dyn Tie) -> Vec<IpAddr> {
    let mut hosts = match host {
        Endpoint::Address(address) => vec![*address],
        Endpoint::Name(name) => addresses(name, question, tie),
    };
    hosts.truncate(MOST_ADDRESSES);
    hosts
}

fn ask(question: &Question, check: &config::Portal, tie: &dyn Tie) -> Finding {
    let device = &question.interface.name;
    for host in hosts(&check.url.host, question, tie) {
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

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::*;

    fn address(text: &str) -> Option<Address> {
        Address::new(text.as_bytes())
    }

    fn said(captive: bool, page: Option<&str>) -> Option<api::Said> {
        let access = Access { captive, seconds_left: None, bytes_left: None, venue: None };
        Some(api::Said { access, page: page.and_then(address) })
    }

    fn portal(url: &str, by: By) -> Finding {
        Finding::Portal(Portal { url: address(url).unwrap(), by })
    }

    #[test]
    fn the_api_is_believed_before_http_and_http_before_dhcp() {
        let (api, page, other) = ("https://api/", "https://page/", "http://other/");
        let by_http = || Some(portal(other, By::Http));
        let unknown = || Some(Finding::Unknown);
        let together = |said, by_http| together(said, by_http, address(api));
        // It wants a login: at its page, or at the one that HTTP finds, or else a browser tries its own address.
        assert_eq!(together(said(true, Some(page)), None), portal(page, By::Api));
        assert_eq!(together(said(true, Some(page)), by_http()), portal(page, By::Api));
        assert_eq!(together(said(true, None), by_http()), portal(other, By::Http));
        assert_eq!(together(said(true, None), unknown()), portal(api, By::Api));
        assert_eq!(together(said(true, None), Some(Finding::Free)), portal(api, By::Api));
        // It wants none, and HTTP has no answer. One in another's name is stronger than what the API says.
        assert_eq!(together(said(false, Some(page)), unknown()), Finding::Free);
        assert_eq!(together(said(false, None), None), Finding::Free);
        assert_eq!(together(said(false, Some(page)), by_http()), portal(other, By::Http));
        // It says nothing.
        assert_eq!(together(None, by_http()), portal(other, By::Http));
        assert_eq!(together(None, Some(Finding::Free)), Finding::Free);
        assert_eq!(together(None, unknown()), portal(api, By::Dhcp));
        assert_eq!(together(None, None), portal(api, By::Dhcp));
    }

    #[test]
    fn people_are_told_once_of_each_api_that_fails_and_not_of_ever_more() {
        let told = Told::default();
        let why = api::Failure::Answer("nonsense");
        for number in 0..100 {
            let url = address(&format!("https://a{}/{number}", number / 2)).unwrap();
            told.failed("wlan0", &url, &why);
        }
        let origins = told.origins.lock().unwrap();
        assert_eq!(origins.len(), MOST_TOLD);
        assert_eq!(origins[..2], ["https://a0", "https://a1"]);
    }
}
