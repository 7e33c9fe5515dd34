//! Reads a recorded file back: the spans in order of time, and what was counted by the end.
//!
//! What this crate does not write, such as log records or fields of a later OTLP, is passed over; what is broken is an error
//! that names its line.

use ntmobile_proto::trace::{SpanKind, Value};
use ntmobile_wire::trace_context::TraceContext;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// The longest line that is read; the recorder's are a thousand times shorter.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("the trace could not be read at line {line}: {source}")]
    File {
        /// Which line, counted from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line is too long.
    #[error("line {line} of the trace is longer than 64 MiB")]
    TooLong {
        /// Which line, counted from 1.
        line: u64,
    },
    /// A line is not OTLP/JSON; the last one of a run that was cut off, for example.
    #[error("line {line} of the trace is not OTLP/JSON: {reason}")]
    Json {
        /// Which line, counted from 1.
        line: u64,
        /// What the parser says.
        reason: String,
    },
    /// A span cannot be: an identifier of the wrong length, an end before its start, an unknown kind.
    #[error("line {line} of the trace has a span `{span}` with {problem}")]
    Span {
        /// Which line, counted from 1.
        line: u64,
        /// Its name.
        span: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A span as it was recorded. Times are nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedSpan {
    /// Who recorded it.
    pub entity: Arc<str>,
    /// Which trace, which span.
    pub context: TraceContext,
    /// The span it is part of or caused by.
    pub parent: Option<[u8; 8]>,
    /// Other traces it belongs with.
    pub links: Vec<TraceContext>,
    /// The name of the message or step.
    pub name: Arc<str>,
    /// Its role.
    pub kind: SpanKind,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// What is known about it.
    pub attributes: Vec<(String, Value)>,
    /// What happened on the way.
    pub events: Vec<(u64, String)>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl RecordedSpan {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The value of an attribute that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attribute(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A distribution of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The unit in UCUM's notation.
    pub unit: String,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
}

/// Everything in a recorded file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// All spans by start, then end; spans of the same times in the order of the file.
    pub spans: Vec<RecordedSpan>,
    /// By entity and name: how much was counted by the end.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// By entity and name: what was observed by the end.
    pub distributions: BTreeMap<String, BTreeMap<String, Distribution>>,
    /// The run's origin in nanoseconds since 1970; known where anything was counted.
    pub epoch: Option<u64>,
}

impl Recording {
    /// Reads a recorded file.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::read(File::open(path).map_err(|source| ReadError::File { line: 1, source })?)
    }

    /// Reads a recording.
    pub fn read(input: impl Read) -> Result<Self, ReadError> {
        let mut reader = Reader::default();
        let mut input = BufReader::with_capacity(1 << 16, input);
        let mut text = Vec::new();
        loop {
            reader.line += 1;
            let line = reader.line;
            text.clear();
            let file_error = |source| ReadError::File { line, source };
            let length = (&mut input).take(LONGEST_LINE + 1).read_until(b'\n', &mut text).map_err(file_error)?;
            if length == 0 {
                break;
            }
            if length as u64 > LONGEST_LINE {
                return Err(ReadError::TooLong { line });
            }
            reader.take(text.trim_ascii())?;
        }
        let mut recording = reader.recording;
        recording.spans.sort_by_key(|span| (span.start, span.end));
        Ok(recording)
    }
}

#[derive(Default)]
struct Reader {
    line: u64,
    recording: Recording,
    /// Names of entities and spans, each kept once.
    names: BTreeSet<Arc<str>>,
}

impl Reader {
    fn take(&mut self, line: &[u8]) -> Result<(), ReadError> {
        if line.starts_with(br#"{"resourceSpans""#) {
            let request: ExportTraceServiceRequest = self.parse(line)?;
            self.traces(request)
        } else if line.starts_with(br#"{"resourceMetrics""#) {
            let request = self.parse(line)?;
            self.metrics(request);
            Ok(())
        } else if line.is_empty() {
            Ok(())
        } else {
            // Another signal is passed over if it is JSON at all.
            self.parse::<serde::de::IgnoredAny>(line).map(drop)
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, line: &[u8]) -> Result<T, ReadError> {
        serde_json::from_slice(line).map_err(|error| ReadError::Json { line: self.line, reason: error.to_string() })
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.names.insert(Arc::clone(&new));
        new
    }

    fn traces(&mut self, request: ExportTraceServiceRequest) -> Result<(), ReadError> {
        for resource in request.resource_spans {
            let entity = self.name(service_name(resource.resource.as_ref()));
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let span = self.span(&entity, span)?;
                self.recording.spans.push(span);
            }
        }
        Ok(())
    }

    fn span(&mut self, entity: &Arc<str>, span: otlp::Span) -> Result<RecordedSpan, ReadError> {
        let problem = |problem| ReadError::Span { line: self.line, span: span.name.clone(), problem };
        let context = |trace: &[u8], span: &[u8]| match (trace.try_into(), span.try_into()) {
            (Ok(trace), Ok(span)) => Ok(TraceContext { trace, span }),
            _ => Err(problem("an identifier of the wrong length")),
        };
        let kind = match otlp::span::SpanKind::try_from(span.kind) {
            Ok(otlp::span::SpanKind::Unspecified | otlp::span::SpanKind::Internal) => SpanKind::Internal,
            Ok(otlp::span::SpanKind::Client) => SpanKind::Client,
            Ok(otlp::span::SpanKind::Server) => SpanKind::Server,
            Ok(otlp::span::SpanKind::Producer) => SpanKind::Producer,
            Ok(otlp::span::SpanKind::Consumer) => SpanKind::Consumer,
            Err(_) => return Err(problem("a kind that OTLP does not know")),
        };
        let parent = match span.parent_span_id.as_slice() {
            [] => None,
            parent => Some(parent.try_into().map_err(|_| problem("a parent of the wrong length"))?),
        };
        if span.end_time_unix_nano < span.start_time_unix_nano {
            return Err(problem("an end before its start"));
        }
        let own = context(&span.trace_id, &span.span_id)?;
        let links = span.links.iter().map(|link| context(&link.trace_id, &link.span_id)).collect::<Result<_, _>>()?;
        let failure = span
            .status
            .filter(|status| status.code == otlp::status::StatusCode::Error as i32)
            .map(|status| status.message);
        Ok(RecordedSpan {
            entity: Arc::clone(entity),
            context: own,
            parent,
            links,
            name: self.name(&span.name),
            kind,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            attributes: span.attributes.into_iter().filter_map(attribute).collect(),
            events: span.events.into_iter().map(|event| (event.time_unix_nano, event.name)).collect(),
            failure,
        })
    }

    fn metrics(&mut self, request: ExportMetricsServiceRequest) {
        for resource in request.resource_metrics {
            let entity = service_name(resource.resource.as_ref()).to_owned();
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                self.metric(&entity, metric.name, metric.unit, metric.data);
            }
        }
    }

    /// Values are cumulative: the last in the file is the whole.
    fn metric(&mut self, entity: &str, name: String, unit: String, data: Option<metric::Data>) {
        match data {
            Some(metric::Data::Sum(sum)) => {
                let Some(point) = sum.data_points.last() else { return };
                self.epoch(point.start_time_unix_nano);
                if let Some(number_data_point::Value::AsInt(value)) = point.value {
                    let counters = self.recording.counters.entry(entity.to_owned()).or_default();
                    counters.insert(name, value.max(0).unsigned_abs());
                }
            }
            Some(metric::Data::Histogram(histogram)) => {
                let Some(point) = histogram.data_points.last() else { return };
                self.epoch(point.start_time_unix_nano);
                let (count, sum) = (point.count, point.sum.unwrap_or_default());
                let distribution = Distribution { unit, count, sum, min: point.min, max: point.max };
                self.recording.distributions.entry(entity.to_owned()).or_default().insert(name, distribution);
            }
            _ => {}
        }
    }

    fn epoch(&mut self, start: u64) {
        let known = self.recording.epoch.get_or_insert(start);
        *known = start.min(*known);
    }
}

fn service_name(resource: Option<&Resource>) -> &str {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let name = attributes.iter().find(|attribute| attribute.key == "service.name");
    match name.and_then(|name| name.value.as_ref()?.value.as_ref()) {
        Some(any_value::Value::StringValue(name)) => name,
        _ => "unknown",
    }
}

/// Lists, maps and fractions are not what machines tell; they are passed over.
fn attribute(attribute: KeyValue) -> Option<(String, Value)> {
    let AnyValue { value } = attribute.value?;
    let value = match value? {
        any_value::Value::StringValue(text) => text.into(),
        any_value::Value::IntValue(number) => number.into(),
        any_value::Value::BoolValue(flag) => flag.into(),
        _ => return None,
    };
    Some((attribute.key, value))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
