//! The outside of a running entity: asking it, stopping it, waiting for its end.

use super::Driven;
use super::actor::{Ask, Driver, Restart, Stop, Weigh};
use crate::supervise::End;
use actix::Addr;
use ntmobile_proto::sizes::Sizes;
use std::sync::{Arc, Weak};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};

/// How many commands may wait for one entity.
const COMMAND_CREDITS: usize = 64;

/// The entity is no more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the entity is no more: {0}")]
pub struct Gone(#[source] pub End);

/// Reaches a running entity. Clones reach the same one; when the last is dropped, the entity stops.
pub struct Handle<M: Driven> {
    inner: Arc<Inner<M>>,
}

/// Reaches an entity as long as somebody else keeps it alive.
pub struct WeakHandle<M: Driven> {
    inner: Weak<Inner<M>>,
}

impl<M: Driven> Clone for WeakHandle<M> {
    fn clone(&self) -> Self {
        Self { inner: Weak::clone(&self.inner) }
    }
}

impl<M: Driven> WeakHandle<M> {
    /// The handle, if the entity is still wanted.
    pub fn upgrade(&self) -> Option<Handle<M>> {
        self.inner.upgrade().map(|inner| Handle { inner })
    }
}

struct Inner<M: Driven> {
    address: Addr<Driver<M>>,
    credits: Arc<Semaphore>,
    ended: watch::Receiver<Option<End>>,
}

impl<M: Driven> Handle<M> {
    pub(super) fn new(address: Addr<Driver<M>>, ended: watch::Receiver<Option<End>>) -> Self {
        Self { inner: Arc::new(Inner { address, credits: Arc::new(Semaphore::new(COMMAND_CREDITS)), ended }) }
    }

    /// Asks the machine for something; waits while too many commands wait already. What comes of it is told to the subscriber.
    pub async fn ask(&self, command: M::Command) -> Result<(), Gone> {
        let credits = Arc::clone(&self.inner.credits);
        let credit = credits.acquire_owned().await.expect("the credits are never closed");
        if let Some(end) = self.inner.ended.borrow().clone() {
            return Err(Gone(end));
        }
        self.inner.address.do_send(Ask { command, _credit: credit });
        Ok(())
    }

    /// How much the machine holds, by table; nothing while none runs.
    pub async fn sizes(&self) -> Option<Sizes> {
        self.inner.address.send(Weigh).await.ok().flatten()
    }

    /// A handle that does not keep the entity alive.
    pub fn downgrade(&self) -> WeakHandle<M> {
        WeakHandle { inner: Arc::downgrade(&self.inner) }
    }

    /// Starts the entity anew from its store, as after a crash: everything that is not stored is lost.
    pub fn restart(&self) {
        self.inner.address.do_send(Restart);
    }

    /// Stops the entity: every socket and connection is closed, and the store has finished what was queued.
    pub async fn stop(&self) {
        // An entity that has ended already has done all that.
        let _ = self.inner.address.send(Stop).await;
    }

    /// Waits for the entity's end.
    pub async fn ended(&self) -> End {
        let mut ended = self.inner.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(End::Abandoned),
            Err(_sender_dropped) => End::Abandoned,
        }
    }
}

impl<M: Driven> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M: Driven> Drop for Inner<M> {
    fn drop(&mut self) {
        self.address.do_send(Stop);
    }
}
