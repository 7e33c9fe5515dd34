//! The Direction Coordinator as an entity: signalling, TLS legs, and the name server of its domain.

use crate::dns::{CoordinatorRecords, ZoneRecords};
use crate::driver::{self, Blueprint, Handle, Subscriber};
use crate::host::Host;
use crate::name_server::NameServer;
use crate::server::{ServerParts, StartError};
use ntmobile_proto::direction_coordinator::{
    DirectionCoordinator, DirectionCoordinatorConfig, DirectionCoordinatorEvent,
};
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::name::Fqdn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A running DC; it stops when this is dropped.
pub struct CoordinatorEntity {
    /// Its machine.
    pub handle: Handle<DirectionCoordinator>,
    /// Its domain's name server.
    pub name_server: NameServer,
}

/// The zone of a DC that is reached at these addresses and ports, of signalling and of TLS.
pub fn zone(
    config: &DirectionCoordinatorConfig,
    (signalling_port, tls_port): (u16, u16),
    addresses: Vec<IpAddr>,
) -> ZoneRecords {
    let records = CoordinatorRecords { name: config.name.clone(), addresses, signalling_port, tls_port };
    ZoneRecords::of_domain(config.domain.clone(), &records)
}

/// The virtual IPv4 prefix of a domain that has chosen none: the /20 of 100.64.0.0/10 that its name hashes to.
pub fn default_virtual_ipv4(domain: &Fqdn) -> (Ipv4Addr, u8) {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in domain.as_str().bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    // There are 1,024 of them.
    let number = (hash >> 16 ^ hash) & 0x3ff;
    (Ipv4Addr::from_bits(Ipv4Addr::new(100, 64, 0, 0).to_bits() | number << 12), 20)
}

/// A virtual IPv6 prefix for a domain: a /64 of a random /48 (RFC 4193).
pub fn draw_virtual_ipv6(entropy: &mut dyn Entropy) -> Ipv6Addr {
    let mut octets = [0; 16];
    entropy.fill(&mut octets[1..6]);
    octets[0] = 0xfd;
    Ipv6Addr::from(octets)
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
    if config.name.parent().as_ref() != Some(&config.domain) {
        return Err(StartError::NotInDomain { name: config.name, domain: config.domain });
    }
    let signalling = host.net().bind_udp(parts.signalling_port).map_err(StartError::Signalling)?;
    let name_server = NameServer::start(config.name.as_str(), vec![zone], &host)?;
    let entity: Arc<str> = config.name.as_str().into();
    let blueprint = Blueprint {
        name: Arc::clone(&entity),
        machine: Box::new(move |entropy| DirectionCoordinator::new(config.clone(), entropy)),
        signalling,
        packet_path: None,
        tls: Some(parts.tls),
        tcp: None,
        subscriber: host.announcing(&entity, subscriber),
        store: parts.store,
        authenticators: Vec::new(),
    };
    Ok(CoordinatorEntity { handle: driver::start(blueprint, host).await?, name_server })
}
