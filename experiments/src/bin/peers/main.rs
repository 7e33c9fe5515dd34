//! `peers`: our data plane beside others', in one run, on one machine, over one cable between two namespaces.
//!
//! Rounds are interleaved: every contestant once, then every contestant again, so that a machine that changes changes all of them.
//! What is printed are medians; `results.csv` has every figure.

mod asked;
mod contestants;
mod crowd;
mod experiment;
mod failure;
mod goodput;
mod load;
mod measures;
mod network;
mod plot;
mod process;
mod programs;
mod quiet;
mod record;
mod relays;
mod site;
mod table;
mod topology;

use clap::{Parser, Subcommand};
use experiment::{Experiment, Part};
use failure::Failure;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples (as root; cargo run --release --bin peers -- builds it, and the program builds what else it needs of ours):
  peers                                     three rounds of everything that is installed; writes runs/peers/
  peers --rounds 1 --seconds 1 --busy       whether it works, no figures to believe
  peers --only ours,wireguard-go            ours and that beside the cable and the bare forwarder
  peers --parts relays,crowd,library        relays, a thousand tunnels, and the library beside QUIC

What is measured:
  tools    raw veth (the cable), a bare forwarder (the ceiling of user space), our packet path, ntm up whole, and wireguard-go,
           boringtun, gotatun, nebula, easytier where installed: TCP with 1 and 8 streams, the highest rate of UDP under 1 %
           loss, large and small, ping idle and under TCP, processor time for each gigabyte
  relays   our RS and coturn: packets for each second of processor time; 1 and 100 tunnels, with and without UDP_SEGMENT
  crowd    1,000 tunnels on one node with traffic over all of them beside 1: memory, throughput
  library  a TCP stream of the library model beside a QUIC stream by quinn, at 0, 0.1 and 1 % loss

Before each round it is looked whether the machine is quiet. It refuses to begin on one that is not, unless --busy is given;
figures of a round that was disturbed are marked. Whatever it makes is gone afterwards, also after Ctrl-C; what a kill -9 leaves
behind is removed by the next run.";

/// Measures our data plane beside others'.
#[derive(Debug, Parser)]
#[command(name = "peers", version, after_help = EXAMPLES, max_term_width = 130)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What a run is to be like.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many times each is measured; medians are told.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// How many seconds each transfer takes.
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,

    /// Only tools with this in their names, beside the cable and the bare forwarder.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Only these parts.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_enum)]
    pub(crate) parts: Vec<Part>,

    /// Measure although others use the machine, before them in the kernel's queue; the figures are marked.
    #[arg(long)]
    pub(crate) busy: bool,

    /// Where results.txt, results.csv, results.json and results.svg are written.
    #[arg(long, value_name = "DIR", default_value = "runs/peers")]
    pub(crate) out: PathBuf,
}

/// What the program does for itself in a namespace.
#[derive(Debug, Subcommand)]
enum Command {
    /// Makes load; started by a run.
    #[command(subcommand, hide = true)]
    Load(load::Load),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Load(load)) => load::run(load).map_err(|error| error.to_string()),
        None => measure(&cli.arguments).map_err(|failure| failure.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), Failure> {
    // Ends the process from a thread of its own, whatever is being waited for; nothing that was made stays.
    let stopped = ctrlc::set_handler(|| {
        topology::remove_own();
        std::process::exit(130);
    });
    stopped.map_err(|error| Failure::Missing(format!("Ctrl-C cannot be heard: {error}")))?;
    Experiment::prepare(arguments)?.run()
}
