//! The one task that touches an entity's store, so that writes become durable in the order in which they were asked for
//! and a restart reads what was written before it.

use super::door::Door;
use ntmobile_ports::store::Store;
use ntmobile_proto::machine::{CallId, Input, Write};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A batch to be written, and whom to tell.
struct Batch {
    call: CallId,
    writes: Vec<Write>,
    door: Door,
}

/// The driver's side of the journal. When it is dropped, its task writes what is queued and ends.
#[derive(Debug)]
pub(crate) struct Journal {
    queue: mpsc::UnboundedSender<Batch>,
}

impl Journal {
    /// A journal, and the task that has to run for it.
    pub(crate) fn new(store: Arc<dyn Store>) -> (Self, impl Future<Output = ()> + use<>) {
        let (queue, mut batches) = mpsc::unbounded_channel::<Batch>();
        let task = async move {
            while let Some(Batch { call, writes, door }) = batches.recv().await {
                let result = store.commit(writes).await;
                door.outcome(Input::Persisted { call, result });
            }
        };
        (Self { queue }, task)
    }

    /// Queues a batch. The queue is bounded by what the machine leaves unacknowledged.
    pub(crate) fn write(&self, call: CallId, writes: Vec<Write>, door: Door) {
        // The task ends only with this sender or by a panic, which the supervision has been told of.
        drop(self.queue.send(Batch { call, writes, door }));
    }
}
