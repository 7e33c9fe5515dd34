//! A scenario's world as a stage for applications of one's own: for examples, tutorials and the tests of applications.
//!
//! ```
//! use ntmobile_lab::scenario::Scenario;
//! use ntmobile_lab::world::stage::play;
//!
//! let scenario = Scenario::builder()
//!     .domain("u1.example", |domain| domain)
//!     .network("office", |network| network)
//!     .node("alice", |node| node.domain("u1.example").network("office"))
//!     .build()?;
//! let name = play(&scenario, |stage| async move { stage.node("alice").await.map(|alice| alice.name().to_string()) })??;
//! assert_eq!(name, "alice.u1.example");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::WorldError;
use super::credentials::Credentials;
use super::events::{Happenings, schedule};
use super::internet::Internet;
use super::names::Names;
use super::nodes::{Nodes, credential, device};
use super::servers::Servers;
use super::topology::Topology;
use super::traffic::Board;
use crate::scenario::Scenario;
use crate::scenario::problem::ScenarioError;
use ntmobile_actors::library::{Device, Node};
use ntmobile_proto::time::UnixTime;
use ntmobile_sim::ports::clock::SimClock;
use ntmobile_sim::{Simulation, SimulationFailure};
use ntmobile_telemetry::{Recorder, Timeline, TimelineError};
use ntmobile_wire::message::Credential;
use std::rc::Rc;
use std::sync::Arc;
use thiserror::Error;

/// Why a play did not come to its end.
#[derive(Debug, Error)]
pub enum StageError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The scenario's times do not fit into a trace.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// The world cannot be put together.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Somebody panicked, waits for what will never happen, or the scenario's time is over.
    #[error(transparent)]
    Simulation(#[from] SimulationFailure),
}

/// A node is not on the stage.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{node} is not there: {why}")]
pub struct Absent {
    /// The node, as the scenario calls it.
    pub node: String,
    /// Why.
    pub why: Arc<str>,
}

/// A world in which the scenario's servers run, its nodes join, and its events take place. Its own traffic does not:
/// the applications are yours.
pub struct Stage {
    scenario: Rc<Scenario>,
    internet: Rc<Internet>,
    credentials: Rc<Credentials>,
    nodes: Nodes,
    _names: Names,
    _servers: Rc<Servers>,
}

impl Stage {
    /// Waits until a node of the scenario has joined its network.
    pub async fn node(&self, name: &str) -> Result<Node, Absent> {
        self.nodes.joined(name).await.map_err(|why| Absent { node: name.to_owned(), why })
    }

    /// The device of a node of the scenario once more, for applications that join by hand.
    pub fn device(&self, name: &str) -> Result<Device, WorldError> {
        Ok(device(&self.scenario, &self.internet, &self.credentials, name)?)
    }

    /// What a node of the scenario proves itself with: its password, or that its device shows its certificate.
    pub fn credential(&self, name: &str) -> Credential {
        credential(&self.credentials, name)
    }

    /// Takes any host's power away, also that of a name server, which no event reaches: `root-server`.
    pub fn crash(&self, host: &str) -> Result<(), WorldError> {
        Ok(self.internet.crash(host)?)
    }

    /// The world's time.
    pub fn clock(&self) -> SimClock {
        self.internet.world.clock()
    }

    async fn set(scenario: Rc<Scenario>, internet: Rc<Internet>) -> Result<Self, WorldError> {
        let names = Names::start(&scenario, &internet)?;
        let credentials = Rc::new(Credentials::draw(&scenario, &internet)?);
        let servers = Servers::start(Rc::clone(&scenario), Rc::clone(&internet), Rc::clone(&credentials)).await?;
        let board = Board::new(Arc::new(internet.world.clock()), &[]);
        let nodes = Nodes::start(&scenario, &internet, &credentials, &board)?;
        // What an event could not do shows in the applications.
        schedule(&scenario, &internet, &servers, &Rc::new(Happenings::default()));
        Ok(Self { scenario, internet, credentials, nodes, _names: names, _servers: servers })
    }
}

/// Lets applications play in a scenario's world until they are done, and returns what they return. Nothing is written.
pub fn play<T, F>(scenario: &Scenario, applications: impl FnOnce(Stage) -> F + 'static) -> Result<T, StageError>
where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    scenario.check()?;
    let (epoch, duration) = (UnixTime(scenario.world.epoch), scenario.world.duration.duration());
    let recorder = Recorder::new(Timeline::new(epoch, duration)?, std::io::sink());
    let mut simulation = Simulation::new(scenario.world.seed).with_epoch(epoch).with_time_limit(duration);
    let world = simulation.world();
    let topology = world.network(|network| Topology::build(scenario, network)).map_err(WorldError::from)?;
    let internet = Internet::new(scenario, world, topology, recorder).map_err(WorldError::from)?;
    let (scenario, internet) = (Rc::new(scenario.clone()), Rc::new(internet));
    let played = simulation.run(async move {
        let stage = Stage::set(scenario, internet).await?;
        Ok::<T, WorldError>(applications(stage).await)
    })?;
    Ok(played?)
}
