//! What an interface is, by its kind and its name.

use std::net::IpAddr;

use super::Interface;

/// Kinds of interfaces (IFLA_INFO_KIND) that are tunnels, or lead nowhere.
const TUNNELS: [&str; 22] = [
    "bareudp",
    "dummy",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "ifb",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "nlmon",
    "ovpn",
    "sit",
    "tun",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "xfrm",
];

/// How names of interfaces begin that are paid by volume, mostly: modems, and phones on USB.
const MOBILE: [&str; 5] = ["wwan", "ww", "usb", "ppp", "rmnet"];

impl Interface {
    /// Whether this is its name, or an alternative one.
    pub fn is_named(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    /// Its name, and its alternative ones.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.other_names).map(String::as_str)
    }

    /// Whether it is a tunnel, or leads nowhere by itself.
    pub fn is_tunnel(&self) -> bool {
        self.kind.as_deref().is_some_and(is_tunnel_kind)
    }

    /// Whether it is the loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.name == "lo" || self.addresses.iter().any(IpAddr::is_loopback)
    }

    /// Whether a link could be behind it of which nothing is known: no tunnel, nor what hosts have between their own parts.
    pub fn may_lead_out(&self) -> bool {
        // A veth with a name of one's own is how a container sees its Ethernet; `veth...` is its other end.
        let is_inner = match self.kind.as_deref() {
            Some("veth") => self.name.starts_with("veth"),
            Some("bridge") => true,
            _ => false,
        };
        !self.is_loopback() && !self.is_tunnel() && !is_inner
    }
}

/// Whether interfaces of this kind are tunnels, or lead nowhere by themselves.
pub fn is_tunnel_kind(kind: &str) -> bool {
    TUNNELS.contains(&kind)
}

/// Whether an interface of this name is paid by volume, mostly.
pub fn is_mobile(device: &str) -> bool {
    MOBILE.iter().any(|prefix| device.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_of_both_ip_versions_are_known_and_links_are_none() {
        // As the kernel's drivers name their kinds (rtnl_link_ops).
        let tunnels = [
            "gre",
            "ip6gre",
            "gretap",
            "ip6gretap",
            "erspan",
            "ip6erspan",
            "vti",
            "vti6",
            "sit",
            "ip6tnl",
            "xfrm",
        ];
        for kind in tunnels {
            assert!(is_tunnel_kind(kind), "{kind}");
        }
        for kind in ["bond", "bridge", "macvlan", "team", "veth", "vlan", "vrf", "wwan"] {
            assert!(!is_tunnel_kind(kind), "{kind}");
        }
        assert!(TUNNELS.is_sorted());
    }
}
