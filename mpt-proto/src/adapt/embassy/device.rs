//! The side of embassy-net: a driver whose packets lie in two queues.

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::zerocopy_channel::{Channel, Receiver, Sender};

use crate::adapt::Intake;
use crate::adapt::embassy::Runner;
use crate::{CONTROL_MAX, Connection, HEADROOM, PathId};

/// One inner packet on its way between the device and the runner, in `N` bytes: [`HEADROOM`] and the MTU.
#[derive(Debug, Clone)]
pub struct Packet<const N: usize> {
    /// Where it lies in `bytes`; on its way out the headroom is part of it.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) bytes: [u8; N],
}

impl<const N: usize> Packet<N> {
    /// No packet.
    pub const EMPTY: Self = Self { start: 0, end: 0, bytes: [0; N] };
}

/// The packets between the device and the runner, in memory lent for as long as the tunnel is there.
#[derive(Debug)]
pub struct Queues<'q, const N: usize> {
    incoming: Channel<'q, CriticalSectionRawMutex, Packet<N>>,
    outgoing: Channel<'q, CriticalSectionRawMutex, Packet<N>>,
}

impl<'q, const N: usize> Queues<'q, N> {
    /// Over places for packets to the stack and from it, at least one each.
    ///
    /// # Panics
    /// One of the slices is empty.
    pub fn new(incoming: &'q mut [Packet<N>], outgoing: &'q mut [Packet<N>]) -> Self {
        Self { incoming: Channel::new(incoming), outgoing: Channel::new(outgoing) }
    }

    /// The device for embassy-net, and the runner over a connection and the socket of each of its paths.
    pub fn split<'r, 's, S>(
        &'r mut self,
        connection: &'r mut Connection<'s>,
        sockets: &'r [(PathId, S)],
    ) -> (Device<'r, N>, Runner<'r, 's, S, N>) {
        let (to_device, incoming) = self.incoming.split();
        let (outgoing, from_device) = self.outgoing.split();
        let (intake, control) = (Intake::default(), [0; CONTROL_MAX]);
        let runner = Runner { connection, sockets, to_device, from_device, intake, control, refused: 0 };
        (Device { incoming, outgoing }, runner)
    }
}

/// What embassy-net takes for a network interface: medium IP, always up.
#[derive(Debug)]
pub struct Device<'r, const N: usize> {
    incoming: Receiver<'r, CriticalSectionRawMutex, Packet<N>>,
    outgoing: Sender<'r, CriticalSectionRawMutex, Packet<N>>,
}

impl<const N: usize> Driver for Device<'_, N> {
    type RxToken<'a>
        = RxToken<'a, N>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a, N>
    where
        Self: 'a;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxToken<'_, N>, TxToken<'_, N>)> {
        let ready = self.incoming.poll_receive(cx).is_ready() && self.outgoing.poll_send(cx).is_ready();
        ready.then(|| (RxToken(self.incoming.borrow()), TxToken(self.outgoing.borrow())))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<TxToken<'_, N>> {
        self.outgoing.poll_send(cx).is_ready().then(|| TxToken(self.outgoing.borrow()))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = N.saturating_sub(HEADROOM);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ip
    }
}

/// An inner packet for the stack.
#[derive(Debug)]
pub struct RxToken<'a, const N: usize>(Receiver<'a, CriticalSectionRawMutex, Packet<N>>);

impl<const N: usize> embassy_net_driver::RxToken for RxToken<'_, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        let result = f(self
            .0
            .try_receive()
            .map_or(&mut [], |packet| packet.bytes.get_mut(packet.start..packet.end).unwrap_or_default()));
        self.0.receive_done();
        result
    }
}

/// Room for an inner packet of the stack's.
#[derive(Debug)]
pub struct TxToken<'a, const N: usize>(Sender<'a, CriticalSectionRawMutex, Packet<N>>);

impl<const N: usize> embassy_net_driver::TxToken for TxToken<'_, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        let result = f(self.0.try_send().map_or(&mut [], |packet| {
            (packet.start, packet.end) = (0, (HEADROOM + len).min(N));
            packet.bytes.get_mut(HEADROOM..packet.end).unwrap_or_default()
        }));
        self.0.send_done();
        result
    }
}
