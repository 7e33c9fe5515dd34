//! Periodic export: what a recorder writes, sent to a collector line by line while the host runs.
//!
//! Recording never waits for the network: lines queue up to a bound, and what comes when the queue is full is dropped and
//! counted. One thread sends.

use crate::upload::{Collector, Courier, UploadError};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// So many lines may wait to be sent; each holds up to 256 spans or all counters of one entity.
const QUEUE: usize = 64;

/// How often the end is looked for.
const PAUSE: Duration = Duration::from_millis(5);

/// A recorder writes here; give it to [`Recorder::new`](crate::Recorder::new).
pub struct ExportQueue {
    line: Vec<u8>,
    lines: SyncSender<String>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Lines that were queued and not yet sent, or given up.
    waiting: AtomicU64,
    /// Lines that found the queue full.
    dropped: AtomicU64,
}

/// Sends in the background until the writer is gone.
#[derive(Debug)]
pub struct Exporter {
    counts: Arc<Counts>,
}

impl Exporter {
    /// Starts to send to `collector`; `failed` hears of every line that was not taken.
    pub fn start(collector: Collector, failed: impl Fn(UploadError) + Send + 'static) -> (ExportQueue, Self) {
        let (lines, queue) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let told = Arc::clone(&counts);
        std::thread::spawn(move || send(Courier::new(collector), &queue, &told, failed));
        (ExportQueue { line: Vec::new(), lines, counts: Arc::clone(&counts) }, Self { counts })
    }

    /// How many lines were dropped because the collector could not keep up.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything that was written is sent or given up, but no longer than `patience`; whether it is.
    pub fn finish(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.counts.waiting.load(Ordering::Acquire) > 0 {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        true
    }
}

fn send(mut courier: Courier, queue: &Receiver<String>, counts: &Counts, failed: impl Fn(UploadError)) {
    while let Ok(line) = queue.recv() {
        if let Err(error) = courier.send(&line) {
            failed(error);
        }
        counts.waiting.fetch_sub(1, Ordering::Release);
    }
}

impl Write for ExportQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        self.line.extend_from_slice(&bytes[..end]);
        let line = String::from_utf8(std::mem::take(&mut self.line))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a line is text"))?;
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        // Nobody takes it any more only when the thread has panicked; the host goes on without telling of itself.
        if self.lines.try_send(line).is_err() {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(end + 1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::Encoding;
    use std::io::{BufRead, BufReader, Read};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A collector that takes `requests` posts and returns path and body of each.
    fn collector(requests: usize) -> (Collector, JoinHandle<Vec<(String, String)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let taken = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream);
            (0..requests)
                .map(|_| {
                    let (mut path, mut length) = (String::new(), 0);
                    reader.read_line(&mut path).expect("a request line");
                    loop {
                        let mut header = String::new();
                        reader.read_line(&mut header).expect("a header");
                        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().expect("a length");
                        }
                        if header.trim().is_empty() {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).expect("a body");
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                    reader.get_mut().write_all(answer).expect("answered");
                    (path, String::from_utf8(body).expect("text"))
                })
                .collect()
        });
        let collector = Collector::new(&url, Duration::from_secs(10)).expect("an address");
        (collector.with_encoding(Encoding::Json), taken)
    }

    #[test]
    fn lines_reach_the_collector_whole_and_by_their_kind() {
        let (collector, taken) = collector(2);
        let (mut queue, exporter) = Exporter::start(collector, |error| panic!("{error}"));
        for piece in ["{\"resourceSpans\":", "[]}\n", "{\"resourceMetrics\":[]}\n"] {
            queue.write_all(piece.as_bytes()).expect("it never fails");
        }
        assert!(exporter.finish(Duration::from_secs(30)), "it takes no time");
        let taken = taken.join().expect("the collector");
        assert!(taken[0].0.starts_with("POST /v1/traces ") && taken[0].1 == "{\"resourceSpans\":[]}", "{taken:?}");
        assert!(taken[1].0.starts_with("POST /v1/metrics ") && taken[1].1 == "{\"resourceMetrics\":[]}", "{taken:?}");
    }

    #[test]
    fn a_collector_that_is_not_there_costs_lines_and_nothing_else() {
        let collector = Collector::new("http://127.0.0.1:9", Duration::from_secs(1)).expect("an address");
        let (failures, told) = std::sync::mpsc::channel();
        let (mut queue, exporter) = Exporter::start(collector, move |error| failures.send(error).expect("we listen"));
        for _ in 0..1_000 {
            queue.write_all(b"{\"resourceSpans\":[]}\n").expect("it never fails");
        }
        let dropped = exporter.dropped();
        assert!(exporter.finish(Duration::from_secs(30)), "refusals take no time");
        drop(queue);
        assert_eq!(told.iter().count() as u64 + dropped, 1_000, "each line has failed or was dropped");
    }
}
