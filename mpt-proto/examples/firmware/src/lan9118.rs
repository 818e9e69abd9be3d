//! The board's Ethernet controller, SMSC LAN9118, by polling: whole frames through its FIFOs, a look every
//! millisecond. Registers and bits as in the data sheet, chapter 5.

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};

use crate::clock::TICK;

const BASE: usize = 0x4020_0000;

const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const TX_CFG: usize = 0x70;
const RX_FIFO_INF: usize = 0x7c;
const TX_FIFO_INF: usize = 0x80;
const MAC_CSR_CMD: usize = 0xa4;
const MAC_CSR_DATA: usize = 0xa8;

const TX_ON: u32 = 1 << 1;
const MAC_CSR_BUSY: u32 = 1 << 31;
const FIRST_AND_LAST_SEGMENT: u32 = 0b11 << 12;
const RX_ERROR: u32 = 1 << 15;

const MAC_CR: u32 = 1;
const MAC_ADDRH: u32 = 2;
const MAC_ADDRL: u32 = 3;
const RX_AND_TX_ENABLE: u32 = 0b11 << 2;

/// An Ethernet frame without its checksum.
const FRAME: usize = 1514;
/// The two command words before a frame in the transmit FIFO.
const COMMANDS: usize = 8;

fn read(register: usize) -> u32 {
    // SAFETY: `BASE` is the controller's on this board, every register above is a word in it, and nothing else uses it.
    unsafe { core::ptr::with_exposed_provenance::<u32>(BASE + register).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as for `read`.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(BASE + register).write_volatile(value) }
}

fn write_mac(register: u32, value: u32) {
    write(MAC_CSR_DATA, value);
    write(MAC_CSR_CMD, MAC_CSR_BUSY | register);
    while read(MAC_CSR_CMD) & MAC_CSR_BUSY != 0 {}
}

/// The controller.
pub struct Lan9118 {
    address: [u8; 6],
    frame: [u8; FRAME],
}

impl Lan9118 {
    /// Starts it with this address.
    pub fn new(address: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = address;
        write_mac(MAC_ADDRL, u32::from_le_bytes([a, b, c, d]));
        write_mac(MAC_ADDRH, u32::from_le_bytes([e, f, 0, 0]));
        write_mac(MAC_CR, RX_AND_TX_ENABLE);
        write(TX_CFG, TX_ON);
        Self { address, frame: [0; FRAME] }
    }

    /// The next good frame, in `frame`.
    fn receive_frame(&mut self) -> Option<usize> {
        while read(RX_FIFO_INF) >> 16 & 0xff != 0 {
            let status = read(RX_STATUS);
            let with_checksum = (status >> 16 & 0x3fff) as usize;
            let mut words = self.frame.chunks_mut(4);
            for _ in 0..with_checksum.div_ceil(4) {
                let word = read(RX_DATA).to_le_bytes();
                if let Some(place) = words.next() {
                    place.copy_from_slice(&word[..place.len()]);
                }
            }
            let len = with_checksum.saturating_sub(4);
            if status & RX_ERROR == 0 && (1..=FRAME).contains(&len) {
                return Some(len);
            }
        }
        None
    }

    fn has_room() -> bool {
        while read(TX_FIFO_INF) >> 16 & 0xff != 0 {
            read(TX_STATUS);
        }
        (read(TX_FIFO_INF) & 0xffff) as usize >= FRAME.next_multiple_of(4) + COMMANDS
    }
}

impl Driver for Lan9118 {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Incoming<'_>, Outgoing)> {
        TICK.register(cx.waker());
        if !Self::has_room() {
            return None;
        }
        let len = self.receive_frame()?;
        Some((Incoming(&mut self.frame[..len]), Outgoing))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Outgoing> {
        TICK.register(cx.waker());
        Self::has_room().then_some(Outgoing)
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

/// A frame that came.
pub struct Incoming<'a>(&'a mut [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame.
pub struct Outgoing;

impl TxToken for Outgoing {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = [0; FRAME];
        let frame = &mut frame[..len];
        let result = f(frame);
        write(TX_DATA, FIRST_AND_LAST_SEGMENT | len as u32);
        write(TX_DATA, len as u32);
        for bytes in frame.chunks(4) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            write(TX_DATA, u32::from_le_bytes(word));
        }
        result
    }
}
