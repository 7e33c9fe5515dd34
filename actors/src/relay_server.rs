//! The Relay Server as an entity: signalling and forwarded packets on one port. Packets are forwarded by their SPI, without any
//! key and without the mailbox: by the receive task itself ([`start`]), or by whoever owns the port ([`start_beside`]).

use crate::driver::{self, Blueprint, Handle, PacketPath, Upward};
use crate::host::Host;
use crate::server::{ServerParts, StartError};
use ntmobile_ports::net::{Received, UdpPort};
use ntmobile_proto::packet::{Dropped, RelayTable, Relayed};
use ntmobile_proto::relay_server::{RelayServer, RelayServerConfig};
use ntmobile_proto::time::Instant;
use ntmobile_telemetry::Recorder;
use ntmobile_wire::datagram::encode_source_unknown;
use ntmobile_wire::identifier::{Session, Spi, Transaction};
use ntmobile_wire::message::SourceUnknown;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// Is told what a life of the machine forwards by, when it begins.
pub type ForwardBy = Box<dyn Fn(Arc<RelayTable>, Session)>;

/// The port of an RS whose packets somebody else forwards.
pub struct RelayPort {
    /// Its signalling half.
    pub signalling: Arc<dyn UdpPort>,
    /// Who forwards what is not signalling.
    pub forward_by: ForwardBy,
}

/// Starts an RS that forwards packets itself, on the port of its parts.
///
/// # Panics
/// When called outside an actix system.
pub async fn start(
    config: RelayServerConfig,
    parts: ServerParts,
    host: Host,
) -> Result<Handle<RelayServer>, StartError> {
    let signalling = host.net().bind_udp(parts.signalling_port).map_err(StartError::Signalling)?;
    let path = Arc::new(RelayPath::new(config.name.as_str().into(), host.recorder().clone()));
    let table_of = Arc::clone(&path);
    let forward_by: ForwardBy = Box::new(move |table, session| table_of.forward_by(table, session));
    run(config, parts, (RelayPort { signalling, forward_by }, Some(path as Arc<dyn PacketPath>)), host).await
}

/// Starts an RS beside whoever forwards its packets and owns its port; the port of its parts is not opened.
///
/// # Panics
/// When called outside an actix system.
pub async fn start_beside(
    config: RelayServerConfig,
    parts: ServerParts,
    port: RelayPort,
    host: Host,
) -> Result<Handle<RelayServer>, StartError> {
    run(config, parts, (port, None), host).await
}

async fn run(
    config: RelayServerConfig,
    parts: ServerParts,
    (port, packet_path): (RelayPort, Option<Arc<dyn PacketPath>>),
    host: Host,
) -> Result<Handle<RelayServer>, StartError> {
    let entity: Arc<str> = config.name.as_str().into();
    let RelayPort { signalling, forward_by } = port;
    let blueprint = Blueprint {
        name: Arc::clone(&entity),
        machine: Box::new(move |entropy| {
            let machine = RelayServer::new(config.clone(), entropy);
            forward_by(machine.table(), machine.session());
            machine
        }),
        signalling,
        packet_path,
        tls: Some(parts.tls),
        tcp: None,
        subscriber: host.announcing(&entity, None),
        store: parts.store,
        authenticators: Vec::new(),
    };
    Ok(driver::start(blueprint, host).await?)
}

/// Forwards packets between legs that have proved their addresses.
struct RelayPath {
    entity: Arc<str>,
    recorder: Recorder,
    /// The table and the session of the machine's present life; none before the first.
    current: RwLock<Option<(Arc<RelayTable>, Session)>>,
}

impl RelayPath {
    fn new(entity: Arc<str>, recorder: Recorder) -> Self {
        Self { entity, recorder, current: RwLock::default() }
    }

    /// A life of the machine begins: its table is this.
    fn forward_by(&self, table: Arc<RelayTable>, session: Session) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some((table, session));
    }

    /// Tells a sender that its address has not proved itself, in no more octets than it sent.
    fn answer(&self, session: Session, spi: Spi, to: SocketAddr, limit: usize, port: &dyn UdpPort) {
        // Nobody answers it, so its number means nothing.
        let datagram = encode_source_unknown(Transaction(0), session, &SourceUnknown { spi });
        if datagram.len() > limit {
            return self.count("relay.source_unknown_unsaid");
        }
        self.count("relay.source_unknown");
        if port.send(to, datagram).is_err() {
            self.count("relay.unsent");
        }
    }

    fn count(&self, name: &'static str) {
        self.recorder.count(&self.entity, name, 1);
    }
}

impl PacketPath for RelayPath {
    /// Forwarding needs nothing of the machine: an idle relay is found by the machine itself.
    fn attach(&self, _up: Upward) {}

    fn receive(&self, now: Instant, received: Received, port: &dyn UdpPort) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((table, session)) = current else { return self.count("relay.not_ready") };
        match table.relay(now, received.from, &received.bytes) {
            Relayed::To(to) => {
                if port.send(to, received.bytes).is_err() {
                    self.count("relay.unsent");
                }
            }
            Relayed::SourceUnknown(spi) => self.answer(session, spi, received.from, received.bytes.len(), port),
            Relayed::Drop(Dropped::Malformed) => self.count("esp.malformed"),
            Relayed::Drop(Dropped::UnknownSpi) => self.count("esp.unknown_spi"),
            Relayed::Drop(Dropped::NoLeg) => self.count("relay.no_leg"),
            Relayed::Drop(Dropped::AnsweredAlready) => self.count("relay.source_unknown_again"),
        }
    }
}

#[cfg(test)]
mod tests;
