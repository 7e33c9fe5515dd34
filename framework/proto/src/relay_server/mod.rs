//! The Relay Server: relays tunnels that have no direct path, and cannot read them.
//!
//! **Invariant:** a leg's address changes only by a message authenticated under K_tun, and nothing is sent to an address that
//! has not sent such a message. Tunnel Requests and their answers pass as they are; packets pass by their SPI, on the packet
//! path, which reads the [`RelayTable`] and never enters this machine.
//!
//! What a restart must not lose is stored before it is acknowledged: K_dcrs and the relays. Addresses are not: packets from
//! unknown sources are answered *Source Unknown*, and the ends prove their legs again.

mod config;
mod event;
mod meeting;
mod return_path;
#[cfg(test)]
mod tests;

pub use config::RelayServerConfig;
pub use event::RelayServerEvent;

use crate::calls::Calls;
use crate::deadlines::Deadlines;
use crate::endpoint::{Arrival, Association, Endpoint, Path, Peer, Ticket, unnamed};
use crate::machine::{CallId, Context, Effect, Input, Machine, Record, StoreFailure, Write};
use crate::packet::{Relay, RelayTable};
use crate::shared_keys::{NotShared, SharedKeyKind, SharedKeys, Sharing};
use crate::sizes::Sizes;
use crate::stored_message::{StoredMessage, deletion};
use crate::time::Instant;
use crate::tls::{self, TlsTicket};
use bytes::Bytes;
use meeting::Meeting;
use ntmobile_wire::datagram::Header;
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::identifier::{KeyId, Session, Spi};
use ntmobile_wire::message::{
    Message, NtmAck, Refusal, RefusalCode, RelayDirection, RelayHandshake, RelayResponse, SharedKeyPurpose,
};
use ntmobile_wire::subkey::{KeyKind, Role};
use return_path::ReturnPaths;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

type Cx<'a> = Context<'a, RelayServerEvent>;

/// Records of K_dcrs.
const SHARED_KEYS: &str = "rs.shared_key";
/// Records of relays, by their K_tun.
const RELAYS: &str = "rs.relay";

/// One relayed tunnel.
#[derive(Debug)]
struct Relayed {
    direction: RelayDirection,
    /// Its place in the table that the packet path reads.
    entry: Arc<Relay>,
    /// When one of the ends last spoke under K_tun.
    last_signalled: Instant,
    meeting: Meeting,
}

impl Relayed {
    fn spis(&self) -> (Spi, Spi) {
        (self.direction.spi_mn, self.direction.spi_cn)
    }
}

/// What the store is to confirm.
enum Storing {
    SharedKey(Sharing),
    Relay {
        ticket: Ticket,
        key: KeyId,
    },
    /// A deletion: if it is lost, the restored relay falls idle once more.
    Deletion,
}

/// The Relay Server's machine. It takes no commands.
pub struct RelayServer {
    config: RelayServerConfig,
    endpoint: Endpoint<Infallible>,
    shared: SharedKeys,
    table: Arc<RelayTable>,
    relays: BTreeMap<KeyId, Relayed>,
    return_paths: ReturnPaths,
    storing: Calls<Storing>,
    idle: Deadlines<KeyId>,
}

impl RelayServer {
    /// An RS that starts: its session and its transaction numbers are drawn anew.
    pub fn new(config: RelayServerConfig, entropy: &mut dyn Entropy) -> Self {
        let what = SharedKeyKind {
            server: config.name.clone(),
            purpose: SharedKeyPurpose::DcRs,
            kind: KeyKind::Dcrs,
            role: Role::Rs,
            table: SHARED_KEYS,
        };
        Self {
            endpoint: Endpoint::new(Session::draw(entropy), u64::from_be_bytes(draw(entropy))),
            shared: SharedKeys::new(what, config.coordinators.clone()),
            table: Arc::default(),
            relays: BTreeMap::new(),
            return_paths: ReturnPaths::default(),
            storing: Calls::default(),
            idle: Deadlines::default(),
            config,
        }
    }

    /// What the packet path forwards by.
    pub fn table(&self) -> Arc<RelayTable> {
        Arc::clone(&self.table)
    }

    /// The session of this process, which *Source Unknown* names.
    pub fn session(&self) -> Session {
        self.endpoint.session()
    }

    fn restore(&mut self, cx: &mut Cx<'_>, records: &[Record]) {
        let mut deletions = Vec::new();
        for record in records {
            match record.table.as_str() {
                SHARED_KEYS => deletions.extend(self.shared.restore(cx, &mut self.endpoint, record)),
                RELAYS => {
                    let message = StoredMessage::read(&record.value).map(|stored| stored.message);
                    let restored = match message {
                        Some(Message::RelayDirection(direction)) => {
                            let key = direction.k_tun.id;
                            let installed = self.install(cx, direction);
                            installed.map(|()| self.listen(key, false)).is_ok()
                        }
                        _ => false,
                    };
                    if !restored {
                        deletions.push(Write { table: RELAYS, key: record.key.clone(), value: None });
                    }
                }
                _ => {}
            }
        }
        self.delete(cx, deletions);
    }

    fn tls_request(&mut self, cx: &mut Cx<'_>, ticket: TlsTicket, message: Message) {
        let room = self.check_load();
        if let Some((sharing, write)) = self.shared.asked(cx, &self.endpoint, (ticket, message), room) {
            let call = self.storing.open(Storing::SharedKey(sharing));
            cx.push(Effect::Persist { call, writes: vec![write] });
        }
    }

    fn check_load(&self) -> Result<(), NotShared> {
        if self.storing.len() < self.config.requests {
            Ok(())
        } else {
            Err((RefusalCode::Overloaded, "too many requests wait for the store"))
        }
    }

    fn stored(&mut self, cx: &mut Cx<'_>, call: CallId, result: Result<(), StoreFailure>) {
        if let Err(failure) = &result {
            cx.event(RelayServerEvent::StoreFailed(failure.clone()));
        }
        match (self.storing.close(call), result) {
            (Some(Storing::SharedKey(sharing)), result) => {
                if let Some((coordinator, deletions)) = self.shared.stored(cx, &mut self.endpoint, sharing, result) {
                    cx.count("relay.key_shared");
                    cx.event(RelayServerEvent::KeyShared { coordinator });
                    self.delete(cx, deletions);
                }
            }
            (Some(Storing::Relay { ticket, key }), Ok(())) => self.directed(cx, &ticket, key),
            (Some(Storing::Relay { ticket, key }), Err(failure)) => {
                // A relay that was stored before goes on.
                if self.endpoint.association(key).is_none() {
                    self.forget(key);
                }
                self.refuse(cx, &ticket, RefusalCode::StorageFailed, &failure.to_string());
            }
            (Some(Storing::Deletion) | None, _) => {}
        }
    }

    fn delete(&mut self, cx: &mut Cx<'_>, writes: Vec<Write>) {
        if !writes.is_empty() {
            let call = self.storing.open(Storing::Deletion);
            cx.push(Effect::Persist { call, writes });
        }
    }

    fn datagram(&mut self, cx: &mut Cx<'_>, from: SocketAddr, bytes: &Bytes) {
        let Ok(header) = Header::parse(bytes) else {
            return cx.count("signalling.malformed");
        };
        if self.forward_answer(cx, from, &header, bytes) {
            return;
        }
        // It asks nobody, so nothing answers it.
        let arrival = self.endpoint.receive(cx, Path::Datagram(from), bytes);
        let Some(Arrival::Request { ticket, message }) = arrival else { return };
        match (ticket.role, message) {
            (Role::Dc, Message::RelayDirection(direction)) => self.direction_requested(cx, ticket, direction),
            (Role::Mn | Role::Cn, Message::HolePunching(message)) => self.hole_punched(cx, &ticket, &message),
            (Role::Mn | Role::Cn, Message::TunnelRequest(request)) => {
                self.tunnel_requested(cx, ticket, request, bytes);
            }
            _ => self.refuse(cx, &ticket, RefusalCode::Unsupported, "a Relay Server does not do this"),
        }
    }

    /// *Relay Direction*: a DC wants a tunnel relayed.
    fn direction_requested(&mut self, cx: &mut Cx<'_>, ticket: Ticket, direction: RelayDirection) {
        let (negotiation, key) = (direction.negotiation, direction.k_tun.id);
        let stored = StoredMessage::new(ticket.sender().name.clone(), cx.wall, u32::MAX, direction.clone());
        let again = self.relays.get(&key).is_some_and(|relay| relay.direction == direction);
        let installed = self.check_load().and_then(|()| if again { Ok(()) } else { self.install(cx, direction) });
        match installed {
            Ok(()) => {
                let call = self.storing.open(Storing::Relay { ticket, key });
                cx.push(Effect::Persist { call, writes: vec![stored.write(RELAYS, key)] });
            }
            Err((code, detail)) => {
                cx.count("relay.refused");
                let coordinator = ticket.sender().name.clone();
                cx.event(RelayServerEvent::Refused { coordinator, code, detail: detail.to_owned() });
                let refusal = Refusal { code, detail: detail.to_owned(), negotiation: Some(negotiation) };
                self.endpoint.answer(cx, &ticket, refusal);
            }
        }
    }

    /// Takes a tunnel into the table. Neither end can use it before [`RelayServer::listen`].
    fn install(&mut self, cx: &Cx<'_>, direction: RelayDirection) -> Result<(), NotShared> {
        let key = direction.k_tun.id;
        if let RelayHandshake::Unknown(_) = direction.handshake {
            return Err((RefusalCode::Unsupported, "this handshake is not known here"));
        }
        if self.relays.len() >= self.config.relays {
            return Err((RefusalCode::Overloaded, "as many tunnels as possible are relayed"));
        }
        // Key identifiers are readable on the wire: nobody may put a key of their own in the place of another's.
        if self.relays.contains_key(&key) || self.endpoint.association(key).is_some() {
            return Err((RefusalCode::NotAllowed, "the key identifier is taken"));
        }
        let Some(entry) = self.table.install(cx.now, direction.spi_mn, direction.spi_cn) else {
            return Err((RefusalCode::SpiInUse, "an SPI is in use here, draw again"));
        };
        self.idle.set(key, cx.now + self.idle_of(&direction));
        let meeting = Meeting::default();
        self.relays.insert(key, Relayed { direction, entry, last_signalled: cx.now, meeting });
        Ok(())
    }

    fn idle_of(&self, direction: &RelayDirection) -> Duration {
        Duration::from_secs(direction.idle_s.into()).min(self.config.longest_idle)
    }

    /// Listens to both ends from now on; their sessions are believed where the DC has just told them.
    fn listen(&mut self, key: KeyId, sessions_are_fresh: bool) {
        let Some(relay) = self.relays.get(&key) else { return };
        let RelayDirection { k_tun, mn_session, cn_session, .. } = &relay.direction;
        let own = (Role::Rs, self.endpoint.session());
        let [mn, cn] = [mn_session, cn_session].map(|session| sessions_are_fresh.then_some(*session));
        let association = Association::new(k_tun.clone(), KeyKind::Tun, own, (Role::Mn, mn), Peer::named(unnamed()));
        self.endpoint.add(association.with_speaker(Role::Cn, cn));
    }

    /// The relay is on stable storage.
    fn directed(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, key: KeyId) {
        let is_new = self.endpoint.association(key).is_none();
        if is_new {
            self.listen(key, true);
        }
        let Some(relay) = self.relays.get(&key) else {
            return self.refuse(
                cx,
                ticket,
                RefusalCode::StorageFailed,
                "the store took longer than the tunnel is held",
            );
        };
        cx.count("relay.directed");
        if is_new {
            let coordinator = ticket.sender().name.clone();
            cx.event(RelayServerEvent::Installed { coordinator, spis: relay.spis() });
        }
        let RelayDirection { negotiation, handshake, .. } = relay.direction;
        match handshake {
            RelayHandshake::Rendezvous => self.endpoint.answer(cx, ticket, RelayResponse { negotiation }),
            _ => self.endpoint.answer(cx, ticket, NtmAck::default()),
        }
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, code: RefusalCode, detail: &str) {
        cx.count("relay.refused");
        let negotiation = self.relays.get(&ticket.key).map(|relay| relay.direction.negotiation);
        self.endpoint.answer(cx, ticket, Refusal { code, detail: detail.to_owned(), negotiation });
    }

    fn forget(&mut self, key: KeyId) {
        if let Some(relay) = self.relays.remove(&key) {
            self.table.remove(relay.direction.spi_mn);
        }
        self.idle.cancel(&key);
        self.return_paths.remove(key);
        self.endpoint.remove(key);
    }

    /// Ends the relays through which nothing has gone for their time.
    fn expire_idle(&mut self, cx: &mut Cx<'_>) -> Vec<Write> {
        let mut deletions = Vec::new();
        while let Some(key) = self.idle.pop_due(cx.now) {
            let Some(relay) = self.relays.get(&key) else { continue };
            let until = relay.entry.last_used().max(relay.last_signalled) + self.idle_of(&relay.direction);
            if until > cx.now {
                self.idle.set(key, until);
            } else {
                cx.count("relay.expired");
                cx.event(RelayServerEvent::Expired { spis: relay.spis() });
                self.forget(key);
                deletions.push(deletion(RELAYS, key));
            }
        }
        deletions
    }
}

impl Machine for RelayServer {
    type Command = Infallible;
    type Event = RelayServerEvent;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Started { records, .. } => self.restore(cx, &records),
            Input::Datagram { from, bytes } => self.datagram(cx, from, &bytes),
            Input::TlsRequest { request, from, certificate, frame } => {
                let session = self.endpoint.session();
                if let Some((ticket, message)) = tls::accept(cx, session, (request, from), certificate, &frame) {
                    self.tls_request(cx, ticket, message);
                }
            }
            Input::Persisted { call, result } => self.stored(cx, call, result),
            Input::AddressesChanged { .. }
            | Input::TunnelControl { .. }
            | Input::PacketPath(_)
            | Input::TlsAnswered { .. }
            | Input::Resolved { .. }
            | Input::Verified { .. }
            | Input::StreamOpened { .. }
            | Input::StreamReceived { .. }
            | Input::StreamClosed { .. } => {}
        }
    }

    fn command(&mut self, _cx: &mut Cx<'_>, command: Infallible) {
        match command {}
    }

    fn deadline(&self) -> Option<Instant> {
        let own = [self.endpoint.deadline(), self.shared.deadline(), self.idle.next(), self.return_paths.deadline()];
        own.into_iter().flatten().min()
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        // It asks nobody, so no request is given up.
        drop(self.endpoint.expire(cx));
        self.return_paths.expire(cx.now);
        let mut deletions = self.shared.expire(cx.now);
        deletions.extend(self.expire_idle(cx));
        self.delete(cx, deletions);
    }

    fn sizes(&self) -> Sizes {
        self.endpoint
            .sizes()
            .with("relays", self.relays.len())
            .with("return_paths", self.return_paths.len())
            .with("coordinators", self.shared.len())
            .with("calls", self.storing.len())
    }
}
