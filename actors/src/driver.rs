//! One actor for every entity: it owns a sans-IO machine and moves bytes between the machine and its ports.
//!
//! **Invariant:** the driver decides nothing about the protocol. What arrives becomes an
//! [`Input`](ntmobile_proto::machine::Input), what the machine wants becomes a call on a port, in the order in which it
//! wants it; the outcome comes back as an input of the same [`Epoch`](crate::supervise::Epoch), or is dropped when the
//! machine has started anew since.
//!
//! Data packets do not come through here: the receive task hands them to the entity's [`PacketPath`].
//!
//! ## Why the actor's context is actix's own and envelopes carry no span
//! An own context could capture the sender's current span in every envelope. Nothing here has a *current* span: machines
//! are told of time, randomness and trace contexts by arguments; a message from outside carries its context sealed in its
//! body, a command carries one in a field, and an outcome is tied to the span that waits for it by its
//! [`CallId`](ntmobile_proto::machine::CallId). An ambient span would be a second way to say the same, and one that timers
//! and retransmissions get wrong.

mod actor;
mod alarm;
mod door;
mod effects;
mod handle;
mod journal;
mod receive;
mod streams;
mod tasks;
mod tls;

pub use handle::{Gone, Handle, WeakHandle};
pub use receive::{PacketPath, Upward};

use crate::host::Host;
use crate::supervise::End;
use actix::Actor;
use actor::Driver;
use ntmobile_ports::authenticator::Authenticator;
use ntmobile_ports::net::{TcpPort, UdpPort};
use ntmobile_ports::store::Store;
use ntmobile_ports::tls::Tls;
use ntmobile_proto::machine::Machine;
use ntmobile_wire::entropy::Entropy;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// A machine that an actor can drive: every one whose commands can be sent to it.
pub trait Driven: Machine<Command: Send + Unpin, Event: Unpin> + Unpin + 'static {}

impl<M: Machine<Command: Send + Unpin, Event: Unpin> + Unpin + 'static> Driven for M {}

/// Who hears of what a machine tells its user. Called by the actor: it must not wait.
pub trait Subscriber<E> {
    /// The machine tells something.
    fn event(&mut self, event: E);

    /// The machine starts anew after a panic or a restart: answers to earlier commands will not come.
    fn restarting(&mut self) {}
}

impl<E, F: FnMut(E)> Subscriber<E> for F {
    fn event(&mut self, event: E) {
        self(event);
    }
}

/// Makes the machine of each life.
pub type Factory<M> = Box<dyn FnMut(&mut dyn Entropy) -> M>;

/// What makes one entity different from another.
pub struct Blueprint<M: Driven> {
    /// Its name in traces and counts.
    pub name: Arc<str>,
    /// Makes its machine, at the start and after every panic.
    pub machine: Factory<M>,
    /// Its signalling port.
    pub signalling: Arc<dyn UdpPort>,
    /// Where ESP goes; without one it is counted and dropped.
    pub packet_path: Option<Arc<dyn PacketPath>>,
    /// Its TLS port; without one no TLS call of its machine succeeds.
    pub tls: Option<Arc<dyn Tls>>,
    /// The TCP port on which it accepts connections.
    pub tcp: Option<Arc<dyn TcpPort>>,
    /// Who hears of its events.
    pub subscriber: Box<dyn Subscriber<M::Event>>,
    /// What it must not forget.
    pub store: Arc<dyn Store>,
    /// Ways to verify a credential, asked in order until one takes the kind; empty for all but the AS.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
}

/// Starts an entity; returns once its store is read and its machine runs.
///
/// # Panics
/// When called outside an actix system.
pub async fn start<M: Driven>(blueprint: Blueprint<M>, host: Host) -> Result<Handle<M>, End> {
    let (ready, running) = oneshot::channel();
    let (end, ended) = watch::channel(None);
    let address = Driver::new(blueprint, host, ready, end).start();
    let handle = Handle::new(address, ended);
    match running.await {
        Ok(()) => Ok(handle),
        Err(_dropped) => Err(handle.ended().await),
    }
}

#[cfg(test)]
mod tests;
