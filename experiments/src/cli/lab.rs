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
    /// Build a scenario's hosts and servers and leave them standing; its nodes run ntm up. Nothing happens by itself.
    Up(LabUpArguments),
    /// Enter a host: a shell there, or a command.
    Shell {
        /// The host: a node (alice), a server (as, dc.u1.example), a router of the kernel (nat.home).
        host: String,
        /// What to run there instead of a shell.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Take a node of the standing lab to another network.
    Move {
        /// The node.
        node: String,
        /// The network.
        to: String,
    },
    /// Cut a network of the standing lab off, or connect it again.
    Link {
        /// The network.
        network: String,
        /// Whether it is connected.
        #[arg(value_parser = ["up", "down"])]
        state: String,
    },
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

/// `ntm lab up`.
#[derive(Debug, Args)]
pub struct LabUpArguments {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArguments,

    /// Who translates where the kernel could do a NAT as well as the simulator's model.
    #[arg(long, value_name = "WHO", default_value = "kernel")]
    pub(crate) nat: NatArgument,

    /// Stay here until Ctrl-C, which takes the lab down.
    #[arg(long)]
    pub(crate) foreground: bool,
}

/// `ntm lab-keeper`: what `ntm lab up` leaves behind to keep the lab. The scenario comes on standard input.
#[derive(Debug, Args)]
pub struct KeeperArguments {
    /// The lab's name.
    pub(crate) lab: String,
    /// The scenario's.
    pub(crate) scenario: String,
    /// Who translates.
    pub(crate) nat: NatArgument,
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
