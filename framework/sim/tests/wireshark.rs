//! What tshark makes of a capture: every packet understood, every checksum right, every tunnel open.
//!
//! It needs tshark 4.0 or newer, so it is not part of a plain test run: `cargo test -p ntmobile-sim --test wireshark --
//! --ignored` runs it.

use bytes::Bytes;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_sim::agenda::Agenda;
use ntmobile_sim::capture::{Capture, EspAssociation, WiresharkConfiguration};
use ntmobile_sim::network::{LinkRecord, NatRecord, Network, NodeId, NodeKind, Packet};
use ntmobile_wire::esp::{EspKey, EspSealer, HEADER_LENGTH, sealed_length};
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::subkey::Role;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const IPV4_IN_ESP: u8 = 4;

/// Two hosts with one family each, one of them behind a NAT.
struct World {
    network: Network,
    hosts: [NodeId; 2],
}

fn world() -> World {
    let mut network = Network::new(7);
    let link = LinkRecord { mtu: 1_400, ..LinkRecord::with_delay(Duration::from_millis(5)) };
    let core = network.add_node("core", NodeKind::Router).expect("a new name");
    let nat = network.add_node("nat", NodeKind::Nat(NatRecord::default())).expect("a new name");
    for (node, prefixes) in [(core, ["203.0.113.0/24", "2001:db8::/64"]), (nat, ["10.0.0.0/24", "2001:db8:1::/64"])] {
        for prefix in prefixes {
            network.serve(node, prefix.parse().expect("a prefix")).expect("a router");
        }
    }
    network.attach(nat, core, link).expect("addresses are left");
    let hosts = [("alice", nat), ("bob", core)].map(|(name, to)| {
        let host = network.add_node(name, NodeKind::Host).expect("a new name");
        network.attach(host, to, LinkRecord::default()).expect("addresses are left");
        host
    });
    World { network, hosts }
}

impl World {
    fn endpoint(&self, host: usize, ipv4: bool) -> SocketAddr {
        let addresses = self.network.addresses(self.hosts[host]);
        let address = addresses.into_iter().find(|address| address.is_ipv4() == ipv4);
        SocketAddr::new(address.expect("an address of the family"), [51_000, 4_500][host])
    }

    fn run(&mut self, packets: impl IntoIterator<Item = Packet>) {
        let mut agenda = Agenda::new();
        for packet in packets {
            self.network.send(Instant(0), self.hosts[0], packet).expect("the host can send");
        }
        loop {
            for (at, event) in self.network.drain_scheduled() {
                agenda.schedule(at, event);
            }
            let Some((at, event)) = agenda.pop() else { break };
            self.network.handle(at, event);
        }
    }
}

fn tshark(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("tshark")
        .env("WIRESHARK_CONFIG_DIR", directory.join("wireshark"))
        .arg("-r")
        .arg(directory.join("capture.pcapng"))
        .args(arguments)
        .output()
        .expect("tshark is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    assert!(!complaints.contains("rror"), "{complaints}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
#[ignore = "needs tshark"]
fn tshark_decrypts_the_tunnels_and_finds_nothing_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut world = world();
    let spi = Spi(0x0123_4560);
    let key = EspKey::derive(&Secret::from_bytes([7; 32]), CipherSuite::Aes128Gcm, Role::Mn, spi);
    let key = key.expect("a known suite");
    let sealer = EspSealer::new(spi, &key);

    let file = std::fs::File::create(directory.path().join("capture.pcapng")).expect("a file");
    let interfaces: Vec<_> = world.network.nodes().flat_map(|node| world.network.interfaces(node).to_vec()).collect();
    world.network.start_capture(Capture::new(Box::new(file), UnixTime(1_893_456_000)), interfaces);

    let virtual_address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    let inner = Packet::udp(
        virtual_address("100.64.0.1:7000"),
        virtual_address("100.64.0.2:7001"),
        Bytes::from_static(b"inside the tunnel"),
    );
    let inner = inner.expect("one family").to_bytes();
    let tunnelled = [true, false].map(|ipv4| {
        let mut buffer = vec![0; sealed_length(inner.len())];
        buffer[HEADER_LENGTH..][..inner.len()].copy_from_slice(&inner);
        sealer.seal(&mut buffer, inner.len(), IPV4_IN_ESP).expect("there is room");
        Packet::udp(world.endpoint(0, ipv4), world.endpoint(1, ipv4), buffer.into()).expect("one family")
    });
    let large = Packet::udp(world.endpoint(0, true), world.endpoint(1, true), vec![0xff; 1_440].into());
    let large = large.expect("one family");
    let too_large = large.clone().with_dont_fragment(true);
    let unknown: IpAddr = "192.0.2.1".parse().expect("an address");
    let lost = Packet::udp(world.endpoint(0, true), SocketAddr::new(unknown, 9), Bytes::new()).expect("one family");
    let mut segment = [0; 20];
    segment[12] = 5 << 4;
    segment[13] = 2;
    let (alice, bob) = (world.endpoint(0, true).ip(), world.endpoint(1, true).ip());
    let syn = Packet::tcp(alice, bob, Bytes::copy_from_slice(&segment)).expect("a segment");
    world.run(tunnelled.into_iter().chain([too_large, lost, syn, large]));
    world.network.finish_capture().expect("the disk is not full");

    let mut configuration = WiresharkConfiguration::new();
    let key_and_salt = key.wireshark_key();
    configuration.add_association(EspAssociation { spi: spi.0, suite: CipherSuite::Aes128Gcm, key_and_salt });
    configuration.add_port(51_000);
    configuration.write_to(&directory.path().join("wireshark")).expect("the disk is not full");

    let checks = ["ip.check_checksum", "udp.check_checksum", "tcp.check_checksum"];
    let checks: Vec<_> = checks.iter().flat_map(|check| ["-o".to_owned(), format!("{check}:TRUE")]).collect();
    let with = |more: &[&str]| {
        let arguments: Vec<&str> = checks.iter().map(String::as_str).chain(more.iter().copied()).collect();
        tshark(directory.path(), &arguments)
    };
    let wrong = "_ws.malformed || _ws.expert.group == \"Checksum\" || ip.checksum.status == 0 || udp.checksum.status == 0 \
                 || tcp.checksum.status == 0 || icmp.checksum.status == 0";
    assert_eq!(with(&["-Y", wrong]), "");
    let opened = with(&[
        "-Y",
        "udp.dstport == 7001 && data.data == \"inside the tunnel\"",
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
    ]);
    // One over IPv4 and one over IPv6, each passes three links and shows at both ends of each.
    assert_eq!(opened.lines().count(), 12, "{opened}");
    assert_eq!(opened.lines().next(), Some("alice>nat"));
    let kinds = with(&["-Y", "icmp", "-T", "fields", "-e", "icmp.type", "-e", "icmp.code"]);
    assert!(kinds.contains("3\t4") && kinds.contains("3\t0"), "{kinds}");
    let whole = with(&["-Y", "ip.reassembled.length == 1448"]);
    assert!(!whole.is_empty(), "fragments are made whole");
    let first = with(&["-c", "1", "-T", "fields", "-e", "frame.time_epoch"]);
    assert_eq!(first.trim(), "1893456000.000000000");
}
