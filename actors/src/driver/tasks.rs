//! The tasks that serve one life of an entity's machine; they end with it.

use crate::supervise::{Epoch, guarded};
use actix::Recipient;
use tokio::task::JoinSet;

/// A task of the entity has panicked.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct TaskPanicked {
    /// The life it served.
    pub(crate) epoch: Epoch,
    /// What the panic said.
    pub(crate) message: String,
}

/// Tasks that are aborted when this is dropped.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    mailbox: Recipient<TaskPanicked>,
    epoch: Epoch,
}

impl Tasks {
    pub(crate) fn new(mailbox: Recipient<TaskPanicked>, epoch: Epoch) -> Self {
        Self { running: JoinSet::new(), mailbox, epoch }
    }

    /// Runs a task until it ends or the life it serves does.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        while self.running.try_join_next().is_some() {}
        let (mailbox, epoch) = (self.mailbox.clone(), self.epoch);
        self.running.spawn_local(guarded(task, move |message| mailbox.do_send(TaskPanicked { epoch, message })));
    }
}
