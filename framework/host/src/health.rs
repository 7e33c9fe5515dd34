//! How a process is, over HTTP on a port of its own: `/live` says that it runs, `/ready` that it does its duty, `/metrics`
//! what it has counted.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use ntmobile_telemetry::Recorder;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

/// So many connections there may be at once; others wait.
const VISITS: usize = 32;
/// How long a connection lasts: whoever asks again makes another.
const VISIT: Duration = Duration::from_secs(10);
/// How long a listener that fails is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// The port cannot be opened.
#[derive(Debug, Error)]
#[error("the health port {address} cannot be opened: {source}; choose another (health in [host])")]
pub struct HealthError {
    address: SocketAddr,
    source: io::Error,
}

/// Whether the process does its duty; clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// It does, or does not any more.
    pub fn set(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The HTTP server; it stops when this is dropped.
#[derive(Debug)]
pub struct Health {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Health {
    /// Serves at `address`.
    pub async fn start(address: SocketAddr, readiness: Readiness, recorder: Recorder) -> Result<Self, HealthError> {
        Self::start_with(address, readiness, recorder, VISIT).await
    }

    async fn start_with(
        address: SocketAddr,
        readiness: Readiness,
        recorder: Recorder,
        visit: Duration,
    ) -> Result<Self, HealthError> {
        let opened = async {
            let listener = TcpListener::bind(address).await?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = opened.await.map_err(|source| HealthError { address, source })?;
        let routes = Router::new()
            .route("/live", get(async || "live\n"))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .with_state(Shown { readiness, recorder });
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(Door::new(listener, visit), routes).await {
                tracing::error!(%error, "the health port is served no more");
            }
        });
        Ok(Self { address, task })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets so many in at once, each for so long, so that nobody who only sits there keeps others out.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    visit: Duration,
}

impl Door {
    fn new(listener: TcpListener, visit: Duration) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(VISITS)), visit }
    }
}

impl Listener for Door {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the places are never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => return (Visit { stream, end: Box::pin(sleep(self.visit)), _place: place }, from),
                // Of that one connection, or for want of descriptors.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection, which ends when its time is up.
struct Visit {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Visit {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.end.as_mut().poll(context).is_ready() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Visit {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[derive(Clone)]
struct Shown {
    readiness: Readiness,
    recorder: Recorder,
}

async fn ready(State(shown): State<Shown>) -> impl IntoResponse {
    if shown.readiness.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    match shown.recorder.prometheus() {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4")], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_proto::time::UnixTime;
    use ntmobile_telemetry::Timeline;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn asked(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn it_tells_life_readiness_and_counts_and_nothing_else() {
        let recorder = Recorder::counting(Timeline::open_ended(UnixTime(1)).expect("an epoch"));
        recorder.count("dc.u1.example", "dc.registered", 3);
        let readiness = Readiness::default();
        let any = "127.0.0.1:0".parse().expect("an address");
        let health = Health::start(any, readiness.clone(), recorder).await.expect("a port");
        assert!(asked(health.address(), "/live").await.starts_with("HTTP/1.1 200"));
        assert!(asked(health.address(), "/ready").await.starts_with("HTTP/1.1 503"));
        readiness.set(true);
        assert!(asked(health.address(), "/ready").await.starts_with("HTTP/1.1 200"));
        let metrics = asked(health.address(), "/metrics").await;
        assert!(metrics.contains("ntm_dc_registered_total{entity=\"dc.u1.example\"} 3"), "{metrics}");
        assert!(asked(health.address(), "/").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn whoever_only_sits_there_keeps_nobody_out() {
        let recorder = Recorder::counting(Timeline::open_ended(UnixTime(1)).expect("an epoch"));
        let any = "127.0.0.1:0".parse().expect("an address");
        let visit = Duration::from_millis(300);
        let health = Health::start_with(any, Readiness::default(), recorder, visit).await.expect("a port");
        let mut sitting = Vec::new();
        for _ in 0..2 * VISITS {
            sitting.push(TcpStream::connect(health.address()).await.expect("it listens"));
        }
        assert!(asked(health.address(), "/live").await.starts_with("HTTP/1.1 200"));
        for mut stream in sitting.drain(..VISITS) {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "it was sent away");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_with_its_number() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = taken.local_addr().expect("an address");
        let recorder = Recorder::counting(Timeline::open_ended(UnixTime(1)).expect("an epoch"));
        let error = Health::start(address, Readiness::default(), recorder).await.expect_err("it is taken");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
