//! What mpt needs from the machine, and how to get it when it is missing.

use std::path::Path;

use anyhow::{Result, bail};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

/// Where the kernel offers tunnel devices.
const TUN_DEVICE: &str = "/dev/net/tun";

/// How to get the right to make a tunnel interface.
pub const HOW_TO_GET_NET_ADMIN: &str = "mpt needs the capability CAP_NET_ADMIN to make its tunnel interface.\n\
     Either run it with sudo, or give the program the capability once:\n  \
     sudo setcap cap_net_admin+ep $(command -v mpt)";

/// Checks, without changing anything, that a tunnel interface and a control socket can be made.
///
/// # Errors
/// Names all that is missing, and the commands that bring it.
pub fn check(control: &Path) -> Result<()> {
    let checks = [check_net_admin(), check_tun_device(), check_control(control)];
    let missing: Vec<String> =
        checks.into_iter().filter_map(|check| Some(check.err()?.to_string())).collect();
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}

/// That the device is there and may be opened, which makes no interface yet.
fn check_tun_device() -> Result<()> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(TUN_DEVICE, flags, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => bail!(
            "{TUN_DEVICE} does not exist: the kernel's tun driver is not loaded.\nLoad it with:\n  sudo modprobe tun\n\
             (in a container, the device must be passed in: --device {TUN_DEVICE} --cap-add NET_ADMIN)"
        ),
        Err(error @ (Errno::NODEV | Errno::NXIO)) => bail!(
            "{TUN_DEVICE} cannot be opened: {error}. The kernel has no driver for that device: is the driver loaded, and the device \
             the right one (10, 200)?\nMend it with:\n  \
             sudo modprobe tun; sudo rm {TUN_DEVICE}; sudo mknod -m 666 {TUN_DEVICE} c 10 200"
        ),
        Err(Errno::ACCESS | Errno::PERM) if has_no_devices() => bail!(
            "{TUN_DEVICE} cannot be opened: its file system is mounted without devices (nodev).\nMend it with:\n  \
             sudo mount -o remount,dev $(findmnt -n -o TARGET -T {TUN_DEVICE})"
        ),
        Err(error @ (Errno::ACCESS | Errno::PERM)) => bail!(
            "{TUN_DEVICE} cannot be opened by this user: {error}.\nLet everybody open it, which is usual, as it takes CAP_NET_ADMIN \
             besides:\n  sudo chmod 666 {TUN_DEVICE}"
        ),
        Err(error) => bail!("{TUN_DEVICE} cannot be opened: {error}"),
    }
}

/// Whether devices cannot be used in the file system of the tunnel device.
fn has_no_devices() -> bool {
    rustix::fs::statvfs(TUN_DEVICE).is_ok_and(|of| of.f_flag.contains(StatVfsMountFlags::NODEV))
}

/// That this user may make the control socket. What else may be wrong there is found when it is made.
fn check_control(control: &Path) -> Result<()> {
    let directory = control.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    let Some(existing) = directory.ancestors().find(|directory| directory.exists()) else { return Ok(()) };
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    if existing.is_dir()
        && rustix::fs::accessat(CWD, existing, wanted, AtFlags::EACCESS) == Err(Errno::ACCESS)
    {
        bail!(
            "this user may not make the control socket {}.\nEither name another place, for `mpt status` as well: --control PATH, or give \
             the user the directory:\n  sudo install -d -o $(id -un) {}",
            control.display(),
            directory.display()
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
