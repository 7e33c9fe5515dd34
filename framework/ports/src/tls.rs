//! TLS legs: one request, one answer, between ends whose certificates are from the network's CA.

use bytes::Bytes;
use futures::future::BoxFuture;
use ntmobile_proto::certificate::{CertificateRole, PeerCertificate};
use ntmobile_proto::machine::TlsFailure;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::name::Fqdn;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// A request that a client has made.
#[derive(Debug)]
pub struct TlsRequest {
    /// Where it came from.
    pub from: SocketAddr,
    /// The client's certificate, if it showed one.
    pub certificate: Option<PeerCertificate>,
    /// The request in its frame.
    pub frame: Bytes,
    /// Takes the answer; dropped without one, the client's call fails.
    pub answer: oneshot::Sender<Bytes>,
}

/// Whom a call is to reach: what the server's certificate must say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerIdentity {
    /// Its name.
    pub name: Fqdn,
    /// The part that it may play.
    pub role: CertificateRole,
}

/// One end of TLS legs, with a port of its own: calls others and is called.
pub trait Tls: Send + Sync {
    /// Asks `server`, whose certificate must say that it is that, and returns its answer. Shows the own certificate if
    /// `mutual`. The caller limits the time.
    fn call(
        &self,
        server: ServerIdentity,
        addresses: DualStack,
        frame: Bytes,
        mutual: bool,
    ) -> BoxFuture<'static, Result<Bytes, TlsFailure>>;

    /// The host has moved: connections that stand lead nowhere any more.
    fn network_changed(&self);

    /// Waits for the next request of a client; `None` when the port is closed. One task at a time.
    fn request(&self) -> BoxFuture<'_, Option<TlsRequest>>;
}
