//! From a machine's finished span to the SDK's.

use crate::timeline::Timeline;
use ntmobile_proto::trace::{Span, SpanKind, Value};
use ntmobile_wire::trace_context::TraceContext;
use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind as OtelKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// Who speaks in every span: this workspace, in this version.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("ntmobile").with_version(env!("CARGO_PKG_VERSION")).build()
}

/// The same span with the identifiers, times and words that it already has; nothing is drawn and no clock is read.
pub(crate) fn span_data(span: Span, timeline: &Timeline, scope: &InstrumentationScope) -> SpanData {
    // A message was received: what caused it happened in another entity.
    let parent_span_is_remote = span.parent.is_some() && matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
    let mut events = SpanEvents::default();
    events.events = span
        .events
        .into_iter()
        .map(|event| Event::new(event.name, timeline.system_time(event.at), Vec::new(), 0))
        .collect();
    let mut links = SpanLinks::default();
    links.links = span.links.into_iter().map(|link| Link::new(span_context(link, true), Vec::new(), 0)).collect();
    SpanData {
        span_context: span_context(span.context, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote,
        span_kind: kind(span.kind),
        name: span.name,
        start_time: timeline.system_time(span.start),
        end_time: timeline.system_time(span.end),
        attributes: span.attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        dropped_attributes_count: 0,
        events,
        links,
        status: span.failure.map_or(Status::Unset, |description| Status::Error { description }),
        instrumentation_scope: scope.clone(),
    }
}

fn span_context(context: TraceContext, is_remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace),
        SpanId::from_bytes(context.span),
        TraceFlags::SAMPLED,
        is_remote,
        TraceState::default(),
    )
}

fn kind(kind: SpanKind) -> OtelKind {
    match kind {
        SpanKind::Internal => OtelKind::Internal,
        SpanKind::Client => OtelKind::Client,
        SpanKind::Server => OtelKind::Server,
        SpanKind::Producer => OtelKind::Producer,
        SpanKind::Consumer => OtelKind::Consumer,
    }
}

fn attribute(name: &'static str, value: Value) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, opentelemetry::Value::from(text)),
        Value::Number(number) => KeyValue::new(name, number),
        Value::Flag(flag) => KeyValue::new(name, flag),
    }
}
