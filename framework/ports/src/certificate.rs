//! Certificates of the network: the authority that issues them, and what a server or node shows of itself.
//!
//! Everything is a function of its arguments: keys are derived from the authority's, serial numbers and times are given.
//! Keys are Ed25519, whose signatures are deterministic, so the same arguments give the same bytes.
//!
//! The authority signs leaves directly, and a chain is the leaf alone: whoever verifies it has the authority's own
//! certificate. That keeps a server's first flight within 1,200 bytes or so, far below the three times 1,200 that QUIC
//! lets it send before the client's address is proved.
//!
//! A leaf says what its bearer may be in its subject's alternative names: its host's DNS name, and its
//! [role](CertificateRole) as a URI, `ntmobile:direction-coordinator`. A node's is for the client's side of TLS alone
//! (extended key usage), so no TLS library takes a node for a server.

mod authority;
mod pem;
#[cfg(test)]
mod tests;

pub use authority::{NetworkAuthority, draw_serial};

use aws_lc_rs::digest;
use ntmobile_proto::certificate::{CertificateRole, PeerCertificate};
use ntmobile_proto::time::UnixTime;
use ntmobile_wire::name::Fqdn;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroizing;

/// What comes before a role's name in a certificate.
const ROLE_SCHEME: &str = "ntmobile:";

/// Why a certificate could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The library refused.
    #[error("the certificate cannot be made: {0}")]
    Refused(String),
    /// Somebody else's certificate does not name a host of this network.
    #[error("the certificate bears no DNS name")]
    NoName,
    /// Somebody else's certificate names no role, or more than one.
    #[error("the certificate says not what its bearer may be in the network")]
    NoRole,
    /// A text holds no such thing, or something else.
    #[error("no PEM text: {0}")]
    Text(String),
    /// A text holds more certificates or keys than were expected.
    #[error("the PEM text holds {0} entries instead of one")]
    Entries(usize),
    /// The authority's keys are Ed25519 in PKCS#8.
    #[error("the authority's key is no Ed25519 key in PKCS#8")]
    NotEd25519,
    /// A certificate that is not that of the authority with this key.
    #[error("the certificate is not that of the authority with this key")]
    NotAuthority,
}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<rustls_pki_types::pem::Error> for CertificateError {
    fn from(error: rustls_pki_types::pem::Error) -> Self {
        Self::Text(error.to_string())
    }
}

/// What a server or node shows of itself, and the key that proves it.
pub struct Identity {
    /// The certificate, then those between it and the authority's, if any.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.chain.first().map_or([0; 32], |leaf| fingerprint(leaf))
    }

    /// Who the certificate says its bearer is.
    pub fn bearer(&self) -> Result<PeerCertificate, CertificateError> {
        peer_certificate(self.chain.first().ok_or(CertificateError::NoName)?)
    }

    /// The identity that these two texts hold.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = pem::decode(chain_pem)?;
        let identity = Self { chain, key: one(pem::decode(key_pem)?)? };
        identity.bearer()?;
        Ok(identity)
    }

    /// The certificate as text, for a file that everybody may read.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem::encode("CERTIFICATE", certificate).to_string()).collect()
    }

    /// The private key as text, for a file that nobody else may read.
    pub fn key_pem(&self) -> Zeroizing<String> {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        pem::encode(label, self.key.secret_der())
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// What to trust: the authority with this certificate.
pub fn trust_in(authority: &CertificateDer<'static>) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(|error| CertificateError::Refused(error.to_string()))?;
    Ok(roots)
}

/// What to trust: the authority whose certificate this text holds.
pub fn trust_in_pem(authority_pem: &str) -> Result<RootCertStore, CertificateError> {
    trust_in(&certificate_in_pem(authority_pem)?)
}

/// The one certificate that this text holds.
pub fn certificate_in_pem(text: &str) -> Result<CertificateDer<'static>, CertificateError> {
    one(pem::decode(text)?)
}

/// Whether this authority has issued a certificate that is valid at `now`.
pub fn is_issued_by(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>, now: UnixTime) -> bool {
    let leaf = webpki::EndEntityCert::try_from(certificate);
    let (Ok(leaf), Ok(anchor)) = (leaf, webpki::anchor_from_trusted_cert(authority)) else { return false };
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let now = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.0));
    // Every bearer may be the client of TLS.
    let usage = webpki::KeyUsage::client_auth();
    leaf.verify_for_usage(algorithms, &[anchor], &[], now, usage, None, None).is_ok()
}

/// The SHA-256 of a certificate.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    fingerprint
}

/// Who somebody is whose certificate has been verified.
pub fn peer_certificate(certificate: &CertificateDer<'_>) -> Result<PeerCertificate, CertificateError> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| CertificateError::NoName)?;
    let name = parsed.valid_dns_names().find_map(|name| Fqdn::parse(name).ok()).ok_or(CertificateError::NoName)?;
    let mut roles = parsed.valid_uri_names().filter_map(|uri| uri.strip_prefix(ROLE_SCHEME));
    let role = match (roles.next().and_then(CertificateRole::parse), roles.next()) {
        (Some(role), None) => role,
        _ => return Err(CertificateError::NoRole),
    };
    Ok(PeerCertificate { name, role, fingerprint: fingerprint(certificate) })
}

fn role_uri(role: CertificateRole) -> String {
    format!("{ROLE_SCHEME}{role}")
}

fn one<T>(mut entries: Vec<T>) -> Result<T, CertificateError> {
    match (entries.pop(), entries.len()) {
        (Some(entry), 0) => Ok(entry),
        (Some(_), others) => Err(CertificateError::Entries(others + 1)),
        (None, _) => Err(CertificateError::Text("there is none".to_owned())),
    }
}
