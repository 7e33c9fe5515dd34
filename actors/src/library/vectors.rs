//! The `library` model against the golden vectors in `tests/vectors`: what its packet path seals, octet by octet, and what its virtual
//! sockets get of what it opens. In the simulator it is the same code, as in the world of this test.

use super::tests::{End, run};
use crate::ideal_network::Switch;
use bytes::Bytes;
use ntmobile_ports::net::{Net, UdpPort};
use ntmobile_proto::packet::TunnelSettings;
use ntmobile_sim::World;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::{ApplicationId, Spi};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::subkey::Role;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const VECTORS: &str = include_str!("../../../tests/vectors/packets.json");
const OTHER_SPI: Spi = Spi(0x3333_3330);
/// The port that the vectors' datagrams go to.
const PORT: u16 = 7_000;

fn octets(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("vectors are written in hexadecimal");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")).collect()
}

fn addresses(end: &Value) -> VirtualAddresses {
    let text = |family: &str| end[family].as_str().expect("an address");
    VirtualAddresses { v4: text("v4").parse().expect("an address"), v6: text("v6").parse().expect("an address") }
}

/// The payload of a UDP datagram; none of anything else.
fn payload(packet: &[u8]) -> Option<&[u8]> {
    match (packet[0] >> 4, packet[9], packet[6]) {
        (4, 17, _) => packet.get(28..),
        (6, _, 17) => packet.get(48..),
        _ => None,
    }
}

/// One end of the vectors' tunnel in a world of its own, and the port of a peer that the test plays.
fn end(world: &World, vectors: &Value, role: Role, suite: CipherSuite, spis: (Spi, Spi)) -> (End, Arc<dyn UdpPort>) {
    let switch = Switch::default();
    let (number, ours, theirs) = if role == Role::Mn { (1, "mn", "cn") } else { (2, "cn", "mn") };
    let end = End::new(world, &switch, number, 0);
    assert_eq!(end.addresses, addresses(&vectors[ours]), "the vectors are between the ends of this test");
    let peer: IpAddr = [10, 0, 9, 9].into();
    let port = switch.host(&peer.to_string()).bind_udp(4_500).expect("it is free");
    let secret: [u8; 32] = octets(&vectors["k_mncn"]).try_into().expect("a named key");
    let settings = TunnelSettings {
        peer: "peer.example".parse().expect("a name"),
        application: ApplicationId(0),
        local: end.addresses,
        remote: addresses(&vectors[theirs]),
        alias: None,
        next_hop: SocketAddr::new(peer, 4_500),
        end: role,
        suite,
        spi_in: spis.0,
        spi_out: spis.1,
    };
    let tunnel = end.table.install(end.clock.now(), settings, &Secret::from_bytes(secret)).expect("the table is empty");
    end.table.activate(&tunnel);
    (end, port)
}

/// The vectors' suites and directions: cipher, sender, SPI, packets.
fn each(vectors: &Value) -> Vec<(CipherSuite, Role, Spi, Vec<Value>)> {
    let vector = |vector: &Value| {
        let is_aes = vector["label"] == "ESP AES-128-GCM";
        let suite = if is_aes { CipherSuite::Aes128Gcm } else { CipherSuite::ChaCha20Poly1305 };
        let sender = if vector["sender_role"] == Role::Mn as u8 { Role::Mn } else { Role::Cn };
        let spi = Spi(vector["spi"].as_u64().and_then(|spi| spi.try_into().ok()).expect("an SPI"));
        (suite, sender, spi, vector["packets"].as_array().expect("there are some").clone())
    };
    vectors["vectors"].as_array().expect("there are some").iter().map(vector).collect()
}

#[test]
fn packets_are_sealed_as_the_golden_vectors_say() {
    run(|world, _| async move {
        let vectors: Value = serde_json::from_str(VECTORS).expect("vectors are JSON");
        let mut count = 0;
        for (suite, sender, spi, packets) in each(&vectors) {
            let (end, peer) = end(&world, &vectors, sender, suite, (OTHER_SPI, spi));
            for packet in packets {
                end.path.send(Bytes::from(octets(&packet["inner"])));
                let sent = peer.receive().await.expect("the network is up");
                assert_eq!(sent.bytes, octets(&packet["packet"]), "{suite:?} {sender:?}");
                assert_eq!(sent.from, end.at);
                count += 1;
            }
        }
        assert_eq!(count, 24);
    });
}

#[test]
fn virtual_sockets_get_what_the_golden_vectors_carry() {
    run(|world, _| async move {
        let vectors: Value = serde_json::from_str(VECTORS).expect("vectors are JSON");
        let mut count = 0;
        for (suite, sender, spi, packets) in each(&vectors) {
            let receiver = if sender == Role::Mn { Role::Cn } else { Role::Mn };
            let (end, peer) = end(&world, &vectors, receiver, suite, (spi, OTHER_SPI));
            let socket: Arc<dyn UdpPort> = Arc::new(end.stack.bind(PORT).expect("it is free"));
            for packet in packets {
                let inner = octets(&packet["inner"]);
                let Some(payload) = payload(&inner) else { continue };
                peer.send(end.at, octets(&packet["packet"]).into()).expect("the network is up");
                let received = socket.receive().await.expect("the stack is up");
                assert_eq!(received.bytes, payload, "{suite:?} {sender:?}");
                let theirs = addresses(&vectors[if sender == Role::Mn { "mn" } else { "cn" }]);
                let from = if inner[0] >> 4 == 4 { IpAddr::from(theirs.v4) } else { theirs.v6.into() };
                assert_eq!(received.from, SocketAddr::new(from, 40_000));
                count += 1;
            }
        }
        assert_eq!(count, 12);
    });
}
