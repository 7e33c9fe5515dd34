//! The network's certificate authority: made once, kept in two files, and asked for every certificate of the network.

use super::{CertificateError, Identity, fingerprint, pem, trust_in};
use aws_lc_rs::hmac;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::time::UnixTime;
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::name::Fqdn;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// An Ed25519 private key in PKCS#8 is this and the 32 bytes of the seed (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// What the authority calls itself.
const NAME: &str = "NTMobile network authority";
/// How long the authority's own certificate is valid, unless it is said otherwise.
const LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Clocks may be apart by this much.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(300);

/// The network's certificate authority.
pub struct NetworkAuthority {
    /// The private key's 32 bytes, from which those of the leaves are derived.
    secret: Zeroizing<[u8; 32]>,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl NetworkAuthority {
    /// A new authority with a drawn key, whose certificate is valid from `now` on.
    pub fn create(entropy: &mut dyn Entropy, now: UnixTime, lifetime: Duration) -> Result<Self, CertificateError> {
        Self::with_secret(Zeroizing::new(draw(entropy)), now, lifetime)
    }

    /// The authority whose key is derived from `seed`: the same arguments give the same bytes.
    pub fn from_seed(seed: [u8; 32], now: UnixTime) -> Result<Self, CertificateError> {
        let seed = Zeroizing::new(seed);
        Self::with_secret(derive(&seed, b"authority"), now, LIFETIME)
    }

    /// The authority that wrote these two texts.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let certificate = super::one(pem::decode::<CertificateDer<'static>>(certificate_pem)?)?;
        let pkcs8 = super::one(pem::decode::<PrivatePkcs8KeyDer<'static>>(key_pem)?)?;
        let secret = pkcs8.secret_pkcs8_der().strip_prefix(&PKCS8_PREFIX).ok_or(CertificateError::NotEd25519)?;
        let secret = Zeroizing::new(<[u8; 32]>::try_from(secret).map_err(|_| CertificateError::NotEd25519)?);
        // A certificate under another name or for another key would make leaves that nobody accepts.
        let own = Self::with_secret(secret, UnixTime(0), LIFETIME)?;
        let anchor = |certificate: &CertificateDer<'_>| {
            let anchor = webpki::anchor_from_trusted_cert(certificate).map_err(|_| CertificateError::NotAuthority)?;
            Ok::<_, CertificateError>((anchor.subject.to_vec(), anchor.subject_public_key_info.to_vec()))
        };
        if anchor(&certificate)? != anchor(&own.certificate)? {
            return Err(CertificateError::NotAuthority);
        }
        Ok(Self { certificate, ..own })
    }

    fn with_secret(secret: Zeroizing<[u8; 32]>, now: UnixTime, lifetime: Duration) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(&secret), &rcgen::PKCS_ED25519)?;
        let mut params = parameters(NAME, now, lifetime, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { secret, issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's own certificate, which everybody in the network trusts.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The same as text, for a file that everybody may read.
    pub fn certificate_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.certificate).to_string()
    }

    /// The authority's private key as text, for a file that nobody else may read: whoever has it is every server and
    /// node of the network.
    pub fn key_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", pkcs8(&self.secret).secret_pkcs8_der())
    }

    /// The SHA-256 of the authority's own certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// What to trust: this authority and nobody else.
    pub fn trust(&self) -> Result<RootCertStore, CertificateError> {
        trust_in(&self.certificate)
    }

    /// Issues a certificate with which its bearer plays the part of `role` under `name`, and the key to it. Each serial
    /// number gives another key; [`draw_serial`] draws one.
    pub fn issue(
        &self,
        name: &Fqdn,
        role: CertificateRole,
        serial: u64,
        now: UnixTime,
        lifetime: Duration,
    ) -> Result<Identity, CertificateError> {
        let label = [b"leaf ".as_slice(), &serial.to_be_bytes(), name.as_str().as_bytes()].concat();
        let pkcs8 = pkcs8(&derive(&self.secret, &label));
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519)?;
        let mut params = parameters("", now, lifetime, serial);
        params.subject_alt_names =
            vec![SanType::DnsName(name.as_str().try_into()?), SanType::URI(super::role_uri(role).as_str().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if role.is_server() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { chain: vec![leaf.der().clone()], key: PrivateKeyDer::Pkcs8(pkcs8) })
    }
}

impl fmt::Debug for NetworkAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkAuthority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// A serial number that an authority which keeps no list will not draw twice. The top bit is clear: serial numbers are
/// positive.
pub fn draw_serial(entropy: &mut dyn Entropy) -> u64 {
    (u64::from_be_bytes(draw(entropy)) >> 1).max(2)
}

/// The private key that belongs to `label`.
fn derive(secret: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), label);
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(tag.as_ref());
    key
}

fn pkcs8(secret: &[u8; 32]) -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from([PKCS8_PREFIX.as_slice(), secret].concat())
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
