//! The connection to the Notification Server: opened after a registration that asks for it, kept alive, and what a
//! Notification on it sets off.

use super::{Cx, Due, JoinError, Node, Tag};
use crate::endpoint::{Arrival, Association, Path, Peer, Request, Retry, StreamFraming, Ticket};
use crate::machine::{Effect, StreamId};
use bytes::Bytes;
use ntmobile_wire::identifier::KeyId;
use ntmobile_wire::message::{
    Keepalive, Message, NotificationAssignment, NotificationRegistration, NtmAck, Refusal, RouteDirectionRequest,
};
use ntmobile_wire::subkey::{KeyKind, Role};
use ntmobile_wire::trace_context::TraceContext;
use std::net::SocketAddr;
use std::time::Duration;

/// How long connecting may take: a SYN that is lost is sent again after 1 s, then after 2 s more.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer on the connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pulls under way at once: a Notification Server cannot make a node ask without end.
const PULLS: usize = 4;
/// Fetching what waits at the DC, and what is said of it: gives up after 13.5 s, about when the DC does.
const FETCH_RETRY: Retry = Retry { first: Duration::from_millis(500), longest: Duration::from_secs(1), attempts: 14 };

/// The connection and what it was opened for.
#[derive(Default)]
pub(super) struct NotificationConnection {
    assignment: Option<NotificationAssignment>,
    stream: Option<StreamId>,
    framing: StreamFraming,
    opened: u64,
    key: Option<KeyId>,
    /// Whether there was one more Notification while as many as may were being followed.
    notified_again: bool,
}

impl NotificationConnection {
    /// Closes the connection; the assignment stays.
    fn disconnect(&mut self, cx: &mut Cx<'_>) {
        if let Some(stream) = self.stream.take() {
            cx.push(Effect::StreamClose { stream });
        }
        self.framing = StreamFraming::default();
    }
}

impl Node {
    /// Closes the connection and gives up what was asked on it; the assignment stays.
    pub(super) fn disconnect_notification(&mut self, cx: &mut Cx<'_>) {
        self.notification.disconnect(cx);
        self.deadlines.cancel(&Due::NotificationKeepalive);
        self.deadlines.cancel(&Due::NotificationConnect);
        let is_asked = |tag: &Tag| matches!(tag, Tag::NotificationRegistration | Tag::NotificationKeepalive);
        let asked: Vec<_> = self.endpoint.outstanding().filter(|(_, tag)| is_asked(tag)).map(|(id, _)| id).collect();
        for transaction in asked {
            self.endpoint.complete(cx, transaction);
        }
    }

    /// Closes the connection for good.
    pub(super) fn close_notification(&mut self, cx: &mut Cx<'_>) {
        self.disconnect_notification(cx);
        self.notification.assignment = None;
        if let Some(key) = self.notification.key.take() {
            self.endpoint.remove(key);
        }
    }

    /// The DC has named a Notification Server: connect, unless that connection stands.
    pub(super) fn hold_notification(&mut self, cx: &mut Cx<'_>, assignment: NotificationAssignment) {
        let is_same = self.notification.key == Some(assignment.key.id);
        if is_same && self.notification.stream.is_some() {
            return self.registration_complete(cx);
        }
        self.disconnect_notification(cx);
        let Some(real) = self.registered.as_ref().map(|registered| registered.real) else { return };
        let Some(to) = assignment.addresses.matching(real) else {
            let detail = format!("{} has no address of this IP version", assignment.server);
            return self.registration_failed(cx, JoinError::NotificationServerUnreachable(detail));
        };
        if !is_same {
            if let Some(old) = self.notification.key.take() {
                self.endpoint.remove(old);
            }
            let own = (Role::Node, self.endpoint.session());
            let server = (Role::Ns, Some(assignment.server_session));
            let peer = Peer::named(assignment.server.clone());
            let key = assignment.key.clone();
            self.notification.key = Some(key.id);
            self.endpoint.add(Association::new(key, KeyKind::Ntmns, own, server, peer));
        }
        self.notification.opened += 1;
        let stream = StreamId(self.notification.opened);
        self.notification.stream = Some(stream);
        self.notification.assignment = Some(assignment);
        self.deadlines.set(Due::NotificationConnect, cx.now + CONNECT_PATIENCE);
        cx.push(Effect::StreamConnect { stream, to });
    }

    /// The connection stands: *Notification Registration*.
    pub(super) fn notification_connected(&mut self, cx: &mut Cx<'_>, stream: StreamId) {
        if self.notification.stream != Some(stream) {
            return;
        }
        self.deadlines.cancel(&Due::NotificationConnect);
        let message = NotificationRegistration { node: self.name(), application: self.config.application };
        let trace = self.registering.map(|registering| registering.trace());
        self.request_notification_server(cx, message.into(), trace, Tag::NotificationRegistration);
    }

    fn request_notification_server(
        &mut self,
        cx: &mut Cx<'_>,
        message: Message,
        trace: Option<TraceContext>,
        tag: Tag,
    ) {
        let (Some(stream), Some(key)) = (self.notification.stream, self.notification.key) else { return };
        let mut request = Request::to(key, Path::Stream(stream), message, trace);
        request.retry = Retry::once(PATIENCE);
        self.endpoint.request(cx, request, tag);
    }

    /// The Notification Server has taken the registration.
    pub(super) fn notification_registered(&mut self, cx: &mut Cx<'_>, result: Result<(), Refusal>) {
        match result {
            Ok(()) => {
                self.schedule_notification_keepalive(cx);
                self.registration_complete(cx);
            }
            Err(_) => self.notification_lost(cx),
        }
    }

    fn schedule_notification_keepalive(&mut self, cx: &mut Cx<'_>) {
        if let Some(assignment) = &self.notification.assignment {
            let interval = Duration::from_secs(u64::from(assignment.keepalive_s.max(1)));
            self.deadlines.set(Due::NotificationKeepalive, cx.now + interval);
        }
    }

    /// *Keepalive* on the connection.
    pub(super) fn keep_notification_alive(&mut self, cx: &mut Cx<'_>) {
        let Some(registered) = &self.registered else { return };
        let message = Keepalive { application: self.config.application, real: registered.real, epoch: self.epoch };
        self.request_notification_server(cx, message.into(), None, Tag::NotificationKeepalive);
    }

    pub(super) fn notification_kept_alive(&mut self, cx: &mut Cx<'_>, result: Result<(), Refusal>) {
        match result {
            Ok(()) => {
                self.schedule_notification_keepalive(cx);
                self.refresh_registration(cx);
            }
            Err(_) => self.notification_lost(cx),
        }
    }

    /// The connection is of no use any more: register again, which gives a new one.
    pub(super) fn notification_lost(&mut self, cx: &mut Cx<'_>) {
        cx.count("node.notification_connection_lost");
        self.disconnect_notification(cx);
        // The server may have lost the key with the connection: let the DC say which to use.
        self.notification.assignment = None;
        if self.joining.is_some() {
            let detail = "the connection to it broke".to_owned();
            self.registration_failed(cx, JoinError::NotificationServerUnreachable(detail));
        } else {
            self.deadlines.set(Due::NotificationReconnect, cx.now + self.config.registration_pause);
        }
    }

    /// The connection is gone.
    pub(super) fn notification_closed(&mut self, cx: &mut Cx<'_>, stream: StreamId) {
        if self.notification.stream == Some(stream) {
            self.notification.stream = None;
            self.notification_lost(cx);
        }
    }

    /// Bytes on the connection.
    pub(super) fn notification_received(&mut self, cx: &mut Cx<'_>, stream: StreamId, bytes: &Bytes) {
        if self.notification.stream != Some(stream) {
            return;
        }
        let Ok(messages) = self.notification.framing.push(bytes) else {
            cx.count("signalling.malformed");
            return self.notification_lost(cx);
        };
        for sealed in messages {
            match self.endpoint.receive(cx, Path::Stream(stream), &sealed) {
                Some(Arrival::Request { ticket, message }) => self.requested(cx, ticket, message),
                Some(Arrival::Answer { tag, message, path, trace }) => self.answered(cx, tag, message, (path, trace)),
                _ => {}
            }
        }
    }

    /// *Notification*: something waits at the DC; pull it.
    pub(super) fn notified(&mut self, cx: &mut Cx<'_>, ticket: &Ticket) {
        cx.count("node.notified");
        self.endpoint.answer(cx, ticket, NtmAck::default());
        self.pull(cx, ticket.trace);
    }

    fn pull(&mut self, cx: &mut Cx<'_>, trace: Option<TraceContext>) {
        if self.endpoint.outstanding().filter(|(_, tag)| **tag == Tag::Pull).count() >= PULLS {
            self.notification.notified_again = true;
            return cx.count("node.pull_put_off");
        }
        let (Some(key), Some(coordinator)) = (self.login.key(), self.coordinator_address()) else { return };
        let message = RouteDirectionRequest { application: self.config.application };
        let request = Request::to(key, Path::Datagram(coordinator), message, trace);
        self.endpoint.request(cx, Request { retry: FETCH_RETRY, ..request }, Tag::Pull);
    }

    fn coordinator_address(&self) -> Option<SocketAddr> {
        self.registered.as_ref().map(|registered| registered.coordinator)
    }

    /// What waited.
    pub(super) fn pull_answered(
        &mut self,
        cx: &mut Cx<'_>,
        result: Result<Message, Refusal>,
        trace: Option<TraceContext>,
    ) {
        let again = std::mem::take(&mut self.notification.notified_again);
        let Ok(Message::RouteDirectionResponse(response)) = result else {
            return cx.count("node.pull_refused");
        };
        if let Some(direction) = response.direction {
            self.route_directed(cx, (None, trace), *direction);
        }
        if response.waiting > 0 || again {
            self.pull(cx, None);
        }
    }

    /// Answers a direction that was pulled.
    pub(super) fn acknowledge_pulled(&mut self, cx: &mut Cx<'_>, message: Message, trace: Option<TraceContext>) {
        let (Some(key), Some(coordinator)) = (self.login.key(), self.coordinator_address()) else { return };
        let request = Request::to(key, Path::Datagram(coordinator), message, trace);
        self.endpoint.request(cx, Request { retry: FETCH_RETRY, ..request }, Tag::PulledAcknowledge);
    }
}
