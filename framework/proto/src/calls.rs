//! What a machine waits for from the world around it: effects that were asked for, each with what to do when its outcome
//! arrives.

use crate::machine::CallId;
use std::collections::BTreeMap;

/// Effects whose outcome has not arrived yet.
#[derive(Debug)]
pub struct Calls<T> {
    next: u64,
    waiting: BTreeMap<CallId, T>,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { next: 1, waiting: BTreeMap::new() }
    }
}

impl<T> Calls<T> {
    /// Numbers a call and keeps what it is for.
    pub fn open(&mut self, purpose: T) -> CallId {
        let id = CallId(self.next);
        self.next += 1;
        self.waiting.insert(id, purpose);
        id
    }

    /// The outcome of a call has arrived: what was it for? `None` for an outcome nobody waits for.
    pub fn close(&mut self, id: CallId) -> Option<T> {
        self.waiting.remove(&id)
    }

    /// How many outcomes are awaited.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is awaited.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
