//! A lab that is left standing: built, entered, told what to do.

use crate::cli::lab::{KeeperArguments, LabUpArguments, NatArgument};
use crate::failure::Failure;
use crate::scenario::find_for;
use crate::terminal::Terminal;
use clap::ValueEnum;
use ntmobile_lab::netns::keeper::keep;
use ntmobile_lab::netns::outfit::Model;
use ntmobile_lab::netns::plan::unfit;
use ntmobile_lab::netns::run::LabOptions;
use ntmobile_lab::netns::standing::{Description, LabName};
use ntmobile_lab::progress::Progress;
use ntmobile_lab::scenario::Scenario;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// What the keeper says when the lab stands.
const STANDS: &str = "stands";

/// Builds a lab and leaves it standing.
pub(super) fn up(
    name: &LabName,
    options: &LabOptions,
    arguments: &LabUpArguments,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let found = find_for(&arguments.scenario, unfit)?;
    if arguments.foreground {
        let options = LabOptions { name: found.name.clone(), model: Model::Tun, ..options.clone() };
        let progress = stopped_by_signals();
        return Ok(keep(&found.scenario, &options, &progress, |description| {
            // Whoever does not look any more has a lab all the same.
            let _ = tell(name, description, &found.scenario, terminal);
        })?);
    }
    let nat = arguments.nat.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let mut keeper = Command::new(&options.executable);
    keeper.args(["lab-keeper", name.as_str(), &found.name, &nat]);
    // A group of its own: a Ctrl-C later on is not for it.
    keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut keeper = keeper.spawn()?;
    if let Some(mut input) = keeper.stdin.take() {
        input.write_all(found.scenario.to_toml().as_bytes())?;
    }
    eprintln!("  {}", terminal.faint("building: namespaces, servers, nodes…"));
    let mut said = String::new();
    if let Some(output) = keeper.stdout.take() {
        BufReader::new(output).read_line(&mut said)?;
    }
    if said.trim() == STANDS {
        return tell(name, &name.description()?, &found.scenario, terminal);
    }
    let mut why = String::new();
    if let Some(mut errors) = keeper.stderr.take() {
        errors.read_to_string(&mut why)?;
    }
    keeper.wait()?;
    Err(Failure::Keeper(why.trim().trim_start_matches("error: ").to_owned()))
}

/// Keeps a lab until it is told to end.
pub fn keeper(arguments: &KeeperArguments) -> Result<(), Failure> {
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    let scenario = Scenario::from_toml(&arguments.scenario, &text)?;
    let name = LabName::parse(&arguments.lab)?;
    let nat: NatArgument = arguments.nat;
    let options = LabOptions { name: arguments.scenario.clone(), model: Model::Tun, ..super::options(&name, nat)? };
    let progress = stopped_by_signals();
    Ok(keep(&scenario, &options, &progress, |_| {
        // If nobody waits, it stands all the same.
        let _ = writeln!(stdout(), "{STANDS}").and_then(|()| stdout().flush());
    })?)
}

fn stopped_by_signals() -> Progress {
    let progress = Progress::default();
    let asked = progress.clone();
    // Without a handler a signal ends the process at once; the next lab removes what it leaves.
    let _ = ctrlc::set_handler(move || asked.stop());
    progress
}

/// What stands, and what can be done with it.
fn tell(name: &LabName, description: &Description, scenario: &Scenario, terminal: &Terminal) -> Result<(), Failure> {
    let mut out = stdout().lock();
    let of = |word: &str| {
        let named = if name.as_str() == "lab" { String::new() } else { format!(" --name {}", name.as_str()) };
        format!("sudo ntm lab{named} {word}")
    };
    writeln!(out, "  {}     {} of {}", terminal.bold("lab"), name.as_str(), description.scenario)?;
    for node in &description.nodes {
        let Some(table) = scenario.node.get(node) else { continue };
        let networks: Vec<&str> = table.networks().collect();
        writeln!(out, "  {}    {node}.{} in {}", terminal.bold("node"), table.domain, networks.join(", "))?;
    }
    let others: Vec<&str> =
        description.hosts.iter().filter(|host| !description.nodes.contains(host)).map(String::as_str).collect();
    writeln!(out, "  {}   {}", terminal.bold("hosts"), others.join(", "))?;
    let (first, second) = (description.nodes.first(), description.nodes.get(1));
    if let (Some(first), Some(second)) = (first, second) {
        let domain = scenario.node.get(second).map_or("", |table| table.domain.as_str());
        let enter = of(&format!("shell {first}"));
        let example = format!("{enter}   then, for instance: ping {second}.{domain}");
        writeln!(out, "  {}   {example}", terminal.bold("enter"))?;
        if let Some(network) = scenario.network.keys().next_back() {
            writeln!(out, "  {}    {}", terminal.bold("move"), of(&format!("move {first} {network}")))?;
        }
    }
    writeln!(out, "  {}     {}", terminal.bold("end"), of("down"))?;
    Ok(())
}

/// Becomes a shell, or a command, on a host.
pub(super) fn shell(name: &LabName, host: &str, command: &[String]) -> Result<(), Failure> {
    let namespace = name.namespace_of(host)?;
    let mut entered = Command::new("ip");
    entered.args(["netns", "exec", &namespace]);
    match command {
        [] => entered.arg(std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned())),
        words => entered.args(words),
    };
    // What a node with a virtual interface is asked by: ntm status, path, ping, down.
    entered.env("NTM_HOST", host).env("NTM_RUN_DIRECTORY", name.directory().join(format!("run-{host}")));
    Err(entered.exec().into())
}
