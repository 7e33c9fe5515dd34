//! What entities tell whoever runs them, all kinds in one type: for logs, for counters, for programs that watch.
//!
//! One listener hears of everything on its host: give it to [`Host::with_listener`](crate::host::Host::with_listener) before
//! entities start. Events hold names, addresses and reasons, never keys or credentials.

use crate::driver::Subscriber;
use ntmobile_proto::account_server::AccountServerEvent;
use ntmobile_proto::direction_coordinator::DirectionCoordinatorEvent;
use ntmobile_proto::node::NodeEvent;
use ntmobile_proto::notification_server::NotificationServerEvent;
use ntmobile_proto::relay_server::RelayServerEvent;
use std::fmt;
use std::sync::Arc;

/// Hears of every event of every entity on a host, by the entity's name. Called as things happen: it must not wait.
pub type Listener = Arc<dyn Fn(&str, &EntityEvent) + Send + Sync>;

/// An event of any entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityEvent {
    /// A node's.
    Node(NodeEvent),
    /// An AS's.
    AccountServer(AccountServerEvent),
    /// A DC's.
    DirectionCoordinator(DirectionCoordinatorEvent),
    /// An RS's.
    RelayServer(RelayServerEvent),
    /// An NS's.
    NotificationServer(NotificationServerEvent),
    /// It panicked or was told to, and starts anew.
    Restarting,
}

impl EntityEvent {
    /// Whether somebody did not get what they wanted: what a log shows as a warning.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Node(event) => matches!(
                event,
                NodeEvent::JoinFailed(_)
                    | NodeEvent::RegistrationLost(_)
                    | NodeEvent::AddressesChanged { .. }
                    | NodeEvent::ConnectFailed { .. }
            ),
            Self::AccountServer(event) => matches!(event, AccountServerEvent::Refused { .. }),
            Self::DirectionCoordinator(event) => matches!(
                event,
                DirectionCoordinatorEvent::DirectionFailed { .. } | DirectionCoordinatorEvent::StoreFailed(_)
            ),
            Self::RelayServer(event) => {
                matches!(event, RelayServerEvent::Refused { .. } | RelayServerEvent::StoreFailed(_))
            }
            Self::NotificationServer(event) => {
                matches!(event, NotificationServerEvent::NotWoken { .. } | NotificationServerEvent::StoreFailed(_))
            }
            Self::Restarting => true,
        }
    }

    /// Whether it comes again and again while nothing changes, once for every node: too much for most logs.
    pub fn is_routine(&self) -> bool {
        match self {
            Self::Node(event) => matches!(
                event,
                NodeEvent::Registered { .. }
                    | NodeEvent::Connected { .. }
                    | NodeEvent::TunnelFailed { .. }
                    | NodeEvent::RoundTrip { .. }
            ),
            Self::DirectionCoordinator(event) => matches!(event, DirectionCoordinatorEvent::Registered { .. }),
            Self::NotificationServer(event) => matches!(
                event,
                NotificationServerEvent::Connected { .. }
                    | NotificationServerEvent::Disconnected { .. }
                    | NotificationServerEvent::Woken { .. }
            ),
            Self::AccountServer(_) | Self::RelayServer(_) | Self::Restarting => false,
        }
    }
}

impl fmt::Display for EntityEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(event) => event.fmt(f),
            Self::AccountServer(event) => event.fmt(f),
            Self::DirectionCoordinator(event) => event.fmt(f),
            Self::RelayServer(event) => event.fmt(f),
            Self::NotificationServer(event) => event.fmt(f),
            Self::Restarting => f.write_str("starts anew"),
        }
    }
}

/// An entity's events as events of any entity.
macro_rules! each {
    ($($variant:ident($event:ty)),+ $(,)?) => {
        $(impl From<$event> for EntityEvent {
            fn from(event: $event) -> Self {
                Self::$variant(event)
            }
        })+
    };
}

each! {
    Node(NodeEvent),
    AccountServer(AccountServerEvent),
    DirectionCoordinator(DirectionCoordinatorEvent),
    RelayServer(RelayServerEvent),
    NotificationServer(NotificationServerEvent),
}

/// Tells the host's listener, then whoever subscribed to this one entity.
pub(crate) struct Announcer<E> {
    pub(crate) entity: Arc<str>,
    pub(crate) listener: Option<Listener>,
    pub(crate) then: Option<Box<dyn Subscriber<E>>>,
}

impl<E: Clone + Into<EntityEvent>> Subscriber<E> for Announcer<E> {
    fn event(&mut self, event: E) {
        if let Some(listener) = &self.listener {
            listener(&self.entity, &event.clone().into());
        }
        if let Some(then) = &mut self.then {
            then.event(event);
        }
    }

    fn restarting(&mut self) {
        if let Some(listener) = &self.listener {
            listener(&self.entity, &EntityEvent::Restarting);
        }
        if let Some(then) = &mut self.then {
            then.restarting();
        }
    }
}
