//! Requests and their answers, as a machine sees them: what it sends, and what has arrived.

use super::{Peer, Retry};
use crate::machine::{Context, StreamId};
use crate::time::Instant;
use crate::trace::{Span, SpanKind};
use ntmobile_wire::identifier::{KeyId, Session, Transaction};
use ntmobile_wire::message::Message;
use ntmobile_wire::subkey::Role;
use ntmobile_wire::trace_context::TraceContext;
use std::net::SocketAddr;

/// How a sealed message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// As a datagram between signalling sockets.
    Datagram(SocketAddr),
    /// Behind a two-byte length on a TCP connection.
    Stream(StreamId),
}

/// A request that arrived, to be answered or finished with exactly once.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The key it came under.
    pub key: KeyId,
    /// The role of its sender under that key.
    pub role: Role,
    /// The session of its sender.
    pub session: Session,
    /// Its number.
    pub transaction: Transaction,
    /// Where it came from, and where the answer goes.
    pub path: Path,
    /// The span of serving it, where it is traced: the parent of everything done on its behalf.
    pub trace: Option<TraceContext>,
    pub(super) received: Instant,
    pub(super) parent: Option<[u8; 8]>,
    pub(super) label: &'static str,
    pub(super) sender: Peer,
}

impl Ticket {
    /// Who sent it.
    pub fn sender(&self) -> &Peer {
        &self.sender
    }

    /// The span of serving the request until now, where it is traced.
    pub(super) fn span<E>(&self, cx: &Context<'_, E>) -> Option<Span> {
        let times = (self.received, cx.now);
        let span = Span::new(self.trace?, self.parent, self.label, SpanKind::Server, times);
        Some(span.with("ntm.peer", self.sender.name.to_string()))
    }
}

/// What has arrived, after everything that an endpoint settles by itself.
#[derive(Debug)]
pub enum Arrival<T> {
    /// A request.
    Request {
        /// What to answer with.
        ticket: Ticket,
        /// What is asked.
        message: Message,
    },
    /// The answer to one of our requests.
    Answer {
        /// What the request was for.
        tag: T,
        /// What was answered.
        message: Message,
        /// Where the answer came from.
        path: Path,
        /// The span of having received it, where it is traced.
        trace: Option<TraceContext>,
    },
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The key to seal it with.
    pub key: KeyId,
    /// Where there are any, the keys that the answer must come under; only a refusal may then come under `key`.
    pub answer_keys: Vec<KeyId>,
    /// Where to send it; tried in turn, one at each attempt.
    pub paths: Vec<Path>,
    /// What to send.
    pub message: Message,
    /// How often and how long.
    pub retry: Retry,
    /// The span on whose behalf it is sent, where it is traced.
    pub trace: Option<TraceContext>,
}

impl Request {
    /// A request to one place with the ordinary retransmission.
    pub fn to(key: KeyId, path: Path, message: impl Into<Message>, trace: Option<TraceContext>) -> Self {
        Self {
            key,
            answer_keys: Vec::new(),
            paths: vec![path],
            message: message.into(),
            retry: Retry::default(),
            trace,
        }
    }
}
