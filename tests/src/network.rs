//! A small network on the bench: one AS, DCs, and nodes that join.

use crate::bench::{Bench, PORT, name, server};
use ntmobile_proto::account_server::{AccountServer, AccountServerConfig};
use ntmobile_proto::direction_coordinator::{DirectionCoordinator, DirectionCoordinatorConfig, OwnServer};
use ntmobile_proto::node::{Node, NodeCommand, NodeConfig, NodeEvent};
use ntmobile_proto::notification_server::{NotificationServer, NotificationServerConfig};
use ntmobile_proto::packet::Relayed;
use ntmobile_proto::relay_server::{RelayServer, RelayServerConfig};
use ntmobile_strategies::registry::{Choices, Kind, Registry};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::key::SecretText;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::Account;
use std::time::Duration;

/// Which two DCs there are: domain, DC, its address.
pub const DOMAINS: [(&str, &str, &str); 2] =
    [("u1.example", "dc.u1.example", "192.0.2.11"), ("u2.example", "dc.u2.example", "192.0.2.12")];

/// The relay of a domain.
pub const RELAYS: [(&str, &str); 2] = [("rs.u1.example", "192.0.2.21"), ("rs.u2.example", "192.0.2.22")];

/// The Notification Server of a domain.
pub const NOTIFIERS: [(&str, &str); 2] = [("ns.u1.example", "192.0.2.31"), ("ns.u2.example", "192.0.2.32")];

/// A bench with an AS and two DCs that know each other by DNS.
pub fn network(seed: u64, choices: &Choices) -> Bench {
    let mut bench = Bench::new(seed);
    let strategies = Registry::builtin().choose(choices).expect("known strategies");
    let account_server = AccountServer::new(AccountServerConfig::default(), [9; 32], bench.entropy());
    bench.place("as.example", account_server, &["192.0.2.1"], None);
    for (index, (domain, dc, address)) in DOMAINS.iter().enumerate() {
        let v4 = (format!("100.64.{}.0", 16 * index).parse().expect("an address"), 20);
        let v6 = format!("fd00:0:0:{}::", index + 1).parse().expect("an address");
        let mut config =
            DirectionCoordinatorConfig::new(name(dc), name(domain), name("as.example"), (v4, v6), strategies.clone());
        config.account_server_addresses = Some(server("as.example", "192.0.2.1").tls);
        let (relay, relay_address) = RELAYS[index];
        let relay_at = server(relay, relay_address);
        config.relays = vec![OwnServer {
            name: name(relay),
            signalling: relay_at.signalling,
            tls: relay_at.tls,
            notification: DualStack::default(),
        }];
        let machine = RelayServer::new(RelayServerConfig::new(name(relay)), bench.entropy());
        let table = machine.table();
        bench.place(relay, machine, &[relay_address], None);
        bench.forward_esp(relay, move |now, from, packet| match table.relay(now, from, &packet) {
            Relayed::To(to) => Some((to, packet)),
            _ => None,
        });
        let (notifier, notifier_address) = NOTIFIERS[index];
        let notifier_at = server(notifier, notifier_address);
        config.notification_servers = vec![OwnServer {
            name: name(notifier),
            signalling: notifier_at.signalling,
            tls: notifier_at.tls,
            notification: notifier_at.signalling,
        }];
        let machine_config = NotificationServerConfig::new(name(notifier));
        let machine = NotificationServer::new(machine_config, bench.entropy());
        bench.place(notifier, machine, &[notifier_address], None);
        bench.zone(domain, server(dc, address));
        let machine = DirectionCoordinator::new(config, bench.entropy());
        bench.place(dc, machine, &[address], None);
    }
    bench
}

/// Puts a node on the bench and lets it join.
pub fn join(bench: &mut Bench, account: &str, choices: &Choices, address: &str, outside: Option<&str>) {
    let account = Account::parse(account).expect("an account");
    let strategies = Registry::builtin().choose(choices).expect("known strategies");
    let password = Credential::Password(SecretText::new("right"));
    let mut config = NodeConfig::new(account.clone(), password, name("as.example"), strategies);
    config.account_server_addresses = Some(server("as.example", "192.0.2.1").tls);
    bench.passwords.insert(account.to_string(), "right".to_owned());
    let who = account.node();
    let node = Node::new(config, bench.entropy());
    bench.place(who.as_str(), node, &[address], outside);
    bench.run_for(Duration::ZERO);
    bench.command::<Node>(who.as_str(), NodeCommand::Join);
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
