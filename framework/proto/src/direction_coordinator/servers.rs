//! Keys shared with other servers: made at first contact over mutual TLS, used until they expire, made again when the
//! other side has lost them.

use super::server_keys::{self, HeldKeys, Maker};
use super::{Cx, DirectionCoordinator, DirectionCoordinatorEvent, OwnServer, Tag, TlsTag, Wait, records};
use crate::certificate::CertificateRole;
use crate::endpoint::{Association, Path, Peer, Request, Retry};
use crate::machine::{Effect, ServerAddresses};
use crate::time::{Instant, UnixTime};
use crate::tls::{self, TlsCallError, TlsTarget, TlsTicket};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::identifier::{KeyId, Session};
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{KeySharingRequest, KeySharingResponse, Message, Refusal, RefusalCode, SharedKeyPurpose};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::{KeyKind, Role};
use ntmobile_wire::trace_context::TraceContext;
use std::collections::BTreeMap;
use std::time::Duration;

/// Which other server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerId {
    pub(super) kind: ServerKind,
    pub(super) name: Fqdn,
}

/// The kinds of servers that a DC shares keys with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServerKind {
    Coordinator,
    Relay,
    Notification,
}

impl ServerKind {
    fn purpose(self) -> SharedKeyPurpose {
        match self {
            Self::Coordinator => SharedKeyPurpose::DcDc,
            Self::Relay => SharedKeyPurpose::DcRs,
            Self::Notification => SharedKeyPurpose::DcNs,
        }
    }

    fn key_kind(self) -> KeyKind {
        match self {
            Self::Coordinator => KeyKind::Dcdc,
            Self::Relay => KeyKind::Dcrs,
            Self::Notification => KeyKind::Dcns,
        }
    }

    fn certificate_role(self) -> CertificateRole {
        match self {
            Self::Coordinator => CertificateRole::DirectionCoordinator,
            Self::Relay => CertificateRole::RelayServer,
            Self::Notification => CertificateRole::NotificationServer,
        }
    }

    /// Our role under the key, and the other server's: between DCs the maker of the key is the requester.
    fn roles(self) -> (Role, Role) {
        match self {
            Self::Coordinator => (Role::Requester, Role::Responder),
            Self::Relay => (Role::Dc, Role::Rs),
            Self::Notification => (Role::Dc, Role::Ns),
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Coordinator => "dc",
            Self::Relay => "rs",
            Self::Notification => "ns",
        }
    }

    fn parse(label: &str) -> Option<Self> {
        [Self::Coordinator, Self::Relay, Self::Notification].into_iter().find(|kind| kind.label() == label)
    }
}

/// What goes on once a key is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Inform(u64),
    DirectRelay(u64),
    LendRelay(u64),
    AnnounceNode(u64),
    Wake(u64),
}

/// Where a key stands.
enum Shared {
    /// Key Sharing is under way; these wait for it.
    Sharing { key: NamedKey, waiting: Vec<Then> },
    /// The key is shared.
    Ready(KeyId),
}

/// How long a server of ours that did not answer is asked last.
const REST: Duration = Duration::from_secs(60);

/// The other servers: the keys shared with them, and which of our own did not answer lately.
#[derive(Default)]
pub(super) struct Servers {
    shared: BTreeMap<ServerId, Shared>,
    resting: BTreeMap<Fqdn, Instant>,
    pub(super) held: HeldKeys,
}

impl Servers {
    /// How many keys are held or being made.
    pub(super) fn len(&self) -> usize {
        let sharing = self.shared.values().filter(|shared| matches!(shared, Shared::Sharing { .. })).count();
        self.held.len() + sharing
    }

    /// Requests to a server are not sealed with this key any more.
    pub(super) fn forget(&mut self, server: &ServerId, key: KeyId) {
        if matches!(self.shared.get(server), Some(Shared::Ready(current)) if *current == key) {
            self.shared.remove(server);
        }
    }

    /// Notes that a server of ours does not answer.
    pub(super) fn rest(&mut self, server: Fqdn, now: Instant) {
        self.resting.insert(server, now + REST);
    }

    /// The first of these servers that has not been tried; those that did not answer lately come last.
    pub(super) fn prefer<'a>(
        &self,
        servers: impl Iterator<Item = &'a OwnServer>,
        tried: &[Fqdn],
        now: Instant,
    ) -> Option<&'a OwnServer> {
        servers.filter(|server| !tried.contains(&server.name)).min_by_key(|server| self.is_resting(server, now))
    }

    /// Whether a server of ours did not answer lately.
    pub(super) fn is_resting(&self, server: &OwnServer, now: Instant) -> bool {
        self.resting.get(&server.name).is_some_and(|until| *until > now)
    }

    /// The key that is shared with a server.
    pub(super) fn key_of(&self, kind: ServerKind, name: &Fqdn) -> Option<KeyId> {
        match self.shared.get(&ServerId { kind, name: name.clone() }) {
            Some(Shared::Ready(key)) => Some(*key),
            _ => None,
        }
    }
}

impl DirectionCoordinator {
    /// Goes on with `then` under the key shared with a server, sharing one first where there is none.
    pub(super) fn with_server_key(
        &mut self,
        cx: &mut Cx<'_>,
        kind: ServerKind,
        server: &ServerAddresses,
        trace: Option<TraceContext>,
        then: Then,
    ) {
        let id = ServerId { kind, name: server.name.clone() };
        match self.servers.shared.get_mut(&id) {
            Some(Shared::Ready(key)) if self.endpoint.association(*key).is_some() => {
                let key = *key;
                self.proceed(cx, then, Ok(key));
            }
            Some(Shared::Sharing { waiting, .. }) => waiting.push(then),
            _ => {
                let key = NamedKey::draw(cx.entropy);
                let message = KeySharingRequest {
                    purpose: kind.purpose(),
                    requester: self.config.name.clone(),
                    key: key.clone(),
                    lifetime_s: super::config::seconds(self.config.server_key_lifetime),
                };
                self.servers.shared.insert(id.clone(), Shared::Sharing { key, waiting: vec![then] });
                let target = TlsTarget {
                    server: server.name.clone(),
                    role: kind.certificate_role(),
                    addresses: server.tls,
                    mutual: true,
                };
                let identity = (self.endpoint.session(), self.endpoint.next_transaction());
                self.tls.call(cx, target, identity, message.into(), trace, TlsTag::KeySharing(id));
            }
        }
    }

    /// The outcome of Key Sharing.
    pub(super) fn key_shared(
        &mut self,
        cx: &mut Cx<'_>,
        id: &ServerId,
        result: Result<(Session, Message), TlsCallError>,
    ) {
        let Some(Shared::Sharing { key, waiting }) = self.servers.shared.remove(id) else { return };
        let outcome = match result {
            Ok((session, Message::KeySharingResponse(_))) => {
                let key_id = key.id;
                cx.event(DirectionCoordinatorEvent::KeyShared { server: id.name.clone() });
                self.hold_server_key(cx, id.clone(), key, id.kind.roles(), Some(session));
                Ok(key_id)
            }
            Ok(_) => Err(super::refusal(RefusalCode::ServerUnreachable, format!("{} answers nonsense", id.name), None)),
            Err(error) => {
                // What a server without space says is told as it is; anything else means that it cannot be asked.
                let code = match error.code() {
                    RefusalCode::StorageFailed => RefusalCode::StorageFailed,
                    _ => RefusalCode::ServerUnreachable,
                };
                let detail = format!("no key with {}: {error}", id.name);
                Err(super::refusal(code, detail, None))
            }
        };
        for then in waiting {
            self.proceed(cx, then, outcome.clone());
        }
    }

    /// Holds a key that we shared, and stores it so that it outlives this process.
    fn hold_server_key(
        &mut self,
        cx: &mut Cx<'_>,
        id: ServerId,
        key: NamedKey,
        roles: (Role, Role),
        session: Option<Session>,
    ) {
        let write = self.server_key_write(cx, &id, &key, Maker::Ourselves);
        let call = self.calls.open(Wait::Unawaited);
        cx.push(Effect::Persist { call, writes: vec![write] });
        self.add_server_key(cx, id, key, roles, session, self.config.server_key_lifetime);
    }

    fn server_key_write(&self, cx: &Cx<'_>, id: &ServerId, key: &NamedKey, maker: Maker) -> crate::machine::Write {
        let ends = UnixTime(cx.wall.0 + self.config.server_key_lifetime.as_secs());
        records::key_write(records::SERVER_KEYS, server_keys::record_name(id, maker), key, ends)
    }

    fn add_server_key(
        &mut self,
        cx: &mut Cx<'_>,
        id: ServerId,
        key: NamedKey,
        (own, other): (Role, Role),
        session: Option<Session>,
        lifetime: Duration,
    ) {
        let purpose = id.kind.key_kind();
        let maker = if own == Role::Responder { Maker::Other } else { Maker::Ourselves };
        let own = (own, self.endpoint.session());
        self.keep_server_key(cx, &id, maker, key.id, cx.now + lifetime);
        self.servers.shared.insert(id.clone(), Shared::Ready(key.id));
        let association = Association::new(key, purpose, own, (other, session), Peer::named(id.name));
        self.endpoint.add(association.expiring(cx.now + lifetime));
    }

    /// Puts back a key that an earlier process had shared.
    pub(super) fn restore_server_key(&mut self, cx: &mut Cx<'_>, name: &str, value: &[u8]) -> Option<()> {
        let mut parts = name.split(' ');
        let kind = ServerKind::parse(parts.next()?)?;
        let server = Fqdn::parse(parts.next()?).ok()?;
        let roles = match (kind, parts.next()?) {
            (ServerKind::Coordinator, "responder") => (Role::Responder, Role::Requester),
            _ => kind.roles(),
        };
        let (key, until) = records::read_key(value, cx.now, cx.wall)?;
        self.add_server_key(cx, ServerId { kind, name: server }, key, roles, None, until.since(cx.now));
        Some(())
    }

    /// Another DC shares a key with us.
    pub(super) fn key_sharing_requested(&mut self, cx: &mut Cx<'_>, ticket: TlsTicket, request: KeySharingRequest) {
        let session = self.endpoint.session();
        if request.purpose != SharedKeyPurpose::DcDc {
            return tls::refuse(cx, session, &ticket, RefusalCode::Unsupported, "a DC shares K_dcdc only");
        }
        if !ticket.is_from(CertificateRole::DirectionCoordinator, &request.requester) {
            let detail = "the certificate is not that of the Direction Coordinator which asks";
            return tls::refuse_bearer(cx, session, &ticket, detail);
        }
        if self.is_taken(&request) {
            return tls::refuse(cx, session, &ticket, RefusalCode::NotAllowed, "the key identifier is taken");
        }
        let id = ServerId { kind: ServerKind::Coordinator, name: request.requester.clone() };
        if !self.has_room_for(&id) {
            let detail = "keys are shared with as many Direction Coordinators as possible";
            return tls::refuse(cx, session, &ticket, RefusalCode::Overloaded, detail);
        }
        let write = self.server_key_write(cx, &id, &request.key, Maker::Other);
        let call = self.calls.open(Wait::SharedKeyStored(ticket, Box::new(request)));
        cx.push(Effect::Persist { call, writes: vec![write] });
    }

    /// Key identifiers are readable on the wire: nobody may put a key of their own in the place of another's.
    fn is_taken(&self, request: &KeySharingRequest) -> bool {
        let known = self.endpoint.association(request.key.id);
        known.is_some_and(|known| *known.key() != request.key || known.peer().name != request.requester)
    }

    /// A key that another DC shared is on stable storage.
    pub(super) fn stored_shared_key(&mut self, cx: &mut Cx<'_>, ticket: &TlsTicket, request: KeySharingRequest) {
        let session = self.endpoint.session();
        // Another key may have taken the identifier while this one was being stored.
        if self.is_taken(&request) {
            return tls::refuse(cx, session, ticket, RefusalCode::NotAllowed, "the key identifier is taken");
        }
        let id = ServerId { kind: ServerKind::Coordinator, name: request.requester };
        let lifetime = Duration::from_secs(u64::from(request.lifetime_s)).min(self.config.server_key_lifetime);
        let (own, other) = ((Role::Responder, session), (Role::Requester, Some(ticket.session)));
        let key = request.key.id;
        self.keep_server_key(cx, &id, Maker::Other, key, cx.now + lifetime);
        cx.event(DirectionCoordinatorEvent::KeyShared { server: id.name.clone() });
        let association = Association::new(request.key, KeyKind::Dcdc, own, other, Peer::named(id.name.clone()));
        self.endpoint.add(association.expiring(cx.now + lifetime));
        // A sharing of our own that is under way goes on: both keys are good, each end uses the one that it made.
        if !matches!(self.servers.shared.get(&id), Some(Shared::Sharing { .. })) {
            self.servers.shared.insert(id, Shared::Ready(key));
        }
        tls::answer(cx, session, ticket, KeySharingResponse { server: self.config.name.clone() });
    }

    /// Forgets a key that the other server seems to have lost.
    /// Whatever else waits for an answer under it is given up, too.
    pub(super) fn forget_server_key(&mut self, cx: &mut Cx<'_>, kind: ServerKind, name: &Fqdn) {
        let id = ServerId { kind, name: name.clone() };
        if let Some(Shared::Ready(key)) = self.servers.shared.get(&id) {
            let key = *key;
            self.drop_server_key(cx, &id, key);
        }
    }

    fn proceed(&mut self, cx: &mut Cx<'_>, then: Then, key: Result<KeyId, Refusal>) {
        match then {
            Then::Inform(id) => self.inform(cx, id, key),
            Then::DirectRelay(id) => self.direct_relay(cx, id, key),
            Then::LendRelay(id) => self.direct_lent_relay(cx, id, key),
            Then::AnnounceNode(id) => self.announce_node(cx, id, key),
            Then::Wake(id) => self.wake(cx, id, key),
        }
    }

    /// Sends a request to another server.
    pub(super) fn request_server(
        &mut self,
        cx: &mut Cx<'_>,
        (key, addresses): (KeyId, DualStack),
        message: impl Into<Message>,
        (retry, trace): (Retry, Option<TraceContext>),
        tag: Tag,
    ) {
        let request = Request {
            key,
            answer_keys: Vec::new(),
            paths: addresses.iter().map(Path::Datagram).collect(),
            message: message.into(),
            retry,
            trace,
        };
        self.endpoint.request(cx, request, tag);
    }
}
