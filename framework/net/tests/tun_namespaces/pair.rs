//! Two namespaces with a cable and a tunnel between them.

use crate::namespace::Namespace;
use ntmobile_net::clock::OsClock;
use ntmobile_net::packet_path::{Event, PacketPath, largest_super_packet};
use ntmobile_net::tun::{Tun, TunSettings};
use ntmobile_ports::clock::Clock;
use ntmobile_proto::packet::{Tunnel, TunnelSettings, TunnelTable};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::{ApplicationId, Spi};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The devices' MTU.
pub(crate) const MTU: u16 = 1_420;
const PORT: u16 = 4_500;

/// One end: a namespace with a device and a path.
pub(crate) struct End {
    pub(crate) namespace: Namespace,
    pub(crate) path: PacketPath,
    pub(crate) tunnel: Arc<Tunnel>,
    pub(crate) events: mpsc::Receiver<Event>,
}

/// The virtual addresses of end number 1 or 2.
pub(crate) fn addresses(end: u8) -> VirtualAddresses {
    let v6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end];
    VirtualAddresses { v4: Ipv4Addr::new(100, 64, 0, end), v6: v6.into() }
}

fn settings(end: u8) -> TunnelSettings {
    let other = 3 - end;
    let next_hop = SocketAddr::from((Ipv4Addr::new(10, 9, 0, other), PORT));
    TunnelSettings {
        peer: Fqdn::parse("peer.example").expect("a sound name"),
        application: ApplicationId(0),
        local: addresses(end),
        remote: addresses(other),
        alias: None,
        next_hop,
        end: if end == 1 { Role::Mn } else { Role::Cn },
        suite: CipherSuite::Aes128Gcm,
        spi_in: Spi(0x100 + u32::from(end) * 16),
        spi_out: Spi(0x100 + u32::from(other) * 16),
    }
}

impl End {
    fn new(end: u8, namespace: Namespace, threads: usize) -> Self {
        let (path, events, tunnel) = namespace.enter(async || {
            let (path, events) = PacketPath::node(PORT, threads, Arc::new(OsClock)).expect("the port is free");
            let table = Arc::new(TunnelTable::new());
            let tunnel =
                table.install(OsClock.now(), settings(end), &Secret::from_bytes([7; 32])).expect("the table is empty");
            table.activate(&tunnel);
            path.use_tunnels(table);
            let largest = largest_super_packet(MTU);
            let device = TunSettings { name: "ntm0".into(), mtu: MTU, queues: threads, largest };
            let device = Tun::create(&device).expect("root may make a device");
            assert_eq!(device.name(), "ntm0");
            path.attach(device.into_queues());
            (path, events, tunnel)
        });
        let VirtualAddresses { v4, v6 } = addresses(end);
        namespace.ip(&format!("address add {v4}/24 dev ntm0"));
        namespace.ip(&format!("address add {v6}/64 dev ntm0"));
        Self { namespace, path, tunnel, events }
    }
}

/// Two ends on a cable with addresses 10.9.0.1 and 10.9.0.2, and a path of so many threads at each.
pub(crate) fn pair(threads: usize) -> [End; 2] {
    let [near, far] = ["near", "far"].map(Namespace::new);
    near.cable("cable", &far, "cable");
    near.ip("address add 10.9.0.1/24 dev cable");
    far.ip("address add 10.9.0.2/24 dev cable");
    [End::new(1, near, threads), End::new(2, far, threads)]
}
