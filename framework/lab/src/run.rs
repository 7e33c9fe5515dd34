//! A run: a scenario becomes a world, the world lives, and what happened is written down.

use crate::digest::{DigestError, digest};
use crate::progress::{Phase, Progress};
use crate::record::manifest::{self, FORMAT, Program};
use crate::record::{Conversation, Manifest, RecordError, RunDirectory, State};
use crate::scenario::Scenario;
use crate::scenario::problem::ScenarioError;
use crate::world::{Life, Lived, Recording, WorldError};
use ntmobile_sim::SimulationFailure;
use ntmobile_telemetry::TimelineError;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What the scenario is called in what is written.
    pub name: String,
    /// Where to write; made if it is not there, emptied of an earlier run if it is.
    pub directory: PathBuf,
    /// Which program runs it.
    pub program: Program,
}

/// Why a run did not come about.
#[derive(Debug, Error)]
pub enum RunError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The run's directory cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The report cannot be gathered.
    #[error(transparent)]
    Report(#[from] DigestError),
    /// The trace is not whole.
    #[error(transparent)]
    Trace(#[from] ntmobile_telemetry::RecordError),
    /// The scenario's times do not fit into a trace.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// The world cannot be put together.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The simulation failed. What was measured until then is kept, marked as partial.
    #[error("{failure}; what was measured until then is in {}", directory.display())]
    Simulation {
        /// How.
        failure: SimulationFailure,
        /// Where what was measured is.
        directory: PathBuf,
    },
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// Where everything is.
    pub directory: RunDirectory,
    /// What ran, and how it went.
    pub manifest: Manifest,
    /// What was measured.
    pub conversations: Vec<Conversation>,
}

/// Runs a scenario to its end, or until `progress` is told to stop it.
pub fn run(scenario: &Scenario, options: &RunOptions, progress: &Progress) -> Result<RunRecord, RunError> {
    let outcome = run_and_write(scenario, options, progress);
    progress.enter(Phase::Done);
    outcome
}

fn run_and_write(scenario: &Scenario, options: &RunOptions, progress: &Progress) -> Result<RunRecord, RunError> {
    scenario.check()?;
    progress.enter(Phase::Building);
    let started = (Instant::now(), SystemTime::now());
    let directory = RunDirectory::create(&options.directory)?;
    let life = Life::prepare(scenario, &directory, Recording::EVERYTHING)?;
    let Lived { conversations, end, events, failure, .. } = life.live(progress);
    progress.enter(Phase::Writing);
    directory.write_results(&conversations)?;
    let whole = failure.is_none() && !progress.is_stopping();
    let manifest = Manifest {
        format: FORMAT,
        scenario: options.name.clone(),
        seed: scenario.world.seed,
        state: if whole { State::Complete } else { State::Partial },
        program: options.program.clone(),
        started_unix_s: started.1.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        wall_s: started.0.elapsed().as_secs_f64(),
        wire_version: ntmobile_wire::codec::VERSION,
        simulated_s: end.0 as f64 / 1e9,
        events,
        plugins: manifest::plugins(scenario),
        lab: None,
        scenario_toml: scenario.to_toml(),
    };
    directory.write_manifest(&manifest)?;
    directory.write(&directory.report_path(), &digest(&directory)?.html())?;
    match failure {
        None => Ok(RunRecord { directory, manifest, conversations }),
        Some(failure) => Err(failure.into_run_error(&directory)),
    }
}
