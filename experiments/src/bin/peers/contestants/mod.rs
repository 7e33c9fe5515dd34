//! Who is measured: each knows whether it is here, how it is started at both ends, and how somebody gets it who lacks it.

mod bare;
mod easytier;
mod nebula;
mod ntm_up;
mod packet_path;
pub(crate) use packet_path::static_tunnels;
mod raw;
mod wireguard;

use crate::failure::Failure;
use crate::process::Process;
use crate::site::Site;
use std::time::Duration;

/// How long a tool may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// One way to carry packets from the near end to the far one.
pub(crate) trait Contestant {
    /// What it is called in tables.
    fn name(&self) -> &'static str;

    /// Its version if it is here, or how to get it.
    fn probe(&self) -> Result<String, &'static str>;

    /// Starts it at both ends, until packets can pass.
    fn start(&self, site: &Site) -> Result<Running, Failure>;
}

/// A contestant under way.
pub(crate) struct Running {
    /// The processes that carry packets; whatever is started ends with the value.
    pub(crate) processes: Vec<Process>,
    /// The far end's address.
    pub(crate) target: String,
}

impl Running {
    /// The processor time that the processes have used.
    pub(crate) fn processor_time(&self) -> Duration {
        self.processes.iter().map(Process::processor_time).sum()
    }
}

/// Everybody, in the order of tables.
pub(crate) fn all() -> Vec<Box<dyn Contestant>> {
    vec![
        Box::new(raw::Raw),
        Box::new(bare::Bare),
        Box::new(packet_path::PacketPath::AES),
        Box::new(packet_path::PacketPath::CHACHA),
        Box::new(ntm_up::NtmUp),
        Box::new(wireguard::WireGuard::GO),
        Box::new(wireguard::WireGuard::BORINGTUN),
        Box::new(wireguard::WireGuard::GOTATUN),
        Box::new(nebula::Nebula),
        Box::new(easytier::EasyTier),
    ]
}

/// The first line that a program says about its version, without its name; `None` if it is not here.
fn version(program: &str, argument: &str) -> Option<String> {
    let path = crate::process::found(program)?;
    let output = std::process::Command::new(path).arg(argument).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let number =
        said.split_whitespace().find(|word| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()));
    Some(number.map_or_else(
        || "version unknown".to_owned(),
        |word| word.trim_start_matches('v').trim_end_matches(',').to_owned(),
    ))
}
