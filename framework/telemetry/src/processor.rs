//! The end of the SDK's span pipeline: one processor per entity, all writing to the run's one file.

use crate::RecordError;
use crate::lines::LinesWriter;
use crate::timeline::{Timeline, nanos_of};
use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What all entities of a run share.
pub(crate) struct Shared {
    pub(crate) timeline: Timeline,
    state: Mutex<State>,
}

struct State {
    lines: LinesWriter,
    /// The first thing that went wrong; told when the run finishes, because nobody waits for a span to be written.
    fault: Option<RecordError>,
}

impl Shared {
    pub(crate) fn new(timeline: Timeline, lines: LinesWriter) -> Self {
        Self { timeline, state: Mutex::new(State { lines, fault: None }) }
    }

    /// A panic elsewhere leaves at worst a half-written line, which the reader reports.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes something; after a failed write nothing more is tried.
    pub(crate) fn write(&self, write: impl FnOnce(&mut LinesWriter) -> io::Result<()>) {
        let mut state = self.lock();
        if matches!(state.fault, Some(RecordError::Write(_))) {
            return;
        }
        if let Err(error) = write(&mut state.lines) {
            state.fault = Some(RecordError::Write(Arc::new(error)));
        }
    }

    /// Remembers what went wrong, unless something did before.
    pub(crate) fn refuse(&self, error: RecordError) {
        self.lock().fault.get_or_insert(error);
    }

    pub(crate) fn outcome(&self) -> Result<(), RecordError> {
        self.lock().fault.clone().map_or(Ok(()), Err)
    }
}

/// Takes the finished spans of one entity, in the order in which they end, on the thread that ends them.
///
/// It is an ordinary processor of the OpenTelemetry SDK, so an application that makes its spans with the SDK can put it
/// behind its own tracer and have them in the same file.
#[derive(Clone)]
pub struct EntityProcessor {
    shared: Arc<Shared>,
    resource: Arc<Resource>,
}

impl EntityProcessor {
    pub(crate) fn new(shared: Arc<Shared>, resource: Arc<Resource>) -> Self {
        Self { shared, resource }
    }

    fn check(&self, span: &SpanData) -> Result<(), RecordError> {
        if !span.span_context.is_valid() {
            return Err(RecordError::WithoutIdentity { span: span.name.to_string() });
        }
        if span.end_time < span.start_time {
            return Err(RecordError::Backwards { span: span.name.to_string() });
        }
        let events = span.events.iter().map(|event| event.timestamp);
        for time in [span.start_time, span.end_time].into_iter().chain(events) {
            if !nanos_of(time).is_some_and(|nanos| self.shared.timeline.contains(nanos)) {
                return Err(RecordError::OutsideRun { span: span.name.to_string() });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EntityProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityProcessor").field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl SpanProcessor for EntityProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        match self.check(&span) {
            Ok(()) => self.shared.write(|lines| lines.span(&self.resource, span)),
            Err(refusal) => self.shared.refuse(refusal),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.shared.write(LinesWriter::flush);
        self.shared.outcome().map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.force_flush()
    }
}
