//! The packet path between two ends, and through a relay.

mod generations;
mod inner;
mod mirrored;
mod properties;
mod relay;
mod trains;
mod tunnels;

use super::{Carried, Inbound, InboundRefusal, Tunnel, TunnelSettings, TunnelTable};
use crate::time::Instant;
use bytes::Bytes;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::{ApplicationId, Spi};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const SPI_MN: Spi = Spi(0x1111_1110);
const SPI_CN: Spi = Spi(0x2222_2220);

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

fn secret(byte: u8) -> Secret {
    Secret::from_bytes([byte; 32])
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("a sound address")
}

fn mn_outer() -> SocketAddr {
    address("192.0.2.1:4500")
}

fn cn_outer() -> SocketAddr {
    address("192.0.2.2:4500")
}

fn addresses(host: u8) -> VirtualAddresses {
    let v6 = [0xfd, 0, 0, host, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host];
    VirtualAddresses { v4: [100, 64, 0, host].into(), v6: v6.into() }
}

fn mn_settings() -> TunnelSettings {
    TunnelSettings {
        peer: Fqdn::parse("bob.u2.example").expect("a sound name"),
        application: ApplicationId(0),
        local: addresses(1),
        remote: addresses(2),
        alias: None,
        next_hop: cn_outer(),
        end: Role::Mn,
        suite: CipherSuite::Aes128Gcm,
        spi_in: SPI_MN,
        spi_out: SPI_CN,
    }
}

fn cn_settings() -> TunnelSettings {
    TunnelSettings {
        peer: Fqdn::parse("alice.u1.example").expect("a sound name"),
        local: addresses(2),
        remote: addresses(1),
        next_hop: mn_outer(),
        end: Role::Cn,
        spi_in: SPI_CN,
        spi_out: SPI_MN,
        ..mn_settings()
    }
}

/// One end with one tunnel, ready for use.
struct End {
    table: TunnelTable,
    tunnel: Arc<Tunnel>,
}

impl End {
    fn new(settings: TunnelSettings) -> Self {
        let table = TunnelTable::new();
        let tunnel = table.install(at(0), settings, &secret(1)).expect("the table is empty");
        table.activate(&tunnel);
        Self { table, tunnel }
    }

    fn send(&self, packet: &[u8]) -> Bytes {
        self.table.outbound(at(1), packet).expect("the tunnel takes it").1
    }

    fn receive(&self, from: SocketAddr, datagram: &Bytes) -> Result<Inbound, InboundRefusal> {
        self.table.inbound(at(1), from, datagram.clone())
    }
}

fn ends() -> (End, End) {
    (End::new(mn_settings()), End::new(cn_settings()))
}

fn checksum(words: impl Iterator<Item = u16>) -> u16 {
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
}

/// A UDP packet over IPv4 with right checksums.
fn udp_v4(source: Ipv4Addr, destination: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let udp = 8 + payload.len() as u16;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&(20 + udp).to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    let sum = checksum(words(&packet)).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    for word in [5000, port, udp, 0] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    let sum = checksum(words(&packet[12..]).chain([17, udp])).to_be_bytes();
    packet[26..28].copy_from_slice(&sum);
    packet
}

/// Whether the checksums of IPv4 and UDP are right.
fn is_sound(packet: &[u8]) -> bool {
    let udp = (packet.len() - 20) as u16;
    checksum(words(&packet[..20])) == 0 && checksum(words(&packet[12..]).chain([17, udp])) == 0
}

/// An IPv6 packet of a protocol that nobody looks into.
fn plain_v6(source: u8, destination: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[253, 64]);
    packet.extend_from_slice(&addresses(source).v6.octets());
    packet.extend_from_slice(&addresses(destination).v6.octets());
    packet.extend_from_slice(payload);
    packet
}

fn packet_of(inbound: Result<Inbound, InboundRefusal>) -> Bytes {
    match inbound.expect("it opens").carried {
        Carried::Packet(packet) => packet,
        other => panic!("{other:?} is no application's packet"),
    }
}
