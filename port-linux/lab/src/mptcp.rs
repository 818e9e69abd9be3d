//! Kernel Multipath TCP on the same links, as the paper compares with.
//!
//! PC1 connects to PC2's address on the first link; PC2 announces its other addresses, and PC1's kernel opens one
//! subflow to each, over the link that the address is on.

use anyhow::{Context as _, ensure};

use super::stack::Version;
use super::topology::{Side, Topology};

/// The most addresses and subflows that the kernel's path manager handles (`MPTCP_PM_ADDR_MAX`, ip-mptcp(8)).
pub const MOST_LINKS: u8 = 8;

/// Has the next connections use the first `links` links.
///
/// # Errors
/// When the kernel or the `ip` program know no MPTCP, and for more than eight links.
pub fn prepare(net: &Topology, links: u8, version: Version) -> anyhow::Result<()> {
    ensure!(links <= MOST_LINKS, "kernel MPTCP uses at most {MOST_LINKS} links, not {links}");
    for side in Side::BOTH {
        let host = net.host(side);
        host.sysctl("net.mptcp.enabled", "1").context("this kernel has no Multipath TCP")?;
        host.run("ip mptcp endpoint flush")?;
        host.run(&format!("ip mptcp limits set subflows {MOST_LINKS} add_addr_accepted {MOST_LINKS}"))?;
    }
    for link in 2..=links {
        let (address, device) = (Side::Pc2.address(link, version), Topology::device(link));
        net.pc2.run(&format!("ip mptcp endpoint add {address} dev {device} signal"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::namespace;
    use crate::rate::Rate;
    use crate::traffic::stream::{Amount, Transport};
    use crate::transfer;

    #[test]
    fn a_connection_uses_every_link() {
        namespace::test("mptcp::tests::a_connection_uses_every_link", || {
            let net = Topology::build(3, Some(Rate::FAST_ETHERNET))?;
            for version in [Version::V4, Version::V6] {
                prepare(&net, 3, version)?;
                let to = Side::Pc2.address(1, version);
                let amount = Amount::Time(Duration::from_secs(1));
                // On a busy machine the kernel may join a link too late: once of three times it must not.
                let mut bytes = Vec::new();
                for _ in 0..3 {
                    let done = transfer::run(&net, to, Transport::Mptcp, amount, &[], |_| Ok(()))?;
                    if done.links_used() == 3 {
                        bytes.clear();
                        break;
                    }
                    bytes.push(done.link_bytes);
                }
                assert!(bytes.is_empty(), "{version}: {bytes:?}");
            }
            Ok(())
        });
    }
}
