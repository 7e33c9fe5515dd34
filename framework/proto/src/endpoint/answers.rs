//! What has been answered lately, so that a repeated request is answered the same way and acted upon once.

use super::Ticket;
use crate::time::Instant;
use ntmobile_wire::identifier::{KeyId, Session, Transaction};
use ntmobile_wire::message::Message;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long an answer is remembered: longer than any request is repeated.
const MEMORY: Duration = Duration::from_secs(60);
/// How many are remembered at most; the oldest goes first.
const CAPACITY: usize = 65_536;

type Identity = (KeyId, Session, Transaction);

/// What is known of a request that has just arrived.
pub(super) enum Seen {
    First,
    InProgress,
    Answered(KeyId, Box<Message>),
}

#[derive(Default)]
pub(super) struct Answers {
    known: BTreeMap<Identity, Option<(KeyId, Message)>>,
    order: VecDeque<(Instant, Identity)>,
}

impl Answers {
    pub(super) fn seen(&mut self, now: Instant, ticket: &Ticket) -> Seen {
        let identity = (ticket.key, ticket.session, ticket.transaction);
        match self.known.get(&identity) {
            Some(None) => Seen::InProgress,
            Some(Some((key, answer))) => Seen::Answered(*key, Box::new(answer.clone())),
            None => {
                if self.order.len() >= CAPACITY
                    && let Some((_, oldest)) = self.order.pop_front()
                {
                    self.known.remove(&oldest);
                }
                self.known.insert(identity, None);
                self.order.push_back((now + MEMORY, identity));
                Seen::First
            }
        }
    }

    pub(super) fn answered(&mut self, ticket: &Ticket, key: KeyId, answer: Message) {
        if let Some(state) = self.known.get_mut(&(ticket.key, ticket.session, ticket.transaction)) {
            *state = Some((key, answer));
        }
    }

    /// Forgets that a request came. Its place in the order stays until its time, which keeps the order bounded.
    pub(super) fn release(&mut self, ticket: &Ticket) {
        self.known.remove(&(ticket.key, ticket.session, ticket.transaction));
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at)
    }

    pub(super) fn forget(&mut self, now: Instant) {
        while self.next_expiry().is_some_and(|at| at <= now) {
            if let Some((_, identity)) = self.order.pop_front() {
                self.known.remove(&identity);
            }
        }
    }
}
