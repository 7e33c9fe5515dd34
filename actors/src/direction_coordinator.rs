//! The Direction Coordinator as an entity: signalling, TLS legs, and the name server of its domain.

use crate::dns::{CoordinatorRecords, ZoneRecords};
use crate::driver::{self, Blueprint, Handle, Subscriber};
use crate::host::Host;
use crate::name_server::NameServer;
use crate::server::{ServerParts, StartError};
use ntmobile_proto::direction_coordinator::{
    DirectionCoordinator, DirectionCoordinatorConfig, DirectionCoordinatorEvent,
};

/// A running DC; it stops when this is dropped.
pub struct CoordinatorEntity {
    /// Its machine.
    pub handle: Handle<DirectionCoordinator>,
    /// Its domain's name server.
    pub name_server: NameServer,
}

/// The zone of a DC that runs on this host with these ports.
pub fn zone(config: &DirectionCoordinatorConfig, signalling_port: u16, tls_port: u16, host: &Host) -> ZoneRecords {
    let records =
        CoordinatorRecords { name: config.name.clone(), addresses: host.net().addresses(), signalling_port, tls_port };
    ZoneRecords::of_domain(config.domain.clone(), &records)
}

/// Starts a DC that serves `zone`, as [`zone`] makes it and with whatever else its domain holds.
///
/// # Panics
/// When called outside an actix system.
pub async fn start(
    config: DirectionCoordinatorConfig,
    zone: ZoneRecords,
    parts: ServerParts,
    subscriber: Box<dyn Subscriber<DirectionCoordinatorEvent>>,
    host: Host,
) -> Result<CoordinatorEntity, StartError> {
    let signalling = host.net().bind_udp(parts.signalling_port).map_err(StartError::Signalling)?;
    let name_server = NameServer::start(config.name.as_str(), vec![zone], &host)?;
    let blueprint = Blueprint {
        name: config.name.as_str().into(),
        machine: Box::new(move |entropy| DirectionCoordinator::new(config.clone(), entropy)),
        signalling,
        packet_path: None,
        tls: Some(parts.tls),
        tcp: None,
        subscriber,
        store: parts.store,
        authenticators: Vec::new(),
    };
    Ok(CoordinatorEntity { handle: driver::start(blueprint, host).await?, name_server })
}
