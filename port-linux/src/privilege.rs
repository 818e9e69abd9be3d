//! What mpt needs from the machine, and how to get it when it is missing.

use std::path::Path;

use anyhow::{Result, bail};
use rustix::thread::CapabilitySet;

/// Where the kernel offers tunnel devices.
const TUN_DEVICE: &str = "/dev/net/tun";

/// How to get the right to make a tunnel interface.
pub const HOW_TO_GET_NET_ADMIN: &str = "mpt needs the capability CAP_NET_ADMIN to make its tunnel interface.\n\
     Either run it with sudo, or give the program the capability once:\n  \
     sudo setcap cap_net_admin+ep $(command -v mpt)";

/// Checks, without changing anything, that a tunnel interface can be made.
///
/// # Errors
/// Names what is missing and the command that brings it.
pub fn check() -> Result<()> {
    check_net_admin()?;
    if !Path::new(TUN_DEVICE).exists() {
        bail!(
            "{TUN_DEVICE} does not exist: the kernel's tun driver is not loaded.\nLoad it with:\n  sudo modprobe tun\n\
             (in a container, the device must be passed in: --device {TUN_DEVICE} --cap-add NET_ADMIN)"
        );
    }
    Ok(())
}

/// Checks, without changing anything, that interfaces, routes and rules can be changed.
///
/// # Errors
/// Says how to get the capability that is missing.
pub fn check_net_admin() -> Result<()> {
    let capabilities = rustix::thread::capabilities(None)?;
    if !capabilities.effective.contains(CapabilitySet::NET_ADMIN) {
        bail!("{HOW_TO_GET_NET_ADMIN}");
    }
    Ok(())
}
