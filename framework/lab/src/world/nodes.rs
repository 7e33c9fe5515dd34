//! The nodes of a world: each joins when the scenario says, offers the services that conversations talk to, and tells what
//! becomes of its tunnels.

use super::credentials::{Credentials, Secret};
use super::internet::{EquipmentError, Internet};
use super::keys::KeyRing;
use super::traffic::{Board, services};
use crate::record::Path;
use crate::scenario::Scenario;
use crate::scenario::plugin::Kind;
use ntmobile_actors::library::{Device, JoinError, Node};
use ntmobile_ports::clock::Clock;
use ntmobile_proto::node::NodeEvent;
use ntmobile_proto::packet::KeyLog;
use ntmobile_proto::sizes::Sizes;
use ntmobile_proto::time::Instant;
use ntmobile_strategies::{Choices, Registry, UnknownStrategy, registry};
use ntmobile_wire::message::{CipherSuite, Credential};
use ntmobile_wire::name::{Account, Fqdn, NameError};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{broadcast, watch};

/// Why a node cannot be started.
#[derive(Debug, Error)]
pub enum NodeError {
    /// It lacks something.
    #[error(transparent)]
    Equipment(#[from] EquipmentError),
    /// A strategy is unknown.
    #[error(transparent)]
    Strategy(#[from] UnknownStrategy),
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// How far a node is.
#[derive(Clone, Debug)]
pub(crate) enum Presence {
    /// It has not joined yet.
    Absent,
    /// It is there.
    Joined(Node),
    /// It could not join, for this reason.
    Refused(Arc<str>),
}

/// All nodes.
pub(super) struct Nodes {
    presence: BTreeMap<String, watch::Receiver<Presence>>,
}

impl Nodes {
    /// Lets every node join at its time; returns at once.
    pub(super) fn start(
        scenario: &Rc<Scenario>,
        internet: &Rc<Internet>,
        credentials: &Rc<Credentials>,
        board: &Board,
    ) -> Result<Self, NodeError> {
        let mut presence = BTreeMap::new();
        for name in scenario.node.keys() {
            let (tell, told) = watch::channel(Presence::Absent);
            presence.insert(name.clone(), told);
            let start = scenario.node[name].start.unwrap_or_default();
            let device = device(scenario, internet, credentials, name)?;
            let account = account(scenario, name)?;
            let credential = credential(credentials, name);
            let (clock, board, name) = (internet.world.clock(), board.clone(), name.clone());
            let key_log = internet.key_log.clone();
            actix::spawn(async move {
                clock.sleep_until(Instant(start.as_nanos())).await;
                match Node::join(&device, &account.to_string(), credential).await {
                    Ok(node) => {
                        services(&node, &board);
                        actix::spawn(watch_tunnels(name, node.events(), board, key_log));
                        tell.send_replace(Presence::Joined(node));
                    }
                    Err(error) => drop(tell.send_replace(Presence::Refused(explain(&error).into()))),
                }
            });
        }
        Ok(Self { presence })
    }

    /// How much each of those that have joined holds.
    pub(super) async fn sizes(&self) -> BTreeMap<String, Sizes> {
        let mut sizes = BTreeMap::new();
        for (name, presence) in &self.presence {
            let presence = presence.borrow().clone();
            if let Presence::Joined(node) = presence {
                sizes.extend(node.sizes().await.map(|weighed| (name.clone(), weighed)));
            }
        }
        sizes
    }

    /// Waits until a node has joined, and returns it, or why it did not.
    pub(super) async fn joined(&self, name: &str) -> Result<Node, Arc<str>> {
        let Some(presence) = self.presence.get(name) else { return Err(format!("there is no node {name}").into()) };
        let mut presence = presence.clone();
        match presence.wait_for(|presence| !matches!(presence, Presence::Absent)).await.map(|presence| presence.clone())
        {
            Ok(Presence::Joined(node)) => Ok(node),
            Ok(Presence::Refused(why)) => Err(why),
            Ok(Presence::Absent) | Err(_) => Err("the node never started".into()),
        }
    }
}

fn explain(error: &JoinError) -> String {
    format!("could not join: {error}")
}

/// The account of a node.
pub(crate) fn account(scenario: &Scenario, node: &str) -> Result<Account, NameError> {
    Account::parse(&format!("{node}@{}", scenario.node[node].domain))
}

/// What a node proves itself with.
pub(super) fn credential(credentials: &Credentials, node: &str) -> Credential {
    let password = credentials.of(node).and_then(Secret::password);
    password.map_or(Credential::Certificate, Credential::from)
}

/// What a node joins on.
pub(super) fn device(
    scenario: &Scenario,
    internet: &Internet,
    credentials: &Credentials,
    name: &str,
) -> Result<Device, NodeError> {
    let full_name = account(scenario, name)?.node();
    let host = internet.host(full_name.as_str())?;
    let identity = match credentials.of(name) {
        Some(Secret::Certificate(identity)) => Some(identity.clone()),
        _ => None,
    };
    let tls = internet.node_tls(full_name.as_str(), &host, identity)?;
    let store = internet.disks.memory_store(full_name.as_str());
    let suite = match scenario.at_node(Kind::Suite, name) {
        Some("chacha20-poly1305") => CipherSuite::ChaCha20Poly1305,
        _ => CipherSuite::Aes128Gcm,
    };
    Ok(Device {
        host,
        tls,
        stores: Arc::new(move |_application| Arc::clone(&store)),
        account_server: Fqdn::parse(&scenario.account_server_name())?,
        account_server_addresses: None,
        strategies: Registry::builtin().choose(&choices(scenario, |kind| scenario.at_node(kind, name)))?,
        suite,
        key_log: internet.key_log.clone().map(|log| log as Arc<dyn KeyLog>),
    })
}

/// The strategies that count somewhere, by the names that the registry knows.
pub(crate) fn choices<'s>(scenario: &'s Scenario, at: impl Fn(Kind) -> Option<&'s str>) -> Choices {
    let mut choices = Choices::default();
    for kind in registry::Kind::ALL {
        let key = kind.name().replace('_', "-");
        if let Some(ours) = Kind::ALL.into_iter().find(|ours| ours.key() == key) {
            choices.set(*kind, at(ours).unwrap_or_else(|| scenario.generally(ours)));
        }
    }
    choices
}

/// Notes which way the node's tunnels go, now and after each change.
pub(crate) async fn watch_tunnels(
    name: String,
    mut events: broadcast::Receiver<NodeEvent>,
    board: Board,
    key_log: Option<Arc<KeyRing>>,
) {
    loop {
        match events.recv().await {
            Ok(NodeEvent::TunnelBuilt { connection, .. }) => {
                if let Some(log) = &key_log {
                    log.port(connection.remote.port());
                }
                let path = connection.relay.map_or(Path::Direct, |relay| Path::Relayed(relay.to_string()));
                board.path(&name, connection.peer.name.host(), &path);
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
