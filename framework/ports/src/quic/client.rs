//! The calling side: a connection for each server, made when needed and kept for the next request.

use super::runtime::Socket;
use super::{TlsOptions, within};
use crate::certificate::peer_certificate;
use crate::clock::Clock;
use crate::tls::ServerIdentity;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ntmobile_proto::machine::{CertificateFault, TlsFailure};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::key::secret_bytes;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, ReadError, ReadToEndError, WriteError};
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

/// Calls to more servers than this at once share no connections.
const MOST_SERVERS: usize = 1_024;
/// The alert for a certificate that has expired or is not valid yet.
const CERTIFICATE_EXPIRED: u64 = 45;
/// The alerts for a certificate of an unknown authority, and for one that its authority has not signed: every network's authority
/// has the same name.
const OTHER_AUTHORITY: [u64; 2] = [48, 51];
/// TLS alerts are QUIC errors from here on (RFC 9001 §4.8).
const CRYPTO_ERRORS: u64 = 0x100;
/// The alerts that mean that a certificate was refused (RFC 8446 §6.2): bad, unsupported, revoked, expired and unknown
/// certificate, unknown authority, access denied, bad signature, certificate required.
const CERTIFICATE_ALERTS: [u64; 9] = [42, 43, 44, 45, 46, 48, 49, 51, 116];

/// What a connection is closed with whose server may not play the part that it is asked to play.
const WRONG_BEARER: u32 = 4;

/// A place for the connection to one server; locked while it is being made, so that concurrent calls share it.
type Place = Arc<AsyncMutex<Option<Connection>>>;

pub(super) struct Client {
    endpoint: Endpoint,
    socket: Arc<Socket>,
    clock: Arc<dyn Clock>,
    anonymous: ClientConfig,
    mutual: Option<ClientConfig>,
    options: TlsOptions,
    /// By server and by whether our certificate was shown.
    places: Mutex<BTreeMap<(ServerIdentity, bool), Place>>,
}

impl Client {
    pub(super) fn new(
        endpoint: Endpoint,
        socket: Arc<Socket>,
        clock: Arc<dyn Clock>,
        anonymous: ClientConfig,
        mutual: Option<ClientConfig>,
        options: TlsOptions,
    ) -> Self {
        Self { endpoint, socket, clock, anonymous, mutual, options, places: Mutex::default() }
    }

    pub(super) async fn call(
        &self,
        server: &ServerIdentity,
        addresses: DualStack,
        request: Bytes,
        mutual: bool,
    ) -> Result<Bytes, TlsFailure> {
        if request.len() > self.options.max_frame {
            return Err(TlsFailure::Broken);
        }
        let key = (server.clone(), mutual);
        let asked = within(&*self.clock, self.options.call_timeout, self.ask_twice(&key, addresses, &request)).await;
        asked.unwrap_or_else(|| {
            // Whatever the old connection's path has become, the next call does not wait for it.
            self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            Err(TlsFailure::TimedOut)
        })
    }

    /// Asks, and once more beside it on a connection of its own when the answer takes long. Requests can be repeated.
    async fn ask_twice(
        &self,
        key: &(ServerIdentity, bool),
        addresses: DualStack,
        request: &Bytes,
    ) -> Result<Bytes, TlsFailure> {
        let mut first = std::pin::pin!(self.ask(key, addresses, request));
        tokio::select! {
            biased;
            answer = &mut first => return answer,
            () = self.clock.sleep(self.options.second_attempt) => {}
        }
        let second = async {
            let connection = self.connect(&key.0, addresses, key.1).await?;
            self.exchange(&connection, request).await
        };
        // What the first says holds, whatever it is; of the second only an answer counts.
        let second = async {
            match second.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = first => answer,
            answer = second => Ok(answer),
        }
    }

    async fn ask(
        &self,
        key: &(ServerIdentity, bool),
        addresses: DualStack,
        request: &Bytes,
    ) -> Result<Bytes, TlsFailure> {
        let place = self.place(key);
        let mut held = place.lock().await;
        if let Some(standing) = held.clone().filter(|connection| connection.close_reason().is_none()) {
            drop(held);
            match self.exchange(&standing, request).await {
                Ok(answer) => return Ok(answer),
                // The server may have been restarted since: requests can be repeated, and a new connection tells.
                Err(_) if standing.close_reason().is_some() => held = place.lock().await,
                Err(failure) => return Err(failure),
            }
        }
        let connection = match held.clone().filter(|connection| connection.close_reason().is_none()) {
            Some(made_meanwhile) => made_meanwhile,
            None => {
                let made = self.connect(&key.0, addresses, key.1).await?;
                *held = Some(made.clone());
                made
            }
        };
        drop(held);
        self.exchange(&connection, request).await
    }

    /// The place of a server's connection. When there are too many, those of closed connections go, and after them the
    /// new one is not kept.
    fn place(&self, key: &(ServerIdentity, bool)) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MOST_SERVERS && !places.contains_key(key) {
            places.retain(|_, place| {
                place.try_lock().map_or(true, |held| held.as_ref().is_some_and(|c| c.close_reason().is_none()))
            });
            if places.len() >= MOST_SERVERS {
                return Place::default();
            }
        }
        places.entry(key.clone()).or_default().clone()
    }

    pub(super) fn forget_all(&self) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Connects to the first address that answers.
    async fn connect(
        &self,
        server: &ServerIdentity,
        addresses: DualStack,
        mutual: bool,
    ) -> Result<Connection, TlsFailure> {
        let mut waiting = addresses.iter().peekable();
        let mut attempts = FuturesUnordered::new();
        let mut failure = TlsFailure::Broken;
        loop {
            if let Some(address) = waiting.next() {
                attempts.push(self.attempt(server, address, mutual));
            }
            let is_last = waiting.peek().is_none();
            tokio::select! {
                biased;
                attempt = attempts.next() => match attempt {
                    Some(Ok(connection)) => return Ok(connection),
                    // A wrong certificate says more than another address's silence.
                    Some(Err(refused)) if !matches!(failure, TlsFailure::Certificate(_)) => failure = refused,
                    Some(Err(_)) => {}
                    None => return Err(failure),
                },
                () = self.clock.sleep(self.options.head_start), if !is_last => {}
            }
        }
    }

    async fn attempt(
        &self,
        server: &ServerIdentity,
        address: SocketAddr,
        mutual: bool,
    ) -> Result<Connection, TlsFailure> {
        let config = if mutual {
            self.mutual.clone().ok_or(TlsFailure::Certificate(CertificateFault::NoneToShow))?
        } else {
            self.anonymous.clone()
        };
        self.socket.try_again(address);
        let connecting =
            self.endpoint.connect_with(config, address, server.name.as_str()).map_err(|_| TlsFailure::Broken)?;
        let connection = tokio::select! {
            biased;
            connected = connecting => connected.map_err(|error| failure(&error))?,
            () = self.socket.unreachable(address) => return Err(TlsFailure::Broken),
        };
        // TLS has verified the name; whether its bearer may be asked at all is ours to see, before anything is said.
        if is(&connection, server) {
            Ok(connection)
        } else {
            connection.close(WRONG_BEARER.into(), b"the certificate is not that of such a server");
            Err(TlsFailure::Certificate(CertificateFault::OtherBearer))
        }
    }

    async fn exchange(&self, connection: &Connection, request: &Bytes) -> Result<Bytes, TlsFailure> {
        let (mut send, mut receive) = connection.open_bi().await.map_err(|error| failure(&error))?;
        send.write_chunk(request.clone()).await.map_err(|error| match error {
            WriteError::ConnectionLost(error) => failure(&error),
            _ => TlsFailure::Broken,
        })?;
        send.finish().map_err(|_| TlsFailure::Broken)?;
        let answer = receive.read_to_end(self.options.max_frame).await.map_err(|error| match error {
            ReadToEndError::Read(ReadError::ConnectionLost(error)) => failure(&error),
            _ => TlsFailure::Broken,
        })?;
        // It may hold keys.
        Ok(secret_bytes(answer))
    }
}

/// Whether the other end of a connection is this server.
fn is(connection: &Connection, server: &ServerIdentity) -> bool {
    let chain = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let bearer = chain.as_ref().and_then(|chain| chain.first()).and_then(|leaf| peer_certificate(leaf).ok());
    bearer.is_some_and(|bearer| bearer.proves(server.role, &server.name))
}

fn failure(error: &ConnectionError) -> TlsFailure {
    let (code, is_ours) = match error {
        ConnectionError::TransportError(error) => (u64::from(error.code), false),
        ConnectionError::ConnectionClosed(close) => (u64::from(close.error_code), true),
        ConnectionError::TimedOut => return TlsFailure::TimedOut,
        _ => return TlsFailure::Broken,
    };
    match code.checked_sub(CRYPTO_ERRORS) {
        Some(alert) if CERTIFICATE_ALERTS.contains(&alert) => TlsFailure::Certificate(match alert {
            _ if is_ours => CertificateFault::Ours,
            CERTIFICATE_EXPIRED => CertificateFault::OutOfDate,
            alert if OTHER_AUTHORITY.contains(&alert) => CertificateFault::OtherAuthority,
            _ => CertificateFault::OtherBearer,
        }),
        _ => TlsFailure::Broken,
    }
}
