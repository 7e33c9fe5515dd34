//! Traces and metrics under explicit time; sequence diagrams from a trace.
//!
//! A [`Recorder`] takes finished spans, counters and values from every entity of a run and writes them as OTLP/JSON lines: one
//! request to an OpenTelemetry collector per line. It reads no clock and draws no number, so the same run gives the same
//! bytes. [`upload`] sends such a file to a collector, after the run and outside of it; [`export`] sends the lines of a host
//! that does not end while it runs.

pub mod conversation;
pub mod export;
pub mod merge;
pub mod read;
pub mod sequence;
pub mod upload;

mod lines;
mod meter;
mod otlp_json;
mod processor;
mod prometheus;
mod recorder;
mod span_data;
mod timeline;

pub use processor::EntityProcessor;
pub use recorder::{MemoryFile, RecordError, Recorder};
pub use timeline::{Timeline, TimelineError};
