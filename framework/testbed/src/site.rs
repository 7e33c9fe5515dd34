//! A network with two pairs of nodes that talk: Alice and Bob, behind NATs, through a relay; Alice and Carol, who is in the
//! open, directly. What is disturbed, and what is seen of it.

use crate::conversation::Conversation;
use crate::nat::Nat;
use crate::network::{Network, PATIENCE};
use crate::process::Process;
use crate::pulse::{Beat, Pulse};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// How long traffic may take to come back.
const LONGEST: Duration = Duration::from_secs(180);

/// The accounts of the nodes.
const NODES: [(&str, &str); 3] =
    [("alice", "alice@u1.example"), ("bob", "bob@u2.example"), ("carol", "carol@u2.example")];

/// A pair's traffic, from Alice.
struct Pair {
    pulse: Pulse,
    conversation: Conversation,
}

/// What became of both pairs' traffic.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Through the relay.
    pub relayed: Beat,
    /// Directly.
    pub direct: Beat,
}

/// The network and the nodes in it.
pub struct Site {
    /// The network.
    pub network: Network,
    /// Alice's NAT.
    pub nat: Nat,
    nodes: BTreeMap<&'static str, Process>,
    relayed: Pair,
    direct: Pair,
    /// What Alice's host was before it became a node.
    before: String,
    /// How many lines have been said.
    said: u32,
}

impl Site {
    /// Starts everything, and waits until both pairs talk.
    ///
    /// # Panics
    /// When they do not.
    pub fn start(prefix: &str, nat: Nat) -> Self {
        let mut network = Network::start(prefix);
        network.world.rules("home", &nat.rules());
        network.resolvers(&["alice", "bob", "carol"]);
        for (_, account) in NODES {
            network.add_account(account);
        }
        let before = network.looks("alice");
        let nodes = NODES.map(|(host, account)| (host, network.up(host, account))).into();
        let pair = |peer: &str| {
            let name = format!("{peer}.u2.example");
            let conversation = Conversation::open(&network, "alice", (peer, &name));
            let words = network.home.path().join(format!("pulse-{peer}.log"));
            // By its address, so that the names of the network are not part of it.
            let address = network.world.must("alice", &format!("getent ahostsv4 {name}"));
            let address = address.split_whitespace().next().expect("an address");
            Pair { pulse: Pulse::start(&network.world, "alice", address, &words), conversation }
        };
        let (relayed, direct) = (pair("bob"), pair("carol"));
        let mut site = Self { nodes, relayed, direct, before, said: 0, network, nat };
        let now = SystemTime::now();
        site.await_traffic(now, now);
        site
    }

    /// Waits until the traffic of both pairs is back for good after a disturbance from `began` to `over`, and shows that their
    /// connections are still the ones that they were.
    ///
    /// # Panics
    /// When it is not.
    pub fn await_traffic(&mut self, began: SystemTime, over: SystemTime) -> Outcome {
        let outcome = Outcome {
            relayed: self.relayed.pulse.await_steady(began, over, LONGEST),
            direct: self.direct.pulse.await_steady(began, over, LONGEST),
        };
        self.said += 1;
        // Long enough for many full packets.
        let mark = format!("{}{}.", "a long line ".repeat(10_000), self.said);
        self.relayed.conversation.goes_on(&mark);
        self.direct.conversation.goes_on(&mark);
        outcome
    }

    /// Kills a node's process without a word.
    ///
    /// # Panics
    /// When it did not run.
    pub fn kill(&mut self, host: &str) {
        let mut process = self.nodes.remove(host).expect("it runs");
        process.signal("KILL");
        process.end(PATIENCE);
    }

    /// Starts a node again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up(&mut self, host: &str) {
        let (host, account) = NODES.into_iter().find(|(name, _)| *name == host).expect("one of the nodes");
        self.nodes.insert(host, self.network.up(host, account));
    }

    /// Has Alice leave: her host is as it was before, in whatever network it is now.
    ///
    /// # Panics
    /// When it is not.
    pub fn leave_no_trace(mut self) {
        let mut alice = self.nodes.remove("alice").expect("she runs");
        alice.signal("TERM");
        assert_eq!(alice.end(PATIENCE), Some(0), "{}", alice.words());
        let before = self.before.replace("192.168.1.10 ", &format!("{} ", self.address()));
        self.network.await_looks("alice", &before);
        let left = std::fs::read_dir(self.network.home.path().join("run")).expect("there");
        let left: Vec<_> = left.flatten().map(|file| file.file_name()).collect();
        assert_eq!(left.len(), 3 * self.nodes.len(), "a journal, a socket and peers for each who runs: {left:?}");
    }

    /// The address that Alice has now.
    fn address(&self) -> String {
        let said = self.network.world.must("alice", "ip -4 -o addr show dev eth0");
        let address = said.split_whitespace().nth(3).and_then(|word| word.split('/').next());
        address.expect("she has one").to_owned()
    }
}
