//! How the command fails: one variant for each exit code that scripts can tell apart.

use crate::command::ping::PingError;
use crate::command::trace::Missing;
use ntmobile_host::accounts::AccountsError;
use ntmobile_host::authority::AuthorityError;
use ntmobile_host::files::FileError;
use ntmobile_host::serve::ServeError;
use ntmobile_host::settings::LoadError;
use ntmobile_host::up::UpError;
use ntmobile_host::up::control::ControlError;
use ntmobile_host::vpn_service::VpnServiceError;
use ntmobile_lab::compare::CompareError;
use ntmobile_lab::digest::DigestError;
use ntmobile_lab::netns::keeper::OrderError;
use ntmobile_lab::netns::plan::PlanError;
use ntmobile_lab::netns::resident::ResidentError;
use ntmobile_lab::netns::run::LabError;
use ntmobile_lab::netns::standing::StandingError;
use ntmobile_lab::record::RecordError;
use ntmobile_lab::run::RunError;
use ntmobile_lab::scenario::problem::ScenarioError;
use ntmobile_telemetry::read::ReadError;
use ntmobile_telemetry::upload::UploadError;
use ntmobile_wire::name::NameError;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use thiserror::Error;

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub enum Failure {
    /// The scenario is wrong.
    #[error("{0}")]
    Scenario(#[from] ScenarioError),
    /// The scenario's file cannot be read.
    #[error("{path}: {source}")]
    ScenarioFile {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The simulation failed: a panic, a deadlock.
    #[error("the simulation failed: {0}")]
    Run(RunError),
    /// A run's directory cannot be written or read.
    #[error("{0}")]
    Record(#[from] RecordError),
    /// A run's trace cannot be read.
    #[error("{path}: {source}")]
    Trace {
        /// Which.
        path: PathBuf,
        /// Where and how.
        source: ReadError,
    },
    /// A run cannot be reported.
    #[error("{0}")]
    Report(#[from] DigestError),
    /// The run holds nothing of the kind.
    #[error("{0}")]
    NotThere(#[from] Missing),
    /// The run is written, but the collector did not take its trace.
    #[error("the run is in {directory}, but its trace was not sent: {source}")]
    Upload {
        /// Where the run is.
        directory: PathBuf,
        /// Why the collector has not all of it.
        source: UploadError,
    },
    /// A server's or node's file is wrong.
    #[error("{0}")]
    Settings(#[from] LoadError),
    /// A name is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The authority did not do it.
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    /// A file was not read or written.
    #[error("{0}")]
    File(#[from] FileError),
    /// There is no password.
    #[error("{0}")]
    Password(String),
    /// The accounts are not what they were to be.
    #[error("{0}")]
    Accounts(#[from] AccountsError),
    /// The server does not run.
    #[error("{0}")]
    Serve(#[from] ServeError),
    /// The node does not run.
    #[error("{0}")]
    Up(#[from] UpError),
    /// The node does not run without privilege.
    #[error("{0}")]
    VpnService(#[from] VpnServiceError),
    /// The node that runs could not be asked.
    #[error("{0}")]
    Control(#[from] ControlError),
    /// A node does not answer.
    #[error("{0}")]
    Ping(#[from] PingError),
    /// A lab did not run to its end.
    #[error("{0}")]
    Lab(#[source] Box<LabError>),
    /// Two runs cannot be compared.
    #[error("{0}")]
    Compare(#[from] CompareError),
    /// A lab cannot stand or be taken down.
    #[error("{0}")]
    Standing(#[from] StandingError),
    /// A lab that was to be left standing does not stand.
    #[error("{0}")]
    Keeper(String),
    /// A standing lab did not do as it was told.
    #[error("{0}")]
    Order(#[from] OrderError),
    /// A node of a lab has ended.
    #[error("{0}")]
    Resident(#[from] ResidentError),
    /// The user stopped it.
    #[error("stopped; what was measured until then is in {0}, marked as partial")]
    Stopped(PathBuf),
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// Whoever read standard output has had enough, as `head` does: no failure at all.
    #[error("nobody reads standard output any more")]
    ReaderGone,
}

impl Failure {
    /// See the help text.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Name(_) => 2,
            Self::Scenario(_) | Self::ScenarioFile { .. } | Self::Settings(_) => 3,
            Self::Run(_) => 4,
            Self::Compare(_) | Self::Record(_) | Self::Report(_) | Self::Trace { .. } | Self::Output(_) => 5,
            Self::Authority(_) | Self::File(_) | Self::Password(_) => 5,
            Self::NotThere(_) | Self::Accounts(AccountsError::Refused(_)) | Self::Control(_) | Self::Ping(_) => 6,
            Self::Upload { .. } => 7,
            Self::Stopped(_) | Self::Serve(ServeError::AtOnce(_)) | Self::Up(UpError::AtOnce(_)) => 130,
            Self::VpnService(VpnServiceError::Up(UpError::AtOnce(_))) => 130,
            Self::Standing(StandingError::Name(_)) => 2,
            Self::Standing(StandingError::None(_)) => 6,
            Self::Lab(error) if matches!(**error, LabError::Stopped) => 130,
            Self::Accounts(_) | Self::Serve(_) | Self::Up(_) | Self::VpnService(_) => 8,
            Self::Order(OrderError::Socket(_)) => 8,
            Self::Order(_) => 6,
            Self::Lab(_) | Self::Standing(_) | Self::Resident(_) | Self::Keeper(_) => 8,
            Self::ReaderGone => 0,
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::ReaderGone } else { Self::Output(error) }
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        match error {
            LabError::Scenario(error) | LabError::Plan(PlanError::Unfit(error)) => Self::Scenario(error),
            LabError::Record(error) => Self::Record(error),
            LabError::Standing(error) => Self::Standing(error),
            error => Self::Lab(Box::new(error)),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Scenario(error) => Self::Scenario(error),
            RunError::Record(error) => Self::Record(error),
            error => Self::Run(error),
        }
    }
}
