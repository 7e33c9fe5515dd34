//! K_ntmdc: distributed by the AS (`via-as`) or made here (`via-dc`).

use super::nodes::Vouched;
use super::{Cx, DirectionCoordinator, Due, TlsTag, Wait, config, records};
use crate::certificate::CertificateRole;
use crate::endpoint::Peer;
use crate::machine::{Effect, Lookup, LookupFailure, ServerAddresses};
use crate::tls::{self, TlsCallError, TlsTarget, TlsTicket};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::identifier::{KeyId, Session};
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{
    AuthenticationRequest, AuthenticationResponse, Credential, KeyDistribution, LoginRequest, LoginResponse, Message,
    NtmAck, RefusalCode,
};
use ntmobile_wire::relogin;
use std::time::Duration;

/// Logins that may wait for the AS at once; more are refused as overload.
const LOGINS: usize = 4_096;

/// A login that waits for the AS.
#[derive(Debug)]
pub(super) struct LoginInProgress {
    ticket: TlsTicket,
    request: LoginRequest,
}

/// A login that the AS has granted and that waits for the store.
#[derive(Debug)]
pub(super) struct Grant {
    peer: Peer,
    key: NamedKey,
    vouched: AuthenticationResponse,
}

impl DirectionCoordinator {
    /// The AS distributes a key.
    pub(super) fn key_distributed(&mut self, cx: &mut Cx<'_>, ticket: TlsTicket, distribution: KeyDistribution) {
        let session = self.endpoint.session();
        if !ticket.is_from(CertificateRole::AccountServer, &self.config.account_server) {
            return tls::refuse_bearer(cx, session, &ticket, "keys are distributed by the AS alone");
        }
        if !self.config.name.directs(&distribution.node) {
            return tls::refuse(cx, session, &ticket, RefusalCode::NoSuchName, "not a name of this DC's domain");
        }
        let peer = Peer { name: distribution.node.clone(), application: distribution.application };
        if let Err((code, detail)) = self.check_application(&peer) {
            return tls::refuse(cx, session, &ticket, code, detail);
        }
        let lifetime = Duration::from_secs(u64::from(distribution.lifetime_s));
        let write = records::node_key_write(cx.wall, &peer, &distribution.key, lifetime);
        let call = self.calls.open(Wait::KeyStored(ticket, Box::new(distribution)));
        cx.push(Effect::Persist { call, writes: vec![write] });
    }

    /// A key that the AS distributed is on stable storage.
    pub(super) fn stored_key(&mut self, cx: &mut Cx<'_>, ticket: &TlsTicket, distribution: KeyDistribution) {
        let peer = Peer { name: distribution.node, application: distribution.application };
        let lifetime = Duration::from_secs(u64::from(distribution.lifetime_s));
        self.hold_node_key(cx, &peer, distribution.key, lifetime, distribution.node_session);
        tls::answer(cx, self.endpoint.session(), ticket, NtmAck::default());
    }

    /// A node logs in here (`via-dc`).
    pub(super) fn login_requested(&mut self, cx: &mut Cx<'_>, ticket: TlsTicket, request: LoginRequest) {
        // The AS may take longer than the node waits before it asks once more.
        if self.repeated_logins.take(cx, self.endpoint.session(), &ticket, &request.clone().into()) {
            return;
        }
        if *request.account.domain() != self.config.domain {
            return self.refuse_login(cx, &ticket, RefusalCode::NoSuchName, "not an account of this DC's domain");
        }
        if !ticket.may_be(&request.account.node()) {
            cx.count("tls.bearer_refused");
            let detail = "the certificate is not that of the account's node";
            return self.refuse_login(cx, &ticket, RefusalCode::NotAllowed, detail);
        }
        if let Credential::CurrentKey { key_id, proof } = request.credential {
            return self.login_again(cx, ticket, &request, key_id, &proof);
        }
        if self.logins.len() >= LOGINS {
            return self.refuse_login(cx, &ticket, RefusalCode::Overloaded, "too many logins at once; try again");
        }
        let id = self.draw_id();
        let trace = ticket.trace;
        let domain = self.config.domain.clone();
        self.logins.insert(id, LoginInProgress { ticket, request });
        self.deadlines.set(Due::Login(id), cx.now + self.config.login_patience);
        match self.config.account_server_addresses {
            Some(addresses) => self.ask_account_server(cx, id, addresses),
            None => {
                let call = self.calls.open(Wait::AccountServer(id));
                cx.push(Effect::Resolve { call, lookup: Lookup::AccountServer(domain), trace });
            }
        }
    }

    fn answer_login(&mut self, cx: &mut Cx<'_>, ticket: &TlsTicket, message: impl Into<Message>) {
        self.repeated_logins.answer(cx, self.endpoint.session(), ticket, message);
    }

    /// Refuses a login.
    pub(super) fn refuse_login(&mut self, cx: &mut Cx<'_>, ticket: &TlsTicket, code: RefusalCode, detail: &str) {
        cx.count("tls.refused");
        self.answer_login(cx, ticket, tls::refusal(code, detail));
    }

    /// A node logs in again under the key that it has: the AS is not asked.
    fn login_again(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: TlsTicket,
        request: &LoginRequest,
        key_id: KeyId,
        proof: &[u8; 32],
    ) {
        let peer = Peer { name: request.account.node(), application: request.application };
        let proved = self.endpoint.association(key_id).is_some_and(|association| {
            *association.peer() == peer
                && relogin::verify(&association.key().secret, &request.account, ticket.session, proof)
        });
        if !proved {
            let detail = "the key has expired or is not known here; log in with the account's credential";
            return self.refuse_login(cx, &ticket, RefusalCode::ExpiredKey, detail);
        }
        let vouched = self.nodes.get(&peer).and_then(|record| record.vouched.clone());
        let ends = cx.wall.0.saturating_add(self.config.node_key_lifetime.as_secs());
        let fits = |vouched: &Vouched| {
            let voucher = &vouched.response.voucher;
            voucher.public_key == request.public_key && voucher.not_after >= ends
        };
        match vouched.filter(fits) {
            Some(vouched) => self.grant(cx, ticket, peer, vouched.response),
            // A new public key needs the AS's word anew, and it must outlive the key.
            None => self.refuse_login(cx, &ticket, RefusalCode::ExpiredKey, "log in with the account's credential"),
        }
    }

    /// The AS was looked up.
    pub(super) fn account_server_found(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        result: Result<ServerAddresses, LookupFailure>,
    ) {
        match result {
            Ok(server) => self.ask_account_server(cx, id, server.tls),
            Err(failure) => {
                self.deadlines.cancel(&Due::Login(id));
                if let Some(login) = self.logins.remove(&id) {
                    let detail = format!("the Account Server cannot be found: {failure}");
                    self.refuse_login(cx, &login.ticket, RefusalCode::ServerUnreachable, &detail);
                }
            }
        }
    }

    fn ask_account_server(&mut self, cx: &mut Cx<'_>, id: u64, addresses: DualStack) {
        let Some(login) = self.logins.get(&id) else { return };
        let certificate = login.ticket.certificate.as_ref().map(|certificate| certificate.fingerprint);
        let message = AuthenticationRequest { login: login.request.clone(), certificate };
        let trace = login.ticket.trace;
        let target = TlsTarget {
            server: self.config.account_server.clone(),
            role: CertificateRole::AccountServer,
            addresses,
            mutual: true,
        };
        let identity = (self.endpoint.session(), self.endpoint.next_transaction());
        self.tls.call(cx, target, identity, message.into(), trace, TlsTag::Authentication(id));
    }

    /// The AS takes longer than the node will wait.
    pub(super) fn login_took_too_long(&mut self, cx: &mut Cx<'_>, id: u64) {
        if let Some(LoginInProgress { ticket, .. }) = self.logins.remove(&id) {
            let detail = "the Account Server does not answer";
            self.refuse_login(cx, &ticket, RefusalCode::ServerUnreachable, detail);
        }
    }

    /// The AS has answered, or not.
    pub(super) fn authenticated(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<(Session, Message), TlsCallError>) {
        let Some(LoginInProgress { ticket, request }) = self.logins.remove(&id) else { return };
        self.deadlines.cancel(&Due::Login(id));
        match result {
            Ok((_, Message::AuthenticationResponse(response))) => {
                let peer = Peer { name: request.account.node(), application: request.application };
                self.grant(cx, ticket, peer, response);
            }
            Ok(_) => self.refuse_login(cx, &ticket, RefusalCode::ServerUnreachable, "the AS answers nonsense"),
            Err(TlsCallError::Refused(refusal)) => self.answer_login(cx, &ticket, refusal),
            Err(error) => {
                self.refuse_login(cx, &ticket, RefusalCode::ServerUnreachable, &format!("the AS: {error}"));
            }
        }
    }

    /// Makes K_ntmdc and, once it is stored, tells the node.
    fn grant(&mut self, cx: &mut Cx<'_>, ticket: TlsTicket, peer: Peer, vouched: AuthenticationResponse) {
        if let Err((code, detail)) = self.check_application(&peer) {
            return self.refuse_login(cx, &ticket, code, detail);
        }
        let key = NamedKey::draw(cx.entropy);
        let writes = vec![
            records::node_key_write(cx.wall, &peer, &key, self.config.node_key_lifetime),
            records::voucher_write(&peer, &vouched),
        ];
        let call = self.calls.open(Wait::LoginStored(ticket, Box::new(Grant { peer, key, vouched })));
        cx.push(Effect::Persist { call, writes });
    }

    /// The key of a login is on stable storage.
    pub(super) fn stored_login(&mut self, cx: &mut Cx<'_>, ticket: &TlsTicket, grant: Grant) {
        let Grant { peer, key, vouched } = grant;
        let lifetime = self.config.node_key_lifetime;
        self.hold_node_key(cx, &peer, key.clone(), lifetime, ticket.session);
        if let Some(record) = self.nodes.get_mut(&peer) {
            record.vouched = Some(Vouched { response: vouched.clone() });
        }
        let session = self.endpoint.session();
        let response = LoginResponse {
            node: peer.name,
            key,
            lifetime_s: config::seconds(lifetime),
            dc_session: session,
            cs_token: vouched.cs_token,
            voucher: vouched.voucher,
            voucher_key: vouched.voucher_key,
        };
        self.answer_login(cx, ticket, response);
    }
}
