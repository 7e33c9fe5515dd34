//! What the report says, as plain data: everything on the page is here, and nothing else is.
//!
//! Times are nanoseconds of virtual time since the run began, durations nanoseconds. There is no wall-clock time, so the same
//! seed gives the same page.

use ntmobile_telemetry::sequence::Sequence;
use serde::{Deserialize, Serialize};

/// A whole report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which run.
    pub run: Run,
    /// The world at its beginning, and who moves.
    pub topology: Topology,
    /// What was measured.
    pub conversations: Vec<Conversation>,
    /// How many conversations there were beyond those.
    pub conversations_left_out: usize,
    /// Sequence diagrams.
    pub diagrams: Vec<Diagram>,
    /// How many traces have no diagram here.
    pub diagrams_left_out: usize,
    /// What was counted.
    pub counters: Vec<Counter>,
    /// What was measured often.
    pub distributions: Vec<Distribution>,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// How much more went wrong.
    pub failures_left_out: usize,
}

/// Which run it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// What the scenario shows, in a sentence.
    pub summary: String,
    /// The seed.
    pub seed: u64,
    /// Whether it came to its end.
    pub complete: bool,
    /// The program's version.
    pub version: String,
    /// The revision that it was built from, where that was known.
    pub revision: Option<String>,
    /// How much time passed in it.
    pub simulated: u64,
    /// How many events happened in the simulator.
    pub events: u64,
    /// The command that gives the same run again.
    pub command: String,
    /// What it was like, if it ran on the real kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lab: Option<Lab>,
    /// The plugins that counted.
    pub plugins: Vec<Plugin>,
    /// Other files of the run, by name and what is in them; they lie beside the report.
    pub files: Vec<(String, String)>,
}

/// A run on the real kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lab {
    /// What is known of it and of the machine, as pairs of a name and a value.
    pub facts: Vec<(String, String)>,
    /// Why its times are not to be trusted; empty where they are.
    pub overload: Vec<String>,
}

/// One choice of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// What it does, such as `relay-handshake`.
    pub kind: String,
    /// Its name, such as `forwarded`.
    pub name: String,
    /// Who chose it.
    pub entities: Vec<String>,
}

/// What is connected to what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// The AS and every domain's servers.
    pub sites: Vec<Site>,
    /// Access networks; one that is behind another comes after it.
    pub networks: Vec<Network>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Who moves.
    pub moves: Vec<Move>,
}

/// Servers at one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The domain, or `Account Server`.
    pub name: String,
    /// The servers' own names, such as `dc`, `rs1`.
    pub servers: Vec<String>,
    /// One-way delay to the core.
    pub delay: u64,
}

/// An access network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The network that it is behind; none if it is connected to the core.
    pub behind: Option<String>,
    /// Its NAT in a word, such as `symmetric`, if it has one.
    pub nat: Option<String>,
    /// Everything about its NAT, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nat_record: String,
    /// What its firewall does, if it does anything.
    pub firewall: Option<String>,
    /// Which families it gives out, such as `IPv4`.
    pub families: String,
    /// One-way delay of its link.
    pub delay: u64,
    /// What else its link does, such as `loss 30 %`.
    pub link: String,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its own name, without the domain.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// Where it is attached when the run begins, the preferred network first.
    pub networks: Vec<String>,
}

/// A change of network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// Who.
    pub node: String,
    /// Where to; `None` where it only loses what it had.
    pub to: Option<String>,
    /// When.
    pub at: u64,
}

/// One conversation and what was measured of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Who started.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// The networks that they were in, such as `home ↔ carrier`.
    pub networks: String,
    /// `udp`, `tcp` or `ping`.
    pub kind: String,
    /// When the name look-up began.
    pub start: u64,
    /// Which way its packets went.
    pub path: Option<Path>,
    /// Why they went that way.
    pub reason: Option<String>,
    /// From the name look-up to the moment the application could send.
    pub set_up: Option<u64>,
    /// The same in round trips between the ends.
    pub set_up_round_trips: Option<f64>,
    /// The least that the sequence can take over these links.
    pub bound: Option<u64>,
    /// Application datagrams sent; 0 for streams.
    pub sent: u64,
    /// Those of them that never arrived.
    pub lost: u64,
    /// Application bytes that reached the other end.
    pub bytes: u64,
    /// How long a stream's transfer took.
    pub transfer: Option<u64>,
    /// Round trips through the tunnel.
    pub round_trip: Option<RoundTrip>,
    /// The longest silence around a handover.
    pub gap: Option<u64>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The diagram of how it was set up, by its index.
    pub diagram: Option<usize>,
}

/// Which way packets went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// End to end.
    Direct,
    /// Through the RS of this name.
    Relayed(String),
}

/// The distribution of round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// The shortest.
    pub least: u64,
    /// The one in the middle.
    pub median: u64,
    /// The longest.
    pub most: u64,
}

/// A sequence diagram and what it is of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagram {
    /// What it is of, such as `alice → bob`.
    pub title: String,
    /// Why it took place, such as `handover`.
    pub occasion: String,
    /// Whether it is of a conversation; otherwise of a node that joins.
    pub conversation: bool,
    /// When it began.
    pub start: u64,
    /// The diagram.
    pub sequence: Sequence,
}

/// Something that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// How much each entity counted.
    pub entities: Vec<(String, u64)>,
}

impl Counter {
    /// How much all counted together.
    pub fn total(&self) -> u64 {
        self.entities.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// Something of which many values were taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Its name.
    pub name: String,
    /// Who took them.
    pub entity: String,
    /// Their unit.
    pub unit: String,
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// Something that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, if that is known.
    pub at: Option<u64>,
    /// Where.
    pub entity: String,
    /// What was tried.
    pub what: String,
    /// Why it failed.
    pub why: String,
}
