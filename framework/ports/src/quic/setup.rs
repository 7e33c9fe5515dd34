//! How QUIC and TLS are configured: TLS 1.3 only, fixed datagram size, no tickets, and chance from where it is told.

use super::TlsOptions;
use crate::certificate::Identity;
use crate::clock::Clock;
use aws_lc_rs::{hkdf, hmac};
use ntmobile_wire::entropy::{Entropy, draw};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, ServerConfig, TimeSource,
    TransportConfig, ValidationTokenConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// The name of what is spoken inside (RFC 7301).
const PROTOCOL: &[u8] = b"ntm-tls/1";
/// The payload of every datagram: what every path carries, so that none is spent on finding out.
const DATAGRAM: u16 = 1_200;
/// The round trip assumed before one is measured. QUIC sends its first datagram again after three times as long, 400 ms; with
/// the 333 ms that RFC 9002 §6.2.2 advises it would be a second, and of a call's ten seconds a lossy path leaves too few tries.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(133);
/// How many requests of one client may be under way.
const STREAMS: u32 = 8;

/// Where cryptography comes from.
pub enum CryptoChoice {
    /// The operating system's chance.
    System,
    /// A provider and a stream of chance that the caller vouches for: the simulator's.
    Injected {
        /// What TLS computes and draws with.
        provider: Arc<CryptoProvider>,
        /// What QUIC draws from.
        entropy: Box<dyn Entropy + Send>,
    },
}

impl fmt::Debug for CryptoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Injected { .. } => "Injected",
        })
    }
}

/// Why an endpoint cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsSetupError {
    /// The identity or the trusted certificates are not usable.
    #[error("the certificates cannot be used: {0}")]
    Certificates(String),
    /// A bound is out of range.
    #[error("a bound of the TLS endpoint is out of range: {0}")]
    Bounds(String),
    /// QUIC refused.
    #[error("the QUIC endpoint cannot be opened: {0}")]
    Endpoint(String),
}

impl From<rustls::Error> for TlsSetupError {
    fn from(error: rustls::Error) -> Self {
        Self::Certificates(error.to_string())
    }
}

/// All that an endpoint is made of.
pub(super) struct Setup {
    pub(super) endpoint: EndpointConfig,
    pub(super) server: Option<ServerConfig>,
    /// For calls without an own certificate.
    pub(super) anonymous: ClientConfig,
    /// For calls with one.
    pub(super) mutual: Option<ClientConfig>,
}

impl Setup {
    pub(super) fn new(
        identity: Option<Identity>,
        trust: RootCertStore,
        crypto: CryptoChoice,
        clock: Arc<dyn Clock>,
        port: u16,
        options: &TlsOptions,
    ) -> Result<Self, TlsSetupError> {
        let (provider, chance) = match crypto {
            CryptoChoice::System => (Arc::new(rustls::crypto::aws_lc_rs::default_provider()), None),
            CryptoChoice::Injected { provider, entropy } => (provider, Some(Chance(Arc::new(Mutex::new(entropy))))),
        };
        let time = Arc::new(WallClock(clock));
        let transport = Arc::new(transport(options)?);
        let client = |identity: Option<&Identity>| {
            let builder = rustls::ClientConfig::builder_with_details(provider.clone(), time.clone())
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_root_certificates(trust.clone());
            let mut tls = match identity {
                Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
                None => builder.with_no_client_auth(),
            };
            tls.alpn_protocols = vec![PROTOCOL.to_vec()];
            tls.resumption = Resumption::disabled();
            let tls = QuicClientConfig::try_from(tls).map_err(|error| TlsSetupError::Endpoint(error.to_string()))?;
            let mut config = ClientConfig::new(Arc::new(tls));
            config.transport_config(transport.clone());
            if let Some(chance) = &chance {
                let chance = chance.clone();
                config.initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&chance.array::<16>())));
            }
            Ok::<_, TlsSetupError>(config)
        };
        let anonymous = client(None)?;
        let mutual = identity.as_ref().map(|identity| client(Some(identity))).transpose()?;
        let lasting = identity.as_ref().map(|identity| reset_key(identity, port));
        let mut endpoint = match &chance {
            None => lasting.map_or_else(EndpointConfig::default, |key| EndpointConfig::new(key)),
            Some(chance) => {
                let passing = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &chance.array::<64>()));
                let mut config = EndpointConfig::new(lasting.unwrap_or(passing));
                let ids = chance.clone();
                config.rng_seed(Some(chance.array()));
                config.cid_generator(move || Box::new(DrawnIds(ids.clone())));
                config
            }
        };
        endpoint.grease_quic_bit(false);
        let server = match identity.filter(|_| options.serve) {
            None => None,
            Some(identity) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trust), provider.clone())
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| TlsSetupError::Certificates(error.to_string()))?;
                let mut tls = rustls::ServerConfig::builder_with_details(provider, time.clone())
                    .with_protocol_versions(&[&rustls::version::TLS13])?
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(identity.chain, identity.key)?;
                tls.alpn_protocols = vec![PROTOCOL.to_vec()];
                tls.send_tls13_tickets = 0;
                tls.session_storage = Arc::new(NoServerSessionStorage {});
                let tls =
                    QuicServerConfig::try_from(tls).map_err(|error| TlsSetupError::Endpoint(error.to_string()))?;
                Some(server(Arc::new(tls), chance.as_ref(), transport, time, options))
            }
        };
        Ok(Self { endpoint, server, anonymous, mutual })
    }
}

/// The key by which a server proves that it has forgotten a connection (RFC 9000 §10.3). It outlives the process, so that a
/// server that was killed and started again tells its clients at once, and they need not wait for silence; it is another for
/// every port, so that no other process of the same identity can be made to say so of a connection that stands.
fn reset_key(identity: &Identity, port: u16) -> Arc<hmac::Key> {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"ntmobile quic reset").extract(identity.key.secret_der());
    let mut key = [0; 32];
    secret
        .expand(&[&port.to_be_bytes()], hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut key))
        .expect("HKDF gives as many bytes as its digest has");
    Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

fn server(
    tls: Arc<QuicServerConfig>,
    chance: Option<&Chance>,
    transport: Arc<TransportConfig>,
    time: Arc<WallClock>,
    options: &TlsOptions,
) -> ServerConfig {
    let mut config = match chance {
        None => ServerConfig::with_crypto(tls),
        Some(chance) => {
            let key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&chance.array::<64>());
            ServerConfig::new(tls, Arc::new(key))
        }
    };
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config
        .transport_config(transport)
        .validation_token_config(tokens)
        .time_source(time)
        .max_incoming(options.max_connections)
        .incoming_buffer_size(u64::from(DATAGRAM) * 8)
        .incoming_buffer_size_total(u64::from(DATAGRAM) * 8 * options.max_connections as u64);
    config
}

fn transport(options: &TlsOptions) -> Result<TransportConfig, TlsSetupError> {
    let bounds = |error: quinn::VarIntBoundsExceeded| TlsSetupError::Bounds(error.to_string());
    let frame = VarInt::try_from(options.max_frame as u64).map_err(bounds)?;
    let idle = IdleTimeout::try_from(options.idle_timeout).map_err(bounds)?;
    let mut config = TransportConfig::default();
    config
        .initial_rtt(INITIAL_ROUND_TRIP)
        .initial_mtu(DATAGRAM)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(false)
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(0u32.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(frame)
        .receive_window(frame)
        .send_window(options.max_frame as u64 * 2)
        .max_idle_timeout(Some(idle));
    Ok(config)
}

/// What everything of one endpoint draws from, in the order in which it draws.
#[derive(Clone)]
struct Chance(Arc<Mutex<Box<dyn Entropy + Send>>>);

impl Chance {
    fn array<const N: usize>(&self) -> [u8; N] {
        draw(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }
}

/// Connection identifiers of eight drawn bytes.
struct DrawnIds(Chance);

impl ConnectionIdGenerator for DrawnIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.array::<8>())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The clock's wall time, by which certificates expire.
struct WallClock(Arc<dyn Clock>);

impl WallClock {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(self.0.wall().0)
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        Some(rustls_pki_types::UnixTime::since_unix_epoch(self.since_epoch()))
    }
}

impl TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.since_epoch()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}
