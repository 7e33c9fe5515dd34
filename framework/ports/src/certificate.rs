//! Certificates of the network: the authority that issues them, and what a server or node shows of itself.
//!
//! Everything is a function of its arguments: keys are derived from the authority's seed, serial numbers and times are
//! given. Keys are Ed25519, whose signatures are deterministic, so the same arguments give the same bytes.
//!
//! The authority signs leaves directly, and a chain is the leaf alone: whoever verifies it has the authority's own
//! certificate. That keeps a server's first flight within 1,200 bytes or so, far below the three times 1,200 that QUIC
//! lets it send before the client's address is proved.

use aws_lc_rs::{digest, hmac};
use ntmobile_proto::machine::PeerCertificate;
use ntmobile_proto::time::UnixTime;
use ntmobile_wire::name::Fqdn;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroizing;

/// An Ed25519 private key in PKCS#8 is this and the 32 bytes of the seed (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// How long the authority's own certificate is valid.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Clocks may be apart by this much.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(300);

/// Why a certificate could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The library refused.
    #[error("the certificate cannot be made: {0}")]
    Refused(String),
    /// Somebody else's certificate does not name a host of this network.
    #[error("the certificate bears no DNS name")]
    NoName,
}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self::Refused(error.to_string())
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

/// The network's certificate authority.
pub struct NetworkAuthority {
    seed: Zeroizing<[u8; 32]>,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl NetworkAuthority {
    /// The authority whose key is derived from `seed`, with a certificate that is valid from `now` on.
    pub fn from_seed(seed: [u8; 32], now: UnixTime) -> Result<Self, CertificateError> {
        let seed = Zeroizing::new(seed);
        let (key, _) = derive(&seed, b"authority")?;
        let mut params = parameters("NTMobile network authority", now, AUTHORITY_LIFETIME, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { seed, issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's own certificate, which everybody in the network trusts.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The SHA-256 of the authority's own certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// What to trust: this authority and nobody else.
    pub fn trust(&self) -> Result<RootCertStore, CertificateError> {
        trust_in(&self.certificate)
    }

    /// Issues a certificate for `name` with this serial number, for both sides of TLS, and the key to it. Each serial
    /// number gives another key.
    pub fn issue(
        &self,
        name: &Fqdn,
        serial: u64,
        now: UnixTime,
        lifetime: Duration,
    ) -> Result<Identity, CertificateError> {
        let label = [b"leaf ".as_slice(), &serial.to_be_bytes(), name.as_str().as_bytes()].concat();
        let (key, pkcs8) = derive(&self.seed, &label)?;
        let mut params = parameters("", now, lifetime, serial);
        params.subject_alt_names = vec![SanType::DnsName(name.as_str().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { chain: vec![leaf.der().clone()], key: pkcs8.into() })
    }
}

impl fmt::Debug for NetworkAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkAuthority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// What to trust: the authority with this certificate.
pub fn trust_in(authority: &CertificateDer<'static>) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(|error| CertificateError::Refused(error.to_string()))?;
    Ok(roots)
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
    Ok(PeerCertificate { name, fingerprint: fingerprint(certificate) })
}

/// The key that belongs to `label`, ready to sign and as PKCS#8.
fn derive(seed: &[u8; 32], label: &[u8]) -> Result<(KeyPair, PrivatePkcs8KeyDer<'static>), CertificateError> {
    let secret = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), label);
    let pkcs8 = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX, secret.as_ref()].concat());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519)?;
    Ok((key, pkcs8))
}

fn parameters(name: &str, now: UnixTime, lifetime: Duration, serial: u64) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(now.0);
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(CLOCK_DIFFERENCE);
    params.not_after = epoch + now + lifetime;
    params.serial_number = Some(SerialNumber::from(serial));
    params.distinguished_name = DistinguishedName::new();
    if !name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_893_456_000);
    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    fn authority(seed: u8) -> NetworkAuthority {
        NetworkAuthority::from_seed([seed; 32], NOW).unwrap()
    }

    fn issue(authority: &NetworkAuthority, name: &str, serial: u64) -> Identity {
        authority.issue(&name.parse().unwrap(), serial, NOW, YEAR).unwrap()
    }

    #[test]
    fn the_same_arguments_give_the_same_bytes_and_any_other_seed_name_or_serial_another_key() {
        let identity = issue(&authority(1), "dc.example", 7);
        let again = issue(&authority(1), "dc.example", 7);
        assert_eq!((&identity.chain, &identity.key), (&again.chain, &again.key));
        assert_eq!(authority(1).fingerprint(), authority(1).fingerprint());
        for other in [
            issue(&authority(2), "dc.example", 7),
            issue(&authority(1), "rs.example", 7),
            issue(&authority(1), "dc.example", 8),
        ] {
            assert_ne!(identity.key, other.key);
            assert_ne!(identity.fingerprint(), other.fingerprint());
        }
    }

    #[test]
    fn a_certificate_names_its_bearer_and_fits_the_first_flight() {
        let identity = issue(&authority(1), "alice.u1.example", 7);
        let peer = peer_certificate(&identity.chain[0]).unwrap();
        assert_eq!(peer.name.as_str(), "alice.u1.example");
        assert_eq!(peer.fingerprint, identity.fingerprint());
        assert!(identity.chain[0].len() < 500, "{} bytes", identity.chain[0].len());
        assert_eq!(peer_certificate(authority(1).certificate()), Err(CertificateError::NoName));
        assert_eq!(peer_certificate(&CertificateDer::from(vec![1, 2, 3])), Err(CertificateError::NoName));
    }

    #[test]
    fn keys_do_not_show() {
        let identity = issue(&authority(3), "dc.example", 7);
        let shown = format!("{identity:?}{:?}", authority(3));
        let PrivateKeyDer::Pkcs8(key) = &identity.key else { panic!("PKCS#8") };
        let secret = &key.secret_pkcs8_der()[16..];
        assert!(!shown.contains(&format!("{secret:?}")) && !shown.contains(&format!("{:?}", [3; 32])));
    }
}
