//! The golden vectors of a whole tunnel: applications' packets between two nodes, and the octets that go over the network for
//! them. Every node model's packet path is held to these.

use crate::independent::{derive, open_aes, open_chacha};
use crate::vectors::{SECRET, check, hex};
use ntmobile_wire::esp::{EspKey, EspSealer, HEADER_LENGTH, sealed_length};
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::subkey::Role;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;
/// The service's port, and its client's.
const PORTS: (u16, u16) = (7_000, 40_000);

/// One end: MN is 1, CN is 2.
#[derive(Clone, Copy)]
struct End(u8);

impl End {
    fn v4(self) -> Ipv4Addr {
        Ipv4Addr::new(100, 64, 0, self.0)
    }

    fn v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, self.0.into())
    }

    fn json(self) -> Value {
        json!({ "v4": self.v4().to_string(), "v6": self.v6().to_string() })
    }
}

fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let octets = parts.concat();
    let sum = octets.chunks(2).fold(0u32, |sum, pair| {
        let sum = sum + u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        (sum & 0xffff) + (sum >> 16)
    });
    (!(sum as u16)).to_be_bytes()
}

/// The header of a UDP datagram, of the first segment of a TCP connection, or of an ICMPv6 echo request; and where its checksum is.
fn transport(protocol: u8, payload: &[u8]) -> (Vec<u8>, usize) {
    let (from, to) = (PORTS.1.to_be_bytes(), PORTS.0.to_be_bytes());
    match protocol {
        TCP => ([&from[..], &to, &[0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0], payload].concat(), 16),
        UDP => ([&from[..], &to, &(8 + payload.len() as u16).to_be_bytes(), &[0, 0], payload].concat(), 6),
        _ => ([&[128, 0, 0, 0, 0x12, 0x34, 0, 1], payload].concat(), 2),
    }
}

fn v4(from: End, to: End, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (mut body, at) = transport(protocol, payload);
    let (source, destination) = (from.v4().octets(), to.v4().octets());
    let length = (body.len() as u16).to_be_bytes();
    let sum = checksum(&[&source, &destination, &[0, protocol], &length, &body]);
    body[at..at + 2].copy_from_slice(&sum);
    let total = (20 + body.len() as u16).to_be_bytes();
    let mut header = [&[0x45, 0], &total[..], &[0, 1, 0x40, 0, 64, protocol, 0, 0], &source, &destination].concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [header, body].concat()
}

fn v6(from: End, to: End, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (mut body, at) = transport(protocol, payload);
    let (source, destination) = (from.v6().octets(), to.v6().octets());
    let length = (body.len() as u16).to_be_bytes();
    let sum = checksum(&[&source, &destination, &length, &[0, protocol], &body]);
    body[at..at + 2].copy_from_slice(&sum);
    [&[0x60, 0, 0, 0], &length[..], &[protocol, 64], &source, &destination, &body].concat()
}

#[test]
fn packets() {
    let (mn, cn) = (End(1), End(2));
    let suites =
        [(CipherSuite::Aes128Gcm, "ESP AES-128-GCM", 16), (CipherSuite::ChaCha20Poly1305, "ESP ChaCha20-Poly1305", 32)];
    let mut vectors = Vec::new();
    for (suite, label, key_length) in suites {
        // The SPI is the receiver's: what CN receives is sealed by MN.
        for (role, from, to, spi) in [(Role::Mn, mn, cn, Spi(0x2222_2220)), (Role::Cn, cn, mn, Spi(0x1111_1110))] {
            let sealer =
                EspSealer::new(spi, &EspKey::derive(&Secret::from_bytes(SECRET), suite, role, spi).expect("known"));
            let material = derive(&SECRET, label, &[role as u8, spi.generation() as u8], 36);
            let inners = [
                v4(from, to, UDP, b"a question"),
                v6(from, to, UDP, b"another, of odd length."),
                v4(from, to, TCP, b""),
                v6(from, to, TCP, b""),
                v6(from, to, ICMP_V6, b"echo"),
                // As long as every path takes it.
                v6(from, to, UDP, &[0xa5; 1_280 - 48]),
            ];
            let mut packets = Vec::new();
            for inner in inners {
                let next_header = if inner[0] >> 4 == 4 { 4 } else { 41 };
                let mut packet = vec![0; sealed_length(inner.len())];
                packet[HEADER_LENGTH..HEADER_LENGTH + inner.len()].copy_from_slice(&inner);
                sealer.seal(&mut packet, inner.len(), next_header).expect("room and numbers are left");
                let nonce = [&material[key_length..key_length + 4], &packet[8..16]].concat();
                let open = if key_length == 16 { open_aes } else { open_chacha };
                let body = open(&material[..key_length], &nonce, &packet[..8], &packet[HEADER_LENGTH..]);
                assert!(body.starts_with(&inner) && body.ends_with(&[next_header]));
                packets.push(json!({ "inner": hex(&inner), "packet": hex(&packet) }));
            }
            vectors.push(json!({ "label": label, "sender_role": role as u8, "spi": spi.0, "packets": packets }));
        }
    }
    check("packets.json", &json!({ "k_mncn": hex(&SECRET), "mn": mn.json(), "cn": cn.json(), "vectors": vectors }));
}
