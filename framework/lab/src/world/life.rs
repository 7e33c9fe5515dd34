//! The life of a world, from its first server to the end of the scenario's time.

use super::conclusion::conclude;
use super::credentials::{Credentials, CredentialsError};
use super::events::{Happenings, schedule};
use super::guest::{Guest, Visit};
use super::internet::{EquipmentError, Internet};
use super::names::{Names, NamesError};
use super::nodes::{NodeError, Nodes};
use super::servers::{ServerError, Servers};
use super::topology::{Topology, TopologyError};
use super::traffic::{Board, converse};
use crate::progress::{Phase, Progress};
use crate::record::events::EventLog;
use crate::record::{Conversation, RunDirectory};
use crate::run::RunError;
use crate::scenario::Scenario;
use ntmobile_actors::library::Node;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::sizes::Sizes;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_sim::capture::Capture;
use ntmobile_sim::network::Counters;
use ntmobile_sim::{Simulation, SimulationFailure, World};
use ntmobile_telemetry::{Recorder, Timeline};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How often a world tells how far it is, and looks whether it is to stop.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Why a world cannot be put together.
#[derive(Debug, Error)]
pub enum WorldError {
    /// Its internet.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// What an entity needs.
    #[error(transparent)]
    Equipment(#[from] EquipmentError),
    /// Its DNS.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// A server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// An account.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Something that the scenario lets happen could not happen.
    #[error("an event could not take place: {0}")]
    Event(String),
}

/// What is written while a world lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Spans, metrics and events of every entity. A report needs them.
    pub trace: bool,
    /// Every packet on every interface.
    pub capture: bool,
}

impl Recording {
    /// All of it.
    pub const EVERYTHING: Self = Self { trace: true, capture: true };

    /// None of it: for crowds, of which only the results are wanted.
    pub const NOTHING: Self = Self { trace: false, capture: false };
}

/// A world whose internet stands and in which nobody lives yet.
pub struct Life {
    scenario: Rc<Scenario>,
    simulation: Simulation,
    world: World,
    internet: Rc<Internet>,
    recorder: Recorder,
    events: Option<EventLog>,
    board: Board,
    directory: RunDirectory,
    visits: Vec<Visit>,
}

/// What is left of a world.
pub struct Lived {
    /// What was measured.
    pub conversations: Vec<Conversation>,
    /// How far it came.
    pub end: Instant,
    /// How many events there were.
    pub events: u64,
    /// What became of all packets.
    pub packets: Counters,
    /// How much each entity held at the end, by its name in the scenario.
    pub sizes: BTreeMap<String, Sizes>,
    /// Why it ended before its time, if it did without being asked to.
    pub failure: Option<LifeFailure>,
}

/// Why a world ended before its time.
#[derive(Debug)]
pub enum LifeFailure {
    /// The simulation failed.
    Simulation(SimulationFailure),
    /// Somebody could not be started.
    World(WorldError),
    /// The trace or the capture is not whole.
    Record(RunError),
}

impl LifeFailure {
    /// As the error of the run that left its files in `directory`.
    pub fn into_run_error(self, directory: &RunDirectory) -> RunError {
        match self {
            Self::Simulation(failure) => RunError::Simulation { failure, directory: directory.path().to_owned() },
            Self::World(error) => RunError::World(error),
            Self::Record(error) => error,
        }
    }
}

impl Life {
    /// Builds the internet, and opens what is recorded.
    pub fn prepare(scenario: &Scenario, directory: &RunDirectory, recording: Recording) -> Result<Self, RunError> {
        let epoch = UnixTime(scenario.world.epoch);
        let timeline = Timeline::new(epoch, scenario.world.duration.duration())?;
        let path = directory.trace_path();
        let recorder = if recording.trace {
            Recorder::create(timeline, &path).map_err(directory.error(&path))?
        } else {
            Recorder::silent(timeline)
        };
        let simulation = Simulation::new(scenario.world.seed).with_epoch(epoch);
        let world = simulation.world();
        let topology = world.network(|network| Topology::build(scenario, network)).map_err(WorldError::from)?;
        if recording.capture {
            capture(&world, &topology, directory, epoch)?;
        }
        let internet = Internet::new(scenario, world.clone(), topology, recorder.clone());
        let mut internet = internet.map_err(WorldError::from)?;
        internet.key_log = recording.capture.then(Arc::default);
        let mut events = None;
        if recording.trace {
            let path = directory.events_path();
            let file = File::create(&path).map_err(directory.error(&path))?;
            let log = EventLog::new(Box::new(BufWriter::new(file)));
            let clock = world.clock();
            internet.listener = Some(log.listener(move || clock.now()));
            events = Some(log);
        }
        Ok(Self {
            scenario: Rc::new(scenario.clone()),
            board: Board::new(Arc::new(world.clock()), &scenario.traffic),
            simulation,
            world,
            internet: Rc::new(internet),
            recorder,
            events,
            directory: directory.clone(),
            visits: Vec::new(),
        })
    }

    /// Lets somebody in who is no part of the scenario; what they do begins when its servers have started.
    pub fn with_guest<F>(mut self, name: &str, visit: impl FnOnce(Guest) -> F + 'static) -> Result<Self, RunError>
    where
        F: Future<Output = ()> + 'static,
    {
        let guest = Guest::arrive(name, &self.internet).map_err(|error| WorldError::Topology(error.into()))?;
        self.visits.push(Box::new(move || Box::pin(visit(guest))));
        Ok(self)
    }

    /// Lets it live until its time is over, or `progress` is told to stop it.
    pub fn live(mut self, progress: &Progress) -> Lived {
        let (happenings, sizes) = (Rc::new(Happenings::default()), Rc::<RefCell<BTreeMap<_, _>>>::default());
        let days = Days {
            scenario: Rc::clone(&self.scenario),
            internet: Rc::clone(&self.internet),
            board: self.board.clone(),
            happenings: Rc::clone(&happenings),
            progress: progress.clone(),
            visits: std::mem::take(&mut self.visits),
            sizes: Rc::clone(&sizes),
        };
        let outcome = self.simulation.run(days.pass());
        let mut failure = match outcome {
            Ok(Ok(())) => {
                happenings.wrong.take().into_iter().next().map(|why| LifeFailure::World(WorldError::Event(why)))
            }
            Ok(Err(error)) => Some(LifeFailure::World(error)),
            Err(failure) => Some(LifeFailure::Simulation(failure)),
        };
        let end = self.world.now();
        let written = self.recorder.finish(end);
        failure = failure.or(written.err().map(|error| LifeFailure::Record(error.into())));
        let captured = self.world.network(|network| network.finish_capture());
        let captured = captured.map_err(self.directory.error(&self.directory.capture_path()));
        let keys = self.internet.key_log.as_ref().map_or(Ok(()), |log| log.write_to(&self.directory.wireshark_path()));
        let keys = keys.map_err(self.directory.error(&self.directory.wireshark_path()));
        let told = self.events.as_ref().map_or(Ok(()), EventLog::finish);
        let told = told.map_err(self.directory.error(&self.directory.events_path()));
        let unwritten = captured.and(keys).and(told).err();
        failure = failure.or(unwritten.map(|error| LifeFailure::Record(error.into())));
        Lived {
            conversations: self.conversations(&happenings),
            end,
            events: self.world.events(),
            packets: self.world.network(|network| network.totals()),
            sizes: sizes.take(),
            failure,
        }
    }

    fn conversations(&self, happenings: &Happenings) -> Vec<Conversation> {
        let topology = self.internet.topology.borrow();
        conclude(&self.scenario, &topology, &self.board.rows(), &happenings.moved.borrow())
    }
}

/// Captures what every host sends and receives.
fn capture(world: &World, topology: &Topology, directory: &RunDirectory, epoch: UnixTime) -> Result<(), RunError> {
    let path = directory.capture_path();
    let file = File::create(&path).map_err(directory.error(&path))?;
    let capture = Capture::new(Box::new(BufWriter::with_capacity(1 << 16, file)), epoch);
    let interfaces: Vec<_> =
        topology.hosts().flat_map(|(_, host)| host.interfaces.iter().map(|(_, interface)| *interface)).collect();
    world.network(|network| network.start_capture(capture, interfaces));
    Ok(())
}

/// Everything that takes place inside the simulation.
struct Days {
    scenario: Rc<Scenario>,
    internet: Rc<Internet>,
    board: Board,
    happenings: Rc<Happenings>,
    progress: Progress,
    visits: Vec<Visit>,
    sizes: Rc<RefCell<BTreeMap<String, Sizes>>>,
}

impl Days {
    async fn pass(mut self) -> Result<(), WorldError> {
        let _names = Names::start(&self.scenario, &self.internet)?;
        let credentials = Rc::new(Credentials::draw(&self.scenario, &self.internet)?);
        let servers =
            Servers::start(Rc::clone(&self.scenario), Rc::clone(&self.internet), Rc::clone(&credentials)).await?;
        let nodes = Rc::new(Nodes::start(&self.scenario, &self.internet, &credentials, &self.board)?);
        self.progress.enter(Phase::Running);
        schedule(&self.scenario, &self.internet, &servers, &self.happenings);
        for visit in self.visits.drain(..) {
            actix::spawn(visit());
        }
        for (number, traffic) in self.scenario.traffic.iter().enumerate() {
            let callee = format!("{}.{}", traffic.to, self.scenario.node[&traffic.to].domain);
            let joined = self.joined(number, &traffic.from, &callee, &nodes);
            actix::spawn(converse(number, traffic.clone(), callee, joined, self.board.clone()));
        }
        self.wait().await;
        let mut sizes = servers.sizes().await;
        sizes.extend(nodes.sizes().await);
        self.sizes.replace(sizes);
        Ok(())
    }

    /// The node that starts a conversation, once it is there; where the ends are then is noted.
    fn joined(
        &self,
        conversation: usize,
        from: &str,
        callee: &str,
        nodes: &Rc<Nodes>,
    ) -> impl Future<Output = Result<Node, Arc<str>>> + 'static {
        let (from, callee, nodes) = (from.to_owned(), callee.to_owned(), Rc::clone(nodes));
        let (internet, board) = (Rc::clone(&self.internet), self.board.clone());
        async move {
            let node = nodes.joined(&from).await?;
            let topology = internet.topology.borrow();
            let ends = (topology.standpoint(node.name().as_str()), topology.standpoint(&callee));
            if let (Ok(mn), Ok(cn)) = ends {
                board.between(conversation, mn, cn);
            }
            Ok(node)
        }
    }

    /// Until the time is over or somebody has had enough.
    async fn wait(&self) {
        let clock = self.internet.world.clock();
        let end = Instant(self.scenario.world.duration.as_nanos());
        while clock.now() < end && !self.progress.is_stopping() {
            let next = clock.now() + HEARTBEAT;
            clock.sleep_until(next.min(end)).await;
            self.progress.advance(clock.now());
        }
    }
}
