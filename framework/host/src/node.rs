//! A node on a real host, for applications that link NTMobile in.
//!
//! ```no_run
//! use ntmobile_host::node;
//! use tokio::io::AsyncWriteExt;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     node::run(async {
//!         let node = node::join("node.toml").await?;
//!         let mut stream = node.connect("bob.u2.example:7000").await?; // through any NAT, across any move
//!         stream.write_all(b"hello").await?;
//!         Ok(())
//!     })
//! }
//! ```

use crate::credentials::{self, CredentialsError, Trusted};
use crate::equipment::{Equipment, EquipmentError};
use crate::files::{self, FileError};
use crate::settings::{Authentication, LoadError, NodeFile, SettingsFile};
use ntmobile_actors::library::{Device, JoinError, NoPassword, Node, Password};
use ntmobile_net::net::NetOptions;
use ntmobile_ports::certificate::Identity;
use ntmobile_ports::store::Store;
use ntmobile_ports::stores::MemoryStore;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::time::UnixTime;
use ntmobile_strategies::UnknownStrategy;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::message::Credential;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// The variable that holds the password where no file does.
pub const PASSWORD_VARIABLE: &str = "NTM_PASSWORD";

/// What a node's database holds back: it keeps a few keys.
const RESERVE: u64 = 2 << 20;

/// Why a host's node did not join.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Its file cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It lacks something.
    #[error(transparent)]
    Equipment(#[from] EquipmentError),
    /// A certificate is missing, wrong or out of date.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Its password's file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It has no password.
    #[error("{0}, or give password-file in [node]")]
    NoPassword(#[from] NoPassword),
    /// A strategy is unknown.
    #[error(transparent)]
    Strategy(#[from] UnknownStrategy),
    /// The network did not let it in.
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// Runs an application to its end.
pub fn run<T>(application: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(application)
}

/// Joins the network as this file says, as the device's default application. Must be called within [`run`].
pub async fn join(file: impl AsRef<Path>) -> Result<Node, NodeError> {
    join_with(&NodeFile::load(file.as_ref())?).await
}

/// Joins the network with these settings. Must be called within [`run`].
pub async fn join_with(file: &NodeFile) -> Result<Node, NodeError> {
    let device = device(file, NetOptions::default(), ApplicationId(0)).await?;
    let credential = credential(file)?;
    Ok(Node::join(&device, &file.node.account.to_string(), credential).await?)
}

/// The device that a file describes, for one application. Must be called within an actix system.
pub async fn device(file: &NodeFile, options: NetOptions, application: ApplicationId) -> Result<Device, NodeError> {
    let node = &file.node;
    let name = node.account.node();
    let equipment = Equipment::new(name.as_str(), &file.host, options)?;
    let now = equipment.host.clock().wall();
    let trusted = credentials::trusted(&node.certificates, now)?;
    let tls = equipment.tls(0, identity(file, &trusted, now)?, trusted.roots, false)?;
    let store: Arc<dyn Store> = match &node.state {
        None => Arc::new(MemoryStore::new()),
        Some(state) => {
            let state = state.join(format!("application-{}", application.0));
            files::private_directory(&state)?;
            equipment.store(&state, RESERVE).await?
        }
    };
    // Telemetry goes on for as long as the process does.
    actix_rt::spawn(equipment.export());
    Ok(Device {
        host: equipment.host,
        tls,
        stores: Arc::new(move |_application| Arc::clone(&store)),
        account_server: node.account_server.0.clone(),
        account_server_addresses: file.account_server_addresses(),
        strategies: file.plugins.strategies()?,
        suite: file.plugins.suite(),
        key_log: None,
    })
}

fn identity(file: &NodeFile, trusted: &Trusted, now: UnixTime) -> Result<Option<Identity>, CredentialsError> {
    match file.node.authentication {
        Authentication::Password => Ok(None),
        Authentication::PublicKey => {
            let bearer = (&file.node.account.node(), CertificateRole::Node);
            Ok(Some(credentials::identity(&file.node.certificates, bearer, trusted, now)?.identity))
        }
    }
}

/// What the node proves with that it is the account's.
pub fn credential(file: &NodeFile) -> Result<Credential, NodeError> {
    match (file.node.authentication, &file.node.password_file) {
        (Authentication::PublicKey, _) => Ok(Credential::Certificate),
        (Authentication::Password, Some(path)) => {
            let text = files::read_secret(path)?;
            Ok(Password::new(text.trim_end_matches(['\r', '\n'])).into())
        }
        (Authentication::Password, None) => Ok(Password::from_env(PASSWORD_VARIABLE)?.into()),
    }
}
