//! The Notification Server: holds a TCP connection to each node that asked for one, and wakes it for its DC.
//!
//! **Invariant:** a connection belongs to a node only after that node has spoken on it under K_ntmns, and a node is woken
//! only for the DC that announced it. A Notification says nothing but that the node should pull.
//!
//! What a restart must not lose is stored before it is acknowledged: K_dcns and K_ntmns. Connections are not: nodes make them
//! anew, and their sessions are challenged.

mod announcement;
mod config;
mod connection;
mod event;
mod nodes;
mod streams;
#[cfg(test)]
mod tests;

pub use config::NotificationServerConfig;
pub use event::NotificationServerEvent;

use crate::calls::Calls;
use crate::deadlines::Deadlines;
use crate::endpoint::{Arrival, Endpoint, Path, Peer, Request, Retry, Ticket};
use crate::machine::{CallId, Context, Effect, Input, Machine, Record, StoreFailure, StreamId, Write};
use crate::shared_keys::{SharedKeyKind, SharedKeys, Sharing};
use crate::sizes::Sizes;
use crate::stored_message::{StoredMessage, deletion};
use crate::time::Instant;
use crate::tls::{self, TlsTicket};
use nodes::Nodes;
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::identifier::{KeyId, Session};
use ntmobile_wire::message::{
    Message, Notification, NotificationDirection, NtmAck, Refusal, RefusalCode, SharedKeyPurpose,
};
use ntmobile_wire::subkey::{KeyKind, Role};
use std::convert::Infallible;
use std::time::Duration;
use streams::Streams;

type Cx<'a> = Context<'a, NotificationServerEvent>;

/// Records of K_dcns.
const SHARED_KEYS: &str = "ns.shared_key";
/// Records of K_ntmns.
const NODES: &str = "ns.node";

/// What an answer is for: the DC's Notification that waits for the node's acknowledgement.
struct Waking {
    ticket: Ticket,
    node: Peer,
    stream: StreamId,
}

/// What the store is to confirm.
enum Storing {
    SharedKey(Sharing),
    Node {
        ticket: Ticket,
        direction: NotificationDirection,
    },
    /// A deletion: if it is lost, the record expires by itself.
    Deletion,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A connection has not registered, or has been silent for too long.
    Silence(StreamId),
    /// K_ntmns ends.
    Key(KeyId, Peer),
}

/// The Notification Server's machine. It takes no commands.
pub struct NotificationServer {
    config: NotificationServerConfig,
    endpoint: Endpoint<Waking>,
    shared: SharedKeys,
    nodes: Nodes,
    streams: Streams,
    storing: Calls<Storing>,
    deadlines: Deadlines<Due>,
}

impl NotificationServer {
    /// An NS that starts: its session and its transaction numbers are drawn anew.
    pub fn new(config: NotificationServerConfig, entropy: &mut dyn Entropy) -> Self {
        let what = SharedKeyKind {
            server: config.name.clone(),
            purpose: SharedKeyPurpose::DcNs,
            kind: KeyKind::Dcns,
            role: Role::Ns,
            table: SHARED_KEYS,
        };
        Self {
            endpoint: Endpoint::new(Session::draw(entropy), u64::from_be_bytes(draw(entropy))),
            shared: SharedKeys::new(what, config.coordinators.clone()),
            nodes: Nodes::default(),
            streams: Streams::default(),
            storing: Calls::default(),
            deadlines: Deadlines::default(),
            config,
        }
    }

    fn restore(&mut self, cx: &mut Cx<'_>, records: &[Record]) {
        let mut deletions = Vec::new();
        for record in records {
            match record.table.as_str() {
                SHARED_KEYS => deletions.extend(self.shared.restore(cx, &mut self.endpoint, record)),
                NODES => {
                    let stored = StoredMessage::read(&record.value);
                    let ends = stored.as_ref().and_then(|stored| stored.ends_at(cx.now, cx.wall));
                    match (stored.map(|stored| (stored.teller, stored.message)), ends) {
                        (Some((coordinator, Message::NotificationDirection(direction))), Some(ends)) => {
                            deletions.extend(self.announce(coordinator, direction, None, ends));
                        }
                        _ => deletions.push(Write { table: NODES, key: record.key.clone(), value: None }),
                    }
                }
                _ => {}
            }
        }
        self.delete(cx, deletions);
    }

    fn tls_request(&mut self, cx: &mut Cx<'_>, ticket: TlsTicket, message: Message) {
        let room = self.check_load();
        if let Some((sharing, write)) = self.shared.asked(cx, &self.endpoint, (ticket, message), room) {
            let call = self.storing.open(Storing::SharedKey(sharing));
            cx.push(Effect::Persist { call, writes: vec![write] });
        }
    }

    fn check_load(&self) -> Result<(), (RefusalCode, &'static str)> {
        if self.storing.len() + self.endpoint.outstanding().count() < self.config.requests {
            Ok(())
        } else {
            Err((RefusalCode::Overloaded, "too many requests wait here"))
        }
    }

    fn stored(&mut self, cx: &mut Cx<'_>, call: CallId, result: Result<(), StoreFailure>) {
        if let Err(failure) = &result {
            cx.event(NotificationServerEvent::StoreFailed(failure.clone()));
        }
        match (self.storing.close(call), result) {
            (Some(Storing::SharedKey(sharing)), result) => {
                if let Some((coordinator, deletions)) = self.shared.stored(cx, &mut self.endpoint, sharing, result) {
                    cx.count("notification.key_shared");
                    cx.event(NotificationServerEvent::KeyShared { coordinator });
                    self.delete(cx, deletions);
                }
            }
            (Some(Storing::Node { ticket, direction }), Ok(())) => {
                if let Err((code, detail)) = self.check_direction(&ticket, &direction) {
                    return self.refuse(cx, &ticket, code, detail);
                }
                cx.count("notification.directed");
                let ends = cx.now + Duration::from_secs(direction.lifetime_s.into());
                let node_session = direction.node_session;
                let coordinator = ticket.sender().name.clone();
                let node = Peer { name: direction.node.clone(), application: direction.application };
                cx.event(NotificationServerEvent::Announced { coordinator: coordinator.clone(), node });
                let deletions = self.announce(coordinator, direction, Some(node_session), ends);
                self.endpoint.answer(cx, &ticket, NtmAck::default());
                self.delete(cx, deletions);
            }
            (Some(Storing::Node { ticket, .. }), Err(failure)) => {
                self.refuse(cx, &ticket, RefusalCode::StorageFailed, &detail_of(&failure));
            }
            (Some(Storing::Deletion) | None, _) => {}
        }
    }

    fn delete(&mut self, cx: &mut Cx<'_>, writes: Vec<Write>) {
        if !writes.is_empty() {
            let call = self.storing.open(Storing::Deletion);
            cx.push(Effect::Persist { call, writes });
        }
    }

    fn arrived(&mut self, cx: &mut Cx<'_>, arrival: Arrival<Waking>) {
        match arrival {
            Arrival::Request { ticket, message } => self.requested(cx, &ticket, message),
            Arrival::Answer { tag, message, .. } => match message {
                Message::NtmAck(_) => {
                    cx.count("notification.woken");
                    cx.event(NotificationServerEvent::Woken { node: tag.node });
                    self.endpoint.answer(cx, &tag.ticket, NtmAck::default());
                }
                _ => self.refuse(cx, &tag.ticket, RefusalCode::PeerAsleep, "the node refused to wake"),
            },
        }
    }

    fn requested(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, message: Message) {
        match (ticket.role, ticket.path, message) {
            (Role::Dc, _, Message::NotificationDirection(direction)) => self.directed(cx, ticket, direction),
            (Role::Dc, _, Message::Notification(notification)) => self.notified(cx, ticket, &notification),
            (Role::Node, Path::Stream(stream), Message::NotificationRegistration(registration)) => {
                self.registered(cx, ticket, stream, &registration);
            }
            (Role::Node, Path::Stream(stream), Message::Keepalive(_)) => {
                if self.streams.is_of(stream, ticket.sender()) {
                    cx.count("notification.kept_alive");
                    self.endpoint.answer(cx, ticket, NtmAck { observed: self.streams.peer(stream) });
                } else {
                    self.refuse(cx, ticket, RefusalCode::NotAllowed, "register on this connection first");
                }
            }
            (Role::Node, Path::Datagram(_), _) => {
                self.refuse(cx, ticket, RefusalCode::NotAllowed, "nodes speak to a Notification Server over TCP");
            }
            _ => self.refuse(cx, ticket, RefusalCode::Unsupported, "a Notification Server does not do this"),
        }
    }

    /// *Notification*: wakes the node; the DC is answered when the node has answered.
    fn notified(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, notification: &Notification) {
        let node = Peer { name: notification.node.clone(), application: notification.application };
        let known = self.nodes.get(&node).filter(|announced| announced.coordinator == ticket.sender().name);
        let Some(announced) = known else {
            return self.refuse(cx, ticket, RefusalCode::PeerNotRegistered, "the node was not announced by its sender");
        };
        let Some((stream, key)) = announced.connection() else {
            return self.refuse(cx, ticket, RefusalCode::PeerAsleep, "the node is not connected");
        };
        if let Err((code, detail)) = self.check_load() {
            return self.refuse(cx, ticket, code, detail);
        }
        let retry = Retry::once(self.config.wake_patience);
        let wake = Request::to(key, Path::Stream(stream), notification.clone(), ticket.trace);
        self.endpoint.request(cx, Request { retry, ..wake }, Waking { ticket: ticket.clone(), node, stream });
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, code: RefusalCode, detail: &str) {
        cx.count("notification.refused");
        self.endpoint.answer(cx, ticket, Refusal { code, detail: detail.to_owned(), negotiation: None });
    }
}

impl Machine for NotificationServer {
    type Command = Infallible;
    type Event = NotificationServerEvent;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Started { records, .. } => self.restore(cx, &records),
            Input::Datagram { from, bytes } => {
                if let Some(arrival) = self.endpoint.receive(cx, Path::Datagram(from), &bytes) {
                    self.arrived(cx, arrival);
                }
            }
            Input::TlsRequest { request, from, certificate, frame } => {
                let session = self.endpoint.session();
                if let Some((ticket, message)) = tls::accept(cx, session, (request, from), certificate, &frame) {
                    self.tls_request(cx, ticket, message);
                }
            }
            Input::Persisted { call, result } => self.stored(cx, call, result),
            Input::StreamOpened { stream, peer } => self.stream_opened(cx, stream, peer),
            Input::StreamReceived { stream, bytes } => self.stream_received(cx, stream, &bytes),
            Input::StreamClosed { stream } => self.closed(cx, stream),
            Input::AddressesChanged { .. }
            | Input::TunnelControl { .. }
            | Input::PacketPath(_)
            | Input::TlsAnswered { .. }
            | Input::Resolved { .. }
            | Input::Verified { .. } => {}
        }
    }

    fn command(&mut self, _cx: &mut Cx<'_>, command: Infallible) {
        match command {}
    }

    fn deadline(&self) -> Option<Instant> {
        [self.endpoint.deadline(), self.shared.deadline(), self.deadlines.next()].into_iter().flatten().min()
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        for timed_out in self.endpoint.expire(cx) {
            cx.count("notification.not_woken");
            cx.event(NotificationServerEvent::NotWoken { node: timed_out.tag.node });
            self.refuse(cx, &timed_out.tag.ticket, RefusalCode::PeerAsleep, "the node did not answer");
        }
        let mut deletions = self.shared.expire(cx.now);
        while let Some(due) = self.deadlines.pop_due(cx.now) {
            match due {
                Due::Silence(stream) => {
                    cx.count("notification.stream_silent");
                    self.close(cx, stream);
                }
                Due::Key(key, node) => {
                    deletions.push(deletion(NODES, key));
                    if let Some(stream) = self.nodes.end_key(&node, key) {
                        self.close(cx, stream);
                    }
                }
            }
        }
        self.delete(cx, deletions);
    }

    fn sizes(&self) -> Sizes {
        self.endpoint
            .sizes()
            .with("nodes", self.nodes.len())
            .with("streams", self.streams.len())
            .with("unregistered_streams", self.streams.unregistered())
            .with("coordinators", self.shared.len())
            .with("calls", self.storing.len())
    }
}

/// A refusal's detail is short.
fn detail_of(failure: &StoreFailure) -> String {
    failure.to_string().chars().take(60).collect()
}
