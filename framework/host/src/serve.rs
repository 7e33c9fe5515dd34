//! A server from its file: started, told of, ended.

mod entity;

use crate::accounts::Office;
use crate::equipment::{Equipment, EquipmentError};
use crate::files::FileError;
use crate::health::{Health, HealthError, Readiness};
use crate::logging::{self, FilterError};
use crate::service_manager::{self, Stage};
use crate::settings::{
    AccountServerFile, CoordinatorFile, HostSettings, LogForm, NamesFile, NotificationServerFile, RelayServerFile,
};
use crate::signals::Signals;
use entity::Entity;
use ntmobile_actors::server::StartError;
use ntmobile_actors::supervise::End;
use ntmobile_auth_plugins::{AccountError, UnknownAuthenticator};
use ntmobile_net::net::NetOptions;
use ntmobile_net::packet_path::{Failure, PathError};
use ntmobile_strategies::UnknownStrategy;
use ntmobile_wire::name::Fqdn;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// How long an entity may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a server does not run, or does not run any more.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The log filter is none.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Signals cannot be heard.
    #[error("signals cannot be heard: {0}")]
    Signals(#[source] io::Error),
    /// It lacks something.
    #[error(transparent)]
    Equipment(#[from] EquipmentError),
    /// A file of its state cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The health port cannot be opened.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The admin socket cannot be opened.
    #[error("the admin socket cannot be opened: {0}")]
    Admin(#[source] io::Error),
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Packets cannot be forwarded.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Packets are not forwarded any more.
    #[error("packets are not forwarded any more: {0}")]
    Carrying(Failure),
    /// A strategy is unknown.
    #[error(transparent)]
    Strategy(#[from] UnknownStrategy),
    /// A way to authenticate is unknown.
    #[error(transparent)]
    Authenticator(#[from] UnknownAuthenticator),
    /// The accounts cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// It ended by itself.
    #[error("the server ended: {0}")]
    Ended(End),
    /// Its name server ended by itself.
    #[error("the name server ended: its port is closed or it panicked; what it said before is in the log")]
    NameServerEnded,
    /// A second signal came while it stopped.
    #[error("stopped at once by a second {0}")]
    AtOnce(&'static str),
}

/// What is to be served.
#[derive(Clone, Debug)]
pub enum ServerFile {
    /// An AS.
    Account(Box<AccountServerFile>),
    /// A DC.
    Coordinator(Box<CoordinatorFile>),
    /// An RS.
    Relay(Box<RelayServerFile>),
    /// An NS.
    Notification(Box<NotificationServerFile>),
    /// A name server of a closed network.
    Names(Box<NamesFile>),
}

impl ServerFile {
    fn name(&self) -> &Fqdn {
        match self {
            Self::Account(file) => &file.server.name,
            Self::Coordinator(file) => &file.server.name,
            Self::Relay(file) => &file.server.name,
            Self::Notification(file) => &file.server.name,
            Self::Names(file) => &file.names.server,
        }
    }

    fn host(&self) -> &HostSettings {
        match self {
            Self::Account(file) => &file.host,
            Self::Coordinator(file) => &file.host,
            Self::Relay(file) => &file.host,
            Self::Notification(file) => &file.host,
            Self::Names(file) => &file.host,
        }
    }

    fn listen(&self) -> &[IpAddr] {
        match self {
            Self::Account(file) => &file.server.listen,
            Self::Coordinator(file) => &file.server.listen,
            Self::Relay(file) => &file.server.listen,
            Self::Notification(file) => &file.server.listen,
            Self::Names(file) => &file.names.listen,
        }
    }
}

/// Serves until a signal comes or the server ends by itself. `log` stands above what the file says.
pub fn run(file: &ServerFile, log: Option<LogForm>) -> Result<(), ServeError> {
    let settings = file.host();
    logging::start(log.unwrap_or(settings.log), &settings.log_filter)?;
    actix_rt::System::new().block_on(serve(file))
}

async fn serve(file: &ServerFile) -> Result<(), ServeError> {
    let mut signals = Signals::listen().map_err(ServeError::Signals)?;
    let (name, settings) = (file.name(), file.host());
    let options = NetOptions { listen: file.listen().to_vec(), ..NetOptions::server() };
    let equipment = Equipment::new(name.as_str(), settings, options)?;
    let readiness = Readiness::default();
    let health = match settings.health {
        Some(address) => Some(Health::start(address, readiness.clone(), equipment.host.recorder().clone()).await?),
        None => None,
    };
    let entity = tokio::select! {
        entity = Entity::start(file, &equipment) => entity?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it had started");
            return Ok(());
        }
    };
    readiness.set(true);
    service_manager::tell(Stage::Ready);
    let health = health.as_ref().map(|health| health.address().to_string());
    tracing::info!(%name, addresses = ?equipment.host.net().addresses(), health, "ready");

    let ended = tokio::select! {
        why = entity.ended() => Some(why),
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            None
        }
        () = equipment.export() => None,
        () = logging::tell_counts(equipment.host.recorder().clone()) => None,
    };
    readiness.set(false);
    service_manager::tell(Stage::Stopping);
    tokio::select! {
        () = entity.stop() => {}
        () = equipment.host.clock().sleep(PATIENCE) => tracing::warn!("the server did not stop in time"),
        signal = signals.next() => return Err(ServeError::AtOnce(signal)),
    }
    equipment.finish();
    match ended {
        Some(why) => Err(why),
        None => {
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// The part of an AS that whoever runs it speaks to.
fn admin(file: &AccountServerFile, office: Office) -> Result<impl Future<Output = ()> + use<>, ServeError> {
    crate::accounts::serve(&file.server.state(), office).map_err(ServeError::Admin)
}
