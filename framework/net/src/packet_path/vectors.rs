//! The packet path against the golden vectors in `tests/vectors`, octet by octet, as it is under `ntm up` (a device with virtio headers)
//! and under `ntm vpn-service` on a phone (one without): real threads and sockets; the test plays the kernel behind the device. And
//! what a peer with several applications is answered by.

use super::*;
use crate::clock::OsClock;
use crate::tun::offload::VIRTIO_LENGTH;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::packet::TunnelSettings;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::{ApplicationId, Spi};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::subkey::Role;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

const PACKETS: &str = include_str!("../../../../tests/vectors/packets.json");
const DATAGRAMS: &str = include_str!("../../../../tests/vectors/datagrams.json");

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn octets(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("vectors are written in hexadecimal");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")).collect()
}

fn addresses(end: &Value) -> VirtualAddresses {
    let text = |family: &str| end[family].as_str().expect("an address");
    VirtualAddresses { v4: text("v4").parse().expect("an address"), v6: text("v6").parse().expect("an address") }
}

/// The node under test: its path, the kernel's side of its device, and the socket of its peer.
struct Node {
    path: PacketPath,
    table: Arc<TunnelTable>,
    _events: mpsc::Receiver<Event>,
    kernel: Socket,
    peer: UdpSocket,
    virtio: bool,
}

impl Node {
    fn new(virtio: bool) -> Self {
        let (ours, kernel) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).expect("a pair");
        let (path, events) = PacketPath::node(0, 1, Arc::new(OsClock)).expect("a free port");
        let table = Arc::new(TunnelTable::new());
        path.use_tunnels(Arc::clone(&table));
        path.attach(vec![Queue::played(ours.into(), virtio)]);
        kernel.set_read_timeout(Some(PATIENCE)).expect("a time");
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        peer.set_read_timeout(Some(PATIENCE)).expect("a time");
        peer.connect((Ipv4Addr::LOCALHOST, path.signalling().port())).expect("it is there");
        Self { path, table, _events: events, kernel, peer, virtio }
    }

    /// Opens a tunnel to one of the peer's applications, as MN or as CN.
    fn open(&self, vectors: &Value, end: Role, suite: CipherSuite, spis: (Spi, Spi), application: u32) {
        let (ours, theirs) = if end == Role::Mn { ("mn", "cn") } else { ("cn", "mn") };
        let secret: [u8; 32] = octets(&vectors["k_mncn"]).try_into().expect("a named key");
        let settings = TunnelSettings {
            peer: "peer.example".parse().expect("a name"),
            application: ApplicationId(application),
            local: addresses(&vectors[ours]),
            remote: addresses(&vectors[theirs]),
            alias: None,
            next_hop: self.peer.local_addr().expect("it is bound"),
            end,
            suite,
            spi_in: spis.0,
            spi_out: spis.1,
        };
        let tunnel = self.table.install(OsClock.now(), settings, &Secret::from_bytes(secret)).expect("the SPI is free");
        self.table.activate(&tunnel);
    }

    /// A program's packet leaves by the device; what goes over the network for it.
    fn leave(&self, packet: &[u8]) -> Vec<u8> {
        let header = if self.virtio { &[0; VIRTIO_LENGTH][..] } else { &[] };
        (&self.kernel).write_all(&[header, packet].concat()).expect("the device takes it");
        let mut buffer = [0; 2_000];
        let length = self.peer.recv(&mut buffer).expect("it is sent");
        buffer[..length].to_vec()
    }

    /// A datagram arrives; the packet that comes out of the device.
    fn arrive(&self, datagram: &[u8]) -> Vec<u8> {
        self.peer.send(datagram).expect("the loopback takes it");
        let mut buffer = [0; 2_000];
        let length = (&self.kernel).read(&mut buffer).expect("it comes out");
        buffer[if self.virtio { VIRTIO_LENGTH } else { 0 }..length].to_vec()
    }
}

/// The vectors' suites and directions: cipher, sender, SPI, packets.
fn each(vectors: &Value, mut test: impl FnMut(CipherSuite, Role, Spi, &[Value])) {
    for vector in vectors["vectors"].as_array().expect("there are some") {
        let is_aes = vector["label"] == "ESP AES-128-GCM";
        let suite = if is_aes { CipherSuite::Aes128Gcm } else { CipherSuite::ChaCha20Poly1305 };
        let sender = if vector["sender_role"] == Role::Mn as u8 { Role::Mn } else { Role::Cn };
        let spi = Spi(vector["spi"].as_u64().and_then(|spi| spi.try_into().ok()).expect("an SPI"));
        test(suite, sender, spi, vector["packets"].as_array().expect("there are some"));
    }
}

const OTHER_SPI: Spi = Spi(0x3333_3330);

#[test]
fn with_virtio_headers_and_without_packets_are_sealed_as_the_golden_vectors_say() {
    let vectors: Value = serde_json::from_str(PACKETS).expect("vectors are JSON");
    for virtio in [true, false] {
        let mut count = 0;
        each(&vectors, |suite, sender, spi, packets| {
            let node = Node::new(virtio);
            node.open(&vectors, sender, suite, (OTHER_SPI, spi), 0);
            for packet in packets {
                assert_eq!(node.leave(&octets(&packet["inner"])), octets(&packet["packet"]), "{suite:?} {sender:?}");
                count += 1;
            }
        });
        assert_eq!(count, 24);
    }
}

#[test]
fn with_virtio_headers_and_without_packets_are_opened_as_the_golden_vectors_say() {
    let vectors: Value = serde_json::from_str(PACKETS).expect("vectors are JSON");
    for virtio in [true, false] {
        each(&vectors, |suite, sender, spi, packets| {
            let node = Node::new(virtio);
            let receiver = if sender == Role::Mn { Role::Cn } else { Role::Mn };
            node.open(&vectors, receiver, suite, (spi, OTHER_SPI), 0);
            for packet in packets {
                assert_eq!(node.arrive(&octets(&packet["packet"])), octets(&packet["inner"]), "{suite:?} {sender:?}");
            }
        });
    }
}

#[tokio::test]
async fn signalling_comes_up_as_the_golden_vectors_are() {
    let vectors: Value = serde_json::from_str(DATAGRAMS).expect("vectors are JSON");
    let node = Node::new(false);
    let signalling = node.path.signalling();
    for vector in vectors["vectors"].as_array().expect("there are some") {
        let datagram = octets(&vector["datagram"]);
        node.peer.send(&datagram).expect("the loopback takes it");
        let received =
            tokio::time::timeout(PATIENCE, signalling.receive()).await.expect("it comes").expect("it comes up");
        assert_eq!(received.bytes, datagram, "{}", vector["label"]);
        signalling.send(received.from, received.bytes).expect("the loopback takes it");
        let mut buffer = [0; 2_000];
        let length = node.peer.recv(&mut buffer).expect("it comes back");
        assert_eq!(buffer[..length], datagram, "{}", vector["label"]);
    }
}

/// The answer to a UDP packet over IPv4 or IPv6: ends and ports change places, which no checksum minds.
fn answer(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    let (addresses, length, ports) = if question[0] >> 4 == 4 { (12, 4, 20) } else { (8, 16, 40) };
    for (at, length) in [(addresses, length), (ports, 2)] {
        answer[at..at + length].copy_from_slice(&question[at + length..at + 2 * length]);
        answer[at + length..at + 2 * length].copy_from_slice(&question[at..at + length]);
    }
    answer
}

#[test]
fn an_answer_takes_the_tunnel_of_the_application_that_has_asked() {
    let vectors: Value = serde_json::from_str(PACKETS).expect("vectors are JSON");
    let spi_of = |datagram: &[u8]| Spi(u32::from_be_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]));
    each(&vectors, |suite, sender, spi, packets| {
        if sender != Role::Mn {
            return;
        }
        let node = Node::new(true);
        // The first application has asked; then the device's second opens a tunnel too, and is the newest.
        node.open(&vectors, Role::Cn, suite, (spi, Spi(0x4444_4440)), 1);
        node.open(&vectors, Role::Cn, suite, (OTHER_SPI, Spi(0x5555_5550)), 2);
        let [first, second, ..] = packets else { panic!("there are several") };
        for packet in [first, second] {
            let question = node.arrive(&octets(&packet["packet"]));
            assert_eq!(spi_of(&node.leave(&answer(&question))), Spi(0x4444_4440), "{suite:?}");
        }
        // What nobody has asked for goes to the newest.
        let mut unasked = answer(&octets(&first["inner"]));
        unasked[21] ^= 1;
        assert_eq!(spi_of(&node.leave(&unasked)), Spi(0x5555_5550));
        // When the asking application's tunnel has gone, the peer's other one may do.
        let gone = node.table.receiving(spi).expect("it is installed");
        node.table.remove(&gone);
        assert_eq!(spi_of(&node.leave(&answer(&octets(&first["inner"])))), Spi(0x5555_5550));
    });
}

#[test]
fn what_is_set_aside_goes_through_no_tunnel() {
    let (path, mut events) = PacketPath::node(0, 1, Arc::new(OsClock)).expect("a free port");
    let (ours, kernel) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).expect("a pair");
    path.attach(vec![Queue::played(ours.into(), false)]);
    path.set_aside([100, 64, 0, 2].into());
    let vectors: Value = serde_json::from_str(PACKETS).expect("vectors are JSON");
    let packet = octets(&vectors["vectors"][0]["packets"][0]["inner"]);
    (&kernel).write_all(&packet).expect("the device takes it");
    let Some(Event::Aside(aside)) = events.blocking_recv() else { panic!("it is handed up") };
    assert_eq!(aside, packet);
    assert_eq!(path.counters().no_tunnel.get(), 0);
    assert!(path.deliver(&packet));
    let mut buffer = [0; 2_000];
    let length = (&kernel).read(&mut buffer).expect("it comes out");
    assert_eq!(buffer[..length], packet);
}
