//! The Account Server as an entity: TLS legs, and the authenticators that know the credentials.

use crate::driver::{self, Blueprint, Handle};
use crate::host::Host;
use crate::server::{ServerParts, StartError};
use ntmobile_ports::authenticator::Authenticator;
use ntmobile_proto::account_server::{AccountServer, AccountServerConfig};
use ntmobile_wire::key::Secret;
use ntmobile_wire::name::Fqdn;
use std::sync::Arc;

/// What only an AS is given.
pub struct AccountServerParts {
    /// Its own name, which its certificate bears.
    pub name: Fqdn,
    /// The seed of the network's voucher key.
    pub voucher_seed: Secret,
    /// Ways to verify a credential, asked in order until one takes the kind.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
}

/// Starts an AS.
///
/// # Panics
/// When called outside an actix system.
pub async fn start(
    config: AccountServerConfig,
    own: AccountServerParts,
    parts: ServerParts,
    host: Host,
) -> Result<Handle<AccountServer>, StartError> {
    let signalling = host.net().bind_udp(parts.signalling_port).map_err(StartError::Signalling)?;
    let voucher_seed = own.voucher_seed;
    let entity: Arc<str> = own.name.as_str().into();
    let blueprint = Blueprint {
        name: Arc::clone(&entity),
        machine: Box::new(move |entropy| AccountServer::new(config.clone(), *voucher_seed.expose(), entropy)),
        signalling,
        packet_path: None,
        tls: Some(parts.tls),
        tcp: None,
        subscriber: host.announcing(&entity, None),
        store: parts.store,
        authenticators: own.authenticators,
    };
    Ok(driver::start(blueprint, host).await?)
}
