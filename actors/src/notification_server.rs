//! The Notification Server as an entity: signalling and TLS legs towards DCs, and a TCP port for the nodes it wakes.

use crate::driver::{self, Blueprint, Handle};
use crate::host::Host;
use crate::server::{ServerParts, StartError};
use ntmobile_proto::notification_server::{NotificationServer, NotificationServerConfig};
use std::sync::Arc;

/// Starts an NS; nodes connect to `tcp_port`.
///
/// # Panics
/// When called outside an actix system.
pub async fn start(
    config: NotificationServerConfig,
    tcp_port: u16,
    parts: ServerParts,
    host: Host,
) -> Result<Handle<NotificationServer>, StartError> {
    let signalling = host.net().bind_udp(parts.signalling_port).map_err(StartError::Signalling)?;
    let tcp = host.net().listen_tcp(tcp_port).map_err(StartError::Tcp)?;
    let entity: Arc<str> = config.name.as_str().into();
    let blueprint = Blueprint {
        name: Arc::clone(&entity),
        machine: Box::new(move |entropy| NotificationServer::new(config.clone(), entropy)),
        signalling,
        packet_path: None,
        tls: Some(parts.tls),
        tcp: Some(Arc::from(tcp)),
        subscriber: host.announcing(&entity, None),
        store: parts.store,
        authenticators: Vec::new(),
    };
    Ok(driver::start(blueprint, host).await?)
}
