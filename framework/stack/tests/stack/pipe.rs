//! Two stacks joined by a pipe that delays, loses, doubles and reorders packets, under virtual time.

use bytes::Bytes;
use ntmobile_ports::clock::Clock;
use ntmobile_sim::World;
use ntmobile_stack::{Output, Stack, StackOptions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub(crate) const A4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub(crate) const B4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
pub(crate) const A6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
pub(crate) const B6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));

/// What the pipe does to packets, in both directions.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss_percent: u64,
    pub(crate) double_percent: u64,
    /// Larger packets vanish.
    pub(crate) mtu: usize,
}

impl Default for Path {
    fn default() -> Self {
        Self { delay: Duration::from_millis(5), jitter: Duration::ZERO, loss_percent: 0, double_percent: 0, mtu: 1_500 }
    }
}

/// Both ends, and what passed between them.
#[derive(Clone)]
pub(crate) struct Pipe {
    pub(crate) a: Stack,
    pub(crate) b: Stack,
    /// Every packet that was sent: at what nanosecond, and its bytes.
    pub(crate) sent: Arc<Mutex<Vec<(u64, Bytes)>>>,
    /// Whether packets get through at all.
    pub(crate) open: Arc<Mutex<bool>>,
}

pub(crate) fn pipe(world: &World, path: Path, options: StackOptions) -> Pipe {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let open = Arc::new(Mutex::new(true));
    let ends: [Arc<OnceLock<Stack>>; 2] = Default::default();
    let make = |label: &str, addresses: Vec<IpAddr>, peer: Arc<OnceLock<Stack>>| {
        let (world_of_output, sent, open) = (world.clone(), sent.clone(), open.clone());
        let chance = Mutex::new(world.entropy(&format!("path from {label}")));
        let output: Output = Arc::new(move |packet: Bytes| {
            let world = &world_of_output;
            sent.lock().unwrap().push((world.now().0, packet.clone()));
            let mut chance = chance.lock().unwrap();
            let lost = chance.below(100) < path.loss_percent || packet.len() > path.mtu || !*open.lock().unwrap();
            let copies = u32::from(!lost) + u32::from(chance.below(100) < path.double_percent);
            for _ in 0..copies {
                let jitter = Duration::from_nanos(chance.below(u64::try_from(path.jitter.as_nanos()).unwrap() + 1));
                let arrives = world.clock().sleep(path.delay + jitter);
                let (peer, packet) = (peer.get().unwrap().clone(), packet.clone());
                tokio::spawn(async move {
                    arrives.await;
                    peer.inject(packet);
                });
            }
        });
        Stack::new(Arc::new(world.clock()), Box::new(world.entropy(label)), addresses, options, output)
    };
    let a = make("a", vec![A4, A6], ends[1].clone());
    let b = make("b", vec![B4, B6], ends[0].clone());
    ends[0].set(a.clone()).expect("set once");
    ends[1].set(b.clone()).expect("set once");
    Pipe { a, b, sent, open }
}

/// The checksum of RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xFFFF {
        sum = (sum >> 16) + (sum & 0xFFFF);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}
