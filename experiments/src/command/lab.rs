//! `ntm lab`: scenarios on the real kernel.

pub mod standing;

use crate::cli::lab::{LabAction, LabArguments, LabRunArguments, NatArgument, ResidentArguments};
use crate::command::comparison::compare;
use crate::command::results;
use crate::command::run::{announced, program};
use crate::failure::Failure;
use crate::scenario::{Found, find_for};
use crate::terminal::Terminal;
use ntmobile_lab::netns::keeper::Order;
use ntmobile_lab::netns::outfit::Model;
use ntmobile_lab::netns::plan::{Translators, unfit};
use ntmobile_lab::netns::resident::Resident;
use ntmobile_lab::netns::run::{LabOptions, run as run_lab};
use ntmobile_lab::netns::standing::LabName;
use ntmobile_lab::progress::Progress;
use ntmobile_lab::record::{RunDirectory, State};
use ntmobile_lab::run::{RunOptions, run as simulation};
use std::io::{Write, stdout};
use std::path::PathBuf;

/// Does what was asked.
pub fn lab(arguments: &LabArguments, terminal: &Terminal) -> Result<(), Failure> {
    let name = LabName::parse(&arguments.name)?;
    match &arguments.action {
        LabAction::Run(arguments) => run(name, arguments, terminal),
        LabAction::Up(arguments) => standing::up(&name, &self::options(&name, arguments.nat)?, arguments, terminal),
        LabAction::Shell { host, command } => standing::shell(&name, host, command),
        LabAction::Move { node, to } => {
            name.order(&Order::Move { node: node.clone(), to: to.clone() })?;
            writeln!(stdout(), "  {node} is in {}", terminal.bold(to))?;
            Ok(())
        }
        LabAction::Link { network, state } => {
            name.order(&Order::Link { network: network.clone(), up: state == "up" })?;
            writeln!(stdout(), "  the link of {network} is {}", terminal.bold(state))?;
            Ok(())
        }
        LabAction::Compare { one, other } => {
            compare(&RunDirectory::open(one)?, &RunDirectory::open(other)?, terminal, &mut stdout().lock())
        }
        LabAction::Down => {
            let was_there = name.take_down()?;
            let what = if was_there { "is gone" } else { "was not there; nothing is left of it" };
            writeln!(stdout(), "  {}  {what}", terminal.bold(&format!("lab {}", arguments.name)))?;
            Ok(())
        }
    }
}

/// Lives in a namespace of a lab.
pub fn resident(arguments: &ResidentArguments) -> Result<(), Failure> {
    let ResidentArguments { scenario, node, config } = arguments;
    let resident = Resident { scenario: scenario.clone(), node: node.clone(), config: config.clone() };
    Ok(resident.live()?)
}

fn run(lab: LabName, arguments: &LabRunArguments, terminal: &Terminal) -> Result<(), Failure> {
    let found = find_for(&arguments.scenario, unfit)?;
    let seed = found.scenario.world.seed;
    let directory =
        arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&found.name).join(format!("{seed}-lab")));
    let options = LabOptions { name: found.name.clone(), directory, ..options(&lab, arguments.nat)? };
    let shows = !arguments.quiet && !arguments.json;
    if shows {
        results::world(&found.scenario, terminal, &mut stdout().lock())?;
    }
    let record =
        announced(&found, terminal, !arguments.quiet, |progress| run_lab(&found.scenario, &options, progress))?;
    let simulated = if arguments.alone { None } else { Some(simulate(&found, &record.directory)?) };
    if arguments.json {
        writeln!(stdout(), "{}", results::json(&record))?;
    } else if shows {
        let mut out = stdout().lock();
        results::outcome(&found, &record, terminal, &mut out)?;
        if let Some(simulated) = &simulated {
            writeln!(out)?;
            compare(simulated, &record.directory, terminal, &mut out)?;
        }
    }
    match record.manifest.state {
        State::Complete => Ok(()),
        State::Partial => Err(Failure::Stopped(options.directory)),
    }
}

/// What every lab is built with.
fn options(lab: &LabName, nat: NatArgument) -> Result<LabOptions, Failure> {
    Ok(LabOptions {
        lab: lab.clone(),
        name: String::new(),
        directory: PathBuf::new(),
        program: program(),
        executable: std::env::current_exe()?,
        translators: match nat {
            NatArgument::Kernel => Translators::Kernel,
            NatArgument::Model => Translators::Model,
        },
        model: Model::Library,
    })
}

/// The same scenario in the simulator, into a directory inside the run's.
fn simulate(found: &Found, directory: &RunDirectory) -> Result<RunDirectory, Failure> {
    let directory = directory.path().join("simulated");
    let options = RunOptions { name: found.name.clone(), directory, program: program() };
    Ok(simulation(&found.scenario, &options, &Progress::default())?.directory)
}
