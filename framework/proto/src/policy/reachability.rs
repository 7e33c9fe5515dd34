//! How a node stays reachable for its DC.

use ntmobile_wire::message::{Reachability, RegistrationResponse};
use std::time::Duration;

/// What keeps the node reachable once it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// *Keepalive* to the DC at this interval.
    KeepaliveEvery(Duration),
    /// A connection to the Notification Server that the DC named, kept alive at this interval.
    NotificationServer {
        /// How often to send *Keepalive* on it.
        keepalive: Duration,
    },
    /// Nothing: somebody else wakes the node.
    Nothing,
}

/// A way to stay reachable.
pub trait ReachabilityStrategy: Send + Sync {
    /// Its name in scenario files.
    fn name(&self) -> &'static str;

    /// What Registration Request asks for.
    fn wanted(&self) -> Reachability;

    /// What to do with what the DC granted.
    fn maintain(&self, granted: &RegistrationResponse) -> Maintenance;
}
