//! One request on its way: its attempts, its patience and its span.

use super::{Path, Request};
use crate::machine::{Context, Effect};
use crate::time::Instant;
use crate::trace::{Span, SpanEvent, SpanKind};
use ntmobile_wire::identifier::KeyId;
use ntmobile_wire::message::Message;
use ntmobile_wire::trace_context::TraceContext;
use std::time::Duration;

/// How often a request is sent out of turn at most.
const RESENDS: u32 = 4;

/// How patiently a request is repeated: after `first`, then twice as long each time up to `longest`, `attempts` in all.
///
/// Where three of ten datagrams are lost, every other attempt brings an answer back: a dozen attempts are what it takes to be
/// answered nearly always. So waits grow to a second or two, and not on and on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How long the first attempt waits (default 500 ms).
    pub first: Duration,
    /// The longest wait between two attempts (default 2 s).
    pub longest: Duration,
    /// How many attempts there are (default 17, which gives up after 31.5 s).
    pub attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(2), attempts: 17 }
    }
}

impl Retry {
    /// One attempt that waits this long: for paths that do not lose, such as streams.
    pub fn once(patience: Duration) -> Self {
        Self { first: patience, longest: patience, attempts: 1 }
    }

    /// Between servers, whose links are short: gives up after 12.6 s.
    pub fn between_servers() -> Self {
        Self { first: Duration::from_millis(300), longest: Duration::from_millis(900), attempts: 15 }
    }

    /// For a request that a server completes only after asking others in turn: gives up after 59.5 s.
    pub fn patient() -> Self {
        Self { attempts: 31, ..Self::default() }
    }

    /// How long after the first attempt the request is given up.
    pub fn patience(&self) -> Duration {
        (0..self.attempts).map(|attempt| self.wait(attempt)).sum()
    }

    /// How long the attempt of this number, from 0, waits.
    pub(crate) fn wait(&self, attempt: u32) -> Duration {
        self.first.saturating_mul(1 << attempt.min(16)).min(self.longest)
    }
}

/// A request that was given up.
#[derive(Debug)]
pub struct TimedOut<T> {
    /// The message's name.
    pub label: &'static str,
    /// What it was for.
    pub tag: T,
}

pub(super) struct Exchange<T> {
    pub(super) request: Request,
    pub(super) tag: T,
    /// The span of the request, where it is traced.
    pub(super) context: Option<TraceContext>,
    started: Instant,
    attempt: u32,
    resent: u32,
    events: Vec<SpanEvent>,
}

impl<T> Exchange<T> {
    pub(super) fn new(request: Request, tag: T, context: Option<TraceContext>, now: Instant) -> Self {
        Self { request, tag, context, started: now, attempt: 0, resent: 0, events: Vec::new() }
    }

    /// Where the next attempt goes.
    pub(super) fn take_path(&mut self) -> Option<Path> {
        let index = self.attempt as usize % self.request.paths.len().max(1);
        self.attempt += 1;
        self.request.paths.get(index).copied()
    }

    /// Where to send it once more out of turn, which counts as no attempt: a challenge may be an old one replayed, and must
    /// neither use up the request's patience nor make it be sent without end.
    pub(super) fn path_out_of_turn(&mut self) -> Option<Path> {
        let index = self.attempt.saturating_sub(1) as usize % self.request.paths.len().max(1);
        self.resent += 1;
        self.request.paths.get(index).copied().filter(|_| self.resent <= RESENDS)
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.attempt >= self.request.retry.attempts
    }

    pub(super) fn next_attempt(&self, now: Instant) -> Instant {
        now + self.request.retry.wait(self.attempt.saturating_sub(1))
    }

    /// Whether an answer under this key may be for this request.
    pub(super) fn accepts(&self, key: KeyId, answer: &Message) -> bool {
        let Request { key: own, answer_keys, .. } = &self.request;
        let is_own = *own == key && (answer_keys.is_empty() || matches!(answer, Message::Refusal(_)));
        is_own || answer_keys.contains(&key)
    }

    pub(super) fn note(&mut self, at: Instant, name: &'static str) {
        if self.context.is_some() {
            self.events.push(SpanEvent { at, name: name.into() });
        }
    }

    /// Ends the request's span.
    pub(super) fn end<E>(&self, cx: &mut Context<'_, E>, failure: Option<String>) {
        let (Some(context), Some(parent)) = (self.context, self.request.trace) else { return };
        let label = self.request.message.label();
        let mut span = Span::new(context, Some(parent.span), label, SpanKind::Client, (self.started, cx.now));
        span.events = self.events.clone();
        span.failure = failure.map(Into::into);
        cx.push(Effect::Span(Box::new(span)));
    }
}

/// Whether a message answers another.
pub(super) fn is_answer(message: &Message) -> bool {
    matches!(
        message,
        Message::NtmAck(_)
            | Message::Refusal(_)
            | Message::RegistrationResponse(_)
            | Message::NodeInformationResponse(_)
            | Message::RouteDirectionAcknowledge(_)
            | Message::RouteDirectionResponse(_)
            | Message::RelayResponse(_)
            | Message::RelayAssignment(_)
            | Message::TunnelResponse(_)
    )
}

/// Whether an answer may also come by itself: what a node says of a direction that it pulled.
pub(super) fn may_come_unasked(message: &Message) -> bool {
    match message {
        Message::RouteDirectionAcknowledge(_) => true,
        Message::Refusal(refusal) => refusal.negotiation.is_some(),
        _ => false,
    }
}

/// The failure that an answer expresses.
pub(super) fn failure(message: &Message) -> Option<String> {
    match message {
        Message::Refusal(refusal) => Some(format!("{:?}: {}", refusal.code, refusal.detail)),
        _ => None,
    }
}
