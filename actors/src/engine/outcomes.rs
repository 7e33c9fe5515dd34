//! What the node's machine tells, brought to whoever waits for it.

use super::{Carrier, Errands};
use crate::driver::Subscriber;
use ntmobile_proto::node::{ConnectError, Connection, JoinError, NodeEvent};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};

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

/// Takes the machine's events: the carrier hears of tunnels before anybody who waits for one.
pub(crate) struct Dispatcher {
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) carrier: Rc<dyn Carrier>,
    pub(crate) errands: Errands,
}

impl Subscriber<NodeEvent> for Dispatcher {
    fn event(&mut self, event: NodeEvent) {
        // Nobody listens, usually.
        let _ = self.outcomes.events.send(event.clone());
        match event {
            NodeEvent::Joined { node, addresses } => {
                self.carrier.joined(addresses);
                self.outcomes.joined(Ok(Joined { name: node, addresses }));
            }
            NodeEvent::JoinFailed(error) => {
                if !self.outcomes.joined(Err(error)) {
                    // The application joined long ago and does not know of the restart: go on trying for it.
                    self.errands.join(PAUSE);
                }
            }
            NodeEvent::Connected { waiter, connection } => {
                self.carrier.tunnel_stands(&connection.peer, connection.addresses);
                self.outcomes.connected(waiter, Ok(connection));
            }
            NodeEvent::ConnectFailed { waiter, error } => self.outcomes.connected(waiter, Err(error)),
            NodeEvent::TunnelBuilt { connection, .. } => {
                self.carrier.tunnel_stands(&connection.peer, connection.addresses);
            }
            NodeEvent::Registered { .. }
            | NodeEvent::AddressesChanged { .. }
            | NodeEvent::RegistrationLost(_)
            | NodeEvent::TunnelFailed { .. }
            | NodeEvent::RoundTrip { .. }
            | NodeEvent::TunnelClosed { .. } => {}
        }
    }

    fn restarting(&mut self) {
        self.outcomes.forget();
        self.errands.join(Duration::ZERO);
    }
}
