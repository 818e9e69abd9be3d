//! What a network has said on a link, by DHCP mostly: the router, for the sentence that proposes it as a path's `gateway` (also where the
//! host's DHCP client has made no default route of it), the servers of names, and the portal (RFC 8910).
//!
//! systemd-networkd and dhclient keep what is read here. NetworkManager's own client keeps no options in a file: its portal is asked for by
//! `portal/network_manager.rs`.

use std::cell::LazyCell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::Interface;

/// Where systemd-networkd keeps the lease of each interface, by its number.
const NETWORKD: &str = "/run/systemd/netif/leases";
/// Where it keeps the rest of what it knows of each interface: the portal, by DHCP of either version or a router advertisement.
const NETWORKD_LINKS: &str = "/run/systemd/netif/links";
/// Where Debian's dhclient keeps its leases, in files of several.
const DHCLIENT: &str = "/var/lib/dhcp";

/// The names that dhclient's releases, and people in their dhclient.conf, give the option 114 of DHCP.
const PORTAL_OPTIONS: [&str; 4] = ["default-url", "v4-captive-portal", "captive-portal", "unknown-114"];

/// The leases of this host's DHCP clients; those of dhclient are read once, when the first is asked for.
#[derive(Debug)]
pub struct Leases {
    /// The texts of dhclient's files.
    dhclient: LazyCell<Vec<String>>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { dhclient: LazyCell::new(dhclient_leases) }
    }
}

impl Leases {
    /// The router of an interface's lease; `None` if no lease is known that names one.
    pub fn router(&self, interface: &Interface) -> Option<Ipv4Addr> {
        of_networkd(NETWORKD, interface, "ROUTER", first)
            .or_else(|| self.find(&interface.name, &["routers"], |_| true, first))
    }

    /// The router of a lease of dhclient's whose address the interface has now. Of two links, dhclient makes a default route for the
    /// first alone.
    pub(super) fn of_dhclient(&self, interface: &Interface) -> Option<Ipv4Addr> {
        self.find(&interface.name, &["routers"], is_held(interface), first)
    }

    /// The servers of names of an interface's lease.
    pub(crate) fn name_servers(&self, interface: &Interface) -> Vec<IpAddr> {
        let all = |servers: &str| {
            Some(servers.split([' ', ',']).filter_map(|server| server.parse().ok()).collect::<Vec<_>>())
        };
        of_networkd(NETWORKD, interface, "DNS", all)
            .or_else(|| self.find(&interface.name, &["domain-name-servers"], is_held(interface), all))
            .unwrap_or_default()
    }

    /// The address of the portal, or of its API, as the network of an interface has it.
    pub(crate) fn portal(&self, interface: &Interface) -> Option<String> {
        let text = |url: &str| Some(url.trim_matches('"').to_owned());
        of_networkd(NETWORKD_LINKS, interface, "CAPTIVE_PORTAL", text)
            .or_else(|| self.find(&interface.name, &PORTAL_OPTIONS, is_held(interface), text))
    }

    fn find<T>(
        &self,
        interface: &str,
        options: &[&str],
        is_wanted: impl Fn(Ipv4Addr) -> bool,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let mut leases = self.dhclient.iter();
        leases.find_map(|text| of_dhclient_leases(text, interface, options, &is_wanted, &read))
    }
}

/// The first of several addresses.
fn first(addresses: &str) -> Option<Ipv4Addr> {
    addresses.split([' ', ',']).next()?.parse().ok()
}

/// Whether the interface has this address now: the lease is of the network that it is in.
fn is_held(interface: &Interface) -> impl Fn(Ipv4Addr) -> bool + '_ {
    |address| interface.addresses.contains(&address.into())
}

fn of_networkd<T>(
    directory: &str,
    interface: &Interface,
    key: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let lease = fs::read_to_string(Path::new(directory).join(interface.index.to_string())).ok()?;
    of_networkd_lease(&lease, key).and_then(read)
}

/// The texts of dhclient's files.
fn dhclient_leases() -> Vec<String> {
    let entries = fs::read_dir(DHCLIENT).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "leases"));
    files.sort();
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
}

/// `ROUTER=192.168.8.1`, perhaps several.
fn of_networkd_lease<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = |line: &'t str| line.strip_prefix(key)?.strip_prefix('=');
    text.lines().find_map(value).map(str::trim).filter(|value| !value.is_empty())
}

/// One of these options of the last lease of the interface that has a good one, and an address that is wanted:
/// `lease { interface "usb1"; option routers 192.168.8.1; .. }`.
fn of_dhclient_leases<T>(
    text: &str,
    interface: &str,
    options: &[&str],
    is_wanted: impl Fn(Ipv4Addr) -> bool,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let named = format!("interface \"{interface}\"");
    let value = |lease: &str| {
        let statements = || lease.split(';').map(str::trim);
        // The first statement stands behind the brace.
        let is_of = statements().any(|statement| statement.trim_start_matches('{').trim() == named);
        let mut values = statements().filter_map(|statement| {
            let (name, value) = statement.strip_prefix("option ")?.split_once(' ')?;
            options.contains(&name).then_some(value)
        });
        let address = statements().find_map(|statement| statement.strip_prefix("fixed-address "));
        let is_wanted = address.and_then(|address| address.trim().parse().ok()).is_some_and(&is_wanted);
        values.next().filter(|_| is_of && is_wanted).and_then(&read)
    };
    text.split("lease ").filter_map(value).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_is_read_from_the_leases_of_networkd_and_dhclient() {
        let router = Some(Ipv4Addr::new(192, 168, 8, 1));
        let networkd = "# private data\nADDRESS=192.168.8.100\nROUTER=192.168.8.1 192.168.8.2\n";
        assert_eq!(of_networkd_lease(networkd, "ROUTER").and_then(first), router);
        assert_eq!(of_networkd_lease("ADDRESS=192.168.8.100\nROUTER=\n", "ROUTER"), None);

        let lease = |interface: &str, router: &str| {
            format!(
                "lease {{\n  interface \"{interface}\";\n  fixed-address 192.168.8.100;\n  option routers {router};\n  \
                 renew 1 2026/11/30 18:00:00;\n}}\n"
            )
        };
        let of_dhclient_leases = |text: &str, interface: &str, is_wanted: &dyn Fn(Ipv4Addr) -> bool| {
            of_dhclient_leases(text, interface, &["routers"], is_wanted, first)
        };
        let leases = lease("usb1", "10.0.0.1")
            + &lease("usb1", "192.168.8.1, 192.168.8.2")
            + &lease("eth0", "10.1.1.1");
        assert_eq!(of_dhclient_leases(&leases, "usb1", &|_| true), router);
        assert_eq!(of_dhclient_leases(&leases, "usb10", &|_| true), None);
        let ours: Ipv4Addr = [192, 168, 8, 100].into();
        assert_eq!(of_dhclient_leases(&leases, "usb1", &|address| address == ours), router);
        assert_eq!(
            of_dhclient_leases(&leases, "usb1", &|address| address != ours),
            None,
            "of another network"
        );
        assert_eq!(of_dhclient_leases("lease {\n  interface \"usb1\";\n}", "usb1", &|_| true), None);
        assert_eq!(of_dhclient_leases(&lease("usb1", "nonsense"), "usb1", &|_| true), None);
    }

    #[test]
    fn the_portal_is_read_from_the_leases_of_networkd_and_dhclient() {
        let portal = "https://login.example/api?x=1";
        let networkd = format!("ADDRESS=192.168.8.100\nCAPTIVE_PORTAL={portal}\n");
        assert_eq!(of_networkd_lease(&networkd, "CAPTIVE_PORTAL"), Some(portal));
        let lease = format!(
            "lease {{\n  interface \"wlan0\";\n  fixed-address 192.168.8.100;\n  option default-url \"{portal}\";\n}}\n"
        );
        let read = |value: &str| Some(value.to_owned());
        let found = of_dhclient_leases(&lease, "wlan0", &PORTAL_OPTIONS, |_| true, read);
        assert_eq!(found, Some(format!("\"{portal}\"")));
        assert_eq!(of_dhclient_leases(&lease, "wlan0", &["routers"], |_| true, read), None);
    }
}
