//! Signalling under named keys: sealing, sessions and challenges, retransmission, idempotent answers, and the spans of it all.
//!
//! **Invariant:** a machine sees each request once and each answer once, from a party that holds the key in a session that is
//! proved to be alive; everything else is counted and dropped here.
//!
//! Every machine owns one [`Endpoint`]. Its type parameter is what the machine wants to be reminded of when an answer comes.

mod answers;
mod association;
mod exchange;
mod framing;
mod request;
mod window;

pub use association::{Association, Peer};
pub use exchange::{Retry, TimedOut};
pub use framing::StreamFraming;
pub use request::{Arrival, Path, Request, Ticket};

use crate::deadlines::Deadlines;
use crate::machine::{Context, Effect};
use crate::sizes::Sizes;
use crate::time::Instant;
use crate::trace::{Span, SpanKind};
use answers::{Answers, Seen};
use association::Opened;
use bytes::{BufMut, Bytes, BytesMut};
use exchange::Exchange;
use ntmobile_wire::datagram::{self, Header};
use ntmobile_wire::identifier::{KeyId, Session, Transaction};
use ntmobile_wire::message::{Message, SessionChallenge, SessionEcho};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use ntmobile_wire::trace_context::TraceContext;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Retransmit(Transaction),
    Forget,
    Expire(KeyId),
}

/// The signalling side of one entity.
pub struct Endpoint<T> {
    session: Session,
    associations: BTreeMap<KeyId, Association>,
    exchanges: BTreeMap<Transaction, Exchange<T>>,
    answers: Answers,
    next_transaction: u64,
    deadlines: Deadlines<Due>,
}

impl<T> Endpoint<T> {
    /// An endpoint of a process that starts: `session` and `first_transaction` are drawn anew each time.
    pub fn new(session: Session, first_transaction: u64) -> Self {
        Self {
            session,
            associations: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            answers: Answers::default(),
            next_transaction: first_transaction,
            deadlines: Deadlines::default(),
        }
    }

    /// The session of this process.
    pub fn session(&self) -> Session {
        self.session
    }

    /// A fresh transaction number, for frames that travel outside the endpoint.
    pub fn next_transaction(&mut self) -> Transaction {
        self.next_transaction = self.next_transaction.wrapping_add(1);
        Transaction(self.next_transaction)
    }

    /// Begins to speak and listen under a key. Of a key that is held already, sequences and windows go on where they are:
    /// to begin anew in the same session would repeat nonces and let messages be replayed.
    pub fn add(&mut self, association: Association) {
        let id = association.id();
        match association.expires() {
            Some(at) => self.deadlines.set(Due::Expire(id), at),
            None => self.deadlines.cancel(&Due::Expire(id)),
        }
        match self.associations.get_mut(&id) {
            Some(known) if known.seals_like(&association) => known.renew(association),
            _ => {
                self.associations.insert(id, association);
            }
        }
    }

    /// How much it holds: keys, requests that wait, answers remembered, sessions challenged.
    pub fn sizes(&self) -> Sizes {
        Sizes::default()
            .with("keys", self.associations.len())
            .with("requests", self.exchanges.len())
            .with("answers", self.answers.len())
            .with("challenges", self.associations.values().map(Association::challenges).sum())
    }

    /// Ends a key at this time.
    pub fn expire_at(&mut self, key: KeyId, at: Instant) {
        if self.associations.contains_key(&key) {
            self.deadlines.set(Due::Expire(key), at);
        }
    }

    /// Forgets a key; every request that waits under it is given up at once, and told by [`Endpoint::expire`].
    pub fn abandon(&mut self, now: Instant, key: KeyId) {
        self.associations.remove(&key);
        self.deadlines.cancel(&Due::Expire(key));
        for (transaction, _) in self.exchanges.iter().filter(|(_, exchange)| exchange.request.key == key) {
            self.deadlines.set(Due::Retransmit(*transaction), now);
        }
    }

    /// Forgets a key and every request that waits under it, of which nobody is told.
    pub fn remove(&mut self, key: KeyId) {
        self.associations.remove(&key);
        self.deadlines.cancel(&Due::Expire(key));
        let stale: Vec<_> = self.exchanges.iter().filter(|(_, e)| e.request.key == key).map(|(t, _)| *t).collect();
        for transaction in stale {
            self.exchanges.remove(&transaction);
            self.deadlines.cancel(&Due::Retransmit(transaction));
        }
    }

    /// The association of a key, if it is still held.
    pub fn association(&self, key: KeyId) -> Option<&Association> {
        self.associations.get(&key)
    }

    /// The association of a key, to tell it a session learnt elsewhere.
    pub fn association_mut(&mut self, key: KeyId) -> Option<&mut Association> {
        self.associations.get_mut(&key)
    }

    /// Sends a request and keeps sending it until it is answered, cancelled or given up.
    pub fn request<E>(&mut self, cx: &mut Context<'_, E>, request: Request, tag: T) -> Transaction {
        let transaction = self.next_transaction();
        let context = request.trace.map(|parent| parent.child(cx.entropy));
        let mut exchange = Exchange::new(request, tag, context, cx.now);
        self.transmit_exchange(cx, transaction, &mut exchange);
        self.deadlines.set(Due::Retransmit(transaction), exchange.next_attempt(cx.now));
        self.exchanges.insert(transaction, exchange);
        transaction
    }

    /// Ends a request that has been completed by something else than its answer; returns what it was for.
    pub fn complete<E>(&mut self, cx: &mut Context<'_, E>, transaction: Transaction) -> Option<T> {
        let exchange = self.exchanges.remove(&transaction)?;
        self.deadlines.cancel(&Due::Retransmit(transaction));
        exchange.end(cx, None);
        Some(exchange.tag)
    }

    /// Sends a request that waits for its answer to other places from now on.
    pub fn redirect<E>(&mut self, cx: &mut Context<'_, E>, transaction: Transaction, paths: Vec<Path>) {
        let Some(mut exchange) = self.exchanges.remove(&transaction) else { return };
        if exchange.request.paths != paths {
            exchange.request.paths = paths;
            exchange.note(cx.now, "sent to another address");
            self.transmit_exchange(cx, transaction, &mut exchange);
        }
        self.exchanges.insert(transaction, exchange);
    }

    /// What the requests that wait are for, to find the one to [`Endpoint::complete`].
    pub fn outstanding(&self) -> impl Iterator<Item = (Transaction, &T)> {
        self.exchanges.iter().map(|(transaction, exchange)| (*transaction, &exchange.tag))
    }

    /// Answers a request under the key it came under.
    pub fn answer<E>(&mut self, cx: &mut Context<'_, E>, ticket: &Ticket, message: impl Into<Message>) {
        self.answer_with(cx, ticket, (ticket.key, ticket.trace), message.into());
    }

    /// Answers a request with something that was done for another conversation than the one that asks.
    pub fn answer_within<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        ticket: &Ticket,
        trace: Option<TraceContext>,
        message: impl Into<Message>,
    ) {
        self.answer_with(cx, ticket, (ticket.key, trace), message.into());
    }

    /// Answers a request under another key.
    pub fn answer_under<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        ticket: &Ticket,
        key: KeyId,
        message: impl Into<Message>,
    ) {
        self.answer_with(cx, ticket, (key, ticket.trace), message.into());
    }

    fn answer_with<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        ticket: &Ticket,
        (key, trace): (KeyId, Option<TraceContext>),
        message: Message,
    ) {
        let failure = exchange::failure(&message);
        let context = trace.map(|trace| trace.child(cx.entropy));
        if let (Some(context), Some(trace)) = (context, trace) {
            let span = Span::new(context, Some(trace.span), message.label(), SpanKind::Producer, (cx.now, cx.now))
                .with("ntm.peer", ticket.sender.name.to_string());
            cx.push(Effect::Span(Box::new(span)));
        }
        self.seal_and_send(cx, key, ticket.transaction, ticket.path, &message, context);
        self.answers.answered(ticket, key, message);
        self.end_ticket(cx, ticket, failure);
    }

    /// Ends a request that has no answer of its own; repetitions of it stay ignored.
    pub fn finish<E>(&mut self, cx: &mut Context<'_, E>, ticket: &Ticket) {
        self.end_ticket(cx, ticket, None);
    }

    /// Ends a request that is left to its repetitions: the next is a request again.
    pub fn pass_on<E>(&mut self, cx: &mut Context<'_, E>, ticket: &Ticket) {
        self.answers.release(ticket);
        self.end_ticket(cx, ticket, None);
    }

    /// Ends a request that was sent on as it is, to somebody else who answers it: a repetition is a request again, and is to
    /// be sent on again. `failure` is why it could not be. Its span says that it is only a part of the message's way.
    pub fn forward<E>(&mut self, cx: &mut Context<'_, E>, ticket: &Ticket, failure: Option<&'static str>) {
        self.answers.release(ticket);
        if let Some(mut span) = ticket.span(cx) {
            span.failure = failure.map(Into::into);
            cx.push(Effect::Span(Box::new(span.with("ntm.passed_on", failure.is_none()))));
        }
    }

    fn end_ticket<E>(&mut self, cx: &mut Context<'_, E>, ticket: &Ticket, failure: Option<String>) {
        if let Some(mut span) = ticket.span(cx) {
            span.failure = failure.map(Into::into);
            cx.push(Effect::Span(Box::new(span)));
        }
    }

    /// Takes a sealed datagram, or one that came framed on a stream.
    pub fn receive<E>(&mut self, cx: &mut Context<'_, E>, path: Path, bytes: &[u8]) -> Option<Arrival<T>> {
        let Ok(header) = Header::parse(bytes) else {
            cx.count("signalling.malformed");
            return None;
        };
        let Some(association) = self.associations.get_mut(&header.key_id) else {
            cx.count("signalling.unknown_key");
            return None;
        };
        let sender = association.peer().clone();
        match association.open(cx, &header, bytes) {
            Opened::Message { role, message, extensions } => {
                self.arrived(cx, path, header, role, sender, (*message, extensions.trace))
            }
            Opened::Challenge(nonce) => {
                let transaction = self.next_transaction();
                let challenge = SessionChallenge { nonce };
                self.seal_and_send(cx, header.key_id, transaction, path, &challenge.into(), None);
                None
            }
            Opened::Challenged(nonce) => {
                cx.count("signalling.challenge_echoed");
                let transaction = self.next_transaction();
                let echo = SessionEcho { nonce };
                self.seal_and_send(cx, header.key_id, transaction, path, &echo.into(), None);
                self.resend_under(cx, header.key_id);
                None
            }
            Opened::Proved => {
                self.resend_under(cx, header.key_id);
                None
            }
            Opened::Dropped => None,
        }
    }

    fn arrived<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        path: Path,
        header: Header,
        role: Role,
        sender: Peer,
        (message, trace): (Message, Option<TraceContext>),
    ) -> Option<Arrival<T>> {
        if exchange::is_answer(&message) {
            let expected = self
                .exchanges
                .get(&header.transaction)
                .is_some_and(|exchange| exchange.accepts(header.key_id, &message));
            if expected {
                let exchange = self.exchanges.remove(&header.transaction)?;
                self.deadlines.cancel(&Due::Retransmit(header.transaction));
                let trace = trace.map(|sender| (sender, sender.child(cx.entropy)));
                if let Some((trace, context)) = trace {
                    let times = (cx.now, cx.now);
                    let span = Span::new(context, Some(trace.span), message.label(), SpanKind::Consumer, times);
                    cx.push(Effect::Span(Box::new(span.with("ntm.peer", sender.name.to_string()))));
                }
                exchange.end(cx, exchange::failure(&message));
                let trace = trace.map(|(_, context)| context);
                return Some(Arrival::Answer { tag: exchange.tag, message, path, trace });
            }
            if !exchange::may_come_unasked(&message) {
                cx.count("signalling.unexpected_answer");
                return None;
            }
        }
        let ticket = Ticket {
            key: header.key_id,
            role,
            session: header.session,
            transaction: header.transaction,
            path,
            trace: trace.map(|trace| trace.child(cx.entropy)),
            received: cx.now,
            parent: trace.map(|trace| trace.span),
            label: message.label(),
            sender,
        };
        match self.answers.seen(cx.now, &ticket) {
            Seen::First => {
                self.deadlines.set(Due::Forget, self.answers.next_expiry().unwrap_or(cx.now));
                Some(Arrival::Request { ticket, message })
            }
            Seen::InProgress => {
                cx.count("signalling.repeated_request");
                None
            }
            Seen::Answered(key, answer) => {
                cx.count("signalling.repeated_request");
                // The repetition's own context, so that the trace shows which copy got through.
                self.seal_and_send(cx, key, ticket.transaction, path, &answer, trace);
                None
            }
        }
    }

    /// When [`Endpoint::expire`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Retransmits what is due and returns what is given up.
    pub fn expire<E>(&mut self, cx: &mut Context<'_, E>) -> Vec<TimedOut<T>> {
        let mut given_up = Vec::new();
        while let Some(due) = self.deadlines.pop_due(cx.now) {
            match due {
                Due::Retransmit(transaction) => {
                    let Some(mut exchange) = self.exchanges.remove(&transaction) else { continue };
                    if exchange.is_exhausted() || !self.associations.contains_key(&exchange.request.key) {
                        cx.count("signalling.timed_out");
                        exchange.end(cx, Some("timed out".into()));
                        given_up.push(TimedOut { label: exchange.request.message.label(), tag: exchange.tag });
                        continue;
                    }
                    cx.count("signalling.retransmitted");
                    exchange.note(cx.now, "retransmitted");
                    self.transmit_exchange(cx, transaction, &mut exchange);
                    self.deadlines.set(Due::Retransmit(transaction), exchange.next_attempt(cx.now));
                    self.exchanges.insert(transaction, exchange);
                }
                Due::Forget => {
                    self.answers.forget(cx.now);
                    if let Some(at) = self.answers.next_expiry() {
                        self.deadlines.set(Due::Forget, at);
                    }
                }
                Due::Expire(key) => {
                    cx.count("signalling.key_expired");
                    self.associations.remove(&key);
                }
            }
        }
        given_up
    }

    /// Sends everything that waits under a key once more, at once: the peer has just proved or asked for a session.
    fn resend_under<E>(&mut self, cx: &mut Context<'_, E>, key: KeyId) {
        let waiting: Vec<_> = self.exchanges.iter().filter(|(_, e)| e.request.key == key).map(|(t, _)| *t).collect();
        for transaction in waiting {
            let Some(mut exchange) = self.exchanges.remove(&transaction) else { continue };
            if let Some(path) = exchange.path_out_of_turn() {
                exchange.note(cx.now, "resent after a session challenge");
                self.transmit_to(cx, transaction, path, &exchange);
            }
            self.exchanges.insert(transaction, exchange);
        }
    }

    fn transmit_exchange<E>(&mut self, cx: &mut Context<'_, E>, transaction: Transaction, exchange: &mut Exchange<T>) {
        if let Some(path) = exchange.take_path() {
            self.transmit_to(cx, transaction, path, exchange);
        }
    }

    fn transmit_to<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        transaction: Transaction,
        path: Path,
        exchange: &Exchange<T>,
    ) {
        let (key, context) = (exchange.request.key, exchange.context);
        self.seal_and_send(cx, key, transaction, path, &exchange.request.message, context);
    }

    fn seal_and_send<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        key: KeyId,
        transaction: Transaction,
        path: Path,
        message: &Message,
        trace: Option<TraceContext>,
    ) {
        let Some(association) = self.associations.get_mut(&key) else {
            cx.count("signalling.unknown_key");
            return;
        };
        let sequence = association.take_sequence();
        let header = Header { kind: message.kind(), transaction, key_id: key, session: self.session, sequence };
        let bytes = datagram::seal(association.sealing(), header, message, trace);
        match path {
            Path::Datagram(to) => cx.push(Effect::Transmit { to, bytes }),
            Path::Stream(stream) => cx.push(Effect::StreamSend { stream, bytes: framed(&bytes) }),
        }
    }
}

/// A sealed message behind its length, as it travels on a stream.
fn framed(datagram: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + datagram.len());
    bytes.put_u16(u16::try_from(datagram.len()).expect("a sealed message fits one datagram"));
    bytes.put_slice(datagram);
    bytes.freeze()
}

/// Where a name in a [`Peer`] stands for an entity that has no name of its own.
pub fn unnamed() -> Fqdn {
    Fqdn::parse("unnamed.invalid").expect("a sound name")
}
