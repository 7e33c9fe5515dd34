//! What is in a request to a collector and in its answer: protobuf or JSON.

use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;
use ureq::http::HeaderMap;

/// How requests are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`, which every collector takes.
    #[default]
    Protobuf,
    /// `application/json`, for those that take it, and for people who read along.
    Json,
}

impl Encoding {
    /// What HTTP calls it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protobuf => "protobuf",
            Self::Json => "json",
        })
    }
}

/// A text that names no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an encoding is protobuf or json")]
pub struct UnknownEncoding;

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(text: &str) -> Result<Self, UnknownEncoding> {
        [Self::Protobuf, Self::Json].into_iter().find(|known| known.to_string() == text).ok_or(UnknownEncoding)
    }
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    /// Where a collector takes it.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }
}

/// One request, ready to be sent.
pub(super) struct Request {
    pub(super) signal: Signal,
    pub(super) encoding: Encoding,
    pub(super) bytes: Vec<u8>,
}

impl Request {
    /// The request in a line of a recorded file; `None` if there is none in it.
    pub(super) fn new(line: &str, encoding: Encoding) -> Option<Self> {
        let signal = if line.starts_with(r#"{"resourceSpans""#) {
            Signal::Traces
        } else if line.starts_with(r#"{"resourceMetrics""#) {
            Signal::Metrics
        } else {
            return None;
        };
        let bytes = match (encoding, signal) {
            (Encoding::Json, _) => line.as_bytes().to_vec(),
            (Encoding::Protobuf, Signal::Traces) => {
                serde_json::from_str::<ExportTraceServiceRequest>(line).ok()?.encode_to_vec()
            }
            (Encoding::Protobuf, Signal::Metrics) => {
                serde_json::from_str::<ExportMetricsServiceRequest>(line).ok()?.encode_to_vec()
            }
        };
        Some(Self { signal, encoding, bytes })
    }
}

/// How an answer is written, if it is said.
pub(super) fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let content_type = headers.get("content-type")?.to_str().ok()?;
    let media_type = content_type.split(';').next()?.trim();
    [Encoding::Protobuf, Encoding::Json].into_iter().find(|known| known.content_type().eq_ignore_ascii_case(media_type))
}

/// How many spans or data points an answer says were dropped, and why.
pub(super) fn dropped(answer: &[u8], encoding: Option<Encoding>, signal: Signal) -> Option<(u64, String)> {
    let (rejected, message) = match (encoding, signal) {
        (Some(Encoding::Protobuf), Signal::Traces) => {
            let partial = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
            (partial.rejected_spans, partial.error_message)
        }
        (Some(Encoding::Protobuf), Signal::Metrics) => {
            let partial = ExportMetricsServiceResponse::decode(answer).ok()?.partial_success?;
            (partial.rejected_data_points, partial.error_message)
        }
        _ => {
            let partial = serde_json::from_slice::<JsonAnswer>(answer).ok()?.partial_success?;
            let rejected = partial.rejected_spans.value().saturating_add(partial.rejected_data_points.value());
            return Some((rejected, partial.error_message));
        }
    };
    Some((u64::try_from(rejected).unwrap_or_default(), message))
}

/// What a refusal says: its own text, or the message of the status that OTLP puts there.
pub(super) fn refusal(answer: &[u8], encoding: Option<Encoding>) -> String {
    let status = match encoding {
        Some(Encoding::Protobuf) => Status::decode(answer).ok().map(|status| status.message),
        _ => None,
    };
    status.filter(|message| !message.is_empty()).unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned())
}

/// `google.rpc.Status`, as far as it is told on.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

/// The answer to either kind of request in JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonAnswer {
    partial_success: Option<PartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    rejected_spans: Number,
    rejected_data_points: Number,
    error_message: String,
}

/// A 64-bit integer, which OTLP/JSON writes as a string and some collectors as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Text(String),
}

impl Default for Number {
    fn default() -> Self {
        Self::Plain(0)
    }
}

impl Number {
    fn value(&self) -> u64 {
        match self {
            Self::Plain(number) => *number,
            Self::Text(text) => text.parse().unwrap_or_default(),
        }
    }
}
