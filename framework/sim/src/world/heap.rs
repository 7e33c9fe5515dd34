//! What will happen, in order of time and, at the same time, of entry.

use ntmobile_proto::time::Instant;
use std::collections::BTreeMap;

/// Names an entry: its time and its number.
pub(crate) type Ticket = (Instant, u64);

/// Events in the order in which they will happen.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    next: u64,
    events: BTreeMap<Ticket, E>,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self { next: 0, events: BTreeMap::new() }
    }

    /// Enters an event.
    pub(crate) fn schedule(&mut self, at: Instant, event: E) -> Ticket {
        self.next += 1;
        let ticket = (at, self.next);
        self.events.insert(ticket, event);
        ticket
    }

    /// Takes an event out that has not happened.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Option<E> {
        self.events.remove(&ticket)
    }

    /// Takes the next event out.
    pub(crate) fn pop(&mut self) -> Option<(Instant, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
