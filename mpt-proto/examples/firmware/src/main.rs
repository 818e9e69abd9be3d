//! A Cortex-M4 that holds a multipath tunnel with `mpt run` on Linux, and serves UDP and TCP through it.
//!
//! ```text
//!   echo services -> embassy-net on 10.9.0.2 -> tunnel -> keys -> path 0: UDP port 4754 -> embassy-net on 192.168.77.2
//!                                                              \> path 1: UDP port 4756 /> -> LAN9118
//! ```
//!
//! `./run` builds it and runs it in QEMU against the Linux port. The datagram "quit" to the UDP echo ends it. Without the feature
//! `sealed` there are no keys, and packets travel in the clear: `./run clear`.
#![no_std]
#![no_main]

#[cfg(not(feature = "sealed"))]
#[path = "clear.rs"]
mod security;
#[cfg(feature = "sealed")]
#[path = "sealed.rs"]
mod security;

mod clock;
mod echo;
mod entropy;
mod lan9118;
mod socket;
mod stack;

use core::panic::PanicInfo;
use core::time::Duration;

use cortex_m_semihosting::debug;
use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_net::udp::PacketMetadata;
use embassy_net::{Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use mpt_proto::adapt::embassy::{self, Device, Runner, State};
use mpt_proto::{
    Config, Connection, HEADROOM, Instant, Liveness, PathConfig, PathId, Probing, ReorderSlot, Storage,
};
use static_cell::{ConstStaticCell, StaticCell};

use lan9118::Lan9118;
use security::{Link, OVERHEAD, Security};
use socket::{Bytes, Meta, PathSocket};

/// Our address on the Ethernet, and the peer's.
const OUTER: Ipv4Cidr = Ipv4Cidr::new(Ipv4Address::new(192, 168, 77, 2), 24);
const PEER: Ipv4Address = Ipv4Address::new(192, 168, 77, 1);
/// The UDP port of each path, at both ends.
const PORTS: [u16; 2] = [4754, 4756];
/// Our address in the tunnel.
const INNER: Ipv4Cidr = Ipv4Cidr::new(Ipv4Address::new(10, 9, 0, 2), 24);

/// The largest datagram: Ethernet's 1,500 bytes less IPv4 and UDP.
const WIRE: u16 = 1472;
/// Inner packets: as much less GRE with a sequence number, and what sealing adds.
const MTU: usize = WIRE as usize - 8 - OVERHEAD;
const PACKET: usize = HEADROOM + MTU;
/// Packets that can wait for earlier ones.
const WINDOW: usize = 16;
/// Packets between tunnel and stack, and datagrams in a path's socket; each in each direction.
const QUEUE: usize = 4;
const SOCKET: usize = 8;

/// For links that are ours, but end in a virtual machine beside busy ones.
const PROBING: Probing = Probing {
    interval: Duration::from_millis(100),
    idle: Duration::from_millis(1000),
    dead: Duration::from_millis(500),
};

type Paths = [(PathId, Link); PORTS.len()];

/// A connection with a path for each port, and the sockets of the paths.
fn connect(
    stack: Stack<'static>,
    security: Security,
    now: Instant,
) -> (&'static mut Connection<'static>, Paths) {
    static CONNECTION: StaticCell<Connection<'static>> = StaticCell::new();
    static SLOTS: StaticCell<[ReorderSlot; WINDOW + 1]> = StaticCell::new();
    static BYTES: ConstStaticCell<[u8; (WINDOW + 1) * MTU]> = ConstStaticCell::new([0; (WINDOW + 1) * MTU]);
    static SOCKET_META: ConstStaticCell<[Meta<SOCKET>; PORTS.len()]> =
        ConstStaticCell::new([[[PacketMetadata::EMPTY; SOCKET]; 2]; PORTS.len()]);
    static SOCKET_BYTES: ConstStaticCell<[Bytes<SOCKET, { WIRE as usize }>; PORTS.len()]> =
        ConstStaticCell::new([[[[0; WIRE as usize]; SOCKET]; 2]; PORTS.len()]);
    let storage = Storage::none().with_reorder(SLOTS.init(Default::default()), BYTES.take());
    let config = Config { seed: entropy::seed(), ..Config::default() };
    let connection = CONNECTION.init_with(|| Connection::new(config, storage, now));
    let max_datagram = WIRE - OVERHEAD as u16;
    let path = PathConfig { liveness: Liveness::Probe(PROBING), max_datagram, ..PathConfig::default() };
    let mut buffers = SOCKET_META.take().iter_mut().zip(SOCKET_BYTES.take());
    let paths = PORTS.map(|port| {
        let id = defmt::unwrap!(connection.add_path(path, now));
        let socket = PathSocket::new(stack, defmt::unwrap!(buffers.next()), port, (PEER, port).into());
        (id, security.wrap(socket, id))
    });
    (connection, paths)
}

#[embassy_executor::task]
async fn ethernet(mut runner: embassy_net::Runner<'static, Lan9118>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn inner(mut runner: embassy_net::Runner<'static, Device<'static, MTU>>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn tunnel(mut runner: Runner<'static, 'static, Link, MTU>, security: Security) {
    while let Either::First(()) = select(security.run(&mut runner), echo::END.wait()).await {}
    let connection = runner.connection();
    for path in connection.paths() {
        defmt::info!("path {}: {}", path.index(), defmt::unwrap!(connection.path_stats(path)));
    }
    defmt::info!("{}", connection.stats());
    defmt::info!("refused {}, oversized {}", runner.refused(), runner.oversized());
    security.log();
    defmt::info!("stack: {} bytes at most", stack::high_water());
    debug::exit(debug::EXIT_SUCCESS);
}

fn static_address(address: Ipv4Cidr) -> embassy_net::Config {
    embassy_net::Config::ipv4_static(StaticConfigV4 {
        address,
        gateway: None,
        dns_servers: Default::default(),
    })
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static OUTER_SOCKETS: StaticCell<StackResources<3>> = StaticCell::new();
    static INNER_SOCKETS: StaticCell<StackResources<3>> = StaticCell::new();
    static STATE: ConstStaticCell<State<MTU, QUEUE, QUEUE>> = ConstStaticCell::new(State::new());
    static DATAGRAM: ConstStaticCell<[u8; PACKET]> = ConstStaticCell::new([0; PACKET]);
    static PATHS: StaticCell<Paths> = StaticCell::new();

    stack::paint();
    clock::start(defmt::unwrap!(cortex_m::Peripherals::take()).SYST);

    let driver = Lan9118::new([0x02, 0, 0, 0, 0, 2]);
    let sockets = OUTER_SOCKETS.init(StackResources::new());
    let (outer, runner) = embassy_net::new(driver, static_address(OUTER), sockets, entropy::seed());
    spawner.spawn(defmt::unwrap!(ethernet(runner).ok()));

    let now = Instant::from_micros(embassy_time::Instant::now().as_micros());
    let security = Security::new(now);
    let (connection, paths) = connect(outer, security, now);
    let (device, runner) = embassy::new(STATE.take(), DATAGRAM.take(), connection, PATHS.init(paths));
    spawner.spawn(defmt::unwrap!(tunnel(runner, security).ok()));

    let sockets = INNER_SOCKETS.init(StackResources::new());
    let (stack, runner) = embassy_net::new(device, static_address(INNER), sockets, entropy::seed());
    spawner.spawn(defmt::unwrap!(inner(runner).ok()));
    spawner.spawn(defmt::unwrap!(echo::udp(stack).ok()));
    spawner.spawn(defmt::unwrap!(echo::tcp(stack).ok()));
    defmt::info!("firmware is up");
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}
