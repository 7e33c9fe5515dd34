//! What a machine tells about itself: finished spans with explicit times.
//!
//! Every message sent is a span of the sender ([`SpanKind::Client`] from a request to its answer, [`SpanKind::Producer`]
//! for an answer or a one-way message), whose context travels sealed inside the message; every message received is a span of
//! the receiver ([`SpanKind::Server`], [`SpanKind::Consumer`]) whose parent is the sender's. So one conversation is one
//! trace, and a sequence diagram is read off it: an arrow from the start of a sender's span to the start of its receiving child.

use crate::time::Instant;
use ntmobile_wire::trace_context::TraceContext;
use std::borrow::Cow;

/// The role of a span in a message exchange; OpenTelemetry's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A step inside one entity.
    Internal,
    /// A request, from sending it to its answer.
    Client,
    /// A request served, from receiving it to answering it.
    Server,
    /// A message sent that awaits no answer.
    Producer,
    /// A message received that is not answered.
    Consumer,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// Something that happened inside a span, such as a retransmission.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// When.
    pub at: Instant,
    /// What.
    pub name: Cow<'static, str>,
}

/// A finished span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Which trace, which span.
    pub context: TraceContext,
    /// The span it is part of or caused by, in the same trace.
    pub parent: Option<[u8; 8]>,
    /// Other traces it belongs with (a handover links to the conversation it saves).
    pub links: Vec<TraceContext>,
    /// The name of the message or step in the protocol page's words.
    pub name: Cow<'static, str>,
    /// Its role.
    pub kind: SpanKind,
    /// When it began.
    pub start: Instant,
    /// When it ended.
    pub end: Instant,
    /// What is known about it; names start with `ntm.`.
    pub attributes: Vec<(&'static str, Value)>,
    /// What happened on the way.
    pub events: Vec<SpanEvent>,
    /// Why it failed, if it did.
    pub failure: Option<Cow<'static, str>>,
}

impl Span {
    /// A span with nothing but its essentials.
    pub fn new(
        context: TraceContext,
        parent: Option<[u8; 8]>,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        (start, end): (Instant, Instant),
    ) -> Self {
        Self {
            context,
            parent,
            links: Vec::new(),
            name: name.into(),
            kind,
            start,
            end,
            attributes: Vec::new(),
            events: Vec::new(),
            failure: None,
        }
    }

    /// Adds an attribute.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }
}
