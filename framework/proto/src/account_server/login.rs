//! One login on its way: what was asked, what is known, and the answer at its end.

use super::{AccountServer, AccountServerEvent, Cx, Waiting};
use crate::certificate::CertificateRole;
use crate::machine::{Effect, Lookup, LookupFailure, ServerAddresses, Verdict};
use crate::time::Instant;
use crate::tls::{TlsCallError, TlsTarget, TlsTicket};
use crate::trace::{Span, SpanKind};
use ntmobile_wire::identifier::Session;
use ntmobile_wire::key::{NamedKey, SecretBytes};
use ntmobile_wire::message::{
    AuthenticationRequest, AuthenticationResponse, Credential, InitialDataRequest, InitialDataResponse,
    KeyDistribution, KeyVoucher, LoginRequest, LoginResponse, Message, RefusalCode,
};
use ntmobile_wire::name::Account;
use std::time::Duration;

/// What is decided.
#[derive(Debug)]
pub(super) enum Asked {
    /// A node wants its key (`via-as`).
    Login(LoginRequest),
    /// A new node wants to know its domain (`via-dc`).
    InitialData(InitialDataRequest),
    /// A DC wants to know whether a node is who it says (`via-dc`).
    Authentication(AuthenticationRequest),
}

impl Asked {
    pub(super) fn of(message: Message) -> Option<Self> {
        Some(match message {
            Message::LoginRequest(request) => Self::Login(request),
            Message::InitialDataRequest(request) => Self::InitialData(request),
            Message::AuthenticationRequest(request) => Self::Authentication(request),
            _ => return None,
        })
    }

    pub(super) fn account(&self) -> &Account {
        match self {
            Self::Login(request) => &request.account,
            Self::InitialData(request) => &request.account,
            Self::Authentication(request) => &request.login.account,
        }
    }

    fn credential(&self) -> &Credential {
        match self {
            Self::Login(request) => &request.credential,
            Self::InitialData(request) => &request.credential,
            Self::Authentication(request) => &request.login.credential,
        }
    }
}

/// A login that has not been answered.
#[derive(Debug)]
pub(super) struct InProgress {
    ticket: TlsTicket,
    asked: Asked,
    /// Since when the authenticator is at work.
    verifying: Option<Instant>,
    /// K_ntmdc, once it is made.
    key: Option<NamedKey>,
}

impl AccountServer {
    /// A login begins.
    pub(super) fn asked(&mut self, cx: &mut Cx<'_>, ticket: TlsTicket, asked: Asked) {
        if matches!(asked.credential(), Credential::CurrentKey { .. }) {
            let detail = "a current key is proved to the Direction Coordinator that made it";
            return self.refuse_login(cx, &ticket, asked.account(), RefusalCode::Unsupported, detail);
        }
        if self.logins.len() >= self.config.logins {
            let detail = "too many logins are in progress, try again later";
            return self.refuse_login(cx, &ticket, asked.account(), RefusalCode::Overloaded, detail);
        }
        let by_coordinator = matches!(asked, Asked::Authentication(_));
        if by_coordinator {
            let domain = asked.account().domain();
            // Whoever else bears such a name need not be looked up.
            let is_of_domain =
                ticket.certificate.as_ref().is_some_and(|known| known.name.parent().as_ref() == Some(domain));
            if !is_of_domain || !ticket.is_from_a(CertificateRole::DirectionCoordinator) {
                let detail = "only the account's Direction Coordinator may ask this";
                return self.refuse_bearer(cx, &ticket, detail);
            }
        } else if !ticket.may_be(&asked.account().node()) {
            return self.refuse_bearer(cx, &ticket, "the certificate is not that of the account's node");
        }
        let id = self.next_login;
        self.next_login += 1;
        self.logins.insert(id, InProgress { ticket, asked, verifying: None, key: None });
        self.deadlines.set(id, cx.now + self.config.patience);
        if by_coordinator {
            self.find_coordinator(cx, id);
        } else {
            self.verify(cx, id);
        }
    }

    fn verify(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(login) = self.logins.get_mut(&id) else { return };
        login.verifying = Some(cx.now);
        let certificate = match &login.asked {
            Asked::Authentication(request) => request.certificate,
            _ => login.ticket.certificate.as_ref().map(|certificate| certificate.fingerprint),
        };
        let (account, credential) = (login.asked.account().clone(), login.asked.credential().clone());
        let call = self.waiting.open(Waiting::Verdict(id));
        cx.push(Effect::Verify { call, account, credential, certificate });
    }

    /// The authenticator has decided.
    pub(super) fn verified(&mut self, cx: &mut Cx<'_>, id: u64, verdict: Verdict) {
        let Some(login) = self.logins.get_mut(&id) else { return };
        if let (Some(started), Some(trace)) = (login.verifying.take(), login.ticket.trace) {
            let (context, times) = (trace.child(cx.entropy), (started, cx.now));
            let mut span = Span::new(context, Some(trace.span), "Verify Credential", SpanKind::Internal, times);
            span.failure = (verdict != Verdict::Accepted).then(|| format!("{verdict:?}").into());
            cx.push(Effect::Span(Box::new(span)));
        }
        match verdict {
            Verdict::Accepted => self.accepted(cx, id),
            Verdict::Refused => {
                self.end_refused(cx, id, RefusalCode::WrongCredentials, "no such account or credential")
            }
            Verdict::NotSupported => {
                self.end_refused(cx, id, RefusalCode::Unsupported, "this kind of credential is not taken here");
            }
            Verdict::Failed => self.end_refused(cx, id, RefusalCode::StorageFailed, "the authenticator failed"),
        }
    }

    fn accepted(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(login) = self.logins.get(&id) else { return };
        let node = login.asked.account().node();
        let answer: Message = match &login.asked {
            Asked::Login(_) => return self.find_coordinator(cx, id),
            Asked::InitialData(request) => {
                InitialDataResponse { node, domain: request.account.domain().clone() }.into()
            }
            Asked::Authentication(request) => AuthenticationResponse {
                node,
                cs_token: SecretBytes::default(),
                voucher: self.vouch(cx, &request.login),
                voucher_key: self.signer.verifying_key(),
            }
            .into(),
        };
        if let Asked::Authentication(request) = &login.asked {
            cx.count("account.authenticated");
            cx.event(AccountServerEvent::Vouched { account: request.login.account.clone() });
        } else {
            cx.count("account.initial_data");
        }
        self.end(cx, id, answer);
    }

    fn find_coordinator(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(login) = self.logins.get(&id) else { return };
        let domain = login.asked.account().domain().clone();
        if let Some(server) = self.coordinators.get(cx.now, &domain) {
            return self.coordinator_known(cx, id, server);
        }
        let trace = login.ticket.trace;
        // By the node's name: a domain below another DC's domain would be answered from the parent's delegation otherwise.
        let lookup = Lookup::DirectionCoordinator(login.asked.account().node());
        let call = self.waiting.open(Waiting::Coordinator(id));
        cx.push(Effect::Resolve { call, lookup, trace });
    }

    /// DNS has said where the account's DC is, or that it is nowhere.
    pub(super) fn coordinator_found(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        result: Result<ServerAddresses, LookupFailure>,
    ) {
        let Some(login) = self.logins.get(&id) else { return };
        let domain = login.asked.account().domain().clone();
        match result {
            Ok(server) => {
                self.coordinators.remember(cx.now, domain, server.clone());
                self.coordinator_known(cx, id, server);
            }
            Err(failure) => {
                let detail = format!("no Direction Coordinator for {domain}: {failure}");
                self.end_refused(cx, id, RefusalCode::ServerUnreachable, &detail);
            }
        }
    }

    fn coordinator_known(&mut self, cx: &mut Cx<'_>, id: u64, server: ServerAddresses) {
        let Some(login) = self.logins.get_mut(&id) else { return };
        let Asked::Login(request) = &login.asked else {
            // A domain may have had another DC, whose certificate has not expired: the name that DNS gives is the DC's.
            if login.ticket.certificate.as_ref().is_some_and(|certificate| certificate.name == server.name) {
                return self.verify(cx, id);
            }
            // Or the DC has another name since we looked.
            let domain = login.asked.account().domain().clone();
            self.coordinators.forget(&domain);
            let detail = "only the account's Direction Coordinator may ask this";
            return self.end_refused(cx, id, RefusalCode::NotAllowed, detail);
        };
        let key = NamedKey::draw(cx.entropy);
        let distribution = KeyDistribution {
            node: request.account.node(),
            application: request.application,
            key: key.clone(),
            lifetime_s: seconds(self.config.key_lifetime),
            node_session: login.ticket.session,
            cs_token: SecretBytes::default(),
        };
        login.key = Some(key);
        let trace = login.ticket.trace;
        let target = TlsTarget {
            server: server.name,
            role: CertificateRole::DirectionCoordinator,
            addresses: server.tls,
            mutual: true,
        };
        self.next_transaction.0 = self.next_transaction.0.wrapping_add(1);
        self.tls.call(cx, target, (self.session, self.next_transaction), distribution.into(), trace, id);
    }

    /// The DC holds K_ntmdc, or not.
    pub(super) fn distributed(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<(Session, Message), TlsCallError>) {
        let Some(login) = self.logins.get(&id) else { return };
        let domain = login.asked.account().domain().clone();
        match (result, &login.asked, &login.key) {
            (Ok((dc_session, Message::NtmAck(_))), Asked::Login(request), Some(key)) => {
                let response = LoginResponse {
                    node: request.account.node(),
                    key: key.clone(),
                    lifetime_s: seconds(self.config.key_lifetime),
                    dc_session,
                    cs_token: SecretBytes::default(),
                    voucher: self.vouch(cx, request),
                    voucher_key: self.signer.verifying_key(),
                };
                cx.count("account.logged_in");
                cx.event(AccountServerEvent::LoggedIn { account: request.account.clone() });
                self.end(cx, id, response.into());
            }
            (Ok(_), ..) => {
                let detail = format!("the Direction Coordinator of {domain} answers nonsense");
                self.end_refused(cx, id, RefusalCode::ServerUnreachable, &detail);
            }
            (Err(error), ..) => {
                // It may have moved; the next login looks it up again.
                self.coordinators.forget(&domain);
                let detail = format!("the Direction Coordinator of {domain}: {error}");
                self.end_refused(cx, id, error.code(), &detail);
            }
        }
    }

    fn vouch(&self, cx: &Cx<'_>, login: &LoginRequest) -> KeyVoucher {
        let not_after = cx.wall.0.saturating_add(self.config.voucher_lifetime.as_secs());
        self.signer.sign(login.account.node(), login.public_key, not_after)
    }

    fn end(&mut self, cx: &mut Cx<'_>, id: u64, answer: Message) {
        if let Some(login) = self.forget(id) {
            self.repeated.answer(cx, self.session, &login.ticket, answer);
        }
    }

    /// Ends a login without success.
    pub(super) fn end_refused(&mut self, cx: &mut Cx<'_>, id: u64, code: RefusalCode, detail: &str) {
        if let Some(login) = self.forget(id) {
            self.refuse_login(cx, &login.ticket, login.asked.account(), code, detail);
        }
    }

    fn refuse_login(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: &TlsTicket,
        account: &Account,
        code: RefusalCode,
        detail: &str,
    ) {
        cx.event(AccountServerEvent::Refused { account: account.clone(), code, detail: detail.to_owned() });
        self.refuse(cx, ticket, code, detail);
    }

    /// Ends a login whose time is up, and says what it was waiting for.
    pub(super) fn took_too_long(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(login) = self.logins.get(&id) else { return };
        let domain = login.asked.account().domain();
        let (code, detail) = match (login.verifying, &login.key) {
            (Some(_), _) => (RefusalCode::Overloaded, "the authenticator takes too long, try again later".to_owned()),
            (None, Some(_)) => {
                (RefusalCode::ServerUnreachable, format!("the Direction Coordinator of {domain} does not answer"))
            }
            (None, None) => (RefusalCode::ServerUnreachable, format!("no DNS server answers for {domain}")),
        };
        self.end_refused(cx, id, code, &detail);
    }

    fn forget(&mut self, id: u64) -> Option<InProgress> {
        self.deadlines.cancel(&id);
        self.logins.remove(&id)
    }
}

/// A duration as messages carry it.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
