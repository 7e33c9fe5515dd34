//! `crowd`: how large a network fits into one process. Every node logs in over QUIC, registers, is kept alive, and talks to
//! random others through sealed tunnels; wall time, memory and failures come out.
//!
//! The crowd is an ordinary scenario: `--toml` prints it for `ntm run`.

mod figures;
mod population;

use clap::Parser;
use figures::Figures;
use ntmobile_lab::progress::Progress;
use ntmobile_lab::record::RunDirectory;
use ntmobile_lab::run::RunError;
use ntmobile_lab::world::{Life, Recording};
use population::Crowd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Simulates a crowd of nodes with full cryptography and says what it took.
#[derive(Debug, Parser)]
#[command(name = "crowd", version, max_term_width = 110)]
struct Arguments {
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    nodes: u32,

    /// How many minutes they live once everybody has logged in.
    #[arg(long, value_name = "M", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,

    /// How many conversations each node opens, each with another random node.
    #[arg(long, value_name = "K", default_value_t = 10)]
    conversations: u32,

    /// Everything left to chance follows from it.
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,

    /// Where results.csv is written. [default: runs/crowd/SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write the trace and the capture as well: some hundred bytes for each packet.
    #[arg(long)]
    record: bool,

    /// Print the crowd as a scenario and run nothing.
    #[arg(long)]
    toml: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing went wrong.
fn run(arguments: &Arguments) -> Result<bool, RunError> {
    let Arguments { nodes, minutes, conversations, seed, .. } = *arguments;
    let crowd = Crowd { nodes, minutes, conversations, seed };
    let began = Instant::now();
    let scenario = crowd.scenario()?;
    if arguments.toml {
        println!("{}", scenario.to_toml());
        return Ok(true);
    }
    let path = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs/crowd").join(seed.to_string()));
    let directory = RunDirectory::create(path)?;
    let recording = if arguments.record { Recording::EVERYTHING } else { Recording::NOTHING };
    let life = Life::prepare(&scenario, &directory, recording)?;
    let building = began.elapsed();
    let began = Instant::now();
    let lived = life.live(&Progress::default());
    let living = began.elapsed();
    directory.write_results(&lived.conversations)?;
    let figures = Figures { crowd, scenario: &scenario, lived: &lived, building, living };
    print!("{figures}");
    Ok(figures.is_good())
}
