//! The tunnel device: inner packets in and out, many of them as one where the kernel joins and cuts them.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(feature = "program")]
use std::os::fd::{FromRawFd, IntoRawFd};

#[cfg(feature = "program")]
use anyhow::{Context, Result, bail};
use rustix::io::Errno;

use crate::offload::{HEADER_LEN, Header, MAX_PACKET, Split};
#[cfg(feature = "program")]
use crate::privilege;

/// An open tunnel device. The interface, its addresses and its routes vanish when it is closed, even when
/// the process is killed.
#[derive(Debug)]
pub struct Tun {
    device: OwnedFd,
    /// Whether the device puts a [`Header`] before each packet; else there is nothing to cut or join.
    has_headers: bool,
    /// Whether the kernel has taken joined packets so far.
    joins: Cell<bool>,
}

/// What [`crate::offload`] can do, as `TUNSETOFFLOAD` names it (linux/if_tun.h): checksums left to us, and large
/// packets to be cut.
#[cfg(feature = "program")]
mod features {
    pub(super) const CHECKSUM: usize = 0x01;
    pub(super) const TCP_V4: usize = 0x02;
    pub(super) const TCP_V6: usize = 0x04;
    pub(super) const TCP_ECN: usize = 0x08;
    /// Since Linux 6.2; before, asking for it is an error.
    pub(super) const UDP: usize = 0x20 | 0x40;
}

impl Tun {
    /// Around a device that somebody else made, whose packets come without anything before them: that of an
    /// Android `VpnService`.
    ///
    /// # Errors
    /// When the descriptor cannot be made non-blocking.
    pub fn plain(device: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&device, true)?;
        Ok(Self { device, has_headers: false, joins: Cell::new(false) })
    }

    /// Makes the interface `name`, down and without addresses; non-blocking, without packet information, with a
    /// [`Header`] before each packet.
    ///
    /// # Errors
    /// Says what is missing when the kernel refuses.
    #[cfg(feature = "program")]
    pub fn create(name: &str) -> Result<Self> {
        let mut configuration = tun::Configuration::default();
        configuration.tun_name(name);
        configuration.platform_config(|platform| {
            // Addresses, MTU and state are set through netlink: CAP_NET_ADMIN is enough.
            platform.ensure_root_privileges(false);
            platform.vnet_hdr(true);
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
        let basic = features::CHECKSUM | features::TCP_V4 | features::TCP_V6 | features::TCP_ECN;
        if set_offload(&device, basic | features::UDP).is_err() && set_offload(&device, basic).is_err() {
            tracing::info!("the kernel cuts all packets for {name} itself: no offload");
        }
        Ok(Self { device, has_headers: true, joins: Cell::new(true) })
    }

    /// Reads one packet to the front of `buffer`, its [`Header`] before it; `None` when there is none now.
    ///
    /// # Errors
    /// `EBADFD` when somebody deleted the interface.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let missing = if self.has_headers { 0 } else { HEADER_LEN };
        let Some((header, rest)) = buffer.split_at_mut_checked(missing) else { return Ok(None) };
        header.fill(0);
        match rustix::io::read(&self.device, rest) {
            Ok(len) => Ok(Some(missing + len)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands one packet to the kernel, behind its [`Header`]; `header` may be empty if `packet` begins with it.
    ///
    /// # Errors
    /// What the kernel says, such as `EINVAL` for what is no IP packet and `EIO` while the interface is down.
    pub fn write(&self, header: &[u8], packet: &[u8]) -> io::Result<()> {
        let header = if self.has_headers { header } else { &[] };
        rustix::io::writev(&self.device, &[IoSlice::new(header), IoSlice::new(packet)])?;
        Ok(())
    }

    /// Whether joined packets are worth trying.
    pub fn joins(&self) -> bool {
        self.joins.get()
    }

    /// Hands a joined packet, which begins with its [`Header`], to the kernel. If the kernel refuses it, it is
    /// cut again, and [`joins`](Self::joins) is false from then on.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_joined(&self, bytes: &[u8]) -> io::Result<()> {
        let Err(error) = self.write(&[], bytes) else { return Ok(()) };
        let split =
            bytes.split_first_chunk().and_then(|(header, packet)| Split::new(Header::parse(header)?, packet));
        let (Some(mut split), Some(Errno::INVAL)) = (split, Errno::from_io_error(&error)) else {
            return Err(error);
        };
        if self.joins.replace(false) {
            tracing::info!("the kernel refuses joined packets: they go to it one by one");
        }
        let mut segment = vec![0; MAX_PACKET];
        while let Some(len) = split.next_into(&mut segment) {
            self.write(&[0; HEADER_LEN], &segment[..len])?;
        }
        Ok(())
    }
}

#[cfg(feature = "program")]
fn set_offload(device: &OwnedFd, features: usize) -> rustix::io::Result<()> {
    const TUNSETOFFLOAD: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<u32>(b'T', 208);
    // SAFETY: TUNSETOFFLOAD takes its argument by value and touches no memory of ours.
    #[allow(unsafe_code, reason = "no crate offers this ioctl")]
    unsafe {
        rustix::ioctl::ioctl(device, rustix::ioctl::IntegerSetter::<TUNSETOFFLOAD>::new_usize(features))
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_device_has_whole_packets_and_nothing_before_them() {
        // A pair of sockets that keep packets apart stands in for the device.
        let (device, kernel) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::empty(),
            None,
        )
        .unwrap();
        let tun = Tun::plain(device).unwrap();
        let mut buffer = [0xFF; 100];
        assert_eq!(tun.read(&mut buffer).unwrap(), None, "it does not block");

        rustix::io::write(&kernel, b"packet").unwrap();
        assert_eq!(tun.read(&mut buffer).unwrap(), Some(HEADER_LEN + 6));
        let (header, packet) = buffer.split_first_chunk().unwrap();
        assert_eq!((Header::parse(header), &packet[..6]), (Some(Header::PLAIN), &b"packet"[..]));

        assert!(!tun.joins());
        tun.write(&[0; HEADER_LEN], b"answer").unwrap();
        let len = rustix::io::read(&kernel, &mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"answer");
    }
}
