//! What the node's machine tells, brought to whoever waits for it.

use super::path::NodePath;
use crate::driver::Subscriber;
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::node::{ConnectError, Connection, JoinError, NodeEvent};
use ntmobile_stack::Stack;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// So many events are kept for a listener that does not listen; then it loses the oldest.
const EVENTS: usize = 256;

/// How long a failed attempt to join again after a restart is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// A node that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) name: Fqdn,
    pub(crate) addresses: VirtualAddresses,
}

#[derive(Default)]
struct Waiters {
    join: Option<oneshot::Sender<Result<Joined, JoinError>>>,
    connections: BTreeMap<u64, oneshot::Sender<Result<Connection, ConnectError>>>,
    next: u64,
}

/// Who waits for what.
pub(crate) struct Outcomes {
    waiters: Mutex<Waiters>,
    events: broadcast::Sender<NodeEvent>,
}

impl Outcomes {
    pub(crate) fn new() -> Self {
        Self { waiters: Mutex::default(), events: broadcast::Sender::new(EVENTS) }
    }

    /// Waits for the outcome of *Join*.
    pub(crate) fn join(&self) -> oneshot::Receiver<Result<Joined, JoinError>> {
        let (sender, receiver) = oneshot::channel();
        self.lock().join = Some(sender);
        receiver
    }

    /// Waits for the outcome of *Connect* with this number.
    pub(crate) fn connection(&self) -> (u64, oneshot::Receiver<Result<Connection, ConnectError>>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.lock();
        let waiter = waiters.next;
        waiters.next += 1;
        waiters.connections.insert(waiter, sender);
        (waiter, receiver)
    }

    /// Listens to everything from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<NodeEvent> {
        self.events.subscribe()
    }

    /// Tells whoever waits for *Join*; `false` if nobody does.
    fn joined(&self, outcome: Result<Joined, JoinError>) -> bool {
        self.lock().join.take().is_some_and(|waiter| waiter.send(outcome).is_ok())
    }

    fn connected(&self, waiter: u64, outcome: Result<Connection, ConnectError>) {
        if let Some(waiter) = self.lock().connections.remove(&waiter) {
            let _ = waiter.send(outcome);
        }
    }

    /// The answers to everything asked so far will not come.
    fn forget(&self) {
        let mut waiters = self.lock();
        waiters.join = None;
        waiters.connections.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the stack of a node that has joined.
pub(crate) type StackMaker = Box<dyn FnMut(VirtualAddresses) -> Stack>;

/// What is to be asked of the machine without anybody waiting for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// The machine has started anew: join again, after this pause.
    Join(Duration),
    /// Packets wait for a tunnel to this peer.
    Build(Peer),
}

/// Takes the machine's events: the packet path hears of tunnels before anybody who waits for one.
pub(crate) struct Dispatcher {
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) path: Arc<NodePath>,
    pub(crate) make_stack: StackMaker,
    pub(crate) errands: mpsc::Sender<Errand>,
}

impl Subscriber<NodeEvent> for Dispatcher {
    fn event(&mut self, event: NodeEvent) {
        // Nobody listens, usually.
        let _ = self.outcomes.events.send(event.clone());
        match event {
            NodeEvent::Joined { node, addresses } => {
                match self.path.stack() {
                    Some(stack) => stack.set_addresses(vec![addresses.v4.into(), addresses.v6.into()]),
                    None => self.path.use_stack((self.make_stack)(addresses)),
                }
                self.outcomes.joined(Ok(Joined { name: node, addresses }));
            }
            NodeEvent::JoinFailed(error) => {
                if !self.outcomes.joined(Err(error)) {
                    // The application joined long ago and does not know of the restart: go on trying for it.
                    let _ = self.errands.try_send(Errand::Join(PAUSE));
                }
            }
            NodeEvent::Connected { waiter, connection } => {
                self.path.tunnel_stands(&connection.peer, connection.addresses);
                self.outcomes.connected(waiter, Ok(connection));
            }
            NodeEvent::ConnectFailed { waiter, error } => self.outcomes.connected(waiter, Err(error)),
            NodeEvent::TunnelBuilt { connection, .. } => {
                self.path.tunnel_stands(&connection.peer, connection.addresses);
            }
            NodeEvent::Registered { .. } | NodeEvent::RegistrationLost(_) | NodeEvent::TunnelClosed { .. } => {}
        }
    }

    fn restarting(&mut self) {
        self.outcomes.forget();
        // Where the queue is full an errand to join is in it already, or the machine is too busy to have panicked.
        let _ = self.errands.try_send(Errand::Join(Duration::ZERO));
    }
}
