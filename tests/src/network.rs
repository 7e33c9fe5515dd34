//! A small network on the bench: one AS, DCs, and nodes that join.

use crate::bench::{Bench, PORT, PacketOutcome, name, server};
use ntmobile_proto::account_server::{AccountServer, AccountServerConfig};
use ntmobile_proto::direction_coordinator::{DirectionCoordinator, DirectionCoordinatorConfig, OwnServer};
use ntmobile_proto::machine::Input;
use ntmobile_proto::node::{Node, NodeCommand, NodeConfig, NodeEvent};
use ntmobile_proto::notification_server::{NotificationServer, NotificationServerConfig};
use ntmobile_proto::packet::{Carried, InboundRefusal, Relayed};
use ntmobile_proto::relay_server::{RelayServer, RelayServerConfig};
use ntmobile_strategies::registry::{Choices, Kind, Registry};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::datagram::encode_source_unknown;
use ntmobile_wire::identifier::{ApplicationId, Transaction};
use ntmobile_wire::key::SecretText;
use ntmobile_wire::message::{Credential, SourceUnknown};
use ntmobile_wire::name::Account;
use std::time::Duration;

/// Which two DCs there are: domain, DC, its address.
pub const DOMAINS: [(&str, &str, &str); 2] =
    [("u1.example", "dc.u1.example", "192.0.2.11"), ("u2.example", "dc.u2.example", "192.0.2.12")];

/// The relay of a domain.
pub const RELAYS: [(&str, &str); 2] = [("rs.u1.example", "192.0.2.21"), ("rs.u2.example", "192.0.2.22")];

/// The Notification Server of a domain.
pub const NOTIFIERS: [(&str, &str); 2] = [("ns.u1.example", "192.0.2.31"), ("ns.u2.example", "192.0.2.32")];

/// An AS as it starts.
pub fn account_server(bench: &mut Bench) -> AccountServer {
    AccountServer::new(AccountServerConfig::default(), [9; 32], bench.entropy())
}

/// The settings of the DC of one of the [`DOMAINS`].
pub fn coordinator_config(index: usize, choices: &Choices) -> DirectionCoordinatorConfig {
    let (domain, dc, _) = DOMAINS[index];
    let strategies = Registry::builtin().choose(choices).expect("known strategies");
    let v4 = (format!("100.64.{}.0", 16 * index).parse().expect("an address"), 20);
    let v6 = format!("fd00:0:0:{}::", index + 1).parse().expect("an address");
    let mut config = DirectionCoordinatorConfig::new(name(dc), name(domain), name("as.example"), (v4, v6), strategies);
    config.account_server_addresses = Some(server("as.example", "192.0.2.1").tls);
    let own_server = |(text, address): (&str, &str)| {
        let at = server(text, address);
        OwnServer { name: at.name, signalling: at.signalling, tls: at.tls, notification: at.signalling }
    };
    config.relays = vec![OwnServer { notification: DualStack::default(), ..own_server(RELAYS[index]) }];
    config.notification_servers = vec![own_server(NOTIFIERS[index])];
    config
}

/// The DC of one of the [`DOMAINS`] as it starts.
pub fn coordinator(bench: &mut Bench, index: usize, choices: &Choices) -> DirectionCoordinator {
    DirectionCoordinator::new(coordinator_config(index, choices), bench.entropy())
}

/// An RS as it starts.
pub fn relay_server(bench: &mut Bench, relay: &str) -> RelayServer {
    RelayServer::new(RelayServerConfig::new(name(relay)), bench.entropy())
}

/// An NS as it starts.
pub fn notification_server(bench: &mut Bench, notifier: &str) -> NotificationServer {
    NotificationServer::new(NotificationServerConfig::new(name(notifier)), bench.entropy())
}

/// A node as it starts, with the right password.
pub fn node(bench: &mut Bench, account: &str, choices: &Choices) -> Node {
    Node::new(node_config(account, choices, "right"), bench.entropy())
}

/// The settings of a node.
pub fn node_config(account: &str, choices: &Choices, password: &str) -> NodeConfig {
    let account = Account::parse(account).expect("an account");
    let strategies = Registry::builtin().choose(choices).expect("known strategies");
    let password = Credential::Password(SecretText::new(password));
    let mut config = NodeConfig::new(account, password, name("as.example"), strategies);
    config.account_server_addresses = Some(server("as.example", "192.0.2.1").tls);
    config
}

/// A bench with an AS and two DCs that know each other by DNS, each with an RS and an NS.
pub fn network(seed: u64, choices: &Choices) -> Bench {
    let mut bench = Bench::new(seed);
    let machine = account_server(&mut bench);
    bench.place("as.example", machine, &["192.0.2.1"], None);
    for (index, (domain, dc, address)) in DOMAINS.into_iter().enumerate() {
        let (relay, relay_address) = RELAYS[index];
        place_relay(&mut bench, relay, relay_address);
        let (notifier, notifier_address) = NOTIFIERS[index];
        let machine = notification_server(&mut bench, notifier);
        bench.place(notifier, machine, &[notifier_address], None);
        bench.zone(domain, server(dc, address));
        let machine = coordinator(&mut bench, index, choices);
        bench.place(dc, machine, &[address], None);
    }
    bench
}

/// Puts an RS on the bench.
pub fn place_relay(bench: &mut Bench, relay: &str, address: &str) {
    let machine = relay_server(bench, relay);
    bench.place(relay, machine, &[address], None);
    forward_packets(bench, relay);
}

/// Lets an RS forward packets by its machine's table.
pub fn forward_packets(bench: &mut Bench, relay: &str) {
    let machine = &bench.at::<RelayServer>(relay).machine;
    let (table, session) = (machine.table(), machine.session());
    bench.packet_path(relay, move |now, from, packet| match table.relay(now, from, &packet) {
        Relayed::To(to) => vec![PacketOutcome::Count("relay.packet_forwarded"), PacketOutcome::Send(to, packet)],
        Relayed::SourceUnknown(spi) => {
            let answer = encode_source_unknown(Transaction(0), session, &SourceUnknown { spi });
            vec![PacketOutcome::Count("relay.source_unknown"), PacketOutcome::Send(from, answer)]
        }
        Relayed::Drop(_) => vec![PacketOutcome::Count("relay.packet_dropped")],
    });
}

/// Lets a node open packets by its machine's tunnels.
pub fn open_packets(bench: &mut Bench, node: &str) {
    let tunnels = bench.at::<Node>(node).machine.tunnels();
    bench.packet_path(node, move |now, from, packet| {
        let octets = packet.len();
        let inbound = match tunnels.inbound(now, from, packet) {
            Ok(inbound) => inbound,
            Err(refusal) => {
                let answer = match refusal {
                    InboundRefusal::UnknownSpi(spi) => tunnels.source_unknown(now, spi, octets),
                    _ => None,
                };
                let answer = answer.map(|answer| PacketOutcome::Send(from, answer));
                return answer.into_iter().chain([PacketOutcome::Count("node.packet_refused")]).collect();
            }
        };
        let told = inbound.notices.into_iter().map(|notice| PacketOutcome::Tell(Input::PacketPath(notice)));
        let carried = match inbound.carried {
            Carried::Packet(packet) => Some(PacketOutcome::Arrived(packet)),
            Carried::Control(bytes) => {
                Some(PacketOutcome::Tell(Input::TunnelControl { tunnel: inbound.tunnel, bytes }))
            }
            Carried::Nothing => None,
        };
        told.chain(carried).collect()
    });
}

/// Puts a node on the bench and lets it join.
pub fn join(bench: &mut Bench, account: &str, choices: &Choices, address: &str, outside: Option<&str>) {
    bench.passwords.insert(account.to_owned(), "right".to_owned());
    let machine = node(bench, account, choices);
    join_as(bench, machine, account, address, outside);
}

/// Puts a node of one's own making on the bench and lets it join.
pub fn join_as(bench: &mut Bench, machine: Node, account: &str, address: &str, outside: Option<&str>) {
    let who = Account::parse(account).expect("an account").node();
    bench.place(who.as_str(), machine, &[address], outside);
    open_packets(bench, who.as_str());
    bench.run_for(Duration::ZERO);
    bench.command::<Node>(who.as_str(), NodeCommand::Join);
}

/// Sends text to a peer through the tunnel that stands: an IPv6 and UDP packet, whose checksum nobody here looks at.
/// Whether there was a tunnel.
pub fn say(bench: &mut Bench, from: &str, to: &str, text: &[u8]) -> bool {
    let tunnels = bench.at::<Node>(from).machine.tunnels();
    let Some(tunnel) = tunnels.tunnels().into_iter().find(|tunnel| tunnel.settings().peer == name(to)) else {
        return false;
    };
    let (local, remote) = (tunnel.settings().local.v6, tunnel.settings().remote.v6);
    let length = u16::try_from(8 + text.len()).expect("a short text");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[17, 64]);
    packet.extend_from_slice(&local.octets());
    packet.extend_from_slice(&remote.octets());
    packet.extend_from_slice(&[0x30, 0x39, 0x30, 0x39]);
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(text);
    let Ok((next_hop, sealed)) = tunnels.outbound(bench.now, &packet) else { return false };
    bench.transmit(from, next_hop, sealed);
    true
}

/// How often a text has arrived at a node.
pub fn heard(bench: &Bench, who: &str, text: &[u8]) -> usize {
    let who = name(who);
    bench.packets.iter().filter(|(_, host, packet)| *host == who && packet.ends_with(text)).count()
}

/// Asks a node for a tunnel.
pub fn connect(bench: &mut Bench, who: &str, peer: &str, waiter: u64) {
    let command = NodeCommand::Connect { waiter, peer: name(peer), application: ApplicationId(0) };
    bench.command::<Node>(who, command);
}

/// Whether a node has joined.
pub fn joined(bench: &mut Bench, who: &str) -> bool {
    bench.at::<Node>(who).events.iter().any(|(_, event)| matches!(event, NodeEvent::Joined { .. }))
}

/// Every choice of strategies of these kinds, the others being the default.
pub fn every_choice(kinds: &[Kind]) -> Vec<Choices> {
    let registry = Registry::builtin();
    let mut all = vec![Choices::default()];
    for kind in kinds {
        let names = registry.names(*kind);
        let with = |choices: &Choices, name: &str| {
            let mut choices = choices.clone();
            choices.set(*kind, name);
            choices
        };
        all = all.iter().flat_map(|choices| names.iter().map(|name| with(choices, name))).collect();
    }
    all
}

/// What a node has told about a waiter, if anything.
pub fn outcome(bench: &mut Bench, who: &str, waiter: u64) -> Option<NodeEvent> {
    let events = &bench.at::<Node>(who).events;
    let told = events.iter().map(|(_, event)| event).filter(|event| match event {
        NodeEvent::Connected { waiter: told, .. } | NodeEvent::ConnectFailed { waiter: told, .. } => *told == waiter,
        _ => false,
    });
    let told: Vec<_> = told.cloned().collect();
    assert!(told.len() <= 1, "{who} was told twice about {waiter}: {told:?}");
    told.into_iter().next()
}

/// Where an address's signalling port is.
pub fn at(address: &str) -> std::net::SocketAddr {
    format!("{address}:{PORT}").parse().expect("an address")
}

/// How long a message takes between these two, one way, in microseconds: primes, so that every path has a length of its own.
const LINKS: [(&str, &str, u64); 19] = [
    ("alice.u1.example", "dc.u1.example", 7_919),
    ("alice.u1.example", "as.example", 12_553),
    ("alice.u1.example", "rs.u1.example", 9_473),
    ("alice.u1.example", "rs.u2.example", 21_001),
    ("alice.u1.example", "ns.u1.example", 6_991),
    ("alice.u1.example", "bob.u2.example", 31_337),
    ("bob.u2.example", "dc.u2.example", 11_003),
    ("bob.u2.example", "as.example", 17_377),
    ("bob.u2.example", "rs.u1.example", 23_459),
    ("bob.u2.example", "rs.u2.example", 8_513),
    ("bob.u2.example", "ns.u2.example", 10_007),
    ("dc.u1.example", "dc.u2.example", 19_541),
    ("dc.u1.example", "as.example", 5_003),
    ("dc.u2.example", "as.example", 14_843),
    ("dc.u1.example", "rs.u1.example", 2_003),
    ("dc.u2.example", "rs.u2.example", 3_001),
    ("dc.u1.example", "ns.u1.example", 1_009),
    ("dc.u2.example", "ns.u2.example", 4_001),
    ("alice.u1.example", "dc.u2.example", 27_011),
];

/// Gives every link of the bench a delay of its own.
pub fn distinct_delays(bench: &mut Bench) {
    for (one, other, micros) in LINKS {
        bench.set_delay(one, other, Duration::from_micros(micros));
    }
}
