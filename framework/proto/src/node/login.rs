//! K_ntmdc: asked for by the login strategy, kept in the store, asked for again before it ends.

use super::{ConnectError, Cx, Due, JoinError, Node, NodeEvent, TlsTag, Wait};
use crate::certificate::CertificateRole;
use crate::endpoint::{Association, Peer};
use crate::machine::{Effect, Lookup, LookupFailure, Record, ServerAddresses, TlsFailure, Write};
use crate::policy::{LoginKnowledge, LoginStep};
use crate::time::{Instant, UnixTime};
use crate::tls::{TlsCallError, TlsTarget};
use crate::trace::{Span, SpanKind};
use bytes::{BufMut, Bytes};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Session, Transaction};
use ntmobile_wire::key::secret_bytes;
use ntmobile_wire::message::{Credential, InitialDataRequest, LoginRequest, LoginResponse, Message, RefusalCode};
use ntmobile_wire::relogin;
use ntmobile_wire::sealed_key::AgreementKey;
use ntmobile_wire::subkey::{KeyKind, Role};
use ntmobile_wire::trace_context::TraceContext;
use std::time::Duration;

/// The store's table of the last login: account and application → end on the wall clock (8 octets), key pair (32), the
/// Login Response in its frame.
const TABLE: &str = "login";
/// A key is renewed when this part of its life is left: one tenth.
const RENEW_AT: u32 = 10;
/// A key of a shorter life is refused: a node would do nothing but log in.
const LEAST_LIFETIME_S: u32 = 10;
/// How long a failed renewal waits before it is tried again.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// What a node knows of its login.
#[derive(Default)]
pub(super) struct Login {
    /// What the login gave.
    pub(super) granted: Option<Granted>,
    /// Whether a Login Response came in this process.
    logged_in: bool,
    /// Whether this login follows the refusal of a stored key: then that key is not tried once more.
    distrusted: bool,
    knows_domain: bool,
    /// Where the DC is.
    pub(super) coordinator: Option<ServerAddresses>,
    trace: Option<(TraceContext, Instant)>,
}

/// A login that holds.
pub(super) struct Granted {
    pub(super) response: LoginResponse,
    pub(super) until: Instant,
    /// From when on a new key is asked for, so that there is always one.
    renew_at: Instant,
}

impl Login {
    /// Whether the key was granted to this process, not taken from its store, and the DC has answered under it.
    pub(super) fn is_believed(&self) -> bool {
        self.logged_in
    }

    /// The DC does not answer under the key: once more, and another one is asked for.
    pub(super) fn doubt(&mut self) {
        self.logged_in = false;
    }

    pub(super) fn key(&self) -> Option<KeyId> {
        self.granted.as_ref().map(|granted| granted.response.key.id)
    }
}

impl Node {
    /// Takes a login from the strategy's first step.
    pub(super) fn log_in(&mut self, cx: &mut Cx<'_>) {
        self.login.logged_in = false;
        self.login.trace = Some((TraceContext::root(cx.entropy), cx.now));
        self.next_login_step(cx);
    }

    fn next_login_step(&mut self, cx: &mut Cx<'_>) {
        if !self.is_wanted {
            return;
        }
        let knowledge = LoginKnowledge {
            has_current_key: !self.login.distrusted
                && self.login.granted.as_ref().is_some_and(|granted| granted.renew_at > cx.now),
            knows_domain: self.login.knows_domain,
            knows_dc: self.login.coordinator.is_some(),
        };
        match self.config.strategies.login.next(knowledge, self.login.logged_in) {
            LoginStep::AskAccountServer => self.with_account_server(cx, TlsTag::AccountServerLogin),
            LoginStep::AskInitialData => self.with_account_server(cx, TlsTag::InitialData),
            LoginStep::FindDirectionCoordinator => {
                let call = self.calls.open(Wait::Coordinator);
                let lookup = Lookup::DirectionCoordinator(self.name());
                cx.push(Effect::Resolve { call, lookup, trace: self.login_trace() });
            }
            LoginStep::AskDirectionCoordinator => self.ask_coordinator(cx),
            LoginStep::Register => self.login_done(cx),
        }
    }

    fn login_trace(&self) -> Option<TraceContext> {
        self.login.trace.map(|(context, _)| context)
    }

    pub(super) fn end_login_span(&mut self, cx: &mut Cx<'_>, failure: Option<String>) {
        if let Some((context, start)) = self.login.trace.take() {
            let mut span = Span::new(context, None, "Login", SpanKind::Internal, (start, cx.now))
                .with("ntm.node", self.name().to_string())
                .with("ntm.login", self.config.strategies.login.name());
            span.failure = failure.map(Into::into);
            cx.push(Effect::Span(Box::new(span)));
        }
    }

    fn with_account_server(&mut self, cx: &mut Cx<'_>, tag: TlsTag) {
        match self.config.account_server_addresses {
            Some(addresses) => self.ask_account_server(cx, tag, addresses),
            None => {
                let call = self.calls.open(Wait::AccountServer(tag));
                let lookup = Lookup::AccountServer(self.config.account.domain().clone());
                cx.push(Effect::Resolve { call, lookup, trace: self.login_trace() });
            }
        }
    }

    /// The AS was looked up.
    pub(super) fn account_server_found(
        &mut self,
        cx: &mut Cx<'_>,
        tag: TlsTag,
        result: Result<ServerAddresses, LookupFailure>,
    ) {
        match result {
            Ok(server) => self.ask_account_server(cx, tag, server.tls),
            Err(failure) => self.join_failed(cx, JoinError::AccountServerUnreachable(failure.to_string())),
        }
    }

    fn ask_account_server(&mut self, cx: &mut Cx<'_>, tag: TlsTag, addresses: ntmobile_wire::address::DualStack) {
        let (account, credential) = (self.config.account.clone(), self.config.credential.clone());
        let message = match tag {
            TlsTag::InitialData => InitialDataRequest { account, credential }.into(),
            _ => self.login_request(credential).into(),
        };
        self.call(cx, self.config.account_server.clone(), addresses, message, tag);
    }

    fn login_request(&self, credential: Credential) -> LoginRequest {
        LoginRequest {
            account: self.config.account.clone(),
            credential,
            application: self.config.application,
            public_key: self.agreement_key.public(),
        }
    }

    fn ask_coordinator(&mut self, cx: &mut Cx<'_>) {
        let Some(coordinator) = self.login.coordinator.clone() else { return };
        let current = self.login.granted.as_ref().filter(|granted| granted.until > cx.now && !self.login.distrusted);
        let credential = match current {
            Some(granted) => {
                let key = &granted.response.key;
                let proof = relogin::prove(&key.secret, &self.config.account, self.endpoint.session());
                Credential::CurrentKey { key_id: key.id, proof }
            }
            None => self.config.credential.clone(),
        };
        let message = self.login_request(credential).into();
        self.call(cx, coordinator.name, coordinator.tls, message, TlsTag::CoordinatorLogin);
    }

    fn call(
        &mut self,
        cx: &mut Cx<'_>,
        server: ntmobile_wire::name::Fqdn,
        addresses: ntmobile_wire::address::DualStack,
        message: Message,
        tag: TlsTag,
    ) {
        let mutual = self.config.credential == Credential::Certificate;
        let role = match tag {
            TlsTag::AccountServerLogin | TlsTag::InitialData => CertificateRole::AccountServer,
            TlsTag::CoordinatorLogin => CertificateRole::DirectionCoordinator,
        };
        let target = TlsTarget { server, role, addresses, mutual };
        let identity = (self.endpoint.session(), self.endpoint.next_transaction());
        let trace = self.login_trace();
        self.tls.call(cx, target, identity, message, trace, tag);
    }

    /// The AS has told which domain the node belongs to.
    pub(super) fn initial_data_answered(&mut self, cx: &mut Cx<'_>, result: Result<(Session, Message), TlsCallError>) {
        match result {
            Ok((_, Message::InitialDataResponse(response))) if response.node == self.name() => {
                self.login.knows_domain = true;
                self.next_login_step(cx);
            }
            Ok(_) => self.join_failed(cx, JoinError::AccountServerUnreachable("its answer makes no sense".into())),
            Err(error) => self.login_failed(cx, TlsTag::InitialData, error),
        }
    }

    /// A Login Response, or not.
    pub(super) fn login_answered(
        &mut self,
        cx: &mut Cx<'_>,
        tag: TlsTag,
        result: Result<(Session, Message), TlsCallError>,
    ) {
        match result {
            Ok((_, Message::LoginResponse(response)))
                if response.node == self.name() && response.lifetime_s >= LEAST_LIFETIME_S =>
            {
                cx.count("node.logged_in");
                let lifetime = Duration::from_secs(u64::from(response.lifetime_s));
                let write = self.login_write(cx, &response);
                let call = self.calls.open(Wait::Stored);
                cx.push(Effect::Persist { call, writes: vec![write] });
                self.login.logged_in = true;
                self.login.distrusted = false;
                self.login.knows_domain = true;
                self.hold_key(cx, response, lifetime, true);
                self.next_login_step(cx);
            }
            Ok(_) => self.login_failed(cx, tag, TlsCallError::Malformed),
            Err(TlsCallError::Refused(refusal))
                if refusal.code == RefusalCode::ExpiredKey
                    && tag == TlsTag::CoordinatorLogin
                    && self.login.key().is_some() =>
            {
                // The DC has lost or outlived the key that we tried: prove ourselves by the account instead.
                self.forget_key(cx);
                self.next_login_step(cx);
            }
            Err(error) => self.login_failed(cx, tag, error),
        }
    }

    fn hold_key(&mut self, cx: &mut Cx<'_>, response: LoginResponse, lifetime: Duration, is_new: bool) {
        // The key before it stays until it ends: requests under it may still be on their way.
        let until = cx.now + lifetime;
        let own = (Role::Node, self.endpoint.session());
        let coordinator = (Role::Dc, is_new.then_some(response.dc_session));
        // Until DNS has named the DC, its association bears the domain's name.
        let peer = Peer::named(self.config.account.domain().clone());
        let association = Association::new(response.key.clone(), KeyKind::Ntmdc, own, coordinator, peer);
        self.endpoint.add(association.expiring(until));
        let renew_at = until.minus(lifetime / RENEW_AT);
        self.deadlines.set(Due::LoginAgain, renew_at);
        self.deadlines.set(Due::KeyEnds, until);
        self.login.granted = Some(Granted { response, until, renew_at });
    }

    /// A key that the DC does not know any more.
    pub(super) fn forget_key(&mut self, cx: &mut Cx<'_>) {
        if let Some(key) = self.login.key() {
            self.endpoint.remove(key);
            self.forget_directions(cx);
        }
        self.login.granted = None;
        self.login.distrusted = true;
    }

    /// The key has ended before there was a new one: tunnels go on, but the DC does not know us any more.
    pub(super) fn key_ended(&mut self, cx: &mut Cx<'_>) {
        cx.count("node.key_ended");
        self.forget_key(cx);
        self.registered = None;
        self.deadlines.cancel(&Due::Keepalive);
        if self.login.trace.is_none() {
            self.log_in(cx);
        }
    }

    fn login_failed(&mut self, cx: &mut Cx<'_>, tag: TlsTag, error: TlsCallError) {
        let error = match error {
            TlsCallError::Refused(refusal) => match refusal.code {
                RefusalCode::WrongCredentials => JoinError::WrongCredentials,
                RefusalCode::ServerUnreachable if tag == TlsTag::CoordinatorLogin => {
                    JoinError::AccountServerUnreachable(refusal.detail)
                }
                RefusalCode::ServerUnreachable => JoinError::CoordinatorUnreachable(refusal.detail),
                RefusalCode::StorageFailed => JoinError::StorageFailed(refusal.detail),
                _ => JoinError::Refused(refusal),
            },
            TlsCallError::Connection(TlsFailure::Certificate(fault)) => {
                let coordinator = self.login.coordinator.as_ref().filter(|_| tag == TlsTag::CoordinatorLogin);
                let server = coordinator.map_or(&self.config.account_server, |coordinator| &coordinator.name).clone();
                JoinError::CertificateRefused { server, fault }
            }
            error if tag == TlsTag::CoordinatorLogin => JoinError::CoordinatorUnreachable(error.to_string()),
            error => JoinError::AccountServerUnreachable(error.to_string()),
        };
        self.join_failed(cx, error);
    }

    /// The DC was looked up.
    pub(super) fn coordinator_found(&mut self, cx: &mut Cx<'_>, result: Result<ServerAddresses, LookupFailure>) {
        match result {
            // DNS is not authenticated: only the domain's own name for its DC, which the certificate must bear, is believed.
            Ok(server) if !server.name.directs(&self.name()) => {
                let detail = format!("DNS names {}, which is not directly in the account's domain", server.name);
                self.join_failed(cx, JoinError::CoordinatorNotFound(detail));
            }
            Ok(server) => {
                self.login.coordinator = Some(server);
                self.next_login_step(cx);
            }
            Err(failure) => self.join_failed(cx, JoinError::CoordinatorNotFound(failure.to_string())),
        }
    }

    fn login_done(&mut self, cx: &mut Cx<'_>) {
        self.end_login_span(cx, None);
        // A node that logs in again for a new key is registered where it was; the DC learns the key by the next registration.
        self.register(cx);
    }

    /// The node is not part of the network, or no longer.
    pub(super) fn join_failed(&mut self, cx: &mut Cx<'_>, error: JoinError) {
        if !self.is_wanted {
            return;
        }
        cx.count("node.join_failed");
        self.end_login_span(cx, Some(error.to_string()));
        if self.join_again(cx, &error) {
            return;
        }
        if self.joining.take().is_some() {
            self.is_wanted = false;
            cx.event(NodeEvent::JoinFailed(error));
        } else if self.registered.is_some() {
            // Only the renewal of the key failed: everything goes on under the old one meanwhile.
            self.deadlines.set(Due::LoginAgain, cx.now + RENEWAL_PAUSE);
        } else {
            self.tell_waiting(cx, &ConnectError::ServerUnreachable(error.to_string()));
            cx.event(NodeEvent::RegistrationLost(error));
            let pause = self.config.registration_pause;
            let due = if self.login.granted.is_some() { Due::Register } else { Due::LoginAgain };
            self.deadlines.set(due, cx.now + pause);
        }
    }

    fn login_write(&self, cx: &Cx<'_>, response: &LoginResponse) -> Write {
        let session = self.endpoint.session();
        let message = Message::LoginResponse(response.clone());
        let frame = Frame { transaction: Transaction(0), session, message, trace: None }.encode();
        let mut value = Vec::with_capacity(40 + frame.len());
        value.put_u64(cx.wall.0 + u64::from(response.lifetime_s));
        value.put_slice(self.agreement_key.expose());
        value.put_slice(&frame);
        Write { table: TABLE, key: self.login_record_key(), value: Some(secret_bytes(value)) }
    }

    fn login_record_key(&self) -> Bytes {
        Bytes::from(format!("{} {}", self.config.account, self.config.application.0))
    }

    /// Takes up the login of an earlier process, while its key lives.
    pub(super) fn restore_login(&mut self, cx: &mut Cx<'_>, records: &[Record]) {
        let key = self.login_record_key();
        let Some(record) = records.iter().find(|record| record.table == TABLE && record.key == key) else { return };
        if self.read_login(cx, &record.value).is_none() {
            cx.count("node.stored_record_ignored");
        }
    }

    fn read_login(&mut self, cx: &mut Cx<'_>, value: &[u8]) -> Option<()> {
        let (ends, rest) = value.split_first_chunk::<8>()?;
        let (private, frame) = rest.split_first_chunk::<32>()?;
        let left = UnixTime(u64::from_be_bytes(*ends)).0.checked_sub(cx.wall.0).filter(|left| *left > 0)?;
        let Message::LoginResponse(response) = Frame::decode(frame).ok()?.message else { return None };
        self.agreement_key = AgreementKey::from_bytes(*private);
        self.login.knows_domain = true;
        self.hold_key(cx, response, Duration::from_secs(left), false);
        Some(())
    }
}
