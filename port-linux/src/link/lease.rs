//! The router that DHCP named on a link, for the sentence that proposes it as a path's `gateway`: also where the host's DHCP client
//! has made no default route of it.

use std::cell::LazyCell;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::Interface;

/// Where systemd-networkd keeps the lease of each interface, by its number.
const NETWORKD: &str = "/run/systemd/netif/leases";
/// Where Debian's dhclient keeps its leases, in files of several.
const DHCLIENT: &str = "/var/lib/dhcp";

/// The leases of this host's DHCP clients, read once, when the first is asked for.
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
        let of_networkd = fs::read_to_string(Path::new(NETWORKD).join(interface.index.to_string()));
        let of_networkd = of_networkd.ok().and_then(|lease| of_networkd_lease(&lease));
        of_networkd.or_else(|| self.find(interface, |_| true))
    }

    /// The router of a lease of dhclient's whose address the interface has now. Of two links, dhclient makes a default route for the
    /// first alone.
    pub(super) fn of_dhclient(&self, interface: &Interface) -> Option<Ipv4Addr> {
        self.find(interface, |address| interface.addresses.contains(&address.into()))
    }

    fn find(&self, interface: &Interface, is_wanted: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        self.dhclient.iter().find_map(|text| of_dhclient_leases(text, &interface.name, &is_wanted))
    }
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
fn of_networkd_lease(text: &str) -> Option<Ipv4Addr> {
    let routers = text.lines().find_map(|line| line.strip_prefix("ROUTER="))?;
    routers.split_whitespace().next()?.parse().ok()
}

/// The last lease of the interface, with an address that is wanted, counts: `lease { interface "usb1"; option routers 192.168.8.1; .. }`.
fn of_dhclient_leases(text: &str, interface: &str, is_wanted: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
    let named = format!("interface \"{interface}\"");
    let router = |lease: &str| {
        let statements = || lease.split(';').map(str::trim);
        // The first statement stands behind the brace.
        let is_of = statements().any(|statement| statement.trim_start_matches('{').trim() == named);
        let routers = statements().find_map(|statement| statement.strip_prefix("option routers "))?;
        let address = statements().find_map(|statement| statement.strip_prefix("fixed-address "));
        let is_wanted = address.and_then(|address| address.trim().parse().ok()).is_some_and(&is_wanted);
        (is_of && is_wanted).then_some(routers)?.split(',').next()?.trim().parse().ok()
    };
    text.split("lease ").filter_map(router).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_is_read_from_the_leases_of_networkd_and_dhclient() {
        let router = Some(Ipv4Addr::new(192, 168, 8, 1));
        let networkd = "# private data\nADDRESS=192.168.8.100\nROUTER=192.168.8.1 192.168.8.2\n";
        assert_eq!(of_networkd_lease(networkd), router);
        assert_eq!(of_networkd_lease("ADDRESS=192.168.8.100\nROUTER=\n"), None);

        let lease = |interface: &str, router: &str| {
            format!(
                "lease {{\n  interface \"{interface}\";\n  fixed-address 192.168.8.100;\n  option routers {router};\n  \
                 renew 1 2026/11/30 18:00:00;\n}}\n"
            )
        };
        let leases = lease("usb1", "10.0.0.1")
            + &lease("usb1", "192.168.8.1, 192.168.8.2")
            + &lease("eth0", "10.1.1.1");
        assert_eq!(of_dhclient_leases(&leases, "usb1", |_| true), router);
        assert_eq!(of_dhclient_leases(&leases, "usb10", |_| true), None);
        let ours: Ipv4Addr = [192, 168, 8, 100].into();
        assert_eq!(of_dhclient_leases(&leases, "usb1", |address| address == ours), router);
        assert_eq!(
            of_dhclient_leases(&leases, "usb1", |address| address != ours),
            None,
            "of another network"
        );
        assert_eq!(of_dhclient_leases("lease {\n  interface \"usb1\";\n}", "usb1", |_| true), None);
        assert_eq!(of_dhclient_leases(&lease("usb1", "nonsense"), "usb1", |_| true), None);
    }
}
