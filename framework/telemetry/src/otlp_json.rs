//! Spans of the SDK as OTLP/JSON: identifiers in hex, 64-bit integers as strings, enumerations as integers, camelCase.
//!
//! Fields that hold their default value are left out, as the encoding allows; a long run's file is half as long for it.

use crate::timeline::nanos_of;
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use std::fmt;
use std::time::SystemTime;

/// Spans of one entity.
pub(crate) struct EntitySpans<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) spans: Vec<&'a SpanData>,
}

/// One `ExportTraceServiceRequest`.
pub(crate) struct TraceRequest<'a>(pub(crate) &'a [EntitySpans<'a>]);

impl Serialize for TraceRequest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("resourceSpans", self.0)?;
        map.end()
    }
}

impl Serialize for EntitySpans<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("resource", &ResourceJson(self.resource))?;
        // The spans of one batch nearly always share one scope; a run of others opens a new one.
        let scopes: Vec<_> = self
            .spans
            .chunk_by(|left, right| left.instrumentation_scope == right.instrumentation_scope)
            .map(ScopeSpans)
            .collect();
        map.serialize_entry("scopeSpans", &scopes)?;
        map.end()
    }
}

struct ResourceJson<'a>(&'a Resource);

impl Serialize for ResourceJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The SDK keeps a resource's attributes in a hash map: sort them.
        let mut attributes: Vec<_> =
            self.0.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
        attributes.sort_by(|left, right| left.key.cmp(&right.key));
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("attributes", &Attributes(&attributes))?;
        map.end()
    }
}

struct ScopeSpans<'a>(&'a [&'a SpanData]);

impl Serialize for ScopeSpans<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(first) = self.0.first() {
            map.serialize_entry("scope", &ScopeJson(&first.instrumentation_scope))?;
        }
        let spans: Vec<_> = self.0.iter().map(|span| SpanJson(span)).collect();
        map.serialize_entry("spans", &spans)?;
        map.end()
    }
}

struct ScopeJson<'a>(&'a InstrumentationScope);

impl Serialize for ScopeJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.0.name())?;
        if let Some(version) = self.0.version() {
            map.serialize_entry("version", version)?;
        }
        map.end()
    }
}

struct SpanJson<'a>(&'a SpanData);

impl Serialize for SpanJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.0;
        let mut json = serializer.serialize_struct("Span", 12)?;
        json.serialize_field("traceId", &Hex(&span.span_context.trace_id().to_bytes()))?;
        json.serialize_field("spanId", &Hex(&span.span_context.span_id().to_bytes()))?;
        if span.parent_span_id != SpanId::INVALID {
            json.serialize_field("parentSpanId", &Hex(&span.parent_span_id.to_bytes()))?;
        }
        json.serialize_field("flags", &flags(&span.span_context, span.parent_span_is_remote))?;
        json.serialize_field("name", &span.name)?;
        json.serialize_field("kind", &kind(&span.span_kind))?;
        json.serialize_field("startTimeUnixNano", &Nanos(span.start_time))?;
        json.serialize_field("endTimeUnixNano", &Nanos(span.end_time))?;
        if !span.attributes.is_empty() {
            json.serialize_field("attributes", &Attributes(&span.attributes))?;
        }
        if !span.events.is_empty() {
            json.serialize_field("events", &span.events.iter().map(EventJson).collect::<Vec<_>>())?;
        }
        if !span.links.is_empty() {
            json.serialize_field("links", &span.links.iter().map(LinkJson).collect::<Vec<_>>())?;
        }
        match &span.status {
            Status::Unset => {}
            status => json.serialize_field("status", &StatusJson(status))?,
        }
        json.end()
    }
}

/// The W3C flags, and in bits 8 and 9 whether the parent is in another process.
fn flags(context: &SpanContext, remote: bool) -> u32 {
    u32::from(context.trace_flags().to_u8()) | 0x100 | if remote { 0x200 } else { 0 }
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

struct EventJson<'a>(&'a Event);

impl Serialize for EventJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timeUnixNano", &Nanos(self.0.timestamp))?;
        map.serialize_entry("name", &self.0.name)?;
        if !self.0.attributes.is_empty() {
            map.serialize_entry("attributes", &Attributes(&self.0.attributes))?;
        }
        map.end()
    }
}

struct LinkJson<'a>(&'a Link);

impl Serialize for LinkJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let context = &self.0.span_context;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("traceId", &Hex(&context.trace_id().to_bytes()))?;
        map.serialize_entry("spanId", &Hex(&context.span_id().to_bytes()))?;
        if !self.0.attributes.is_empty() {
            map.serialize_entry("attributes", &Attributes(&self.0.attributes))?;
        }
        map.serialize_entry("flags", &flags(context, context.is_remote()))?;
        map.end()
    }
}

struct StatusJson<'a>(&'a Status);

impl Serialize for StatusJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Status::Unset => {}
            Status::Ok => map.serialize_entry("code", &1)?,
            Status::Error { description } => {
                if !description.is_empty() {
                    map.serialize_entry("message", description)?;
                }
                map.serialize_entry("code", &2)?;
            }
        }
        map.end()
    }
}

struct Attributes<'a>(&'a [KeyValue]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for attribute in self.0 {
            list.serialize_element(&AttributeJson(attribute))?;
        }
        list.end()
    }
}

struct AttributeJson<'a>(&'a KeyValue);

impl Serialize for AttributeJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("key", self.0.key.as_str())?;
        map.serialize_entry("value", &ValueJson(&self.0.value))?;
        map.end()
    }
}

struct ValueJson<'a>(&'a Value);

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            Value::Bool(flag) => map.serialize_entry("boolValue", flag)?,
            Value::I64(number) => map.serialize_entry("intValue", &number.to_string())?,
            Value::F64(number) => map.serialize_entry("doubleValue", number)?,
            Value::Array(array) => map.serialize_entry("arrayValue", &ArrayJson(array))?,
            other => map.serialize_entry("stringValue", other.as_str().as_ref())?,
        }
        map.end()
    }
}

struct ArrayJson<'a>(&'a Array);

impl Serialize for ArrayJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values: Vec<Value> = match self.0 {
            Array::Bool(flags) => flags.iter().map(|&flag| Value::Bool(flag)).collect(),
            Array::I64(numbers) => numbers.iter().map(|&number| Value::I64(number)).collect(),
            Array::F64(numbers) => numbers.iter().map(|&number| Value::F64(number)).collect(),
            Array::String(texts) => texts.iter().map(|text| Value::String(text.clone())).collect(),
            // The SDK may grow further kinds; none of ours uses one.
            _ => Vec::new(),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("values", &values.iter().map(ValueJson).collect::<Vec<_>>())?;
        map.end()
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Nanos(SystemTime);

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Every span has passed the timeline before it comes here, which holds its times to 64 bits.
        serializer.collect_str(&nanos_of(self.0).unwrap_or_default())
    }
}
