//! Why something could not be measured.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a run, or one figure of it, came to nothing.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A program that is needed did not do what it was asked.
    #[error("{command}: {said}")]
    Command {
        /// The whole line.
        command: String,
        /// What it said about it.
        said: String,
    },
    /// A program could not be started.
    #[error("{program} does not start: {source}")]
    Start {
        /// Which.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file cannot be written or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A program ended, or was silent for too long.
    #[error("{program} {what}; it had said: {said}")]
    Silent {
        /// Which.
        program: String,
        /// Ended or silent.
        what: &'static str,
        /// All that it had said.
        said: String,
    },
    /// What a program said means nothing to us.
    #[error("{program} said what is not understood: {said}")]
    Answer {
        /// Which.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// Something is missing on this machine.
    #[error("{0}")]
    Missing(String),
    /// Others use the machine.
    #[error("the machine is not quiet: {0}; wait, or measure all the same with --busy, which marks the figures")]
    Busy(String),
}
