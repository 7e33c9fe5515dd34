//! The packet path alone, to be measured: tunnels with keys from the command line, no signalling at all.
//!
//! `static_tunnel NAME MTU PORT PEER mn|cn SECRET [THREADS [TUNNELS [SUITE]]]`, with the other end's role at the other end. Tunnel number n is between
//! 100.64.0.n×2−1 (MN) and 100.64.0.n×2 (CN), and fd00::n1 and fd00::n2; give them to the device by `ip address`. The secret is any
//! text, the same at both ends. Ends with standard input; then it tells its counters.

use ntmobile_net::clock::OsClock;
use ntmobile_net::packet_path::{PacketPath, largest_super_packet};
use ntmobile_net::tun::{Tun, TunSettings};
use ntmobile_ports::clock::Clock;
use ntmobile_proto::packet::{TunnelSettings, TunnelTable};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::{ApplicationId, Spi};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What the ends of tunnel `number` are called.
fn addresses(number: u16, end: u8) -> VirtualAddresses {
    let [high, low] = (number * 2 + u16::from(end) - 2).to_be_bytes();
    let v6 = [0xfd00, 0, 0, 0, 0, 0, 0, number * 16 + u16::from(end)];
    VirtualAddresses { v4: Ipv4Addr::new(100, 64, high, low), v6: v6.into() }
}

fn settings(
    number: u16,
    end: Role,
    next_hop: SocketAddr,
    suite: CipherSuite,
) -> Result<TunnelSettings, Box<dyn std::error::Error>> {
    let spi = |offset: u32| Spi((0x1000 + u32::from(number) * 2 + offset) << 4);
    let (ours, theirs) = if end == Role::Mn { (1, 2) } else { (2, 1) };
    Ok(TunnelSettings {
        peer: Fqdn::parse(&format!("peer-{number}.example"))?,
        application: ApplicationId(0),
        local: addresses(number, ours),
        remote: addresses(number, theirs),
        alias: None,
        next_hop,
        end,
        suite,
        spi_in: spi(ours.into()),
        spi_out: spi(theirs.into()),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, mtu, port, peer, role, secret, rest @ ..] = arguments.as_slice() else {
        return Err("usage: static_tunnel NAME MTU PORT PEER mn|cn SECRET [THREADS [TUNNELS [aes|chacha]]]".into());
    };
    let threads: usize = rest.first().map_or(Ok(1), |text| text.parse())?;
    let tunnels: u16 = rest.get(1).map_or(Ok(1), |text| text.parse())?;
    let suite = match rest.get(2).map(String::as_str) {
        Some("chacha") => CipherSuite::ChaCha20Poly1305,
        _ => CipherSuite::Aes128Gcm,
    };
    let end = if role == "mn" { Role::Mn } else { Role::Cn };
    let (mtu, peer): (u16, SocketAddr) = (mtu.parse()?, peer.parse()?);
    let mut octets = [0; 32];
    for (place, octet) in octets.iter_mut().zip(secret.bytes()) {
        *place = octet;
    }

    let clock = Arc::new(OsClock);
    let table = Arc::new(TunnelTable::new());
    for number in 1..=tunnels {
        let settings = settings(number, end, peer, suite)?;
        let tunnel = table.install(clock.now(), settings, &Secret::from_bytes(octets))?;
        table.activate(&tunnel);
    }
    let largest = largest_super_packet(mtu);
    let device = Tun::create(&TunSettings { name: name.clone(), mtu, queues: threads, largest })?;
    let (path, _events) = PacketPath::node(port.parse()?, threads, clock)?;
    path.use_tunnels(table);
    path.attach(device.into_queues());

    std::io::read_to_string(std::io::stdin())?;
    for (name, count) in path.counters().named().filter(|(_, count)| *count > 0) {
        eprintln!("{name} {count}");
    }
    Ok(())
}
