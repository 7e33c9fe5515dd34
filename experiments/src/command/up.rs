//! `ntm up`: this host as a node with a virtual interface, and the guardian that undoes its changes if it is killed.

use crate::cli::host::{GuardArguments, UpArguments};
use crate::failure::Failure;
use crate::terminal::Terminal;
use ntmobile_host::settings::{NodeFile, SettingsFile};
use ntmobile_host::up;
use ntmobile_net::footprint::{self, GuardianProgram};
use std::io::{Write, stdout};
use std::path::PathBuf;

/// This program, whatever has become of its file since.
const OURSELVES: &str = "/proc/self/exe";

/// Runs until it is told to stop.
pub fn up(arguments: &UpArguments, terminal: &Terminal) -> Result<(), Failure> {
    if arguments.example {
        write!(stdout(), "{}", NodeFile::EXAMPLE)?;
        return Ok(());
    }
    let file = NodeFile::load(&arguments.config)?;
    if arguments.check {
        writeln!(stdout(), "  {}  {}", arguments.config.display(), terminal.good("is right"))?;
        return Ok(());
    }
    let guardian = GuardianProgram { program: PathBuf::from(OURSELVES), arguments: vec!["guard".into()] };
    Ok(up::run(&file, arguments.log.map(Into::into), guardian)?)
}

/// Waits until the node is gone, and undoes what it has left.
pub fn guard(arguments: &GuardArguments) -> Result<(), Failure> {
    Ok(footprint::guard(&arguments.journal).map_err(up::UpError::from)?)
}
