//! Sleeping: a future that is an entry in the agenda for as long as it lives, and no longer.

use crate::world::Shared;
use ntmobile_proto::time::Instant;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Completes when the world's time has reached `at`. Dropping it takes its entry out of the agenda, so a sleep that was
/// given up does not move time.
#[derive(Debug)]
pub(crate) struct Sleep {
    shared: Arc<Shared>,
    at: Instant,
    slot: Option<Slot>,
}

impl Sleep {
    pub(crate) fn new(shared: Arc<Shared>, at: Instant) -> Self {
        Self { shared, at, slot: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.shared.now() >= self.at {
            return Poll::Ready(());
        }
        let mut state = self.shared.lock();
        let slot = match self.slot {
            Some(slot) => {
                state.timers.rewake(slot, context.waker());
                slot
            }
            None => state.add_timer(self.at, context.waker().clone()),
        };
        drop(state);
        self.slot = Some(slot);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            // The waker is dropped outside the lock: it may own the last reference to a task that holds another sleep.
            let waker = self.shared.lock().remove_timer(slot);
            drop(waker);
        }
    }
}

/// A place in [`Timers`], owned by one sleep until that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

#[derive(Debug)]
struct Entry<K> {
    waker: Option<Waker>,
    /// The entry in the agenda; `None` once it has happened.
    ticket: Option<K>,
}

/// Whom to wake for which sleep. `K` names an entry in the agenda.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    entries: Vec<Option<Entry<K>>>,
    free: Vec<usize>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<K> Timers<K> {
    /// Reserves a place for a sleep; `schedule` enters it into the agenda.
    pub(crate) fn insert(&mut self, waker: Waker, schedule: impl FnOnce(Slot) -> K) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let slot = Slot(index);
        self.entries[index] = Some(Entry { waker: Some(waker), ticket: Some(schedule(slot)) });
        slot
    }

    /// Has another task woken, if the sleep has moved between tasks.
    fn rewake(&mut self, slot: Slot, waker: &Waker) {
        if let Some(Entry { waker: Some(known), .. }) = &mut self.entries[slot.0]
            && !known.will_wake(waker)
        {
            *known = waker.clone();
        }
    }

    /// The time has come: whom to wake.
    pub(crate) fn fire(&mut self, slot: Slot) -> Option<Waker> {
        let entry = self.entries[slot.0].as_mut()?;
        entry.ticket = None;
        entry.waker.take()
    }

    /// The sleep is gone: its entry in the agenda, if that has not happened, and its waker.
    pub(crate) fn remove(&mut self, slot: Slot) -> (Option<K>, Option<Waker>) {
        self.free.push(slot.0);
        self.entries[slot.0].take().map_or((None, None), |entry| (entry.ticket, entry.waker))
    }
}
