//! Who waits for what: labels that a deadlock report names.

use super::Shared;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// While it lives, its label is in the list of those who wait.
#[derive(Debug)]
pub struct Waiting {
    shared: Arc<Shared>,
    number: u64,
}

impl Waiting {
    pub(super) fn begin(shared: Arc<Shared>, label: String) -> Self {
        let number = shared.lock().waiting.add(label);
        Self { shared, number }
    }

    /// Waits for `future` under the label.
    pub async fn during<T>(self, future: impl Future<Output = T>) -> T {
        future.await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.lock().waiting.labels.remove(&self.number);
    }
}

/// The labels, in the order in which the waits began.
#[derive(Debug, Default)]
pub(crate) struct WaitingList {
    next: u64,
    labels: BTreeMap<u64, String>,
}

impl WaitingList {
    fn add(&mut self, label: String) -> u64 {
        self.next += 1;
        self.labels.insert(self.next, label);
        self.next
    }

    pub(crate) fn labels(&self) -> Vec<String> {
        self.labels.values().cloned().collect()
    }
}
