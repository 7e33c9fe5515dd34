//! Uploads to a small HTTP server that takes nothing but what the OTLP page allows.

use super::*;
use crate::{Recorder, Timeline};
use ntmobile_proto::time::{Instant as VirtualInstant, UnixTime};
use ntmobile_proto::trace::{Span, SpanKind};
use ntmobile_wire::trace_context::TraceContext;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(30);

/// One request as it came in.
struct Received {
    head: String,
    body: Vec<u8>,
}

fn receive(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Received { head, body })
}

/// Serves the given answers, one per request, and returns the requests.
fn collector(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<Received>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let served = std::thread::spawn(move || {
        let mut received = Vec::new();
        let mut answers = answers.into_iter();
        while answers.len() > 0 {
            let (stream, _) = listener.accept().expect("a connection");
            let mut stream = BufReader::new(stream);
            while let Some(request) = receive(&mut stream) {
                received.push(request);
                let answer = answers.next().expect("an answer for every request");
                stream.get_mut().write_all(answer.as_bytes()).expect("the client listens");
                if answers.len() == 0 {
                    break;
                }
            }
        }
        received
    });
    (url, served)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

fn recording() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory for tests");
    let path = directory.path().join("trace.otlp.jsonl");
    let timeline = Timeline::new(UnixTime(1_700_000_000), Duration::from_secs(1)).expect("a small run");
    let recorder = Recorder::create(timeline, &path).expect("a new file");
    let context = TraceContext { trace: [7; 16], span: [1; 8] };
    let times = (VirtualInstant(5), VirtualInstant(6));
    recorder.record("alice.u1.example", Span::new(context, None, "Login", SpanKind::Internal, times));
    recorder.count("alice.u1.example", "login.done", 1);
    recorder.finish(VirtualInstant(7)).expect("a whole recording");
    (directory, path)
}

#[test]
fn a_recording_is_sent_line_by_line_as_protobuf() {
    let (_directory, path) = recording();
    // What collectors answer: an empty message, in the encoding of the request.
    const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    let (url, served) = collector(vec![TAKEN, TAKEN]);
    let uploaded = Collector::new(&url, PATIENCE).expect("an address").upload(&path).expect("taken");
    assert_eq!(uploaded, Uploaded { traces: 1, metrics: 1 });
    let received = served.join().expect("no panic");
    for (request, path) in received.iter().zip(["traces", "metrics"]) {
        assert!(request.head.starts_with(&format!("post /v1/{path} http/1.1\r\n")), "{}", request.head);
        assert!(request.head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{}", request.head);
    }
    let traces = ExportTraceServiceRequest::decode(&received[0].body[..]).expect("spans");
    let metrics = ExportMetricsServiceRequest::decode(&received[1].body[..]).expect("metrics");
    let lines = std::fs::read_to_string(&path).expect("the file");
    let mut lines = lines.lines();
    let mut line = || lines.next().expect("a line for each request");
    assert_eq!(traces, serde_json::from_str(line()).expect("spans"), "the same as in the file");
    assert_eq!(metrics, serde_json::from_str(line()).expect("metrics"), "the same as in the file");
    let span = &traces.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((&span.trace_id[..], span.start_time_unix_nano), (&[7; 16][..], 1_700_000_000_000_000_005));
    assert_eq!(metrics.resource_metrics[0].scope_metrics[0].metrics[0].name, "login.done");
}

/// Answers in protobuf: what a collector dropped, and why it refused.
#[test]
fn answers_in_protobuf_are_understood() {
    let (_directory, path) = recording();
    // ExportTraceServiceResponse { partial_success { rejected_spans: 3, error_message: "old" } }
    let partly = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\n\x0a\x07\x08\x03\x12\x03old";
    let (url, served) = collector(vec![partly]);
    let error = Collector::new(&url, PATIENCE).expect("an address").upload(&path).expect_err("not all");
    match error {
        UploadError::PartlyTaken { rejected, message, .. } => assert_eq!((rejected, message.as_str()), (3, "old")),
        other => panic!("partly taken, not {other}"),
    }
    served.join().expect("no panic");
    // google.rpc.Status { code: 3, message: "bad" }
    let refused =
        "HTTP/1.1 400 Bad\r\ncontent-type: application/x-protobuf\r\ncontent-length: 7\r\n\r\n\x08\x03\x12\x03bad";
    let (url, served) = collector(vec![refused]);
    let error = Collector::new(&url, PATIENCE).expect("an address").upload(&path).expect_err("refused");
    assert!(matches!(&error, UploadError::Refused { status: 400, message, .. } if message == "bad"), "{error}");
    served.join().expect("no panic");
}

#[test]
fn an_encoding_is_known_by_its_name() {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        assert_eq!(encoding.to_string().parse(), Ok(encoding));
    }
    assert!("xml".parse::<Encoding>().is_err());
}

#[test]
fn a_recording_is_sent_as_it_stands_where_json_is_asked_for() {
    let (_directory, path) = recording();
    let (url, served) = collector(vec![OK, OK]);
    let collector = Collector::new(&(url + "/"), PATIENCE).expect("an address").with_encoding(Encoding::Json);
    let upload = collector.upload_in_background(path);
    assert_eq!(upload.join().expect("no panic").expect("taken"), Uploaded { traces: 1, metrics: 1 });

    let received = served.join().expect("no panic");
    assert!(received[0].head.starts_with("post /v1/traces http/1.1\r\n"), "{}", received[0].head);
    assert!(received[1].head.starts_with("post /v1/metrics http/1.1\r\n"), "{}", received[1].head);
    for request in &received {
        assert!(request.head.contains("\r\ncontent-type: application/json\r\n"), "{}", request.head);
        assert!(!request.body.contains(&b'\n'), "one request, one line");
    }
    let traces: ExportTraceServiceRequest = serde_json::from_slice(&received[0].body).expect("spans");
    assert_eq!(traces.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano, 1_700_000_000_000_000_005);
    let metrics: ExportMetricsServiceRequest = serde_json::from_slice(&received[1].body).expect("metrics");
    assert_eq!(metrics.resource_metrics[0].scope_metrics[0].metrics[0].name, "login.done");
}

#[test]
fn a_busy_collector_is_asked_again() {
    let (_directory, path) = recording();
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
    let (url, served) = collector(vec![busy, OK, OK]);
    let uploaded = Collector::new(&url, PATIENCE).expect("an address").upload(&path).expect("taken in the end");
    assert_eq!(uploaded, Uploaded { traces: 1, metrics: 1 });
    let received = served.join().expect("no panic");
    assert_eq!(received[0].body, received[1].body, "the same request again");
}

#[test]
fn a_collector_that_stays_busy_is_given_up() {
    let (_directory, path) = recording();
    let busy = "HTTP/1.1 429 Slow down\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
    let (url, served) = collector(vec![busy; TRIES as usize]);
    let error = Collector::new(&url, PATIENCE).expect("an address").upload(&path).expect_err("never taken");
    assert!(matches!(error, UploadError::Refused { status: 429, line: 1, .. }), "{error}");
    assert_eq!(served.join().expect("no panic").len(), TRIES as usize);
}

#[test]
fn a_refusal_says_why() {
    let (_directory, path) = recording();
    let (url, served) = collector(vec!["HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nno spans!"]);
    let error = Collector::new(&url, PATIENCE).expect("an address").upload(&path).expect_err("refused");
    match error {
        UploadError::Refused { status, message, line, .. } => {
            assert_eq!((status, message.as_str(), line), (400, "no spans!", 1));
        }
        other => panic!("refused, not {other}"),
    }
    served.join().expect("no panic");
}

#[test]
fn a_partial_success_is_a_failure() {
    let (_directory, path) = recording();
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 66\r\n\r\n\
                  {\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"too old\"}}  ";
    let (url, served) = collector(vec![answer]);
    let error = Collector::new(&url, PATIENCE).expect("an address").upload(&path).expect_err("not all taken");
    match error {
        UploadError::PartlyTaken { rejected, message, .. } => assert_eq!((rejected, message.as_str()), (3, "too old")),
        other => panic!("partly taken, not {other}"),
    }
    served.join().expect("no panic");
}

#[test]
fn a_silent_collector_times_out() {
    let (_directory, path) = recording();
    // It accepts connections, in the backlog, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let collector = Collector::new(&url, Duration::from_millis(50)).expect("an address");
    assert!(matches!(collector.upload(&path), Err(UploadError::TimedOut { line: 1, .. })));
}

#[test]
fn nobody_there_is_told() {
    let (_directory, path) = recording();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let error = Collector::new(&url, PATIENCE).expect("an address").upload(&path).expect_err("nobody there");
    assert!(matches!(error, UploadError::Unreachable { .. }), "{error}");
}

#[test]
fn a_wrong_address_or_file_is_told() {
    assert!(matches!(Collector::new("collector:4318", PATIENCE), Err(UploadError::Address { .. })));
    assert!(matches!(Collector::new("https://collector", PATIENCE), Err(UploadError::Address { .. })));
    let collector = Collector::new("http://127.0.0.1:9", PATIENCE).expect("an address");
    assert!(matches!(collector.upload(Path::new("/nonexistent/trace")), Err(UploadError::File { .. })));
    let (_directory, path) = recording();
    std::fs::write(&path, "\n{\"logs\":[]}\n").expect("a file");
    assert!(matches!(collector.upload(&path), Err(UploadError::NotARequest { line: 2 })));
}
