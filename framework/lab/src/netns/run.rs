//! A run on the real kernel: the same scenario, results and files as in the simulator, with real processes in real time.

use super::agenda::{Step, agenda};
use super::chronicle::chronicle;
use super::conditions::{LabRecord, Watch};
use super::crew::Crew;
use super::grounds::{Grounds, GroundsError};
use super::outfit::{Model, Outfit, OutfitError};
use super::plan::{Plan, PlanError, Translators};
use super::process::ProcessError;
use super::resident::Findings;
use super::standing::{LabName, Standing, StandingError};
use crate::digest::{DigestError, digest};
use crate::progress::{Phase, Progress};
use crate::record::manifest::{self, FORMAT, Program};
use crate::record::{Conversation, Manifest, RecordError, RunDirectory, State};
use crate::run::RunRecord;
use crate::scenario::Scenario;
use crate::scenario::event::Action;
use crate::scenario::problem::ScenarioError;
use crate::world::conclusion::conclude;
use crate::world::keys::KeyRing;
use crate::world::measure::Measurement;
use crate::world::measure::observation::End;
use crate::world::topology::{Topology, TopologyError};
use crate::world::traffic::Board;
use ntmobile_net::clock::OsClock;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_sim::network::Network;
use ntmobile_telemetry::merge::{MergeError, merge};
use ntmobile_telemetry::{Timeline, TimelineError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long before its beginning everybody is told when it will be.
const NOTICE: Duration = Duration::from_millis(300);
/// How often a lab looks whether somebody has died or it is to stop.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// The least that is left between a look and the next step.
const PRECISION: Duration = Duration::from_millis(1);

/// How to run.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// The lab's name.
    pub lab: LabName,
    /// What the scenario is called in what is written.
    pub name: String,
    /// Where to write.
    pub directory: PathBuf,
    /// Which program runs it.
    pub program: Program,
    /// The file of `ntm` that is started for servers and nodes.
    pub executable: PathBuf,
    /// Who translates where kernel and model could.
    pub translators: Translators,
    /// How nodes take part.
    pub model: Model,
}

/// Why a lab did not run to its end.
#[derive(Debug, Error)]
pub enum LabError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The scenario cannot be had here.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The lab cannot stand.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// Its grounds are not as they should be.
    #[error(transparent)]
    Grounds(#[from] GroundsError),
    /// Somebody did not get what it needs.
    #[error(transparent)]
    Outfit(#[from] OutfitError),
    /// A process is not what it should be.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The run's directory cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The trace is not whole.
    #[error(transparent)]
    Trace(#[from] MergeError),
    /// The scenario's times do not fit into a trace.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// The report cannot be gathered.
    #[error(transparent)]
    Report(#[from] DigestError),
    /// It was stopped before it had begun.
    #[error("stopped before the run had begun; nothing is left of it")]
    Stopped,
}

/// Runs a scenario to its end, or until `progress` is told to stop it. Whatever comes, nothing is left on the machine but
/// the run's directory.
pub fn run(scenario: &Scenario, options: &LabOptions, progress: &Progress) -> Result<RunRecord, LabError> {
    let outcome = run_and_write(scenario, options, progress);
    progress.enter(Phase::Done);
    outcome
}

fn run_and_write(scenario: &Scenario, options: &LabOptions, progress: &Progress) -> Result<RunRecord, LabError> {
    scenario.check()?;
    progress.enter(Phase::Building);
    let mut plan = Plan::of(scenario, options.translators)?;
    let standing = Standing::claim(&options.lab)?;
    let directory = RunDirectory::create(&options.directory)?;
    let started = (std::time::Instant::now(), OsClock.wall());
    let mut lab = Lab::build(standing, scenario, options, &directory, &mut plan)?;
    if progress.is_stopping() {
        return Err(LabError::Stopped);
    }
    let lived = lab.live(scenario, &plan, &directory, progress)?;
    progress.enter(Phase::Writing);
    let Lab { mut crew, grounds } = lab;
    let findings = crew.gather()?;
    crew.dismiss();
    let timeline = Timeline::open_ended(lived.epoch)?;
    let path = directory.trace_path();
    let file = File::create(&path).map_err(directory.error(&path))?;
    merge(&crew.traces(), lived.origin, &timeline, BufWriter::new(file))?;
    let told = chronicle(&crew.logs(), timeline.epoch_unix_nanos(), lived.end.0);
    directory.write(&directory.events_path(), &told)?;
    let account = grounds.take_down()?;
    let (machine, overload) = lived.watch.end(&account.punctuality);
    let conversations = put_together(scenario, findings, &lived.moved, &directory)?;
    directory.write_results(&conversations)?;
    let kernel_nats =
        plan.routers.values().map(|router| (router.network.clone(), router.translation.kind.to_string())).collect();
    let manifest = Manifest {
        format: FORMAT,
        scenario: options.name.clone(),
        seed: scenario.world.seed,
        state: if lived.is_whole { State::Complete } else { State::Partial },
        program: options.program.clone(),
        started_unix_s: started.1.0,
        wall_s: started.0.elapsed().as_secs_f64(),
        wire_version: ntmobile_wire::codec::VERSION,
        simulated_s: lived.end.0 as f64 / 1e9,
        events: 0,
        plugins: manifest::plugins(scenario),
        lab: Some(LabRecord { model: options.model.word().to_owned(), kernel_nats, machine, overload }),
        scenario_toml: scenario.to_toml(),
    };
    directory.write_manifest(&manifest)?;
    directory.write(&directory.report_path(), &digest(&directory)?.html())?;
    Ok(RunRecord { directory, manifest, conversations })
}

/// A lab in which everybody waits for the beginning.
struct Lab {
    // First, so that processes end before their namespaces.
    crew: Crew,
    grounds: Grounds,
}

/// What a run was.
struct Lived {
    /// When it began, by the machine's clock.
    origin: Instant,
    /// The same on the wall.
    epoch: UnixTime,
    /// When it ended, counted from its beginning.
    end: Instant,
    /// Whether it came to its end.
    is_whole: bool,
    /// Who lost its old network when.
    moved: Vec<(String, Instant)>,
    watch: Watch,
}

impl Lab {
    fn build(
        standing: Standing,
        scenario: &Scenario,
        options: &LabOptions,
        directory: &RunDirectory,
        plan: &mut Plan,
    ) -> Result<Self, LabError> {
        let outfit = Outfit::write(&standing, scenario, plan, options.model)?;
        let logs = directory.path().join("logs");
        let crew = Crew::new(standing.name(), options.executable.clone(), logs.clone());
        let crew = crew.map_err(directory.error(&logs))?;
        let grounds = Grounds::build(standing, scenario, &options.name, plan)?;
        let mut lab = Self { crew, grounds };
        lab.crew.serve(plan)?;
        outfit.open_accounts(plan)?;
        lab.crew.settle(&plan.nodes)?;
        Ok(lab)
    }

    /// From the beginning to the end of the scenario's time.
    fn live(
        &mut self,
        scenario: &Scenario,
        plan: &Plan,
        directory: &RunDirectory,
        progress: &Progress,
    ) -> Result<Lived, LabError> {
        let path = directory.capture_path();
        let capture = File::create(&path).map_err(directory.error(&path))?;
        self.grounds.internet().start_capture(Box::new(capture)).map_err(directory.error(&path))?;
        let (origin, epoch) = self.beginning();
        let watch = Watch::begin();
        self.crew.begin(origin)?;
        progress.enter(Phase::Running);
        let clock = || OsClock.now();
        let end = Instant(scenario.world.duration.as_nanos());
        let (mut steps, mut moved) = (agenda(scenario), Vec::new());
        let mut looked = clock();
        loop {
            let now = Instant::ORIGIN + clock().since(origin);
            progress.advance(now);
            if now >= end || progress.is_stopping() {
                let is_whole = now >= end;
                return Ok(Lived { origin, epoch, end: now.min(end), is_whole, moved, watch });
            }
            if let Some((_, step)) = steps.pop_front_if(|(at, _)| *at <= now) {
                self.step(step, plan, now, &mut moved)?;
                continue;
            }
            if clock().since(looked) >= HEARTBEAT {
                self.crew.check()?;
                looked = clock();
            }
            let next = steps.front().map_or(end, |(at, _)| (*at).min(end));
            std::thread::sleep(next.since(now).min(HEARTBEAT).max(PRECISION));
        }
    }

    /// When the run will begin: at a whole second of the internet's time, so that capture and trace have one axis.
    fn beginning(&self) -> (Instant, UnixTime) {
        let internet = self.grounds.internet();
        let (theirs, ours) = (internet.now(), OsClock.now());
        let whole = (theirs + NOTICE).0.div_ceil(1_000_000_000);
        let origin = ours + Instant(whole * 1_000_000_000).since(theirs);
        (origin, UnixTime(internet.epoch().0 + whole))
    }

    fn step(
        &mut self,
        step: Step,
        plan: &Plan,
        now: Instant,
        moved: &mut Vec<(String, Instant)>,
    ) -> Result<(), LabError> {
        match step {
            Step::Leave(node) => {
                moved.push((node.clone(), now));
                self.grounds.leave(&node)?;
            }
            Step::Arrive(node, network) => self.grounds.arrive(&node, &network)?,
            Step::Link(network, is_up) => self.grounds.set_link(&network, is_up),
            Step::Fail(server) => {
                self.grounds.set_power(&server, false);
                self.crew.kill_server(&server);
            }
            Step::Restart(label) => {
                // One that runs loses its power first.
                self.grounds.set_power(&label, false);
                self.crew.kill_server(&label);
                self.grounds.set_power(&label, true);
                for server in plan.servers.iter().filter(|server| server.label == label) {
                    self.crew.start_server(server)?;
                }
            }
        }
        Ok(())
    }
}

/// One measurement of each conversation out of what its two ends have seen; the keys of all go beside the capture.
fn put_together(
    scenario: &Scenario,
    findings: BTreeMap<String, Findings>,
    moved: &[(String, Instant)],
    directory: &RunDirectory,
) -> Result<Vec<Conversation>, LabError> {
    let (mut rows, keys) = (Board::new(Arc::new(OsClock), &scenario.traffic).rows(), KeyRing::default());
    for (node, findings) in findings {
        for (number, seen) in findings.conversations {
            let (Some(row), Some(traffic)) = (rows.get_mut(number), scenario.traffic.get(number)) else { continue };
            row.absorb(seen, if traffic.from == node { End::Caller } else { End::Callee });
        }
        keys.absorb(findings.keys);
    }
    let path = directory.wireshark_path();
    keys.write_to(&path).map_err(directory.error(&path))?;
    let topology = locate(scenario, &mut rows).map_err(PlanError::from)?;
    Ok(conclude(scenario, &topology, &rows, moved))
}

/// Gives each measurement the standpoints that its ends had when it began, in the scenario's own internet.
fn locate(scenario: &Scenario, rows: &mut [Measurement]) -> Result<Topology, TopologyError> {
    let mut network = Network::new(scenario.world.seed);
    let mut topology = Topology::build(scenario, &mut network)?;
    let mut moves: Vec<_> = scenario.event.iter().collect();
    moves.sort_by_key(|event| event.at);
    let mut moves = moves.into_iter().peekable();
    let mut in_time: Vec<usize> = (0..rows.len()).collect();
    in_time.sort_by_key(|index| rows[*index].ends().2);
    let full_name = |node: &str| scenario.node.get(node).map(|table| format!("{node}.{}", table.domain));
    for index in in_time {
        let start = rows[index].ends().2;
        while let Some(event) = moves.next_if(|event| Instant(event.at.as_nanos()) <= start) {
            if let (Action::Move(action), Some(host)) = (&event.action, event_host(event, &full_name)) {
                topology.detach(&host, &mut network)?;
                topology.attach(&host, &action.to, &mut network)?;
            }
        }
        let (from, to, _) = rows[index].ends();
        let ends = (full_name(from), full_name(to));
        if let (Some(from), Some(to)) = ends
            && let (Ok(mn), Ok(cn)) = (topology.standpoint(&from), topology.standpoint(&to))
        {
            rows[index].between(mn, cn);
        }
    }
    Ok(topology)
}

fn event_host(event: &crate::scenario::event::Event, full_name: &impl Fn(&str) -> Option<String>) -> Option<String> {
    match &event.action {
        Action::Move(action) => full_name(&action.node),
        _ => None,
    }
}
