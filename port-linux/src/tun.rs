//! The tunnel device: inner packets in and out, many of them as one where the kernel joins and cuts them.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(feature = "program")]
use std::os::fd::{FromRawFd, IntoRawFd};

#[cfg(feature = "program")]
use anyhow::{Context, Result, bail};
use rustix::io::Errno;
#[cfg(feature = "program")]
use tun::Layer;

use crate::offload::{HEADER_LEN, Header, Joins, MAX_PACKET, Segmentation, Split};
#[cfg(feature = "program")]
use crate::privilege;

/// An open tunnel device. The interface, its addresses and its routes vanish when it is closed, even when
/// the process is killed.
#[derive(Debug)]
pub struct Tun {
    device: OwnedFd,
    /// Whether the device puts a [`Header`] before each packet; else there is nothing to cut or join.
    has_headers: bool,
    /// What the kernel takes joined, as far as it has said.
    joins: Cell<Joins>,
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
        Ok(Self { device, has_headers: false, joins: Cell::default() })
    }

    /// Makes the interface `name`, down and without addresses; non-blocking, without packet information, with a
    /// [`Header`] before each packet. Without `offload` each packet comes and goes by itself.
    ///
    /// # Errors
    /// Says what is missing when the kernel refuses.
    #[cfg(feature = "program")]
    pub fn create(name: &str, offload: bool) -> Result<Self> {
        let device = open(name, Layer::L3, true)?;
        if !offload {
            return Ok(Self { device, has_headers: true, joins: Cell::default() });
        }
        let basic = features::CHECKSUM | features::TCP_V4 | features::TCP_V6 | features::TCP_ECN;
        // Joined packets are written whatever the kernel says to its own being left whole; but one that knows nothing
        // of joined UDP takes none.
        let mut joins = Joins { tcp: true, udp: true };
        if set_offload(&device, basic | features::UDP).is_err() {
            joins.udp = false;
            match set_offload(&device, basic) {
                Ok(()) => tracing::info!("UDP goes through {name} one by one: the kernel joins TCP only"),
                Err(_) => tracing::info!("the kernel cuts all packets for {name} itself: no offload"),
            }
        }
        Ok(Self { device, has_headers: true, joins: Cell::new(joins) })
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

    /// What is worth joining.
    pub fn joins(&self) -> Joins {
        self.joins.get()
    }

    /// Hands a joined packet, which begins with its [`Header`], to the kernel. If the kernel refuses it, it is
    /// cut again, and its kind is not among [`joins`](Self::joins) from then on.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_joined(&self, bytes: &[u8]) -> io::Result<()> {
        let Err(error) = self.write(&[], bytes) else { return Ok(()) };
        let Some((header, packet)) = bytes.split_first_chunk() else { return Err(error) };
        let Some(header) = Header::parse(header) else { return Err(error) };
        let (Some(mut split), Some(Errno::INVAL)) =
            (Split::new(header, packet, MAX_PACKET), Errno::from_io_error(&error))
        else {
            return Err(error);
        };
        let (before, mut joins) = (self.joins.get(), self.joins.get());
        let (kind, taken) = match header.segmentation {
            Segmentation::Udp { .. } => ("UDP", &mut joins.udp),
            _ => ("TCP", &mut joins.tcp),
        };
        *taken = false;
        if joins != before {
            tracing::info!("the kernel refuses joined {kind} packets: they go to it one by one");
        }
        self.joins.set(joins);
        let mut segment = vec![0; MAX_PACKET];
        while let Some(len) = split.next_into(&mut segment) {
            self.write(&[0; HEADER_LEN], &segment[..len])?;
        }
        Ok(())
    }
}

/// Makes the Ethernet interface `name`, down and without addresses; non-blocking, and a frame is what is on the wire:
/// the kernel cuts large packets and computes checksums before it hands them over.
///
/// # Errors
/// As [`Tun::create`].
#[cfg(feature = "program")]
pub fn tap(name: &str) -> Result<OwnedFd> {
    open(name, Layer::L2, false)
}

/// Makes an interface. It vanishes when the descriptor is closed.
#[cfg(feature = "program")]
fn open(name: &str, layer: Layer, vnet_hdr: bool) -> Result<OwnedFd> {
    let mut configuration = tun::Configuration::default();
    configuration.tun_name(name).layer(layer);
    configuration.platform_config(|platform| {
        // Addresses, MTU and state are set through netlink: CAP_NET_ADMIN is enough.
        platform.ensure_root_privileges(false);
        platform.vnet_hdr(vnet_hdr);
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
    Ok(device)
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

        assert_eq!(tun.joins(), Joins::default());
        tun.write(&[0; HEADER_LEN], b"answer").unwrap();
        let len = rustix::io::read(&kernel, &mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"answer");
    }
}
