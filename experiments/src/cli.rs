//! The command line: what can be asked, and the help that teaches it.

pub mod host;
pub mod lab;

use crate::command;
use crate::failure::Failure;
use crate::terminal::Terminal;
use clap::{Args, Parser, Subcommand};
use ntmobile_telemetry::upload::{Collector, Encoding, UploadError};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  ntm run quickstart                              two domains, six nodes, one minute; writes runs/quickstart/7/
  ntm run quickstart --seed 8                     another fate for the same world
  ntm run quickstart --set node.alice.network=campus
                                                  alice without a NAT: watch her paths become direct
  ntm describe quickstart --toml > mine.toml      a scenario of your own to edit
  ntm trace runs/quickstart/7 alice bob           how the two came to talk, message by message
  ntm run quickstart --otlp http://localhost:4318 and send the trace to a collector afterwards
  sudo ntm lab run quickstart                     the same with real processes on the real kernel
  ntm ca init; ntm serve dc --example             a network on real hosts; the book has a chapter on it
  ntm up --config node.toml                       this host joins it: ping bob.u2.example

Exit codes: 0 it worked · 2 wrong usage · 3 a scenario or a server's file is wrong · 4 the simulation failed
            5 a file or a run cannot be written or read · 6 not what was asked for is there
            7 the collector did not take the trace · 8 this host does not let it run: a port, a privilege,
            a certificate, the clock, the disk · 130 stopped by Ctrl-C";

/// How long a collector may take for a whole trace.
const COLLECTOR_PATIENCE: Duration = Duration::from_secs(60);

/// NTMobile: whole networks in one process and in virtual time, and their servers on real hosts.
#[derive(Debug, Parser)]
#[command(name = "ntm", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario, show what came of it, and write it down.
    Run(RunArguments),
    /// Say what is in a scenario: domains, networks, nodes, plugins, conversations.
    Describe(DescribeArguments),
    /// List the scenarios that come with the program.
    Scenarios,
    /// Draw the conversation of two nodes from the trace of a run.
    Trace(TraceArguments),
    /// Write the report of a run again from what is in its directory.
    Report(ReportArguments),
    /// Keep the network's certificate authority: make it, issue certificates to servers and nodes, show them.
    Ca(host::CaArguments),
    /// Keep the accounts of an AS: who may log in, by password or by certificate.
    Account(host::AccountArguments),
    /// Run a server of the network on this host.
    Serve(host::ServeArguments),
    /// Join the network with a virtual interface: every program on this host reaches the network's nodes by their names.
    Up(host::UpArguments),
    /// Join the network without privilege, on a device that a host program makes: what a phone's VPN service runs.
    VpnService(host::VpnServiceArguments),
    /// Show the node that runs on this host: who and where it is, its peers and the paths to them.
    Status(host::StatusArguments),
    /// Show how packets to a peer go, and what happened to its tunnel.
    Path(host::PathArguments),
    /// Measure round trips to a node, inside the tunnel.
    Ping(host::PingArguments),
    /// Have the node that runs on this host leave the network, or undo what one has left that was killed.
    Down(host::NodeArguments),
    /// Run scenarios on the real kernel: network namespaces, real processes, the simulator's links and NATs between them.
    Lab(lab::LabArguments),
    /// A node of a lab, in its namespace; `ntm lab` starts it.
    #[command(hide = true)]
    LabResident(lab::ResidentArguments),
    /// Keeps a lab that stands; `ntm lab up` starts it.
    #[command(hide = true)]
    LabKeeper(lab::KeeperArguments),
    /// Undo what a killed `ntm up` has left behind; it starts this itself.
    #[command(hide = true)]
    Guard(host::GuardArguments),
}

/// Arguments that say which scenario.
#[derive(Debug, Args)]
pub struct ScenarioArguments {
    /// A built-in scenario's name (`ntm scenarios`) or a TOML file.
    pub scenario: String,

    /// Change a value, as in `world.duration=30s`, `node.alice.network=campus` or, in a list by its number,
    /// `event.0.at=30s`. May be repeated. So do environment
    /// variables such as NTM_WORLD__DURATION=30s; the command line has the last word.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Another seed: everything left to chance follows from it.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// `ntm run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArguments,

    /// Where to write. [default: runs/SCENARIO/SEED]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// After the run, send its trace to this OTLP/HTTP collector, such as `http://localhost:4318`; nothing is sent where
    /// this is not given.
    #[arg(long, value_name = "URL", value_parser = collector)]
    pub(crate) otlp: Option<Collector>,

    /// How the trace is written for the collector: `protobuf`, which every one takes, or `json`.
    #[arg(long, value_name = "ENCODING", default_value_t, requires = "otlp")]
    pub(crate) otlp_encoding: Encoding,

    /// Show nothing but errors.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Show the results as one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ntm describe`.
#[derive(Debug, Args)]
pub struct DescribeArguments {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArguments,

    /// Print it as TOML, ready to be edited: with its comments, or with every override if there are any.
    #[arg(long)]
    pub(crate) toml: bool,
}

/// `ntm trace`.
#[derive(Debug, Args)]
pub struct TraceArguments {
    /// The directory of a run.
    pub(crate) run: PathBuf,
    /// One node.
    pub(crate) a: String,
    /// The other.
    pub(crate) b: String,
    /// Print it for Mermaid instead.
    #[arg(long, conflicts_with = "svg")]
    pub(crate) mermaid: bool,
    /// Print it as SVG instead.
    #[arg(long)]
    pub(crate) svg: bool,
}

/// `ntm report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// The directory of a run.
    pub(crate) run: PathBuf,
}

fn collector(url: &str) -> Result<Collector, UploadError> {
    Collector::new(url, COLLECTOR_PATIENCE)
}

/// The whole command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::of_process();
    let outcome = match cli.command {
        None => command::welcome::print(&terminal),
        Some(Command::Run(arguments)) => command::run::run(&arguments, &terminal),
        Some(Command::Describe(arguments)) => command::describe::describe(&arguments, &terminal),
        Some(Command::Scenarios) => command::scenarios::list(&terminal),
        Some(Command::Trace(arguments)) => command::trace::trace(&arguments, &terminal),
        Some(Command::Report(arguments)) => command::report::report(&arguments, &terminal),
        Some(Command::Ca(arguments)) => command::ca::ca(&arguments, &terminal),
        Some(Command::Account(arguments)) => command::account::account(&arguments, &terminal),
        Some(Command::Serve(arguments)) => command::serve::serve(&arguments, &terminal),
        Some(Command::Up(arguments)) => command::up::up(&arguments, &terminal),
        Some(Command::VpnService(arguments)) => command::up::vpn_service(&arguments),
        Some(Command::Status(arguments)) => command::node::status(&arguments, &terminal),
        Some(Command::Path(arguments)) => command::node::path(&arguments),
        Some(Command::Ping(arguments)) => command::ping::ping(&arguments),
        Some(Command::Down(arguments)) => command::node::down(&arguments),
        Some(Command::Lab(arguments)) => command::lab::lab(&arguments, &terminal),
        Some(Command::LabResident(arguments)) => command::lab::resident(&arguments),
        Some(Command::LabKeeper(arguments)) => command::lab::standing::keeper(&arguments),
        Some(Command::Guard(arguments)) => command::up::guard(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(failure) => {
            // Part of it may be what another host has said.
            eprintln!("{} {}", terminal.error("error:"), crate::terminal::harmless(&failure.to_string()));
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_of_the_readme_is_understood() {
        let line = "ntm run quickstart --seed 8 --out /tmp/x --set world.duration=5s --set a.b=c --quiet --json";
        let Some(Command::Run(run)) = Cli::parse_from(line.split(' ')).command else { panic!("not a run") };
        assert_eq!((run.scenario.scenario.as_str(), run.scenario.seed), ("quickstart", Some(8)));
        assert_eq!(run.scenario.set.len(), 2);
        assert!(run.quiet && run.json);
        assert!(run.otlp.is_none(), "nothing is sent unless somebody asks for it");
    }

    #[test]
    fn a_collector_must_have_an_address_that_can_be_sent_to() {
        let parse = |url: &str| Cli::try_parse_from(["ntm", "run", "quickstart", "--otlp", url]);
        assert!(parse("http://localhost:4318").is_ok());
        let error = parse("localhost:4318").expect_err("no address");
        assert!(error.to_string().contains("must start with http://"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_collector_gets_protobuf_unless_it_is_told_otherwise() {
        let encoding = |line: &str| match Cli::parse_from(line.split(' ')).command {
            Some(Command::Run(run)) => run.otlp_encoding,
            other => panic!("not a run: {other:?}"),
        };
        assert_eq!(encoding("ntm run quickstart --otlp http://localhost:4318"), Encoding::Protobuf);
        assert_eq!(encoding("ntm run quickstart --otlp http://localhost:4318 --otlp-encoding json"), Encoding::Json);
        let wrong = "ntm run quickstart --otlp http://localhost:4318 --otlp-encoding xml";
        assert!(Cli::try_parse_from(wrong.split(' ')).is_err());
    }
}
