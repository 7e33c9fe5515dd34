//! OTLP over HTTP: sends a recorded file to a collector, after the run and on a thread of its own.
//!
//! Every line of the file is a request, which is posted to the collector's `/v1/traces` or `/v1/metrics`: as protobuf, which
//! every collector takes, or as JSON, as it stands ([`Encoding`]). The connection is made straight to the collector and is not encrypted (`http://`): send through a
//! collector on the same machine what must not be read on the way.

mod body;

pub use body::Encoding;
use body::{Request, Signal};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a request is tried when the collector says that it is busy.
const TRIES: u32 = 4;

/// The longest wait before the next try, whatever the collector asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How much of an answer is read.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// Where to send, and how patiently.
#[derive(Clone, Debug)]
pub struct Collector {
    url: String,
    timeout: Duration,
    encoding: Encoding,
}

/// What a collector has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Requests with spans.
    pub traces: u64,
    /// Requests with counters and distributions.
    pub metrics: u64,
}

/// Why a file was not sent, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The address is not one that can be sent to.
    #[error("`{url}` is not a collector's address: it must start with http://")]
    Address {
        /// The address.
        url: String,
    },
    /// The file could not be read.
    #[error("{path} could not be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is neither spans nor metrics.
    #[error("line {line} is not an OTLP request")]
    NotARequest {
        /// Which line, counted from 1.
        line: u64,
    },
    /// The collector was not reached, or the connection broke.
    #[error("{url} was not reached (line {line}): {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Which line was being sent.
        line: u64,
        /// What the connection said.
        reason: String,
    },
    /// It took too long.
    #[error("{url} did not take everything in time (line {line})")]
    TimedOut {
        /// Where.
        url: String,
        /// Which line was being sent.
        line: u64,
    },
    /// The collector does not take it.
    #[error("{url} refused line {line} with status {status}: {message}")]
    Refused {
        /// Where.
        url: String,
        /// Which line was being sent.
        line: u64,
        /// The HTTP status.
        status: u16,
        /// The beginning of its answer.
        message: String,
    },
    /// The collector took a request but not everything in it.
    #[error("{url} dropped {rejected} items of line {line}: {message}")]
    PartlyTaken {
        /// Where.
        url: String,
        /// Which line was being sent.
        line: u64,
        /// How many spans or data points it dropped.
        rejected: u64,
        /// Why, in its words.
        message: String,
    },
}

impl Collector {
    /// A collector by its base address, such as `http://localhost:4318`, which may take `timeout` for a whole file.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, UploadError> {
        let url = url.trim_end_matches('/').to_owned();
        match url.strip_prefix("http://") {
            Some(host) if !host.is_empty() => Ok(Self { url, timeout, encoding: Encoding::default() }),
            _ => Err(UploadError::Address { url }),
        }
    }

    /// Sends requests in this encoding.
    pub fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Sends a recorded file and waits until it is sent.
    pub fn upload(&self, path: &Path) -> Result<Uploaded, UploadError> {
        let file_error = |source| UploadError::File { path: path.to_owned(), source };
        let file = BufReader::new(File::open(path).map_err(file_error)?);
        let deadline = Instant::now() + self.timeout;
        let agent = agent();
        let mut uploaded = Uploaded::default();
        for (line, text) in (1..).zip(file.lines()) {
            let text = text.map_err(file_error)?;
            if text.trim().is_empty() {
                continue;
            }
            let request = Request::new(&text, self.encoding).ok_or(UploadError::NotARequest { line })?;
            self.post(&agent, line, &request, deadline)?;
            match request.signal {
                Signal::Traces => uploaded.traces += 1,
                Signal::Metrics => uploaded.metrics += 1,
            }
        }
        Ok(uploaded)
    }

    fn post(&self, agent: &ureq::Agent, line: u64, request: &Request, deadline: Instant) -> Result<(), UploadError> {
        let url = format!("{}{}", self.url, request.signal.path());
        Post { agent, url, line, request, deadline }.send()
    }

    /// Sends a recorded file on a thread of its own; join it to learn what came of it.
    pub fn upload_in_background(self, path: PathBuf) -> JoinHandle<Result<Uploaded, UploadError>> {
        std::thread::spawn(move || self.upload(&path))
    }
}

/// Sends one recorded line after the other, over connections that are kept.
pub(crate) struct Courier {
    collector: Collector,
    agent: ureq::Agent,
    sent: u64,
}

impl Courier {
    pub(crate) fn new(collector: Collector) -> Self {
        Self { collector, agent: agent(), sent: 0 }
    }

    /// Sends a line; the collector's time counts for each anew.
    pub(crate) fn send(&mut self, line: &str) -> Result<(), UploadError> {
        self.sent += 1;
        let request = Request::new(line, self.collector.encoding);
        let request = request.ok_or(UploadError::NotARequest { line: self.sent })?;
        let deadline = Instant::now() + self.collector.timeout;
        self.collector.post(&self.agent, self.sent, &request, deadline)
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0).build(),
    )
}

/// One request on its way.
struct Post<'a> {
    agent: &'a ureq::Agent,
    url: String,
    line: u64,
    request: &'a Request,
    deadline: Instant,
}

impl Post<'_> {
    /// Sends it, again while the collector says that it is busy.
    fn send(&self) -> Result<(), UploadError> {
        for attempt in 1.. {
            let mut answer = self.once()?;
            let status = answer.status().as_u16();
            let busy = matches!(status, 429 | 502 | 503 | 504);
            if busy && attempt < TRIES {
                self.pause(&answer, attempt)?;
                continue;
            }
            let encoding = body::encoding_of(answer.headers());
            let said = answer.body_mut().with_config().limit(ANSWER_LIMIT).read_to_vec().unwrap_or_default();
            if !(200..300).contains(&status) {
                let message = body::refusal(&said, encoding).chars().take(200).collect();
                return Err(UploadError::Refused { url: self.url.clone(), line: self.line, status, message });
            }
            return self.check_whole(&said, encoding);
        }
        Ok(())
    }

    fn once(&self) -> Result<ureq::http::Response<ureq::Body>, UploadError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.timed_out());
        }
        let request = self.agent.post(&self.url).config().timeout_global(Some(left)).build();
        let request = request.header("content-type", self.request.encoding.content_type());
        request.send(&self.request.bytes[..]).map_err(|error| match error {
            ureq::Error::Timeout(_) => self.timed_out(),
            other => UploadError::Unreachable { url: self.url.clone(), line: self.line, reason: other.to_string() },
        })
    }

    /// Waits as long as the collector asks for, else longer with each attempt.
    fn pause(&self, answer: &ureq::http::Response<ureq::Body>, attempt: u32) -> Result<(), UploadError> {
        let asked = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let wait = asked.map_or(Duration::from_secs(1 << attempt.min(4)), Duration::from_secs).min(LONGEST_WAIT);
        if Instant::now() + wait > self.deadline {
            return Err(self.timed_out());
        }
        std::thread::sleep(wait);
        Ok(())
    }

    fn timed_out(&self) -> UploadError {
        UploadError::TimedOut { url: self.url.clone(), line: self.line }
    }

    /// A collector may take a request and still drop some of it; an answer that cannot be read says nothing of that.
    fn check_whole(&self, answer: &[u8], encoding: Option<Encoding>) -> Result<(), UploadError> {
        match body::dropped(answer, encoding, self.request.signal) {
            Some((rejected, message)) if rejected > 0 => {
                Err(UploadError::PartlyTaken { url: self.url.clone(), line: self.line, rejected, message })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
