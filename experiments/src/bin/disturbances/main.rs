//! `disturbances`: how soon traffic between real nodes comes back from whatever happens to networks, servers and nodes. Each
//! disturbance happens a few times, each time to a network of its own made of namespaces; medians and worst times come out.

mod figures;

use clap::Parser;
use figures::Figures;
use ntmobile_testbed::disturbance::{DISTURBANCES, Disturbance};
use ntmobile_testbed::site::{Outcome, Site};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

/// Disturbs real networks on this machine and says how soon traffic is back. Needs root, and the programs of the workspace beside
/// this one.
#[derive(Debug, Parser)]
#[command(name = "disturbances", version, max_term_width = 110)]
struct Arguments {
    /// How often each happens.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,

    /// Only these. [default: all]
    #[arg(value_name = "NAME", value_parser = names())]
    only: Vec<String>,

    /// Where results.csv is written.
    #[arg(long, value_name = "DIR", default_value = "runs/disturbances")]
    out: PathBuf,

    /// What the names of the namespaces begin with.
    #[arg(long, value_name = "PREFIX", default_value = "ntm-x-")]
    prefix: String,
}

fn names() -> Vec<&'static str> {
    DISTURBANCES.iter().map(|disturbance| disturbance.name).collect()
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

/// Whether traffic always came back.
fn run(arguments: &Arguments) -> io::Result<bool> {
    let is_wanted = |disturbance: &&Disturbance| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == disturbance.name)
    };
    let mut rows = results(&arguments.out)?;
    let mut figures = Figures::default();
    for disturbance in DISTURBANCES.iter().filter(is_wanted) {
        for round in 1..=arguments.rounds {
            eprintln!("{} {round}/{}", disturbance.name, arguments.rounds);
            let outcome = happen(disturbance, &arguments.prefix);
            for (way, beat) in outcome.iter().flat_map(|all| [("relayed", all.relayed), ("direct", all.direct)]) {
                let (silence, back) = (beat.silence.as_secs_f64(), beat.back.as_secs_f64());
                writeln!(rows, "{},{round},{way},{back:.3},{silence:.3}", disturbance.name)?;
            }
            figures.add(disturbance, outcome);
        }
    }
    print!("{figures}");
    println!("\n{}", figures::machine());
    Ok(figures.is_good())
}

/// One round; `None` if traffic did not come back.
fn happen(disturbance: &Disturbance, prefix: &str) -> Option<Outcome> {
    let (disturbance, prefix) = (*disturbance, prefix.to_owned());
    // What fails says so itself, and its network goes with its thread.
    let round = thread::spawn(move || {
        let mut site = Site::start(&prefix, disturbance.nat);
        let outcome = disturbance.happen(&mut site);
        site.leave_no_trace();
        outcome
    });
    round.join().ok()
}

fn results(directory: &Path) -> io::Result<File> {
    std::fs::create_dir_all(directory)?;
    let mut file = File::create(directory.join("results.csv"))?;
    writeln!(file, "disturbance,round,way,back_s,silence_s")?;
    Ok(file)
}
