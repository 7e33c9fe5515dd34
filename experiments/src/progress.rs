//! Shows how far a run is: a bar on a terminal, a line now and then elsewhere. Runs beside the simulation and only reads.

use crate::terminal::Terminal;
use ntmobile_lab::progress::{Phase, Progress};
use ntmobile_lab::scenario::units::TimeSpan;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

const WIDTH: usize = 28;

/// Watches until `done` says that the run is over, by a message or by being dropped.
pub fn watch(progress: &Progress, duration: TimeSpan, terminal: &Terminal, done: &Receiver<()>) {
    let started = Instant::now();
    let pause = if terminal.is_live() { Duration::from_millis(80) } else { Duration::from_secs(5) };
    while done.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        if progress.phase() < Phase::Done {
            show(progress, duration, terminal, started.elapsed());
        }
    }
    if terminal.is_live() {
        // Leaves no half line behind.
        eprint!("\r\x1b[K");
    }
}

fn show(progress: &Progress, duration: TimeSpan, terminal: &Terminal, wall: Duration) {
    let line = line(progress, duration, terminal.is_live(), wall);
    // A progress line that cannot be shown is no reason to stop.
    let _ = if terminal.is_live() {
        write!(std::io::stderr(), "\r\x1b[K{line}")
    } else {
        writeln!(std::io::stderr(), "{line}")
    };
}

fn line(progress: &Progress, duration: TimeSpan, bar: bool, wall: Duration) -> String {
    match progress.phase() {
        Phase::Building => "  building".to_owned(),
        Phase::Writing | Phase::Done => "  writing".to_owned(),
        Phase::Running => {
            let share = progress.now().0 as f64 / duration.as_nanos().max(1) as f64;
            let full = ((share * WIDTH as f64) as usize).min(WIDTH);
            let bar =
                if bar { format!("{}{}  ", "█".repeat(full), "░".repeat(WIDTH - full)) } else { String::new() };
            let now = progress.now().0 as f64 / 1e9;
            format!("  running   {bar}{now:.1} s of {duration} simulated in {:.1} s", wall.as_secs_f64())
        }
    }
}
