//! What the firmware serves: echoes of UDP datagrams and of TCP streams.

use embassy_net::Stack;
use embassy_net::tcp::TcpSocket;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use static_cell::ConstStaticCell;

const PORT: u16 = 7;
/// A datagram of this ends the program.
const QUIT: &[u8] = b"quit";

/// The end was asked for.
pub static END: Signal<CriticalSectionRawMutex, ()> = Signal::new();

#[embassy_executor::task]
pub async fn udp(stack: Stack<'static>) -> ! {
    static META: ConstStaticCell<[[PacketMetadata; 8]; 2]> =
        ConstStaticCell::new([[PacketMetadata::EMPTY; 8]; 2]);
    static BYTES: ConstStaticCell<[[u8; 8 * 1500]; 2]> = ConstStaticCell::new([[0; 8 * 1500]; 2]);
    static BUFFER: ConstStaticCell<[u8; 1500]> = ConstStaticCell::new([0; 1500]);
    let ([rx_meta, tx_meta], [rx, tx], buffer) = (META.take(), BYTES.take(), BUFFER.take());
    let mut socket = UdpSocket::new(stack, rx_meta, rx, tx_meta, tx);
    defmt::unwrap!(socket.bind(PORT).ok());
    loop {
        let Ok((len, from)) = socket.recv_from(buffer).await else { continue };
        let _ = socket.send_to(&buffer[..len], from.endpoint).await;
        if &buffer[..len] == QUIT {
            socket.flush().await;
            END.signal(());
        }
    }
}

#[embassy_executor::task]
pub async fn tcp(stack: Stack<'static>) -> ! {
    static BYTES: ConstStaticCell<[[u8; 16 * 1024]; 2]> = ConstStaticCell::new([[0; 16 * 1024]; 2]);
    static BUFFER: ConstStaticCell<[u8; 4096]> = ConstStaticCell::new([0; 4096]);
    let ([rx, tx], buffer) = (BYTES.take(), BUFFER.take());
    let mut socket = TcpSocket::new(stack, rx, tx);
    loop {
        if socket.accept(PORT).await.is_err() {
            continue;
        }
        defmt::info!("TCP: connected");
        let mut echoed = 0;
        while let Ok(len @ 1..) = socket.read(buffer).await {
            let mut left = &buffer[..len];
            while !left.is_empty() {
                let Ok(written @ 1..) = socket.write(left).await else { break };
                left = &left[written..];
            }
            echoed += len;
        }
        defmt::info!("TCP: {} bytes echoed", echoed);
        let _ = socket.flush().await;
        socket.close();
        let _ = socket.flush().await;
        socket.abort();
    }
}
