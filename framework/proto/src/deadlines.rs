//! Timers as a table: what is due when. A machine has one such table, and its deadline is the table's first entry.

use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// Deadlines by what they are for; setting one again moves it.
#[derive(Debug, Clone)]
pub struct Deadlines<K> {
    at: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Deadlines<K> {
    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        self.cancel(&key);
        self.order.insert((at, key.clone()));
        self.at.insert(key, at);
    }

    /// Forgets the deadline of `key`.
    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.at.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// Whether `key` has a deadline.
    pub fn contains(&self, key: &K) -> bool {
        self.at.contains_key(key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the earliest entry whose deadline has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn entries_come_due_in_order_and_only_when_due() {
        let t = |ms| Instant::ORIGIN + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        deadlines.set("late", t(30));
        deadlines.set("early", t(10));
        deadlines.set("moved", t(5));
        deadlines.set("moved", t(20));
        deadlines.set("gone", t(1));
        deadlines.cancel(&"gone");
        assert_eq!(deadlines.next(), Some(t(10)));
        assert_eq!(deadlines.pop_due(t(9)), None);
        assert_eq!(deadlines.pop_due(t(20)), Some("early"));
        assert_eq!(deadlines.pop_due(t(20)), Some("moved"));
        assert_eq!(deadlines.pop_due(t(20)), None);
        assert_eq!(deadlines.next(), Some(t(30)));
    }
}
