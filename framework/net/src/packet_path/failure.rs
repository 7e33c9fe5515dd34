//! What ends a packet path though nobody has told it to end.

use super::Shared;
use crate::tun::Queue;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;

/// Why packets are not carried any more, or not all of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// One of the threads has panicked.
    #[error("a thread that carries packets has panicked: {0}")]
    Panicked(String),
    /// One of the threads cannot wait for packets.
    #[error("a thread that carries packets cannot wait for more: {0}")]
    Deaf(String),
    /// The device is no more.
    #[error("the virtual interface is gone: somebody has removed it")]
    DeviceGone,
}

/// Runs one thread of a path; however it ends, that is told.
pub(crate) fn watched(told: &watch::Sender<Option<Failure>>, serve: impl FnOnce() -> io::Result<()>) {
    let failure = match catch_unwind(AssertUnwindSafe(serve)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => Failure::Deaf(error.to_string()),
        Err(panic) => Failure::Panicked(message_of(&*panic)),
    };
    fail(told, failure);
}

/// Tells what has failed; the first failure is the one that counts.
pub(crate) fn fail(told: &watch::Sender<Option<Failure>>, failure: Failure) {
    told.send_if_modified(|told| {
        let is_first = told.is_none();
        told.get_or_insert(failure);
        is_first
    });
}

impl Shared {
    /// These queues' device has gone, which is a failure unless it has been given up already.
    pub(super) fn device_is_gone(&self, queues: &Option<Arc<Vec<Queue>>>) {
        let now = self.queues.load();
        if now.as_ref().map(Arc::as_ptr) == queues.as_ref().map(Arc::as_ptr) {
            fail(&self.failure, Failure::DeviceGone);
        }
    }

    /// Another device is there, or none is wanted: that the one before has gone is no failure.
    pub(super) fn forget_device(&self) {
        self.failure.send_if_modified(|told| told.take_if(|told| *told == Failure::DeviceGone).is_some());
    }
}

/// Waits for a failure.
pub(crate) async fn failed(mut told: watch::Receiver<Option<Failure>>) -> Failure {
    match told.wait_for(Option::is_some).await.map(|told| told.clone()) {
        Ok(Some(failure)) => failure,
        // Nobody is left who could fail.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no reason was given").to_owned()
}
