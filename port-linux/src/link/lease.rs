//! The router that DHCP named on a link, for the sentence that proposes it as a path's `gateway`: also where the host's DHCP client
//! has made no default route of it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::Interface;

/// Where systemd-networkd keeps the lease of each interface, by its number.
const NETWORKD: &str = "/run/systemd/netif/leases";
/// Where Debian's dhclient keeps its leases, in files of several.
const DHCLIENT: &str = "/var/lib/dhcp";

/// The router of an interface's lease; `None` if no lease is known that names one.
pub fn router(interface: &Interface) -> Option<Ipv4Addr> {
    let of_networkd = fs::read_to_string(Path::new(NETWORKD).join(interface.index.to_string()));
    if let Some(router) = of_networkd.ok().and_then(|lease| of_networkd_lease(&lease)) {
        return Some(router);
    }
    let mut files: Vec<_> = fs::read_dir(DHCLIENT).ok()?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "leases"));
    files.sort();
    files.iter().find_map(|file| of_dhclient_leases(&fs::read_to_string(file).ok()?, &interface.name))
}

/// `ROUTER=192.168.8.1`, perhaps several.
fn of_networkd_lease(text: &str) -> Option<Ipv4Addr> {
    let routers = text.lines().find_map(|line| line.strip_prefix("ROUTER="))?;
    routers.split_whitespace().next()?.parse().ok()
}

/// The last lease of the interface counts: `lease { interface "usb1"; option routers 192.168.8.1; .. }`.
fn of_dhclient_leases(text: &str, interface: &str) -> Option<Ipv4Addr> {
    let named = format!("interface \"{interface}\"");
    let router = |lease: &str| {
        let statements = || lease.split(';').map(str::trim);
        // The first statement stands behind the brace.
        let is_of = statements().any(|statement| statement.trim_start_matches('{').trim() == named);
        let routers = statements().find_map(|statement| statement.strip_prefix("option routers "))?;
        is_of.then_some(routers)?.split(',').next()?.trim().parse().ok()
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
        assert_eq!(of_dhclient_leases(&leases, "usb1"), router);
        assert_eq!(of_dhclient_leases(&leases, "usb10"), None);
        assert_eq!(of_dhclient_leases("lease {\n  interface \"usb1\";\n}", "usb1"), None);
        assert_eq!(of_dhclient_leases(&lease("usb1", "nonsense"), "usb1"), None);
    }
}
