//! Certificates as the files of a directory: the authority's, which all trust, and the host's own, checked before anybody
//! else refuses them.

use crate::files::{self, FileError};
use crate::validity::{Moment, NoCertificate, Span, Validity, Written};
use ntmobile_ports::certificate::{CertificateError, Identity, certificate_in_pem, trust_in};
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::time::UnixTime;
use ntmobile_wire::name::Fqdn;
use rustls::RootCertStore;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// The file with the authority's certificate.
pub const AUTHORITY_FILE: &str = "authority.pem";

/// When less than this is left, it is time for a new certificate.
pub const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Why a certificate cannot be used here.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A file is missing, unreadable or exposed.
    #[error("{0}; ntm ca issue makes certificates, ntm ca init the authority's")]
    File(#[from] FileError),
    /// A file holds something else.
    #[error("{path} is no certificate of the network: {source}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// A file holds something else.
    #[error("{path}: {source}")]
    NoCertificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: NoCertificate,
    },
    /// It is somebody else's.
    #[error("{path} is the certificate of the {found_role} {found}, not of the {role} {name}; issue one: ntm ca issue {short} {name}", short = short(*.role))]
    SomebodyElses {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: Fqdn,
        /// The part that it is for.
        found_role: CertificateRole,
        /// Whose it had to be.
        name: Fqdn,
        /// The part that it had to be for.
        role: CertificateRole,
    },
    /// It is not valid any more.
    #[error("{path} expired {} ago, at {}, by this host's clock; issue another, or set the clock if it is wrong", Span(*.ago), Written(*.at))]
    Expired {
        /// Which file.
        path: PathBuf,
        /// When.
        at: UnixTime,
        /// How long ago.
        ago: Duration,
    },
    /// It is not valid yet.
    #[error(
        "{path} is valid from {}, which is in {} by this host's clock; the clock is probably wrong: set it", Written(*.at), Span(*.left))]
    NotYet {
        /// Which file.
        path: PathBuf,
        /// From when.
        at: UnixTime,
        /// How long until then.
        left: Duration,
    },
}

/// The roles as the command line writes them.
pub const ROLES: [(&str, CertificateRole); 6] = [
    ("as", CertificateRole::AccountServer),
    ("dc", CertificateRole::DirectionCoordinator),
    ("rs", CertificateRole::RelayServer),
    ("ns", CertificateRole::NotificationServer),
    ("cs", CertificateRole::CacheServer),
    ("node", CertificateRole::Node),
];

/// A role as the command line writes it.
pub fn short(role: CertificateRole) -> &'static str {
    ROLES.iter().find(|(_, known)| *known == role).map_or(role.as_str(), |(short, _)| short)
}

/// The file of somebody's certificate.
pub fn certificate_file(directory: &Path, name: &Fqdn) -> PathBuf {
    directory.join(format!("{name}.pem"))
}

/// The file of somebody's key.
pub fn key_file(directory: &Path, name: &Fqdn) -> PathBuf {
    directory.join(format!("{name}.key"))
}

/// An identity, and how long it holds.
#[derive(Debug)]
pub struct Held {
    /// Certificate and key.
    pub identity: Identity,
    /// The last second of the certificate.
    pub until: UnixTime,
}

/// Reads what `name` shows of itself as `role`.
pub fn identity(directory: &Path, name: &Fqdn, role: CertificateRole, now: UnixTime) -> Result<Held, CredentialsError> {
    let path = certificate_file(directory, name);
    let (certificate, key) = (files::read(&path)?, files::read_secret(&key_file(directory, name))?);
    let unusable = |source| CredentialsError::Unusable { path: path.clone(), source };
    let identity = Identity::from_pem(&certificate, &key).map_err(unusable)?;
    let bearer = identity.bearer().map_err(unusable)?;
    if !bearer.proves(role, name) {
        let (found, found_role) = (bearer.name, bearer.role);
        return Err(CredentialsError::SomebodyElses { path, found, found_role, name: name.clone(), role });
    }
    let leaf = identity.chain.first().map(|leaf| leaf.as_ref()).unwrap_or_default();
    let until = valid(&path, leaf, now)?;
    Ok(Held { identity, until })
}

/// Reads whom to trust.
pub fn trust(directory: &Path, now: UnixTime) -> Result<RootCertStore, CredentialsError> {
    let path = directory.join(AUTHORITY_FILE);
    let unusable = |source| CredentialsError::Unusable { path: path.clone(), source };
    let certificate = certificate_in_pem(&files::read(&path)?).map_err(unusable)?;
    valid(&path, &certificate, now)?;
    trust_in(&certificate).map_err(unusable)
}

/// Until when; an error if that is past or has not begun.
fn valid(path: &Path, certificate: &[u8], now: UnixTime) -> Result<UnixTime, CredentialsError> {
    let path = path.to_owned();
    let validity = match Validity::of(certificate) {
        Ok(validity) => validity,
        Err(source) => return Err(CredentialsError::NoCertificate { path, source }),
    };
    match validity.at(now) {
        Moment::Within(_) => Ok(validity.until),
        Moment::TooLate(ago) => Err(CredentialsError::Expired { path, at: validity.until, ago }),
        Moment::TooEarly(left) => Err(CredentialsError::NotYet { path, at: validity.from, left }),
    }
}
