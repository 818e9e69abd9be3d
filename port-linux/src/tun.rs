//! The tunnel device: inner packets in and out, one per call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;

use crate::privilege;

/// An open tunnel device. The interface, its addresses and its routes vanish when it is closed, even when
/// the process is killed.
#[derive(Debug)]
pub struct Tun {
    device: OwnedFd,
}

impl Tun {
    /// Makes the interface `name`, down and without addresses; non-blocking, without packet information.
    ///
    /// # Errors
    /// Says what is missing when the kernel refuses.
    pub fn create(name: &str) -> Result<Self> {
        let mut configuration = tun::Configuration::default();
        configuration.tun_name(name);
        configuration.platform_config(|platform| {
            // Addresses, MTU and state are set through netlink: CAP_NET_ADMIN is enough.
            platform.ensure_root_privileges(false);
        });
        let device = match tun::create(&configuration) {
            Ok(device) => device,
            Err(tun::Error::Io(error)) => match Errno::from_io_error(&error) {
                Some(Errno::PERM | Errno::ACCESS) => {
                    bail!("cannot make the interface {name}: {error}.\n{}", privilege::HOW_TO_GET_NET_ADMIN)
                }
                Some(Errno::BUSY) => bail!("the interface {name} is in use by another program"),
                _ => return Err(error).with_context(|| format!("cannot make the interface {name}")),
            },
            Err(error) => return Err(error).with_context(|| format!("cannot make the interface {name}")),
        };
        // SAFETY: `into_raw_fd` hands over an open descriptor that nothing else owns.
        #[allow(unsafe_code, reason = "the crate implements IntoRawFd only")]
        let device = unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) };
        rustix::io::ioctl_fionbio(&device, true).context("non-blocking tunnel device")?;
        Ok(Self { device })
    }

    /// Reads one inner packet; `None` when there is none now.
    ///
    /// # Errors
    /// `EBADFD` when somebody deleted the interface.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&self.device, buffer) {
            Ok(len) => Ok(Some(len)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands one inner packet to the kernel.
    ///
    /// # Errors
    /// What the kernel says, such as `EINVAL` for what is no IP packet and `EIO` while the interface is down.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.device, packet)?;
        Ok(())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
