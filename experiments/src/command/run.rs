//! `ntm run`: runs a scenario, shows how far it is, then what came of it.

use crate::cli::RunArguments;
use crate::command::results;
use crate::failure::Failure;
use crate::progress::watch;
use crate::scenario::{Found, find};
use crate::terminal::Terminal;
use ntmobile_lab::progress::Progress;
use ntmobile_lab::record::State;
use ntmobile_lab::record::manifest::Program;
use ntmobile_lab::run::{RunOptions, RunRecord, run as run_scenario};
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

/// Runs it.
pub fn run(arguments: &RunArguments, terminal: &Terminal) -> Result<(), Failure> {
    let found = find(&arguments.scenario)?;
    let seed = found.scenario.world.seed;
    let directory =
        arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&found.name).join(seed.to_string()));
    let options = RunOptions { name: found.name.clone(), directory, program: program() };
    let shows = !arguments.quiet && !arguments.json;
    if shows {
        results::world(&found.scenario, terminal, &mut stdout().lock())?;
    }
    let record =
        announced(&found, terminal, !arguments.quiet, |progress| run_scenario(&found.scenario, &options, progress))?;
    if arguments.json {
        let mut out = stdout().lock();
        writeln!(out, "{}", results::json(&record))?;
    } else if shows {
        results::outcome(&found, &record, terminal, &mut stdout().lock())?;
    }
    if let Some(collector) = &arguments.otlp {
        let collector = collector.clone().with_encoding(arguments.otlp_encoding);
        let sent = collector.upload(&record.directory.trace_path());
        let sent = sent.map_err(|source| Failure::Upload { directory: options.directory.clone(), source })?;
        if shows {
            writeln!(stdout(), "  {}      {} requests taken", terminal.bold("otlp"), sent.traces + sent.metrics)?;
        }
    }
    match record.manifest.state {
        State::Complete => Ok(()),
        State::Partial => Err(Failure::Stopped(options.directory)),
    }
}

/// Which program this is.
pub(crate) fn program() -> Program {
    Program { version: env!("CARGO_PKG_VERSION").to_owned(), revision: option_env!("NTM_REVISION").map(str::to_owned) }
}

/// Runs something here, with a watcher beside it that shows progress, and Ctrl-C asking it to stop.
pub(crate) fn announced<E>(
    found: &Found,
    terminal: &Terminal,
    shows: bool,
    run: impl FnOnce(&Progress) -> Result<RunRecord, E>,
) -> Result<RunRecord, E> {
    let progress = Progress::default();
    let asked = progress.clone();
    // A second handler cannot be set; then Ctrl-C ends the process at once, as it would without us.
    let _ = ctrlc::set_handler(move || asked.stop());
    let (over, is_over) = mpsc::channel();
    thread::scope(|scope| {
        if shows {
            let progress = &progress;
            scope.spawn(move || watch(progress, found.scenario.world.duration, terminal, &is_over));
        }
        let record = run(&progress);
        drop(over);
        record
    })
}
