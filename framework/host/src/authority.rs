//! The network's certificate authority as a directory: `authority.pem` for everybody, `authority.key` for nobody else, and
//! the certificates that were issued.

use crate::credentials::{AUTHORITY_FILE, certificate_file, key_file};
use crate::files::{self, FileError, Present, Readers};
use crate::validity::{NoCertificate, Span, Validity};
use ntmobile_net::entropy::SystemEntropy;
use ntmobile_ports::certificate::{
    CertificateError, NetworkAuthority, certificate_in_pem, draw_serial, peer_certificate,
};
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::time::UnixTime;
use ntmobile_wire::name::Fqdn;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// The file with the authority's key.
pub const AUTHORITY_KEY_FILE: &str = "authority.key";

/// Why the authority did not do what it was asked for.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// There is none yet.
    #[error("there is no authority in {0}; make one: ntm ca init --dir {0}")]
    None(PathBuf),
    /// A file was not read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds something else.
    #[error("{path}: {source}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A certificate has no dates.
    #[error("{path}: {source}")]
    NoDates {
        /// Which.
        path: PathBuf,
        /// Why.
        source: NoCertificate,
    },
    /// It would outlive the authority.
    #[error("the authority's own certificate ends {0} before that would; ask for less time, or make a new authority")]
    TooLong(Span),
}

/// A certificate that lies in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its file.
    pub path: PathBuf,
    /// Whose it is; nobody's for the authority's own.
    pub bearer: Option<(Fqdn, CertificateRole)>,
    /// Its SHA-256.
    pub fingerprint: [u8; 32],
    /// Its dates.
    pub validity: Validity,
}

/// Makes a new authority.
pub fn init(directory: &Path, lifetime: Duration, now: UnixTime, present: Present) -> Result<Shown, AuthorityError> {
    let authority = NetworkAuthority::create(&mut SystemEntropy, now, lifetime)?;
    files::private_directory(directory)?;
    // The key first: a certificate without a key would look like an authority and be none.
    files::write(&directory.join(AUTHORITY_KEY_FILE), authority.key_pem().as_bytes(), Readers::Owner, present)?;
    let path = directory.join(AUTHORITY_FILE);
    files::write(&path, authority.certificate_pem().as_bytes(), Readers::Everybody, Present::Replace)?;
    show(&path)
}

/// What somebody's new certificate is to say.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its bearer's name.
    pub name: &'a Fqdn,
    /// The part that it is for.
    pub role: CertificateRole,
    /// How long it is to be valid.
    pub lifetime: Duration,
}

/// Issues a certificate and its key into `out`, with the authority's own beside them: all that a host needs.
pub fn issue(
    directory: &Path,
    wanted: &Wanted<'_>,
    out: &Path,
    now: UnixTime,
    present: Present,
) -> Result<Shown, AuthorityError> {
    let authority = open(directory)?;
    let own = show(&directory.join(AUTHORITY_FILE))?.validity;
    let until = now.0.saturating_add(wanted.lifetime.as_secs());
    if until > own.until.0 {
        return Err(AuthorityError::TooLong(Span(Duration::from_secs(until - own.until.0))));
    }
    let serial = draw_serial(&mut SystemEntropy);
    let identity = authority.issue(wanted.name, wanted.role, serial, now, wanted.lifetime)?;
    if !out.is_dir() {
        files::private_directory(out)?;
    }
    files::write(&key_file(out, wanted.name), identity.key_pem().as_bytes(), Readers::Owner, present)?;
    let path = certificate_file(out, wanted.name);
    files::write(&path, identity.chain_pem().as_bytes(), Readers::Everybody, Present::Replace)?;
    let beside = out.join(AUTHORITY_FILE);
    let is_same = files::read(&beside).is_ok_and(|text| text == authority.certificate_pem());
    if !is_same {
        files::write(&beside, authority.certificate_pem().as_bytes(), Readers::Everybody, present)?;
    }
    show(&path)
}

fn open(directory: &Path) -> Result<NetworkAuthority, AuthorityError> {
    let (path, key) = (directory.join(AUTHORITY_FILE), directory.join(AUTHORITY_KEY_FILE));
    if !key.exists() {
        return Err(AuthorityError::None(directory.to_owned()));
    }
    NetworkAuthority::load(&files::read(&path)?, &files::read_secret(&key)?)
        .map_err(|source| AuthorityError::Unusable { path, source })
}

/// What a certificate file holds.
pub fn show(path: &Path) -> Result<Shown, AuthorityError> {
    let certificate = certificate_in_pem(&files::read(path)?)
        .map_err(|source| AuthorityError::Unusable { path: path.to_owned(), source })?;
    let validity =
        Validity::of(&certificate).map_err(|source| AuthorityError::NoDates { path: path.to_owned(), source })?;
    let bearer = peer_certificate(&certificate).ok().map(|bearer| (bearer.name, bearer.role));
    let fingerprint = ntmobile_ports::certificate::fingerprint(&certificate);
    Ok(Shown { path: path.to_owned(), bearer, fingerprint, validity })
}

/// Every certificate in a directory, the authority's first, then in the order of their names.
pub fn list(directory: &Path) -> Result<Vec<Shown>, AuthorityError> {
    let refused = |source| FileError::Refused { path: directory.to_owned(), what: "read", source };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(refused)?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .collect();
    paths.sort_by_key(|path| (!path.ends_with(AUTHORITY_FILE), path.clone()));
    paths.iter().map(|path| show(path)).collect()
}
