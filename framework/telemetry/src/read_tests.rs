//! What was recorded comes back; what is broken is told with its line.

use super::*;
use crate::{Recorder, Timeline};
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_proto::trace::{Span, SpanEvent};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn recorded(record: impl FnOnce(&Recorder)) -> Vec<u8> {
    let timeline = Timeline::new(UnixTime(1_700_000_000), Duration::from_secs(60)).expect("a small run");
    let (recorder, file) = Recorder::in_memory(timeline);
    record(&recorder);
    recorder.finish(Instant(50 * SECOND)).expect("nothing wrong with it");
    file.bytes()
}

fn span(number: u8, start: u64, end: u64) -> Span {
    let context = TraceContext { trace: [1; 16], span: [number; 8] };
    Span::new(context, None, "Registration", SpanKind::Internal, (Instant(start * SECOND), Instant(end * SECOND)))
}

#[test]
fn a_recording_comes_back_in_order_of_time() {
    let bytes = recorded(|recorder| {
        recorder.record("dc.u1.example", span(2, 3, 4));
        let mut first = span(1, 1, 5).with("ntm.node", "alice.u1.example").with("ntm.tries", 3).with("ntm.ok", false);
        first.kind = SpanKind::Producer;
        first.parent = Some([8; 8]);
        first.links.push(TraceContext { trace: [2; 16], span: [3; 8] });
        first.events.push(SpanEvent { at: Instant(2 * SECOND), name: "retransmitted".into() });
        first.failure = Some("timed out".into());
        recorder.record("alice.u1.example", first);
        recorder.count("dc.u1.example", "registration.accepted", 2);
        recorder.value("dc.u1.example", "registration.duration", "ms", 2.5);
        recorder.collect(Instant(SECOND));
        recorder.count("dc.u1.example", "registration.accepted", 1);
        recorder.value("dc.u1.example", "registration.duration", "ms", 0.5);
    });
    let recording = Recording::read(bytes.as_slice()).expect("just written");
    let entities: Vec<&str> = recording.spans.iter().map(|span| &*span.entity).collect();
    assert_eq!(entities, ["alice.u1.example", "dc.u1.example"]);
    let first = &recording.spans[0];
    assert_eq!(first.context, TraceContext { trace: [1; 16], span: [1; 8] });
    assert_eq!(first.parent, Some([8; 8]));
    assert_eq!(first.links, [TraceContext { trace: [2; 16], span: [3; 8] }]);
    assert_eq!(first.kind, SpanKind::Producer);
    assert_eq!((first.start, first.end), (1_700_000_001 * SECOND, 1_700_000_005 * SECOND));
    assert_eq!(first.text("ntm.node"), Some("alice.u1.example"));
    assert_eq!(first.attribute("ntm.tries"), Some(&Value::Number(3)));
    assert_eq!(first.attribute("ntm.ok"), Some(&Value::Flag(false)));
    assert_eq!(first.events, [(1_700_000_002 * SECOND, "retransmitted".to_owned())]);
    assert_eq!(first.failure.as_deref(), Some("timed out"));
    assert_eq!(recording.counters["dc.u1.example"]["registration.accepted"], 3);
    let distribution = &recording.distributions["dc.u1.example"]["registration.duration"];
    assert_eq!((distribution.count, distribution.sum), (2, 3.0));
    assert_eq!((distribution.min, distribution.max), (Some(0.5), Some(2.5)));
    assert_eq!(recording.epoch, Some(1_700_000_000 * SECOND));
}

#[test]
fn a_cut_off_line_is_told_with_its_number() {
    let bytes = recorded(|recorder| {
        recorder.record("dc.u1.example", span(1, 1, 2));
        recorder.collect(Instant(2 * SECOND));
        recorder.count("dc.u1.example", "message.dropped", 1);
        recorder.count("ns.u1.example", "message.dropped", 1);
    });
    assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 3);
    let cut = &bytes[..bytes.len() - 20];
    assert!(matches!(Recording::read(cut), Err(ReadError::Json { line: 3, .. })));
}

#[test]
fn what_is_not_ours_is_passed_over() {
    let foreign = concat!(
        "\n",
        r#"{"resourceLogs":[{"logRecords":[]}]}"#,
        "\r\n",
        r#"{"resourceSpans":[{"fromTheFuture":1,"scopeSpans":[{"spans":[{"traceId":"01010101010101010101010101010101","#,
        r#""spanId":"0202020202020202","name":"Login","futureField":{"deep":[1]},"startTimeUnixNano":"5","#,
        r#""endTimeUnixNano":6,"attributes":[{"key":"a","value":{"doubleValue":0.5}},{"key":"b"}]}]}]}]}"#,
    );
    let recording = Recording::read(foreign.as_bytes()).expect("valid OTLP/JSON");
    assert_eq!(recording.spans.len(), 1);
    assert_eq!((recording.spans[0].start, recording.spans[0].end), (5, 6));
    assert_eq!(&*recording.spans[0].entity, "unknown");
    assert!(recording.spans[0].attributes.is_empty());
}

#[test]
fn a_span_that_cannot_be_is_refused() {
    let line = |fields: &str| format!("\n{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{{fields}}}]}}]}}]}}");
    let ids = r#""traceId":"01010101010101010101010101010101","spanId":"0202020202020202""#;
    let cases = [
        (r#""traceId":"0101","spanId":"0202020202020202""#.to_owned(), "an identifier of the wrong length"),
        (format!(r#"{ids},"parentSpanId":"03""#), "a parent of the wrong length"),
        (format!(r#"{ids},"kind":6"#), "a kind that OTLP does not know"),
        (format!(r#"{ids},"startTimeUnixNano":"2","endTimeUnixNano":"1""#), "an end before its start"),
    ];
    for (fields, expected) in cases {
        match Recording::read(line(&fields).as_bytes()) {
            Err(ReadError::Span { line, problem, .. }) => assert_eq!((line, problem), (2, expected)),
            other => panic!("{fields} was read as {other:?}"),
        }
    }
}

#[test]
fn arbitrary_bytes_are_an_error_and_no_panic() {
    for garbage in [&b"\xff\xfe"[..], b"{", b"[]]", b"{\"resourceSpans\":7}", b"{\"resourceMetrics\":[{\"x\""] {
        assert!(matches!(Recording::read(garbage), Err(ReadError::Json { line: 1, .. })), "{garbage:?}");
    }
}
