//! Scenarios run on the simulated internet, each in a directory that goes away with it.

use ntmobile_lab::progress::Progress;
use ntmobile_lab::record::manifest::Program;
use ntmobile_lab::record::{Conversation, RunDirectory};
use ntmobile_lab::run::{RunError, RunOptions, run};
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::builder::Builder;
use ntmobile_lab::scenario::network::{Family, Nat, Network};
use ntmobile_lab::scenario::units::ms;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A run that came to its end, and its files.
pub struct Simulated {
    /// What was measured.
    pub conversations: Vec<Conversation>,
    /// Where its files are.
    pub directory: RunDirectory,
    _home: TempDir,
}

/// Alice of one domain and bob of another behind different NATs, dave in the open, and a network for alice to move to.
pub fn three_people() -> Builder {
    let behind = |nat: Option<Nat>, millis: u64| {
        move |network: Network| network.nat(nat).families([Family::Ipv4]).delay(ms(millis))
    };
    Scenario::builder()
        .domain("u1.example", |domain| domain.relays(1).notification_servers(1))
        .domain("u2.example", |domain| domain.relays(1).notification_servers(1))
        .network("home", behind(Some(Nat::home()), 3))
        .network("office", behind(Some(Nat::home()), 5))
        .network("lte", behind(Some(Nat::symmetric()), 7))
        .network("campus", behind(None, 2))
        .node("alice", |node| node.domain("u1.example").network("home"))
        .node("bob", |node| node.domain("u2.example").network("office"))
        .node("dave", |node| node.domain("u2.example").network("campus"))
}

/// Runs a scenario.
///
/// # Errors
/// When it does not come to its end.
///
/// # Panics
/// When there is no temporary directory to be had.
pub fn simulate(scenario: &Scenario) -> Result<Simulated, RunError> {
    let home = tempfile::tempdir().expect("a temporary directory");
    let program = Program { version: env!("CARGO_PKG_VERSION").to_owned(), revision: None };
    let options = RunOptions { name: "test".to_owned(), directory: home.path().join("run"), program };
    let record = run(scenario, &options, &Progress::default())?;
    Ok(Simulated { conversations: record.conversations, directory: record.directory, _home: home })
}

/// The files of a run that follow from its seed alone: everything but the manifest, which knows wall-clock time.
///
/// # Panics
/// When one of them cannot be read.
pub fn files_of_the_seed(directory: &RunDirectory) -> Vec<(String, Vec<u8>)> {
    let read = |path: &Path| {
        let name = path.strip_prefix(directory.path()).unwrap_or(path).display().to_string();
        (name, fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    let single = [directory.trace_path(), directory.results_path(), directory.capture_path(), directory.events_path()];
    let mut files: Vec<_> = single.iter().map(|path| read(path)).collect();
    let mut keys: Vec<_> = fs::read_dir(directory.wireshark_path())
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a directory that can be listed").path())
        .collect();
    keys.sort();
    files.extend(keys.iter().map(|path| read(path)));
    files
}
