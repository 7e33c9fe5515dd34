//! What all servers have in common when they are started: ports, store, and why it may fail.

use crate::dns::ZoneError;
use crate::supervise::End;
use ntmobile_ports::net::NetError;
use ntmobile_ports::store::Store;
use ntmobile_ports::tls::Tls;
use ntmobile_wire::name::Fqdn;
use std::sync::Arc;
use thiserror::Error;

/// The default port of signalling and ESP (UDP).
pub const SIGNALLING_PORT: u16 = 4500;

/// The default port of TLS legs (QUIC, UDP).
pub const TLS_PORT: u16 = 4433;

/// The default port on which a Notification Server takes connections (TCP).
pub const NOTIFICATION_PORT: u16 = 4500;

/// The port of DNS.
pub const DNS_PORT: u16 = 53;

/// What a server is given besides its host and its machine's settings.
pub struct ServerParts {
    /// Its signalling port; 0 for any free one.
    pub signalling_port: u16,
    /// Its TLS port, which shows its certificate.
    pub tls: Arc<dyn Tls>,
    /// What it must not forget.
    pub store: Arc<dyn Store>,
}

/// Why an entity could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartError {
    /// A DC's name is not one that its nodes and other DCs would believe.
    #[error("a Direction Coordinator's name lies directly in its domain: {name} is no name in {domain}")]
    NotInDomain {
        /// The DC.
        name: Fqdn,
        /// Its domain.
        domain: Fqdn,
    },
    /// Its signalling port could not be opened.
    #[error("the signalling port could not be opened: {0}")]
    Signalling(#[source] NetError),
    /// Its DNS port could not be opened.
    #[error("the DNS port could not be opened: {0}")]
    Dns(#[source] NetError),
    /// What its name server is to serve cannot be served.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// Its TCP port could not be opened.
    #[error("the TCP port could not be opened: {0}")]
    Tcp(#[source] NetError),
    /// It ended before it ran.
    #[error("it did not come up: {0}")]
    Ended(#[from] End),
}
