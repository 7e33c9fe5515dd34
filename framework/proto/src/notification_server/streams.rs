//! The connections, registered and not yet: bounded, cut into messages, and closed when they fall silent.

use crate::endpoint::{Peer, StreamFraming};
use crate::machine::StreamId;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;

struct Connection {
    peer: SocketAddr,
    framing: StreamFraming,
    /// The node that registered on it.
    node: Option<Peer>,
}

/// Every open connection.
#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<StreamId, Connection>,
    unregistered: usize,
}

/// The other end sent something that is no sequence of messages.
#[derive(Debug)]
pub(super) struct NotFramed;

impl Streams {
    /// How many have not registered yet.
    pub(super) fn unregistered(&self) -> usize {
        self.unregistered
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn open(&mut self, stream: StreamId, peer: SocketAddr) {
        let connection = Connection { peer, framing: StreamFraming::default(), node: None };
        match self.open.insert(stream, connection) {
            Some(Connection { node: None, .. }) => {}
            _ => self.unregistered += 1,
        }
    }

    /// Takes bytes and returns the messages they complete; nothing for a connection that is not open.
    pub(super) fn received(&mut self, stream: StreamId, bytes: &[u8]) -> Result<Vec<Bytes>, NotFramed> {
        match self.open.get_mut(&stream) {
            Some(connection) => connection.framing.push(bytes).map_err(|_| NotFramed),
            None => Ok(Vec::new()),
        }
    }

    /// The other end's address.
    pub(super) fn peer(&self, stream: StreamId) -> Option<SocketAddr> {
        self.open.get(&stream).map(|connection| connection.peer)
    }

    /// Whether a node has registered on this connection.
    pub(super) fn is_of(&self, stream: StreamId, node: &Peer) -> bool {
        self.open.get(&stream).is_some_and(|connection| connection.node.as_ref() == Some(node))
    }

    /// A node has registered; returns the node that the connection belonged to before, if it was another.
    pub(super) fn register(&mut self, stream: StreamId, node: &Peer) -> Option<Peer> {
        let connection = self.open.get_mut(&stream)?;
        let before = connection.node.replace(node.clone());
        if before.is_none() {
            self.unregistered -= 1;
        }
        before.filter(|before| before != node)
    }

    /// Forgets a connection; returns the node that had registered on it.
    pub(super) fn close(&mut self, stream: StreamId) -> Option<Peer> {
        let connection = self.open.remove(&stream)?;
        if connection.node.is_none() {
            self.unregistered -= 1;
        }
        connection.node
    }

    /// Whether it is open.
    pub(super) fn contains(&self, stream: StreamId) -> bool {
        self.open.contains_key(&stream)
    }
}
