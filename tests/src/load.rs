//! A network under load: tunnels that stand and are used, new keys every few seconds, and all the while nodes that log in,
//! register, move, and ask for new tunnels.

use crate::bench::{Bench, name};
use crate::network::{
    account_server, connect, coordinator, forward_packets, heard, join_as, joined, network, node_config,
    notification_server, open_packets, outcome, relay_server, say,
};
use ntmobile_proto::node::{Node, NodeCommand, NodeConfig, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_wire::name::{Account, Fqdn};
use std::collections::BTreeMap;
use std::time::Duration;

/// The nodes that are there from the beginning: account, reachability, own address, NAT.
pub const NODES: [(&str, &str, &str, Option<&str>); 5] = [
    ("alice@u1.example", "udp-keepalive", "10.0.0.2", Some("198.51.100.1")),
    ("bob@u2.example", "udp-keepalive", "10.0.0.3", Some("198.51.100.2")),
    ("carol@u1.example", "udp-keepalive", "203.0.113.5", None),
    ("dave@u2.example", "tcp-ns", "203.0.113.6", None),
    ("erin@u1.example", "tcp-ns", "10.0.0.4", Some("198.51.100.3")),
];

/// Which of them talk from the beginning: through a relay, directly, to one that has to be woken, and by one that moves.
pub const PAIRS: [(&str, &str); 4] = [
    ("alice.u1.example", "bob.u2.example"),
    ("bob.u2.example", "carol.u1.example"),
    ("carol.u1.example", "dave.u2.example"),
    ("erin.u1.example", "bob.u2.example"),
];

/// Who calls new peers now and then, and whom: each pair talks once and then lets its tunnel be.
const CALLERS: [&str; 2] = ["bob.u2.example", "dave.u2.example"];

/// How old a tunnel key grows.
const REKEY_AFTER: Duration = Duration::from_secs(3);

/// The network with what has been asked of it.
pub struct Load {
    /// The bench.
    pub bench: Bench,
    choices: Choices,
    /// How the nodes were set up, to set them up the same way again.
    configs: BTreeMap<Fqdn, NodeConfig>,
    waiters: u64,
    newcomers: u64,
    turn: u64,
    /// Who asked for whom, by waiter.
    asked: BTreeMap<u64, (Fqdn, Fqdn)>,
}

impl Load {
    /// A network in which everybody has joined and the [`PAIRS`] talk.
    ///
    /// # Panics
    /// When one of them cannot.
    pub fn new(seed: u64, choices: &Choices) -> Self {
        let mut load = Self {
            bench: network(seed, choices),
            choices: choices.clone(),
            configs: BTreeMap::new(),
            waiters: 0,
            newcomers: 0,
            turn: 0,
            asked: BTreeMap::new(),
        };
        for (account, reachability, address, nat) in NODES {
            load.join(account, reachability, address, nat);
        }
        load.bench.run_for(Duration::from_secs(2));
        for (account, ..) in NODES {
            let node = Account::parse(account).expect("an account").node();
            assert!(joined(&mut load.bench, node.as_str()), "{node}: {:?}", load.bench.counters);
        }
        load.ask_all();
        load.bench.run_for(Duration::from_secs(2));
        load.assert_all_connected("before anything happens");
        load
    }

    fn join(&mut self, account: &str, reachability: &str, address: &str, nat: Option<&str>) {
        let mut choices = self.choices.clone();
        choices.set(Kind::Reachability, reachability);
        let mut config = node_config(account, &choices, "right");
        config.rekey_after = REKEY_AFTER;
        self.bench.passwords.insert(account.to_owned(), "right".to_owned());
        let machine = Node::new(config.clone(), self.bench.entropy());
        self.configs.insert(config.account.node(), config);
        join_as(&mut self.bench, machine, account, address, nat);
    }

    /// Asks for a tunnel for each of the [`PAIRS`].
    pub fn ask_all(&mut self) {
        for (from, to) in PAIRS {
            self.ask(from, to);
        }
    }

    fn ask(&mut self, from: &str, to: &str) {
        self.waiters += 1;
        self.asked.insert(self.waiters, (name(from), name(to)));
        connect(&mut self.bench, from, to, self.waiters);
    }

    /// Half a second of it: everybody says a word; somebody logs in, is called, or moves.
    pub fn go_on(&mut self) {
        self.turn += 1;
        let word = format!("turn {}", self.turn);
        for (from, to) in PAIRS {
            say(&mut self.bench, from, to, word.as_bytes());
            say(&mut self.bench, to, from, word.as_bytes());
        }
        match self.turn % 4 {
            0 => {
                self.newcomers += 1;
                let account = format!("new{}@u{}.example", self.newcomers, 1 + self.newcomers % 2);
                let reachability = if self.newcomers.is_multiple_of(3) { "tcp-ns" } else { "udp-keepalive" };
                let address = format!("203.0.113.{}", 100 + self.newcomers);
                self.join(&account, reachability, &address, None);
            }
            2 if self.newcomers > 0 => {
                let domain = 1 + self.newcomers % 2;
                let newcomer = format!("new{}.u{domain}.example", self.newcomers);
                let caller = CALLERS[usize::from(self.newcomers.is_multiple_of(2))];
                self.ask(caller, &newcomer);
            }
            3 => {
                let outside = format!("198.51.100.{}", 100 + self.turn % 100);
                self.bench.move_to("erin.u1.example", &["10.0.0.4"], Some(&outside));
            }
            _ => {}
        }
        self.bench.run_for(Duration::from_millis(500));
    }

    /// Ends a host's process and starts it again on what it has stored.
    pub fn restart(&mut self, who: &str) {
        let bench = &mut self.bench;
        if let Some(config) = self.configs.get(&name(who)) {
            let machine = Node::new(config.clone(), bench.entropy());
            bench.restart(who, machine);
            open_packets(bench, who);
            bench.run_for(Duration::ZERO);
            bench.command::<Node>(who, NodeCommand::Join);
            bench.run_for(Duration::from_secs(1));
            // Its applications have started anew, too, and know nothing of what they had asked.
            self.asked.retain(|_, (from, _)| *from != name(who));
            for (from, to) in PAIRS {
                if from == who {
                    self.ask(from, to);
                }
            }
            return;
        }
        match &who[..2] {
            "as" => {
                let machine = account_server(bench);
                bench.restart(who, machine);
            }
            "dc" => {
                let machine = coordinator(bench, usize::from(who.starts_with("dc.u2")), &self.choices);
                bench.restart(who, machine);
            }
            "rs" => {
                let machine = relay_server(bench, who);
                bench.restart(who, machine);
                forward_packets(bench, who);
            }
            _ => {
                let machine = notification_server(bench, who);
                bench.restart(who, machine);
            }
        }
    }

    /// Everybody who has asked for a tunnel has been told that it stands.
    ///
    /// # Panics
    /// When one was told otherwise or nothing.
    pub fn assert_all_connected(&mut self, when: &str) {
        for (waiter, (from, to)) in self.asked.clone() {
            let told = outcome(&mut self.bench, from.as_str(), waiter);
            let stands = matches!(told, Some(NodeEvent::Connected { .. }));
            assert!(stands, "{when}: {from} to {to}: {told:?} {:?}", self.bench.counters);
        }
    }

    /// The [`PAIRS`] hear each other, both ways.
    ///
    /// # Panics
    /// When one does not.
    pub fn assert_all_talk(&mut self, when: &str) {
        let word = format!("{when} at {:?}", self.bench.now);
        for (from, to) in PAIRS {
            for (from, to) in [(from, to), (to, from)] {
                let word = format!("{word} from {from} to {to}");
                let said = say(&mut self.bench, from, to, word.as_bytes());
                self.bench.run_for(Duration::from_millis(200));
                let heard = heard(&self.bench, to, word.as_bytes());
                assert!(said && heard == 1, "{word}: said {said}, heard {heard} times, {:?}", self.bench.counters);
            }
        }
    }

    /// The permanent addresses of everybody who has joined.
    pub fn addresses(&mut self) -> BTreeMap<Fqdn, String> {
        let nodes: Vec<_> = self.configs.keys().cloned().collect();
        let mut all = BTreeMap::new();
        for node in nodes {
            let events = &self.bench.at::<Node>(node.as_str()).events;
            let joined = events.iter().find_map(|(_, event)| match event {
                NodeEvent::Joined { addresses, .. } => Some(format!("{addresses:?}")),
                _ => None,
            });
            all.extend(joined.map(|addresses| (node, addresses)));
        }
        all
    }
}
