//! The file: one OTLP request per line, written as the run goes, with a bounded number of spans in memory.

use crate::otlp_json::{EntitySpans, TraceRequest};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use serde::Serialize;
use std::io::{self, Write};
use std::sync::Arc;

/// How many spans wait to share a line. It bounds the recorder's memory and the size of a request to a collector.
const SPANS_PER_LINE: usize = 256;

/// Collects spans in the order in which they ended and writes them, a batch per line.
pub(crate) struct LinesWriter {
    out: Box<dyn Write + Send>,
    waiting: Vec<(Arc<Resource>, SpanData)>,
}

impl LinesWriter {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, waiting: Vec::with_capacity(SPANS_PER_LINE) }
    }

    /// Takes a finished span of the entity that `resource` describes.
    pub(crate) fn span(&mut self, resource: &Arc<Resource>, span: SpanData) -> io::Result<()> {
        self.waiting.push((Arc::clone(resource), span));
        if self.waiting.len() >= SPANS_PER_LINE { self.write_waiting() } else { Ok(()) }
    }

    /// Writes a request of any kind, after the spans that came before it.
    pub(crate) fn request(&mut self, request: &impl Serialize) -> io::Result<()> {
        self.write_waiting()?;
        self.line(request)
    }

    /// Writes what waits, and hands everything to the operating system.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write_waiting()?;
        self.out.flush()
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::replace(&mut self.waiting, Vec::with_capacity(SPANS_PER_LINE));
        let mut entities: Vec<EntitySpans<'_>> = Vec::new();
        for (resource, span) in &waiting {
            match entities.iter_mut().find(|entity| std::ptr::eq(entity.resource, resource.as_ref())) {
                Some(entity) => entity.spans.push(span),
                None => entities.push(EntitySpans { resource, spans: vec![span] }),
            }
        }
        self.line(&TraceRequest(&entities))
    }

    fn line(&mut self, request: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, request)?;
        self.out.write_all(b"\n")
    }
}
