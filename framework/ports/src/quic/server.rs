//! The called side: clients come in, their requests go up, the answers go back; all of it bounded in number and time.

use super::{TlsOptions, within};
use crate::certificate::peer_certificate;
use crate::clock::Clock;
use crate::tls::TlsRequest;
use ntmobile_proto::certificate::PeerCertificate;
use ntmobile_wire::key::secret_bytes;
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream};
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// What a stream is reset with that gets no answer.
const NO_ANSWER: u32 = 1;
/// What a connection is closed with whose certificate names nobody, or no role.
const NO_BEARER: u32 = 2;
/// What a connection is closed with that asks nothing.
const IDLE: u32 = 3;

/// What the tasks of one server share.
struct Server {
    clock: Arc<dyn Clock>,
    options: TlsOptions,
    requests: Arc<Semaphore>,
    queue: mpsc::Sender<TlsRequest>,
}

/// Accepts clients until the endpoint is closed.
pub(super) async fn serve(
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    options: TlsOptions,
    queue: mpsc::Sender<TlsRequest>,
) {
    let connections = Arc::new(Semaphore::new(options.max_connections));
    let requests = Arc::new(Semaphore::new(options.max_requests));
    let server = Arc::new(Server { clock, options, requests, queue });
    while let Some(incoming) = endpoint.accept().await {
        match connections.clone().try_acquire_owned() {
            Ok(place) => drop(tokio::spawn(server.clone().client(incoming, place))),
            Err(_) => incoming.refuse(),
        }
    }
}

impl Server {
    /// Looks after one client for as long as its connection stands.
    async fn client(self: Arc<Self>, incoming: Incoming, _place: OwnedSemaphorePermit) {
        let handshake = within(&*self.clock, self.options.handshake_timeout, incoming.into_future());
        let Some(Ok(connection)) = handshake.await else { return };
        let certificate = match certificate(&connection) {
            Ok(certificate) => certificate,
            Err(()) => return connection.close(NO_BEARER.into(), b"the certificate names no host or no role"),
        };
        loop {
            let stream = match within(&*self.clock, self.options.idle_timeout, connection.accept_bi()).await {
                Some(Ok(stream)) => stream,
                Some(Err(_)) => return,
                None => return connection.close(IDLE.into(), b"idle"),
            };
            // Without a place the client waits in its own buffers, not in ours.
            let Ok(place) = self.requests.clone().acquire_owned().await else { return };
            let remote = connection.remote_address();
            let from = SocketAddr::new(remote.ip().to_canonical(), remote.port());
            tokio::spawn(self.clone().request(stream, from, certificate.clone(), place));
        }
    }

    /// Takes one request, has it answered and sends the answer.
    async fn request(
        self: Arc<Self>,
        (mut send, receive): (SendStream, RecvStream),
        from: SocketAddr,
        certificate: Option<PeerCertificate>,
        _place: OwnedSemaphorePermit,
    ) {
        let limit = self.options.request_timeout;
        let answer = async {
            let mut receive = receive;
            let frame = within(&*self.clock, limit, receive.read_to_end(self.options.max_frame)).await?.ok()?;
            let (answer, answered) = oneshot::channel();
            let request = TlsRequest { from, certificate, frame: secret_bytes(frame), answer };
            within(&*self.clock, limit, async {
                self.queue.send(request).await.ok()?;
                answered.await.ok()
            })
            .await?
        };
        match answer.await {
            Some(answer) if answer.len() <= self.options.max_frame => {
                // A client that is gone meanwhile does not miss it.
                let sent = within(&*self.clock, limit, send.write_chunk(answer)).await;
                if !matches!(sent, Some(Ok(()))) || send.finish().is_err() {
                    drop(send.reset(NO_ANSWER.into()));
                }
            }
            _ => drop(send.reset(NO_ANSWER.into())),
        }
    }
}

/// The client's certificate, which TLS has verified, if it showed one.
fn certificate(connection: &Connection) -> Result<Option<PeerCertificate>, ()> {
    let Some(shown) = connection.peer_identity() else { return Ok(None) };
    let chain = shown.downcast::<Vec<CertificateDer<'static>>>().map_err(drop)?;
    chain.first().map(|leaf| peer_certificate(leaf).map_err(drop)).transpose()
}
