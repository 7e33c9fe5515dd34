//! The Account Server: the one place with credentials. It makes K_ntmdc for nodes that log in here (`via-as`), vouches for
//! nodes that log in at their DC (`via-dc`), and signs which public key belongs to which node.
//!
//! **Invariant:** nobody gets a key, a name or a voucher before the authenticator has accepted the credential, and a
//! K_ntmdc is told to a node only after its DC holds it.
//!
//! It speaks over TLS alone and keeps nothing: accounts are the authenticator's. With `via-dc` it must believe the DC which
//! client certificate a node has shown; so whoever asks must bear the name that DNS gives for the account's DC.

mod config;
mod coordinators;
mod event;
mod login;
#[cfg(test)]
mod tests;

pub use config::AccountServerConfig;
pub use event::AccountServerEvent;

use crate::calls::Calls;
use crate::deadlines::Deadlines;
use crate::machine::{Context, Input, Machine};
use crate::repeated_requests::RepeatedRequests;
use crate::sizes::Sizes;
use crate::time::Instant;
use crate::tls::{self, TlsClient, TlsTicket};
use coordinators::KnownCoordinators;
use login::{Asked, InProgress};
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::identifier::{Session, Transaction};
use ntmobile_wire::message::RefusalCode;
use ntmobile_wire::voucher::VoucherSigner;
use std::collections::BTreeMap;
use std::convert::Infallible;

type Cx<'a> = Context<'a, AccountServerEvent>;

/// What a login waits for, besides the DC's acknowledgement.
#[derive(Debug)]
enum Waiting {
    Verdict(u64),
    Coordinator(u64),
}

/// The Account Server's machine. It takes no commands.
pub struct AccountServer {
    config: AccountServerConfig,
    signer: VoucherSigner,
    session: Session,
    next_transaction: Transaction,
    logins: BTreeMap<u64, InProgress>,
    next_login: u64,
    waiting: Calls<Waiting>,
    tls: TlsClient<u64>,
    coordinators: KnownCoordinators,
    deadlines: Deadlines<u64>,
    /// Hashing a password may take longer than a client waits before it asks once more.
    repeated: RepeatedRequests,
}

impl AccountServer {
    /// An AS that starts, with the seed of the network's voucher key; its session and its transaction numbers are drawn
    /// anew.
    pub fn new(config: AccountServerConfig, voucher_seed: [u8; 32], entropy: &mut dyn Entropy) -> Self {
        Self {
            signer: VoucherSigner::from_seed(voucher_seed),
            session: Session::draw(entropy),
            next_transaction: Transaction(u64::from_be_bytes(draw(entropy))),
            logins: BTreeMap::new(),
            next_login: 1,
            waiting: Calls::default(),
            tls: TlsClient::default(),
            coordinators: KnownCoordinators::new(config.coordinator_memory, config.coordinators),
            deadlines: Deadlines::default(),
            repeated: RepeatedRequests::default(),
            config,
        }
    }

    fn refuse_bearer(&mut self, cx: &mut Cx<'_>, ticket: &TlsTicket, detail: &str) {
        cx.count("tls.bearer_refused");
        self.refuse(cx, ticket, RefusalCode::NotAllowed, detail);
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, ticket: &TlsTicket, code: RefusalCode, detail: &str) {
        cx.count("account.refused");
        cx.count("tls.refused");
        self.repeated.answer(cx, self.session, ticket, tls::refusal(code, detail));
    }
}

impl Machine for AccountServer {
    type Command = Infallible;
    type Event = AccountServerEvent;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::TlsRequest { request, from, certificate, frame } => {
                let accepted = tls::accept(cx, self.session, (request, from), certificate, &frame);
                let Some((ticket, message)) = accepted else { return };
                if self.repeated.take(cx, self.session, &ticket, &message) {
                    return;
                }
                match Asked::of(message) {
                    Some(asked) => self.asked(cx, ticket, asked),
                    None => self.refuse(cx, &ticket, RefusalCode::Unsupported, "an Account Server does not do this"),
                }
            }
            Input::Verified { call, verdict } => {
                if let Some(Waiting::Verdict(id)) = self.waiting.close(call) {
                    self.verified(cx, id, verdict);
                }
            }
            Input::Resolved { call, result } => {
                if let Some(Waiting::Coordinator(id)) = self.waiting.close(call) {
                    self.coordinator_found(cx, id, result);
                }
            }
            Input::TlsAnswered { call, result } => {
                if let Some((id, outcome)) = self.tls.answered(cx, call, result) {
                    self.distributed(cx, id, outcome);
                }
            }
            Input::Datagram { .. } => cx.count("signalling.unknown_key"),
            Input::Started { .. }
            | Input::AddressesChanged { .. }
            | Input::TunnelControl { .. }
            | Input::PacketPath(_)
            | Input::Persisted { .. }
            | Input::StreamOpened { .. }
            | Input::StreamReceived { .. }
            | Input::StreamClosed { .. } => {}
        }
    }

    fn command(&mut self, _cx: &mut Cx<'_>, command: Infallible) {
        match command {}
    }

    fn deadline(&self) -> Option<Instant> {
        [self.deadlines.next(), self.repeated.deadline()].into_iter().flatten().min()
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.repeated.expire(cx.now);
        while let Some(id) = self.deadlines.pop_due(cx.now) {
            self.took_too_long(cx, id);
        }
    }

    fn sizes(&self) -> Sizes {
        Sizes::default()
            .with("logins", self.logins.len())
            .with("calls", self.waiting.len() + self.tls.len())
            .with("coordinators", self.coordinators.len())
            .with("tls_requests", self.repeated.len())
    }
}
