//! What a run tells about itself, from every entity, into one file.

use crate::lines::LinesWriter;
use crate::meter::EntityMeter;
use crate::processor::{EntityProcessor, Shared};
use crate::prometheus;
use crate::span_data::{scope, span_data};
use crate::timeline::Timeline;
use ntmobile_proto::time::Instant;
use ntmobile_proto::trace::Span;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanProcessor;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why something was not recorded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecordError {
    /// A time of the span is not within the run: wall-clock time leaked into it, or the run was declared too short.
    #[error("span `{span}` has a time outside the run")]
    OutsideRun {
        /// Its name.
        span: String,
    },
    /// The span ends before it starts.
    #[error("span `{span}` ends before it starts")]
    Backwards {
        /// Its name.
        span: String,
    },
    /// The span's trace or span identifier is all zero, which OpenTelemetry reads as none.
    #[error("span `{span}` has no identity: its identifier is all zero")]
    WithoutIdentity {
        /// Its name.
        span: String,
    },
    /// OpenTelemetry does not allow this name of a counter or histogram.
    #[error("`{name}` cannot name a counter: it takes letters, digits, `_`, `.`, `-` and `/`, a letter first")]
    InstrumentName {
        /// The name.
        name: &'static str,
    },
    /// The SDK would not give out its metrics.
    #[error("metrics could not be collected: {0}")]
    Metrics(String),
    /// The file could not be written. Nothing was recorded after it.
    #[error("the trace could not be written: {0}")]
    Write(#[source] Arc<io::Error>),
}

/// Records spans, counters and values of every entity of a run. Cheap to clone; all clones write to the same file.
///
/// Nothing here reads a clock or draws a number: what is written depends on the calls and their order alone, so the same
/// run gives the same bytes. Recording never fails where it happens. The first thing that goes wrong is kept and returned by
/// [`Recorder::finish`], so that a run whose trace is not whole cannot pass for a good one.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    entities: Arc<Mutex<BTreeMap<String, Entity>>>,
    scope: Arc<InstrumentationScope>,
    detail: Detail,
}

/// What is recorded at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Nothing,
    Counts,
    Everything,
}

struct Entity {
    processor: EntityProcessor,
    meter: EntityMeter,
}

impl Recorder {
    /// Records into `out`, which is written to as the run goes: give it a buffer if its writes are dear.
    pub fn new(timeline: Timeline, out: impl Write + Send + 'static) -> Self {
        Self {
            shared: Arc::new(Shared::new(timeline, LinesWriter::new(Box::new(out)))),
            entities: Arc::default(),
            scope: Arc::new(scope()),
            detail: Detail::Everything,
        }
    }

    /// Records nothing, at next to no cost: for runs of which only the results are wanted.
    pub fn silent(timeline: Timeline) -> Self {
        Self { detail: Detail::Nothing, ..Self::new(timeline, io::sink()) }
    }

    /// Keeps counters and values, to be asked for by [`Recorder::prometheus`], and no spans: for hosts whose traces nobody
    /// collects.
    pub fn counting(timeline: Timeline) -> Self {
        Self { detail: Detail::Counts, ..Self::new(timeline, io::sink()) }
    }

    /// Records into a new file, over an old one of that name.
    pub fn create(timeline: Timeline, path: &Path) -> io::Result<Self> {
        Ok(Self::new(timeline, BufWriter::with_capacity(1 << 16, File::create(path)?)))
    }

    /// Records into memory: for tests and short runs that are looked at and not kept.
    pub fn in_memory(timeline: Timeline) -> (Self, MemoryFile) {
        let file = MemoryFile::default();
        (Self::new(timeline, file.clone()), file)
    }

    /// A finished span of `entity`.
    pub fn record(&self, entity: &str, span: Span) {
        if self.detail != Detail::Everything {
            return;
        }
        // The processor is cloned out, so that two locks are never held at once.
        let processor = self.processor(entity);
        processor.on_end(span_data(span, &self.shared.timeline, &self.scope));
    }

    /// `by` more of what `counter` counts.
    pub fn count(&self, entity: &str, counter: &'static str, by: u64) {
        if self.detail == Detail::Nothing {
            return;
        }
        let counted = self.with_entity(entity, |entity| entity.meter.count(counter, by));
        counted.unwrap_or_else(|error| self.shared.refuse(error));
    }

    /// One more observation of the distribution that `name` names; `unit` in UCUM's notation, such as `ms`.
    pub fn value(&self, entity: &str, name: &'static str, unit: &'static str, value: f64) {
        if self.detail == Detail::Nothing {
            return;
        }
        let taken = self.with_entity(entity, |entity| entity.meter.value(name, unit, value));
        taken.unwrap_or_else(|error| self.shared.refuse(error));
    }

    /// Writes all counters and distributions as they are at `now`, entity by entity in order of their names.
    pub fn collect(&self, now: Instant) {
        let entities = self.lock();
        for entity in entities.values() {
            match entity.meter.collect(&self.shared.timeline, now) {
                Ok(request) if request.resource_metrics.iter().all(|metrics| metrics.scope_metrics.is_empty()) => {}
                Ok(request) => self.shared.write(|lines| lines.request(&request)),
                Err(error) => self.shared.refuse(error),
            }
        }
    }

    /// All counters and distributions as they are now, in Prometheus's text format.
    pub fn prometheus(&self) -> Result<String, RecordError> {
        let entities = self.lock();
        let collected: Result<Vec<_>, _> = entities
            .iter()
            .map(|(name, entity)| Ok((name.as_str(), entity.meter.collect(&self.shared.timeline, Instant::ORIGIN)?)))
            .collect();
        Ok(prometheus::text(&collected?))
    }

    /// All counters as they are now, by entity and name.
    pub fn counts(&self) -> Result<BTreeMap<(String, String), u64>, RecordError> {
        let mut counts = BTreeMap::new();
        for (name, entity) in self.lock().iter() {
            for (counter, count) in entity.meter.counts()? {
                counts.insert((name.clone(), counter), count);
            }
        }
        Ok(counts)
    }

    /// Collects for the last time, writes everything out, and tells whether all of it was recorded.
    pub fn finish(&self, now: Instant) -> Result<(), RecordError> {
        self.collect(now);
        self.shared.write(LinesWriter::flush);
        self.shared.outcome()
    }

    /// The processor that takes spans of `entity` from a tracer of the OpenTelemetry SDK.
    pub fn processor(&self, entity: &str) -> EntityProcessor {
        self.with_entity(entity, |entity| entity.processor.clone())
    }

    fn with_entity<T>(&self, name: &str, act: impl FnOnce(&mut Entity) -> T) -> T {
        let mut entities = self.lock();
        if let Some(entity) = entities.get_mut(name) {
            return act(entity);
        }
        let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", name.to_owned())).build();
        let entity = entities.entry(name.to_owned()).or_insert_with(|| Entity {
            processor: EntityProcessor::new(Arc::clone(&self.shared), Arc::new(resource.clone())),
            meter: EntityMeter::new(resource),
        });
        act(entity)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entity>> {
        self.entities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("timeline", &self.shared.timeline).finish_non_exhaustive()
    }
}

/// A recorded file that is kept in memory. All clones are the same file.
#[derive(Clone, Default)]
pub struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl MemoryFile {
    /// What has been written so far; whole after [`Recorder::finish`].
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
