//! Sizes: what a path carries in one datagram, and the tunnel MTU that follows.

use std::net::IpAddr;

/// Bytes of UDP header.
const UDP_HEADER: u16 = 8;
/// The least MTU of an interface that carries IPv6 (RFC 8200 section 5).
pub const IPV6_MIN_MTU: u16 = 1280;
/// The least MTU of an interface that carries IPv4 (RFC 791 section 3.2).
pub const IPV4_MIN_MTU: u16 = 68;

/// Packets that every host takes (RFC 791 section 3.1).
pub const IPV4_COMMON_MTU: u16 = 576;

/// Bytes of the IP and UDP headers of a datagram to or from such an address, without options.
pub const fn headers(address: IpAddr) -> u16 {
    ip_header(address) + UDP_HEADER
}

const fn ip_header(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    }
}

/// An IP MTU that every hop of a path with this local address has: an IPv4 host takes packets of 576 bytes (RFC 791
/// section 3.1), and links that carry less are not met any more.
pub const fn least_mtu(local: IpAddr) -> u16 {
    match local {
        IpAddr::V4(_) => IPV4_COMMON_MTU,
        IpAddr::V6(_) => IPV6_MIN_MTU,
    }
}

/// What WireGuard adds to a packet beside the IP header: UDP, type and receiver (8), counter (8), tag (16).
pub const WIREGUARD: u16 = UDP_HEADER + 32;

/// The MTU of WireGuard whose packets fit whole into one of this MTU, between addresses of this version.
pub fn inside_wireguard(mtu: u16, address: IpAddr) -> u16 {
    mtu.saturating_sub(ip_header(address) + WIREGUARD)
}

/// Largest UDP payload on a path with this IP MTU; zero when not even the headers fit.
pub fn max_datagram(path_mtu: u16, local: IpAddr) -> u16 {
    path_mtu.saturating_sub(headers(local))
}

/// The IP MTU of a path whose largest UDP payload has so many bytes: what `mtu` of the path wants.
pub fn of_datagram(size: u16, local: IpAddr) -> u16 {
    size.saturating_add(headers(local))
}

/// Largest inner packet that no path has to split, when every datagram spends `header_len` bytes on GRE.
/// Zero without paths.
pub fn tunnel_mtu(max_datagrams: impl IntoIterator<Item = u16>, header_len: usize) -> u16 {
    let header_len = u16::try_from(header_len).unwrap_or(u16::MAX);
    max_datagrams.into_iter().min().unwrap_or(0).saturating_sub(header_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn ethernet_over_ipv4_with_sequence_numbers_leaves_1464_bytes() {
        // 1,500 less 20 (IPv4), 8 (UDP) and 8 (GRE with sequence number).
        assert_eq!(tunnel_mtu([max_datagram(1500, V4)], 8), 1464);
    }

    #[test]
    fn ethernet_over_ipv6_with_sequence_numbers_leaves_1444_bytes() {
        assert_eq!(tunnel_mtu([max_datagram(1500, V6)], 8), 1444);
    }

    #[test]
    fn the_narrowest_path_decides() {
        assert_eq!(
            tunnel_mtu([max_datagram(9000, V4), max_datagram(1492, V6), max_datagram(1500, V4)], 4),
            1440
        );
    }

    #[test]
    fn the_mtu_of_a_path_is_that_of_its_largest_datagram() {
        for address in [V4, V6] {
            assert_eq!(of_datagram(max_datagram(1398, address), address), 1398);
        }
    }

    #[test]
    fn an_absurdly_small_path_gives_zero_and_does_not_wrap() {
        assert_eq!(max_datagram(27, V4), 0);
        assert_eq!(tunnel_mtu([max_datagram(30, V4)], 16), 0);
    }
}
