//! The nodes that DCs have announced, with their keys and their connection.

use crate::endpoint::Peer;
use crate::machine::StreamId;
use ntmobile_wire::identifier::KeyId;
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;

/// One application of a node.
#[derive(Debug)]
pub(super) struct Announced {
    /// The DC that announced it: the only one that may wake it.
    pub(super) coordinator: Fqdn,
    /// K_ntmns: the newest, which the node is about to use, last; before it the one that it uses, or used last.
    keys: Vec<KeyId>,
    /// The connection it registered on, and the key it did so with.
    connection: Option<(StreamId, KeyId)>,
}

impl Announced {
    /// Where to send a Notification, and under which key.
    pub(super) fn connection(&self) -> Option<(StreamId, KeyId)> {
        self.connection
    }
}

/// What a change leaves to be cleared away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replaced {
    /// Keys that are good for nothing any more.
    pub(super) keys: Vec<KeyId>,
    /// A connection that has been replaced.
    pub(super) stream: Option<StreamId>,
}

/// Every node announced.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    announced: BTreeMap<Peer, Announced>,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.announced.len()
    }

    pub(super) fn get(&self, node: &Peer) -> Option<&Announced> {
        self.announced.get(node)
    }

    /// A DC announces a node under a key. The key that the node uses now stays good until it has used the new one.
    pub(super) fn announce(&mut self, node: Peer, coordinator: Fqdn, key: KeyId) -> Replaced {
        let announced = self.announced.entry(node).or_insert_with(|| Announced {
            coordinator: coordinator.clone(),
            keys: Vec::new(),
            connection: None,
        });
        announced.coordinator = coordinator;
        let keys = std::mem::take(&mut announced.keys);
        let in_use = announced.connection.map(|(_, key)| key).or(keys.last().copied());
        let (kept, replaced) = keys.into_iter().filter(|id| *id != key).partition(|id| Some(*id) == in_use);
        announced.keys = kept;
        announced.keys.push(key);
        Replaced { keys: replaced, stream: None }
    }

    /// A node registers on a connection with one of its keys; every other key and connection is done with.
    pub(super) fn connect(&mut self, node: &Peer, stream: StreamId, key: KeyId) -> Option<Replaced> {
        let announced = self.announced.get_mut(node)?;
        let replaced = announced.connection.replace((stream, key));
        let keys = std::mem::replace(&mut announced.keys, vec![key]);
        Some(Replaced {
            keys: keys.into_iter().filter(|id| *id != key).collect(),
            stream: replaced.map(|(old, _)| old).filter(|old| *old != stream),
        })
    }

    /// A connection is gone.
    pub(super) fn disconnect(&mut self, node: &Peer, stream: StreamId) {
        if let Some(announced) = self.announced.get_mut(node)
            && announced.connection.is_some_and(|(current, _)| current == stream)
        {
            announced.connection = None;
        }
    }

    /// A key has ended. Returns the connection that stood on it.
    pub(super) fn end_key(&mut self, node: &Peer, key: KeyId) -> Option<StreamId> {
        let announced = self.announced.get_mut(node)?;
        announced.keys.retain(|id| *id != key);
        let stream = announced.connection.take_if(|(_, used)| *used == key).map(|(stream, _)| stream);
        if announced.keys.is_empty() {
            self.announced.remove(node);
        }
        stream
    }
}
