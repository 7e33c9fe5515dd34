//! `ntm up`: this host as a node with a virtual interface, and the guardian that undoes its changes if it is killed; `ntm
//! vpn-service`: the same without privilege, on a device that a host program hands over.

use crate::cli::host::{GuardArguments, UpArguments, VpnServiceArguments};
use crate::failure::Failure;
use crate::terminal::Terminal;
use ntmobile_host::settings::{NodeFile, SettingsFile};
use ntmobile_host::up;
use ntmobile_host::vpn_service::{self, Meeting};
use ntmobile_net::footprint::{self, GuardianProgram};
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

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

/// Runs until the host program is gone, or it is told to stop.
pub fn vpn_service(arguments: &VpnServiceArguments) -> Result<(), Failure> {
    let file = NodeFile::load(&arguments.config)?;
    let meeting = match arguments.socket.as_path() {
        path if path == Path::new("-") => Meeting::StandardInput,
        path => Meeting::Path(path.to_owned()),
    };
    Ok(vpn_service::run(&file, arguments.log.map(Into::into), meeting)?)
}

/// Waits until the node is gone, and undoes what it has left.
pub fn guard(arguments: &GuardArguments) -> Result<(), Failure> {
    Ok(footprint::guard(&arguments.journal).map_err(up::UpError::from)?)
}
