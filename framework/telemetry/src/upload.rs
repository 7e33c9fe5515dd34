//! OTLP over HTTP: sends a recorded file to a collector, after the run and on a thread of its own.
//!
//! Every line of the file is a request as it stands, so it is posted as JSON to the collector's `/v1/traces` or
//! `/v1/metrics`. The connection is made straight to the collector and is not encrypted (`http://`): send through a
//! collector on the same machine what must not be read on the way.

use serde::Deserialize;
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
            Some(host) if !host.is_empty() => Ok(Self { url, timeout }),
            _ => Err(UploadError::Address { url }),
        }
    }

    /// Sends a recorded file and waits until it is sent.
    pub fn upload(&self, path: &Path) -> Result<Uploaded, UploadError> {
        let file_error = |source| UploadError::File { path: path.to_owned(), source };
        let file = BufReader::new(File::open(path).map_err(file_error)?);
        let deadline = Instant::now() + self.timeout;
        let agent = agent();
        let mut uploaded = Uploaded::default();
        for (line, body) in (1..).zip(file.lines()) {
            let body = body.map_err(file_error)?;
            if body.trim().is_empty() {
                continue;
            }
            let signal = signal_of(&body).ok_or(UploadError::NotARequest { line })?;
            Post { agent: &agent, url: format!("{}/v1/{signal}", self.url), line, body: &body, deadline }.send()?;
            let sent = if signal == "traces" { &mut uploaded.traces } else { &mut uploaded.metrics };
            *sent += 1;
        }
        Ok(uploaded)
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
    pub(crate) fn send(&mut self, body: &str) -> Result<(), UploadError> {
        self.sent += 1;
        let signal = signal_of(body).ok_or(UploadError::NotARequest { line: self.sent })?;
        let url = format!("{}/v1/{signal}", self.collector.url);
        let deadline = Instant::now() + self.collector.timeout;
        Post { agent: &self.agent, url, line: self.sent, body, deadline }.send()
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0).build(),
    )
}

/// Which of a collector's paths takes this line.
fn signal_of(body: &str) -> Option<&'static str> {
    if body.starts_with(r#"{"resourceSpans""#) {
        Some("traces")
    } else if body.starts_with(r#"{"resourceMetrics""#) {
        Some("metrics")
    } else {
        None
    }
}

/// One request on its way.
struct Post<'a> {
    agent: &'a ureq::Agent,
    url: String,
    line: u64,
    body: &'a str,
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
            let text = answer.body_mut().with_config().limit(ANSWER_LIMIT).read_to_string().unwrap_or_default();
            if !(200..300).contains(&status) {
                let message = text.chars().take(200).collect();
                return Err(UploadError::Refused { url: self.url.clone(), line: self.line, status, message });
            }
            return self.check_whole(&text);
        }
        Ok(())
    }

    fn once(&self) -> Result<ureq::http::Response<ureq::Body>, UploadError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.timed_out());
        }
        let request = self.agent.post(&self.url).config().timeout_global(Some(left)).build();
        request.header("content-type", "application/json").send(self.body).map_err(|error| match error {
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

    /// A collector may take a request and still drop some of it; an answer that is not JSON says nothing of that.
    fn check_whole(&self, answer: &str) -> Result<(), UploadError> {
        let partial = serde_json::from_str::<Answer>(answer).ok().and_then(|answer| answer.partial_success);
        match partial {
            Some(partial) if partial.rejected() > 0 => Err(UploadError::PartlyTaken {
                url: self.url.clone(),
                line: self.line,
                rejected: partial.rejected(),
                message: partial.error_message,
            }),
            _ => Ok(()),
        }
    }
}

/// The answer to either kind of request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    partial_success: Option<PartialSuccess>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct PartialSuccess {
    rejected_spans: Number,
    rejected_data_points: Number,
    error_message: String,
}

impl PartialSuccess {
    fn rejected(&self) -> u64 {
        self.rejected_spans.value().saturating_add(self.rejected_data_points.value())
    }
}

/// A 64-bit integer, which OTLP/JSON writes as a string and some collectors as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Text(String),
}

impl Default for Number {
    fn default() -> Self {
        Self::Plain(0)
    }
}

impl Number {
    fn value(&self) -> u64 {
        match self {
            Self::Plain(number) => *number,
            Self::Text(text) => text.parse().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
