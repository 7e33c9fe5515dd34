//! Scenarios in Rust: the same types, filled in by a chain of calls.
//!
//! ```
//! use ntmobile_lab::scenario::Scenario;
//! use ntmobile_lab::scenario::event::{Move, TrafficKind};
//! use ntmobile_lab::scenario::network::Nat;
//! use ntmobile_lab::scenario::units::{ms, secs};
//!
//! let scenario = Scenario::builder()
//!     .seed(7)
//!     .duration(secs(30))
//!     .domain("u1.example", |domain| domain.relays(1))
//!     .network("home", |network| network.nat(Nat::home()).delay(ms(8)))
//!     .network("office", |network| network.delay(ms(3)))
//!     .node("alice", |node| node.domain("u1.example").network("home").auth("public-key"))
//!     .node("bob", |node| node.domain("u1.example").network("office"))
//!     .traffic("alice", "bob", TrafficKind::udp(ms(10)))
//!     .moves(secs(20), "alice", "office")
//!     .build()?;
//! assert_eq!(Scenario::from_toml("copy", &scenario.to_toml())?, scenario);
//! # Ok::<(), ntmobile_lab::scenario::problem::ScenarioError>(())
//! ```

use super::entity::{AccountServer, Domain, Node};
use super::event::{Action, Event, Move, NetworkName, ServerName, Tcp, Traffic, TrafficKind, Udp};
use super::network::{Family, Firewall, Link, Nat, Network};
use super::plugin::Plugins;
use super::problem::ScenarioError;
use super::units::{Percent, Rate, Size, TimeSpan, secs};
use super::{Core, Scenario};

impl Scenario {
    /// Starts a scenario with nothing in it.
    pub fn builder() -> Builder {
        Builder { scenario: Self::default() }
    }
}

/// A scenario in the making; [`Builder::build`] checks it.
#[derive(Clone, Debug)]
pub struct Builder {
    scenario: Scenario,
}

impl Builder {
    /// What it shows, in a sentence.
    pub fn summary(mut self, text: impl Into<String>) -> Self {
        self.scenario.summary = text.into();
        self
    }

    /// What chance follows from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.scenario.world.seed = seed;
        self
    }

    /// How long is simulated.
    pub fn duration(mut self, duration: TimeSpan) -> Self {
        self.scenario.world.duration = duration;
        self
    }

    /// Choices of plugins that count everywhere.
    pub fn plugins(mut self, choose: impl FnOnce(Plugins) -> Plugins) -> Self {
        self.scenario.plugins = choose(self.scenario.plugins);
        self
    }

    /// The AS.
    pub fn account_server(mut self, change: impl FnOnce(AccountServer) -> AccountServer) -> Self {
        self.scenario.account_server = change(self.scenario.account_server);
        self
    }

    /// What befalls packets in the core.
    pub fn core(mut self, core: Core) -> Self {
        self.scenario.core = core;
        self
    }

    /// Adds a domain.
    pub fn domain(mut self, name: impl Into<String>, change: impl FnOnce(Domain) -> Domain) -> Self {
        self.scenario.domain.insert(name.into(), change(Domain::default()));
        self
    }

    /// Adds a network.
    pub fn network(mut self, name: impl Into<String>, change: impl FnOnce(Network) -> Network) -> Self {
        self.scenario.network.insert(name.into(), change(Network::default()));
        self
    }

    /// Adds a node.
    pub fn node(mut self, name: impl Into<String>, change: impl FnOnce(Node) -> Node) -> Self {
        self.scenario.node.insert(name.into(), change(Node::default()));
        self
    }

    /// Adds a conversation that starts after 2 s.
    pub fn traffic(self, from: impl Into<String>, to: impl Into<String>, kind: TrafficKind) -> Self {
        self.traffic_at(secs(2), from, to, kind)
    }

    /// Adds a conversation.
    pub fn traffic_at(
        mut self,
        start: TimeSpan,
        from: impl Into<String>,
        to: impl Into<String>,
        kind: TrafficKind,
    ) -> Self {
        self.scenario.traffic.push(Traffic { from: from.into(), to: to.into(), start, kind });
        self
    }

    /// Adds an event.
    pub fn at(mut self, at: TimeSpan, action: Action) -> Self {
        self.scenario.event.push(Event { at, action });
        self
    }

    /// A node moves, without a pause between its networks.
    pub fn moves(self, at: TimeSpan, node: impl Into<String>, to: impl Into<String>) -> Self {
        self.at(at, Action::Move(Move { node: node.into(), to: to.into(), offline: TimeSpan::ZERO }))
    }

    /// A server fails.
    pub fn fails(self, at: TimeSpan, server: impl Into<String>) -> Self {
        self.at(at, Action::Fail(ServerName { server: server.into() }))
    }

    /// A server that failed starts again.
    pub fn restarts(self, at: TimeSpan, server: impl Into<String>) -> Self {
        self.at(at, Action::Restart(ServerName { server: server.into() }))
    }

    /// The disk of a server that stores on one is full.
    pub fn disk_full(self, at: TimeSpan, server: impl Into<String>) -> Self {
        self.at(at, Action::DiskFull(ServerName { server: server.into() }))
    }

    /// It has room again.
    pub fn disk_free(self, at: TimeSpan, server: impl Into<String>) -> Self {
        self.at(at, Action::DiskFree(ServerName { server: server.into() }))
    }

    /// A network loses its link.
    pub fn link_down(self, at: TimeSpan, network: impl Into<String>) -> Self {
        self.at(at, Action::LinkDown(NetworkName { network: network.into() }))
    }

    /// A network has its link back.
    pub fn link_up(self, at: TimeSpan, network: impl Into<String>) -> Self {
        self.at(at, Action::LinkUp(NetworkName { network: network.into() }))
    }

    /// Checks it.
    pub fn build(self) -> Result<Scenario, ScenarioError> {
        self.scenario.check()?;
        Ok(self.scenario)
    }
}

impl TrafficKind {
    /// Datagrams of 200 bytes at this pace, until the run ends.
    pub fn udp(every: TimeSpan) -> Self {
        Self::Udp(Udp { every, ..Udp::default() })
    }

    /// A transfer of so many bytes.
    pub fn tcp(bytes: Size) -> Self {
        Self::Tcp(Tcp { bytes })
    }
}

impl AccountServer {
    /// One-way delay from its site to the core.
    pub fn delay(mut self, delay: TimeSpan) -> Self {
        self.delay = Some(delay);
        self
    }
}

impl Domain {
    /// How many RSs.
    pub fn relays(mut self, count: u8) -> Self {
        self.relays = count;
        self
    }

    /// How many NSs.
    pub fn notification_servers(mut self, count: u8) -> Self {
        self.notification_servers = count;
        self
    }

    /// One-way delay from its site to the core.
    pub fn delay(mut self, delay: TimeSpan) -> Self {
        self.delay = Some(delay);
        self
    }
}

impl Network {
    /// Puts a NAT before it; `None` for none.
    pub fn nat(mut self, nat: impl Into<Option<Nat>>) -> Self {
        self.nat = nat.into();
        self
    }

    /// Puts it behind another network.
    pub fn behind(mut self, network: impl Into<String>) -> Self {
        self.behind = Some(network.into());
        self
    }

    /// The address families it gives out.
    pub fn families(mut self, families: impl Into<Vec<Family>>) -> Self {
        self.families = families.into();
        self
    }

    /// What its border lets through.
    pub fn firewall(mut self, firewall: Firewall) -> Self {
        self.firewall = firewall;
        self
    }

    /// The link, as a whole.
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// The link's one-way delay.
    pub fn delay(mut self, delay: TimeSpan) -> Self {
        self.link.delay = delay;
        self
    }

    /// How often the link loses a packet.
    pub fn loss(mut self, loss: Percent) -> Self {
        self.link.loss = loss;
        self
    }

    /// The link's rate.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.link.rate = Some(rate);
        self
    }
}

impl Node {
    /// The domain it belongs to.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = domain.into();
        self
    }

    /// The network it is attached to.
    pub fn network(mut self, network: impl Into<String>) -> Self {
        self.network = network.into();
        self
    }

    /// When it starts.
    pub fn start(mut self, start: TimeSpan) -> Self {
        self.start = Some(start);
        self
    }
}
