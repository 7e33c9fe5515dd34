//! TLS legs over QUIC: one bidirectional stream for each request and its answer.
//!
//! **Time of a call**, in one-way flights of the path, when nothing is lost:
//!
//! | call | flights |
//! | --- | --- |
//! | the first to a server | 4: hello · server's certificate · (own certificate and) request · answer |
//! | while that connection stands | 2: request · answer |
//! | the first after the server was started anew | 6: request · *forgotten* (stateless reset), then as the first |
//!
//! Nothing adds to that: certificate chains are one certificate of less than 500 bytes, so that a server's first flight
//! stays far below the 3 × 1,200 bytes that QUIC grants it before the client's address is proved; datagrams are 1,200
//! bytes from the beginning to the end, since probing for more would be traffic that depends on timing; there is no retry,
//! no session ticket and no early data.
//!
//! **Bounds.** A server holds a bounded number of connections, requests under way and bytes for each; a client that is slow
//! in its handshake or in its request loses its place, and so does a connection that asks nothing.
//!
//! **Determinism.** With [`CryptoChoice::Injected`] everything that QUIC and TLS draw comes from the caller, and all
//! times from the clock: the same world gives the same datagrams.

mod client;
mod runtime;
mod server;
mod setup;
mod strangers;

pub use setup::{CryptoChoice, TlsSetupError};

use crate::certificate::Identity;
use crate::clock::Clock;
use crate::net::UdpPort;
use crate::tls::{ServerIdentity, Tls, TlsRequest};
use bytes::Bytes;
use client::Client;
use futures::future::BoxFuture;
use ntmobile_proto::machine::TlsFailure;
use ntmobile_wire::address::DualStack;
use rustls::RootCertStore;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// The bounds of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct TlsOptions {
    /// How long a call may take in all.
    pub call_timeout: Duration,
    /// How long a connection is kept without a request.
    pub idle_timeout: Duration,
    /// How long a client may take over its handshake.
    pub handshake_timeout: Duration,
    /// How long a client may take over its request, and we over the answer.
    pub request_timeout: Duration,
    /// How long a call waits on one connection before it is begun once more on another beside it, and the first answer of
    /// either counts: QUIC's waits double with each loss, and of its few tries all may be lost.
    pub second_attempt: Duration,
    /// How long the first address is tried alone before the second is tried too (RFC 8305).
    pub head_start: Duration,
    /// The largest request or answer.
    pub max_frame: usize,
    /// How many clients may be connected; with the idle time it bounds how many new ones a second are served (default 4,096,
    /// which is 136 a second).
    pub max_connections: usize,
    /// How many of their requests may be under way.
    pub max_requests: usize,
    /// Whether to accept clients, given an identity to show them.
    pub serve: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            second_attempt: Duration::from_secs(5),
            head_start: Duration::from_millis(250),
            max_frame: 64 * 1_024,
            max_connections: 4_096,
            max_requests: 256,
            serve: true,
        }
    }
}

/// One end of TLS legs on a UDP port of its own.
pub struct TlsEndpoint {
    endpoint: quinn::Endpoint,
    socket: Arc<runtime::Socket>,
    client: Arc<Client>,
    requests: Mutex<mpsc::Receiver<TlsRequest>>,
}

impl TlsEndpoint {
    /// Opens an endpoint on `udp`. It calls servers whose certificates `trust` covers; with an `identity` it can show one
    /// itself, and accepts clients. Must be called within a runtime.
    pub fn new(
        udp: Arc<dyn UdpPort>,
        clock: Arc<dyn Clock>,
        identity: Option<Identity>,
        trust: RootCertStore,
        crypto: CryptoChoice,
        options: TlsOptions,
    ) -> Result<Self, TlsSetupError> {
        let setup = setup::Setup::new(identity, trust, crypto, clock.clone(), udp.port(), &options)?;
        let socket = Arc::new(runtime::Socket::new(udp));
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            setup.endpoint,
            setup.server.clone(),
            socket.clone(),
            Arc::new(runtime::ClockRuntime::new(clock.clone())),
        )
        .map_err(|error| TlsSetupError::Endpoint(error.to_string()))?;
        // The queue is short: a server that cannot keep up lets its clients wait in their streams.
        let (queue, requests) = mpsc::channel(16);
        if setup.server.is_some() {
            tokio::spawn(server::serve(endpoint.clone(), clock.clone(), options, queue));
        }
        let client = Client::new(endpoint.clone(), Arc::clone(&socket), clock, setup.anonymous, setup.mutual, options);
        Ok(Self { endpoint, socket, client: Arc::new(client), requests: Mutex::new(requests) })
    }

    /// Calls `tell` for every datagram that belongs to no connection, as far as can be seen without its keys.
    pub fn tell_strangers(&self, tell: impl Fn() + Send + Sync + 'static) {
        self.socket.strangers().tell(tell);
    }

    /// Asks `server`, whose certificate must say that it is that, and returns its answer. Shows the own certificate if
    /// `mutual`. The server's addresses are tried in order, the later one after a head start for the earlier.
    pub async fn call(
        &self,
        server: &ServerIdentity,
        addresses: DualStack,
        request: Bytes,
        mutual: bool,
    ) -> Result<Bytes, TlsFailure> {
        self.client.call(server, addresses, request, mutual).await
    }

    /// Waits for the next request of a client; `None` when the endpoint is closed or accepts none.
    pub async fn next_request(&self) -> Option<TlsRequest> {
        self.requests.lock().await.recv().await
    }

    /// Forgets the connections that stand: the host has moved, and the next call makes a new one at once instead of
    /// finding out by a time-out that the old path is gone.
    pub fn network_changed(&self) {
        self.client.forget_all();
    }

    /// Closes every connection and accepts no more.
    pub fn close(&self) {
        self.endpoint.close(0u32.into(), b"closed");
    }
}

impl Tls for TlsEndpoint {
    fn call(
        &self,
        server: ServerIdentity,
        addresses: DualStack,
        frame: Bytes,
        mutual: bool,
    ) -> BoxFuture<'static, Result<Bytes, TlsFailure>> {
        let client = self.client.clone();
        Box::pin(async move { client.call(&server, addresses, frame, mutual).await })
    }

    fn network_changed(&self) {
        Self::network_changed(self);
    }

    fn request(&self) -> BoxFuture<'_, Option<TlsRequest>> {
        Box::pin(self.next_request())
    }
}

impl Drop for TlsEndpoint {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for TlsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsEndpoint").finish_non_exhaustive()
    }
}

/// What `future` gives, or `None` when it takes longer than `limit`.
async fn within<T>(clock: &dyn Clock, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = clock.sleep(limit) => None,
    }
}
