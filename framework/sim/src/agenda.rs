//! The agenda of a simulation: everything that is going to happen, in the order in which it happens.
//!
//! **Invariant:** events come out by time, and events of the same time in the order in which they were put in. Nothing
//! else decides the order, so the same calls always give the same run.

use ntmobile_proto::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Names one scheduled event, so that it can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    sequence: u64,
    slot: u32,
}

/// What the heap sorts: small, so that sifting moves little; the event itself stays in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    sequence: u64,
    slot: u32,
}

#[derive(Clone, Debug)]
struct Slot<E> {
    sequence: u64,
    event: Option<E>,
}

/// A heap of events ordered by (time, order of insertion).
#[derive(Clone, Debug)]
pub struct Agenda<E> {
    heap: BinaryHeap<Reverse<Entry>>,
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }
}

impl<E> Agenda<E> {
    /// An empty agenda.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an event in.
    pub fn schedule(&mut self, at: Instant, event: E) -> EventKey {
        let sequence = self.sequence;
        self.sequence += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Slot { sequence, event: Some(event) };
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 events wait at once");
                self.slots.push(Slot { sequence, event: Some(event) });
                slot
            }
        };
        self.heap.push(Reverse(Entry { at, sequence, slot }));
        EventKey { sequence, slot }
    }

    /// Takes an event out before its time; `None` when it has already happened or was cancelled.
    pub fn cancel(&mut self, key: EventKey) -> Option<E> {
        let event = self.take(key.slot, key.sequence)?;
        self.drop_stale();
        Some(event)
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next event out.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        let Reverse(entry) = self.heap.pop()?;
        let event = self.take(entry.slot, entry.sequence).expect("the first entry of the heap is never stale");
        self.drop_stale();
        Some((entry.at, event))
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&mut self, slot: u32, sequence: u64) -> Option<E> {
        let place = self.slots.get_mut(slot as usize)?;
        if place.sequence != sequence {
            return None;
        }
        let event = place.event.take()?;
        self.free.push(slot);
        Some(event)
    }

    /// Keeps the first entry live, and the heap no more than twice as large as what waits in it.
    fn drop_stale(&mut self) {
        if self.heap.len() == self.len() {
            return;
        }
        let slots = &self.slots;
        let is_live = |entry: &Entry| {
            let slot = &slots[entry.slot as usize];
            slot.sequence == entry.sequence && slot.event.is_some()
        };
        while self.heap.peek().is_some_and(|Reverse(entry)| !is_live(entry)) {
            self.heap.pop();
        }
        if self.heap.len() > 64 && self.heap.len() > 2 * (self.slots.len() - self.free.len()) {
            self.heap.retain(|Reverse(entry)| is_live(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_times_keep_their_order() {
        let mut agenda = Agenda::new();
        for event in 0..100 {
            agenda.schedule(Instant(7), event);
        }
        agenda.schedule(Instant(3), -1);
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, (-1..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_cancelled_event_is_gone_and_its_key_names_nothing_else() {
        let mut agenda = Agenda::new();
        let first = agenda.schedule(Instant(1), "first");
        agenda.schedule(Instant(2), "second");
        assert_eq!(agenda.cancel(first), Some("first"));
        let third = agenda.schedule(Instant(1), "third");
        assert_eq!(agenda.cancel(first), None);
        assert_eq!(agenda.next_at(), Some(Instant(1)));
        assert_eq!(agenda.pop(), Some((Instant(1), "third")));
        assert_eq!(agenda.cancel(third), None);
        assert_eq!(agenda.pop(), Some((Instant(2), "second")));
        assert!(agenda.is_empty());
    }

    #[test]
    fn cancelling_for_ever_does_not_grow() {
        let mut agenda = Agenda::new();
        agenda.schedule(Instant(0), 0);
        for event in 0..10_000 {
            let key = agenda.schedule(Instant(u64::MAX), event);
            agenda.cancel(key);
        }
        assert!(agenda.heap.len() < 200, "{} entries for one event", agenda.heap.len());
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(calls in proptest::collection::vec((0u64..50, any::<bool>()), 0..200)) {
            let mut agenda = Agenda::new();
            let mut list: Vec<(Instant, usize, EventKey)> = Vec::new();
            for (number, (time, cancels)) in calls.into_iter().enumerate() {
                if cancels && !list.is_empty() {
                    let (_, event, key) = list.remove(time as usize % list.len());
                    prop_assert_eq!(agenda.cancel(key), Some(event));
                } else {
                    list.push((Instant(time), number, agenda.schedule(Instant(time), number)));
                }
                prop_assert_eq!(agenda.len(), list.len());
            }
            list.sort();
            for (at, event, _) in list {
                prop_assert_eq!(agenda.next_at(), Some(at));
                prop_assert_eq!(agenda.pop(), Some((at, event)));
            }
            prop_assert_eq!(agenda.pop(), None);
        }
    }
}
