//! What the recorder writes, held against OTLP's own types.

use super::*;
use ntmobile_proto::time::UnixTime;
use ntmobile_proto::trace::{SpanEvent, SpanKind};
use ntmobile_wire::trace_context::TraceContext;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use std::time::Duration;

const EPOCH: u64 = 1_700_000_000;

fn timeline() -> Timeline {
    Timeline::new(UnixTime(EPOCH), Duration::from_secs(60)).expect("a small run")
}

fn millis(millis: u64) -> Instant {
    Instant(millis * 1_000_000)
}

fn span(number: u8, name: &'static str, from: u64, to: u64) -> Span {
    let context = TraceContext { trace: [7; 16], span: [number; 8] };
    Span::new(context, None, name, SpanKind::Internal, (millis(from), millis(to)))
}

fn lines(file: &MemoryFile) -> Vec<String> {
    String::from_utf8(file.bytes()).expect("JSON is text").lines().map(str::to_owned).collect()
}

fn traces(file: &MemoryFile) -> Vec<ExportTraceServiceRequest> {
    let lines = lines(file);
    let spans = lines.iter().filter(|line| line.contains("resourceSpans"));
    spans.map(|line| serde_json::from_str(line).expect("an OTLP request")).collect()
}

#[test]
fn a_span_comes_back_from_otlp_as_it_was() {
    let (recorder, file) = Recorder::in_memory(timeline());
    let mut sent = span(1, "Direction Request", 10, 35);
    sent.kind = SpanKind::Server;
    sent.parent = Some([9; 8]);
    sent.links.push(TraceContext { trace: [3; 16], span: [4; 8] });
    sent.events.push(SpanEvent { at: millis(20), name: "retransmitted".into() });
    sent.failure = Some("peer asleep".into());
    let sent = sent.with("ntm.peer", "bob.u2.example").with("ntm.tries", i64::MIN).with("ntm.relayed", true);
    // The SDK's own conversion to protobuf is the other way round the same corner.
    let expected = otlp::Span::from(span_data(sent.clone(), &timeline(), &scope()));
    recorder.record("alice.u1.example", sent);
    recorder.finish(millis(40)).expect("nothing wrong with it");

    let requests = traces(&file);
    let [request] = requests.as_slice() else { panic!("one line of spans, not {}", requests.len()) };
    let resource = &request.resource_spans[0];
    let attributes = &resource.resource.as_ref().expect("a resource").attributes;
    assert_eq!(attributes.len(), 1);
    assert_eq!(attributes[0].key, "service.name");
    let name = attributes[0].value.as_ref().and_then(|value| value.value.clone());
    assert_eq!(name, Some(Value::StringValue("alice.u1.example".into())));
    let scope = resource.scope_spans[0].scope.as_ref().expect("a scope");
    assert_eq!(scope.name, "ntmobile");
    let found = &resource.scope_spans[0].spans[0];
    assert_eq!(found, &expected);
    assert_eq!(found.start_time_unix_nano, EPOCH * 1_000_000_000 + 10_000_000);
    assert_eq!(found.trace_id, [7; 16]);
    assert_eq!(found.span_id, [1; 8]);
    assert_eq!(found.parent_span_id, [9; 8]);
    assert_eq!(found.flags & 0x300, 0x300, "the cause is in another entity");
}

#[test]
fn the_json_is_strict() {
    let (recorder, file) = Recorder::in_memory(timeline());
    recorder.record("as.example", span(1, "Login", 0, 1).with("ntm.tries", 3));
    recorder.count("as.example", "login.accepted", 2);
    recorder.finish(millis(1)).expect("nothing wrong with it");
    let lines = lines(&file);
    let expected = concat!(
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"as.example"}}]},"#,
        r#""scopeSpans":[{"scope":{"name":"ntmobile","version":""#,
        env!("CARGO_PKG_VERSION"),
        r#""},"spans":[{"traceId":"07070707070707070707070707070707","spanId":"0101010101010101","flags":257,"#,
        r#""name":"Login","kind":1,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000001000000","#,
        r#""attributes":[{"key":"ntm.tries","value":{"intValue":"3"}}]}]}]}]}"#,
    );
    assert_eq!(lines[0], expected);
    assert!(lines[1].contains(r#""asInt":"2""#), "{}", lines[1]);
    assert!(lines[1].contains(r#""timeUnixNano":"1700000000001000000""#), "{}", lines[1]);
    assert!(lines[1].contains(r#""aggregationTemporality":2"#), "{}", lines[1]);
}

#[test]
fn a_time_outside_the_run_is_refused() {
    let too_late = span(1, "late", 59_999, 60_001);
    let mut event_too_late = span(1, "late event", 1, 2);
    event_too_late.events.push(SpanEvent { at: millis(60_001), name: "dropped".into() });
    for span in [too_late, event_too_late] {
        let (recorder, file) = Recorder::in_memory(timeline());
        recorder.record("alice.u1.example", span);
        assert!(matches!(recorder.finish(millis(1)), Err(RecordError::OutsideRun { .. })));
        assert!(file.bytes().is_empty(), "a refused span is not written");
    }
}

#[test]
fn a_leaked_wall_clock_is_refused() {
    use opentelemetry::trace::{Tracer, TracerProvider};
    let (recorder, file) = Recorder::in_memory(timeline());
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_span_processor(recorder.processor("alice.u1.example"))
        .build();
    // A span of the SDK that is given no times takes those of the wall clock.
    drop(provider.tracer("application").start("Application"));
    assert!(matches!(recorder.finish(millis(1)), Err(RecordError::OutsideRun { .. })));
    assert!(file.bytes().is_empty());
}

#[test]
fn nonsense_is_refused() {
    let backwards = span(1, "backwards", 5, 4);
    let (recorder, _) = Recorder::in_memory(timeline());
    recorder.record("alice.u1.example", backwards);
    assert!(matches!(recorder.finish(millis(6)), Err(RecordError::Backwards { .. })));

    let (recorder, _) = Recorder::in_memory(timeline());
    recorder.record("alice.u1.example", span(0, "nobody", 1, 2));
    assert!(matches!(recorder.finish(millis(6)), Err(RecordError::WithoutIdentity { .. })));

    let (recorder, _) = Recorder::in_memory(timeline());
    recorder.count("alice.u1.example", "not a name", 1);
    assert!(matches!(recorder.finish(millis(6)), Err(RecordError::InstrumentName { name: "not a name" })));
}

#[test]
fn the_first_fault_is_told_and_what_is_sound_is_still_written() {
    let (recorder, file) = Recorder::in_memory(timeline());
    recorder.record("alice.u1.example", span(1, "backwards", 5, 4));
    recorder.record("alice.u1.example", span(0, "nobody", 1, 2));
    recorder.record("alice.u1.example", span(2, "sound", 1, 2));
    assert!(matches!(recorder.finish(millis(6)), Err(RecordError::Backwards { .. })));
    assert_eq!(traces(&file)[0].resource_spans[0].scope_spans[0].spans[0].name, "sound");
}

#[test]
fn counters_and_distributions_are_cumulative_in_virtual_time() {
    let (recorder, file) = Recorder::in_memory(timeline());
    // Entities and names out of order: they are written in order.
    recorder.count("rs1.u1.example", "relay.packets", 4);
    recorder.count("dc.u1.example", "registration.accepted", 1);
    recorder.count("dc.u1.example", "message.dropped", 1);
    recorder.value("dc.u1.example", "direction.duration", "ms", 12.5);
    recorder.collect(millis(1_000));
    recorder.count("rs1.u1.example", "relay.packets", 5);
    recorder.finish(millis(2_000)).expect("nothing wrong with it");

    let requests: Vec<ExportMetricsServiceRequest> =
        lines(&file).iter().map(|line| serde_json::from_str(line).expect("an OTLP request")).collect();
    let mut seen = Vec::new();
    for metric in requests.iter().flat_map(|request| &request.resource_metrics[0].scope_metrics[0].metrics) {
        match metric.data.as_ref().expect("data") {
            metric::Data::Sum(sum) => {
                let point = &sum.data_points[0];
                assert!(sum.is_monotonic);
                assert_eq!(point.start_time_unix_nano, EPOCH * 1_000_000_000);
                let Some(number_data_point::Value::AsInt(value)) = point.value else { panic!("an integer") };
                seen.push((metric.name.as_str(), point.time_unix_nano - EPOCH * 1_000_000_000, value as f64));
            }
            metric::Data::Histogram(histogram) => {
                let point = &histogram.data_points[0];
                assert_eq!(metric.unit, "ms");
                assert_eq!(point.count, 1);
                assert_eq!(point.start_time_unix_nano, EPOCH * 1_000_000_000);
                let sum = point.sum.expect("a sum");
                seen.push((metric.name.as_str(), point.time_unix_nano - EPOCH * 1_000_000_000, sum));
            }
            other => panic!("neither a sum nor a histogram: {other:?}"),
        }
    }
    let second = 1_000_000_000;
    let expected = [
        ("direction.duration", second, 12.5),
        ("message.dropped", second, 1.0),
        ("registration.accepted", second, 1.0),
        ("relay.packets", second, 4.0),
        ("direction.duration", 2 * second, 12.5),
        ("message.dropped", 2 * second, 1.0),
        ("registration.accepted", 2 * second, 1.0),
        ("relay.packets", 2 * second, 9.0),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let run = || {
        let (recorder, file) = Recorder::in_memory(timeline());
        for round in 0..300_u64 {
            let entity = ["alice.u1.example", "dc.u1.example", "bob.u2.example"][(round % 3) as usize];
            recorder.record(entity, span(1, "Keepalive", round, round + 1).with("ntm.round", round as i64));
            recorder.count(entity, ["b.sent", "a.sent"][(round % 2) as usize], round);
            recorder.value(entity, "c.duration", "ms", round as f64);
        }
        recorder.finish(millis(400)).expect("nothing wrong with it");
        file.bytes()
    };
    assert_eq!(run(), run());
}

#[test]
fn spans_reach_the_file_while_the_run_goes_on() {
    let (recorder, file) = Recorder::in_memory(timeline());
    for round in 0..1_000 {
        recorder.record("alice.u1.example", span(1, "Keepalive", round, round + 1));
    }
    let written: usize = traces(&file)
        .iter()
        .flat_map(|request| &request.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .map(|scope| scope.spans.len())
        .sum();
    assert!((500..=1_000).contains(&written), "{written} of 1000 are written, the rest waits in memory");
}

#[test]
fn a_full_disk_is_told_at_the_end() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let recorder = Recorder::new(timeline(), Full);
    recorder.record("alice.u1.example", span(1, "Login", 0, 1));
    match recorder.finish(millis(1)) {
        Err(RecordError::Write(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
        other => panic!("the disk was full, not {other:?}"),
    }
}

#[test]
fn a_file_is_written_where_it_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory for tests");
    let path = directory.path().join("trace.otlp.jsonl");
    let recorder = Recorder::create(timeline(), &path).expect("a new file");
    recorder.clone().record("alice.u1.example", span(1, "Login", 0, 1));
    recorder.finish(millis(1)).expect("nothing wrong with it");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_silent_recorder_takes_anything_and_keeps_nothing() {
    let recorder = Recorder::silent(timeline());
    recorder.record("alice.u1.example", span(0, "Without identity", 9, 1));
    recorder.count("alice.u1.example", "not a name", 1);
    recorder.value("alice.u1.example", "nor this", "ms", 1.0);
    recorder.finish(millis(1)).expect("nothing was looked at");
}
