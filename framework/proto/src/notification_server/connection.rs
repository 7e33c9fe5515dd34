//! The nodes' TCP connections: registered by a message under K_ntmns, kept by what comes on them, closed in silence.

use super::nodes::Replaced;
use super::streams::NotFramed;
use super::{Cx, Due, NotificationServer, NotificationServerEvent, Waking};
use crate::endpoint::{Arrival, Path, Ticket};
use crate::machine::{Effect, StreamId};
use crate::time::Instant;
use bytes::Bytes;
use ntmobile_wire::message::{NotificationRegistration, NtmAck, RefusalCode};
use std::net::SocketAddr;

impl NotificationServer {
    pub(super) fn stream_opened(&mut self, cx: &mut Cx<'_>, stream: StreamId, peer: SocketAddr) {
        if self.streams.unregistered() >= self.config.unregistered_streams {
            cx.count("notification.stream_refused");
            return cx.push(Effect::StreamClose { stream });
        }
        self.streams.open(stream, peer);
        self.deadlines.set(Due::Silence(stream), cx.now + self.config.registration_patience);
    }

    pub(super) fn stream_received(&mut self, cx: &mut Cx<'_>, stream: StreamId, bytes: &Bytes) {
        let messages = match self.streams.received(stream, bytes) {
            Ok(messages) => messages,
            Err(NotFramed) => {
                cx.count("notification.stream_malformed");
                return self.close(cx, stream);
            }
        };
        for message in messages {
            let Some(arrival) = self.endpoint.receive(cx, Path::Stream(stream), &message) else { continue };
            let sender = match &arrival {
                Arrival::Request { ticket, .. } => ticket.sender().clone(),
                Arrival::Answer { tag, .. } => tag.node.clone(),
            };
            if self.streams.is_of(stream, &sender) {
                self.heard(cx.now, stream);
            }
            self.arrived(cx, arrival);
        }
    }

    /// A registered node has spoken on its connection.
    pub(super) fn heard(&mut self, now: Instant, stream: StreamId) {
        self.deadlines.set(Due::Silence(stream), now + self.config.keepalive * 2);
    }

    pub(super) fn close(&mut self, cx: &mut Cx<'_>, stream: StreamId) {
        if self.streams.contains(stream) {
            cx.push(Effect::StreamClose { stream });
            self.closed(cx, stream);
        }
    }

    /// A connection is gone: whoever is being woken on it does not wake.
    pub(super) fn closed(&mut self, cx: &mut Cx<'_>, stream: StreamId) {
        self.deadlines.cancel(&Due::Silence(stream));
        if let Some(node) = self.streams.close(stream) {
            cx.count("notification.disconnected");
            cx.event(NotificationServerEvent::Disconnected { node: node.clone() });
            self.nodes.disconnect(&node, stream);
        }
        let waiting: Vec<_> =
            self.endpoint.outstanding().filter(|(_, waking)| waking.stream == stream).map(|(id, _)| id).collect();
        for transaction in waiting {
            if let Some(Waking { ticket, .. }) = self.endpoint.complete(cx, transaction) {
                self.refuse(cx, &ticket, RefusalCode::PeerAsleep, "the node's connection broke");
            }
        }
    }

    /// *Notification Registration*: the connection is the node's from now on.
    pub(super) fn registered(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: &Ticket,
        stream: StreamId,
        said: &NotificationRegistration,
    ) {
        let node = ticket.sender().clone();
        if said.node != node.name || said.application != node.application {
            return self.refuse(cx, ticket, RefusalCode::NotAllowed, "the key is another node's");
        }
        let Some(Replaced { keys, stream: old }) = self.nodes.connect(&node, stream, ticket.key) else {
            return self.refuse(
                cx,
                ticket,
                RefusalCode::PeerNotRegistered,
                "no Direction Coordinator announced the node",
            );
        };
        if let Some(before) = self.streams.register(stream, &node) {
            self.nodes.disconnect(&before, stream);
        }
        cx.count("notification.registered");
        cx.event(NotificationServerEvent::Connected { node: node.clone() });
        self.heard(cx.now, stream);
        self.endpoint.answer(cx, ticket, NtmAck { observed: self.streams.peer(stream) });
        if let Some(old) = old {
            self.close(cx, old);
        }
        let deletions = self.drop_keys(&node, keys);
        self.delete(cx, deletions);
    }
}
