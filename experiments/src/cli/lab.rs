//! Arguments of the lab on the real kernel.

use super::ScenarioArguments;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

const LAB_EXAMPLES: &str = "\
Examples:
  sudo ntm lab run quickstart        the scenario of ntm run, with real processes on the real kernel: a minute is a minute;
                                     then the same in the simulator, and where the two differ
  sudo ntm lab up quickstart         build it and leave it standing, every node with a virtual interface
  sudo ntm lab shell alice           a shell on Alice's host: ping bob.u2.example, curl, ssh, tcpdump
  sudo ntm lab move alice lte        take her to another network
  sudo ntm lab down                  all of it is gone; also after a crash

Needs root, ip (iproute2), nft (nftables) and /dev/net/tun. Nothing outside the lab's own namespaces is changed.";

/// `ntm lab`.
#[derive(Debug, Args)]
#[command(after_help = LAB_EXAMPLES)]
pub struct LabArguments {
    /// The lab's name: several stand side by side under different ones.
    #[arg(long, value_name = "NAME", default_value = "lab", global = true)]
    pub(crate) name: String,

    #[command(subcommand)]
    pub(crate) action: LabAction,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum LabAction {
    /// Run a scenario in it to its end: results, trace, capture and report as of a simulated run.
    Run(LabRunArguments),
    /// Show where two runs of a scenario differ, conversation by conversation, and why: a simulated one and one of the lab,
    /// for instance.
    Compare {
        /// The directory of one run.
        one: PathBuf,
        /// That of the other.
        other: PathBuf,
    },
    /// Remove it: namespaces, processes, files; also what a crash has left behind.
    Down,
}

/// `ntm lab run`.
#[derive(Debug, Args)]
pub struct LabRunArguments {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArguments,

    /// Where to write. [default: runs/SCENARIO/SEED-lab]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Who translates where the kernel could do a NAT as well as the simulator's model.
    #[arg(long, value_name = "WHO", default_value = "kernel")]
    pub(crate) nat: NatArgument,

    /// Do not simulate the scenario too and show where the two differ.
    #[arg(long)]
    pub(crate) alone: bool,

    /// Show nothing but errors.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Show the results as one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NatArgument {
    /// The kernel's nftables, where they do exactly what the scenario says.
    Kernel,
    /// The simulator's model, for every NAT.
    Model,
}

/// `ntm lab-resident`: a node of a lab, in its namespace. The lab starts it.
#[derive(Debug, Args)]
pub struct ResidentArguments {
    /// The scenario's file.
    pub(crate) scenario: PathBuf,
    /// The node, by its name in the scenario.
    pub(crate) node: String,
    /// The node's own file.
    pub(crate) config: PathBuf,
}
