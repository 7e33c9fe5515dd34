//! The recordings of several processes of one machine, put together into one on one time axis.
//!
//! Each process counts nanoseconds by the machine's clock and maps them to an epoch of its own, which its metrics state. What
//! they have in common is the machine's clock, so a recording is moved by where the run began on it. A process that was killed
//! has left a broken last line; that one is passed over.

use crate::timeline::Timeline;
use ntmobile_proto::time::Instant;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Why recordings cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A recording cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of a recording is broken, and it is not the last.
    #[error("{path}: line {line} is not JSON")]
    Json {
        /// Which recording.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
    },
    /// The whole cannot be written.
    #[error("the trace could not be written: {0}")]
    Write(#[from] io::Error),
}

/// Writes all recordings into one. The run began at `origin` by the machine's clock, which is `timeline`'s epoch in the
/// whole; spans that had ended by then are left out, and of each entity's metrics only the last remain.
pub fn merge(
    recordings: &[PathBuf],
    origin: Instant,
    timeline: &Timeline,
    mut out: impl Write,
) -> Result<(), MergeError> {
    for path in recordings {
        let lines = read(path)?;
        // A recording without metrics was broken off before its first second; there is no telling when its spans were.
        let Some(epoch) = lines.iter().filter_map(epoch).min() else { continue };
        let axis = Axis { run: epoch.saturating_add(origin.0), epoch: timeline.epoch_unix_nanos() };
        let mut metrics: BTreeMap<String, Value> = BTreeMap::new();
        for mut line in lines {
            if line.get("resourceMetrics").is_some() {
                axis.shift(&mut line);
                metrics.insert(entity(&line), line);
            } else if axis.keep(&mut line) {
                axis.shift(&mut line);
                write_line(&mut out, &line)?;
            }
        }
        for line in metrics.values() {
            write_line(&mut out, line)?;
        }
    }
    Ok(out.flush()?)
}

fn write_line(out: &mut impl Write, line: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn read(path: &Path) -> Result<Vec<Value>, MergeError> {
    let refused = |source| MergeError::Read { path: path.to_owned(), source };
    let mut lines = Vec::new();
    let mut broken = None;
    for (index, text) in BufReader::new(File::open(path).map_err(refused)?).split(b'\n').enumerate() {
        let text = text.map_err(refused)?;
        if text.is_empty() {
            continue;
        }
        if let Some(line) = broken {
            return Err(MergeError::Json { path: path.to_owned(), line });
        }
        match serde_json::from_slice(&text) {
            Ok(line) => lines.push(line),
            Err(_) => broken = Some(index + 1),
        }
    }
    Ok(lines)
}

/// The origin of the times in a line of metrics.
fn epoch(line: &Value) -> Option<u64> {
    line.get("resourceMetrics")?;
    let mut least = None;
    for_each_time(line, &mut |key, time| {
        if key == "startTimeUnixNano" {
            least = Some(least.unwrap_or(time).min(time));
        }
    });
    least
}

/// Whose metrics a line holds.
fn entity(line: &Value) -> String {
    let attributes = line.pointer("/resourceMetrics/0/resource/attributes").and_then(Value::as_array);
    let name = attributes.into_iter().flatten().find(|attribute| attribute["key"] == "service.name");
    name.and_then(|name| name.pointer("/value/stringValue")?.as_str()).unwrap_or_default().to_owned()
}

/// From a process's times to those of the whole.
struct Axis {
    /// When the run began, in the process's times.
    run: u64,
    /// When it began in the whole.
    epoch: u64,
}

impl Axis {
    /// Removes spans that had ended when the run began; whether any are left.
    fn keep(&self, line: &mut Value) -> bool {
        let mut left = false;
        for resource in line.get_mut("resourceSpans").and_then(Value::as_array_mut).into_iter().flatten() {
            for scope in resource.get_mut("scopeSpans").and_then(Value::as_array_mut).into_iter().flatten() {
                let Some(spans) = scope.get_mut("spans").and_then(Value::as_array_mut) else { continue };
                spans.retain(|span| span.get("endTimeUnixNano").and_then(nanos).is_some_and(|end| end >= self.run));
                left |= !spans.is_empty();
            }
        }
        left
    }

    fn shift(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.shift(item)),
            Value::Object(fields) => {
                for (key, field) in fields.iter_mut() {
                    match (is_time(key), nanos(field)) {
                        (true, Some(time)) => {
                            // A metric's times begin with the process; the whole begins with the run.
                            let moved = self.epoch.saturating_add(time.saturating_sub(self.run));
                            *field = Value::String(moved.to_string());
                        }
                        _ => self.shift(field),
                    }
                }
            }
            _ => {}
        }
    }
}

fn for_each_time(value: &Value, act: &mut impl FnMut(&str, u64)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| for_each_time(item, act)),
        Value::Object(fields) => {
            for (key, field) in fields {
                match (is_time(key), nanos(field)) {
                    (true, Some(time)) => act(key, time),
                    _ => for_each_time(field, act),
                }
            }
        }
        _ => {}
    }
}

fn is_time(key: &str) -> bool {
    matches!(key, "startTimeUnixNano" | "endTimeUnixNano" | "timeUnixNano")
}

/// OTLP/JSON writes 64 bits as text.
fn nanos(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;
    use crate::read::Recording;
    use ntmobile_proto::time::UnixTime;
    use ntmobile_proto::trace::{Span, SpanKind};
    use ntmobile_wire::trace_context::TraceContext;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn span(number: u8, start: u64, end: u64) -> Span {
        Span {
            context: TraceContext { trace: [number; 16], span: [number; 8] },
            parent: None,
            links: Vec::new(),
            name: "Login".into(),
            kind: SpanKind::Internal,
            start: Instant(start),
            end: Instant(end),
            attributes: Vec::new(),
            events: Vec::new(),
            failure: None,
        }
    }

    /// A process whose epoch is `epoch`, with a span in each of these stretches of the machine's time.
    fn recording(home: &Path, name: &str, epoch: u64, spans: &[(u64, u64)]) -> PathBuf {
        let path = home.join(name);
        let timeline = Timeline::open_ended(UnixTime(epoch)).expect("an epoch");
        let recorder = Recorder::create(timeline, &path).expect("a file");
        for (index, (start, end)) in spans.iter().enumerate() {
            recorder.record(name, span(index as u8 + 1, *start, *end));
            recorder.count(name, "logins", 1);
            recorder.collect(Instant(*end));
        }
        recorder.finish(Instant(100 * SECOND)).expect("all of it");
        path
    }

    #[test]
    fn processes_with_other_epochs_come_onto_one_axis() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let spans = [(3 * SECOND, 4 * SECOND), (12 * SECOND, 13 * SECOND)];
        let sources = [
            recording(home.path(), "as.example", 1_700_000_000, &spans),
            recording(home.path(), "dc.u1.example", 1_700_000_001, &spans),
        ];
        // One of them was killed in the middle of a line.
        let mut text = std::fs::read(&sources[1]).expect("it is there");
        text.extend_from_slice(b"{\"resourceSpans\":[{\"reso");
        std::fs::write(&sources[1], text).expect("written");

        let timeline = Timeline::new(UnixTime(1_000), Duration::from_secs(60)).expect("an epoch");
        let mut whole = Vec::new();
        merge(&sources, Instant(10 * SECOND), &timeline, &mut whole).expect("they are sound");
        let whole = Recording::read(whole.as_slice()).expect("it reads back");
        let times: Vec<_> = whole.spans.iter().map(|span| (&*span.entity, span.start, span.end)).collect();
        let (start, end) = (1_002 * SECOND, 1_003 * SECOND);
        assert_eq!(times, [("as.example", start, end), ("dc.u1.example", start, end)], "without what was before");
        assert_eq!(whole.epoch, Some(1_000 * SECOND));
        assert_eq!(whole.counters["as.example"]["logins"], 2);
    }

    #[test]
    fn what_is_broken_in_the_middle_is_told() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let path = home.path().join("x");
        std::fs::write(&path, "{}\n{\n{}\n").expect("written");
        let timeline = Timeline::new(UnixTime(1_000), Duration::from_secs(60)).expect("an epoch");
        let error = merge(&[path], Instant(0), &timeline, Vec::new()).expect_err("broken");
        assert!(error.to_string().ends_with("line 2 is not JSON"), "{error}");
    }
}
