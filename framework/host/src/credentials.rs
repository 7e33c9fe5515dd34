//! Certificates as the files of a directory: the authority's, which all trust, and the host's own, checked before anybody
//! else refuses them.

use crate::files::{self, FileError};
use crate::validity::{Moment, NoCertificate, Span, Validity, Written};
use ntmobile_ports::certificate::{CertificateError, Identity, certificate_in_pem, is_issued_by, trust_in};
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::time::UnixTime;
use ntmobile_wire::name::Fqdn;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
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
    /// Another network's authority has issued it.
    #[error("{path} was not issued by the authority of {AUTHORITY_FILE} beside it; copy both from where it was issued")]
    OtherAuthority {
        /// Which file.
        path: PathBuf,
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

/// Whom to trust.
#[derive(Debug)]
pub struct Trusted {
    /// The authority's own certificate.
    pub authority: CertificateDer<'static>,
    /// The same as TLS takes it.
    pub roots: RootCertStore,
}

/// Reads whom to trust.
pub fn trusted(directory: &Path, now: UnixTime) -> Result<Trusted, CredentialsError> {
    let path = directory.join(AUTHORITY_FILE);
    let unusable = |source| CredentialsError::Unusable { path: path.clone(), source };
    let authority = certificate_in_pem(&files::read(&path)?).map_err(unusable)?;
    valid(&path, &authority, now)?;
    Ok(Trusted { roots: trust_in(&authority).map_err(unusable)?, authority })
}

/// Reads what `name` shows of itself as `role` to those who trust the same.
pub fn identity(
    directory: &Path,
    (name, role): (&Fqdn, CertificateRole),
    trusted: &Trusted,
    now: UnixTime,
) -> Result<Held, CredentialsError> {
    let path = certificate_file(directory, name);
    let (certificate, key) = (files::read(&path)?, files::read_secret(&key_file(directory, name))?);
    let unusable = |source| CredentialsError::Unusable { path: path.clone(), source };
    let identity = Identity::from_pem(&certificate, &key).map_err(unusable)?;
    let bearer = identity.bearer().map_err(unusable)?;
    if !bearer.proves(role, name) {
        let (found, found_role) = (bearer.name, bearer.role);
        return Err(CredentialsError::SomebodyElses { path, found, found_role, name: name.clone(), role });
    }
    let leaf = identity.chain.first().ok_or_else(|| unusable(CertificateError::NoName))?;
    let until = valid(&path, leaf, now)?;
    if !is_issued_by(leaf, &trusted.authority, now) {
        return Err(CredentialsError::OtherAuthority { path });
    }
    Ok(Held { identity, until })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{self, Wanted};
    use crate::files::{Present, Readers};

    const NOW: UnixTime = UnixTime(1_795_190_220);
    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    /// A directory with a certificate for `rs1.u1.example`.
    fn issued(role: CertificateRole) -> (tempfile::TempDir, Fqdn) {
        let home = tempfile::tempdir().expect("a directory for the test");
        let name = Fqdn::parse("rs1.u1.example").expect("a name");
        authority::init(home.path(), 2 * YEAR, NOW, Present::Keep).expect("an authority");
        let wanted = Wanted { name: &name, role, lifetime: YEAR };
        authority::issue(home.path(), &wanted, home.path(), NOW, Present::Keep).expect("a certificate");
        (home, name)
    }

    fn read(directory: &Path, name: &Fqdn, now: UnixTime) -> Result<Held, String> {
        trusted(directory, now)
            .and_then(|trusted| identity(directory, (name, CertificateRole::RelayServer), &trusted, now))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_issued_is_taken_for_as_long_as_it_holds() {
        let (home, name) = issued(CertificateRole::RelayServer);
        let held = read(home.path(), &name, NOW).expect("it holds");
        assert_eq!(held.until, UnixTime(NOW.0 + YEAR.as_secs()));
        let late = read(home.path(), &name, UnixTime(held.until.0 + 3 * 3_600)).expect_err("it has expired");
        assert!(late.contains("rs1.u1.example.pem expired 3 h ago") && late.contains("issue another"), "{late}");
        let early = read(home.path(), &name, UnixTime(NOW.0 - 3_900)).expect_err("the clock is slow");
        assert!(early.contains("in 60 min by this host's clock") && early.contains("set it"), "{early}");
    }

    #[test]
    fn what_is_not_ours_is_refused_with_whose_it_is() {
        let (home, name) = issued(CertificateRole::NotificationServer);
        let other = read(home.path(), &name, NOW).expect_err("another role");
        assert!(other.contains("certificate of the notification-server rs1.u1.example"), "{other}");
        assert!(other.contains("ntm ca issue rs rs1.u1.example"), "{other}");
        let missing = read(home.path(), &Fqdn::parse("rs2.u1.example").expect("a name"), NOW).expect_err("none");
        assert!(missing.contains("rs2.u1.example.pem cannot be read"), "{missing}");
    }

    #[test]
    fn another_networks_certificate_and_an_exposed_key_are_refused() {
        let ((home, name), (elsewhere, _)) =
            (issued(CertificateRole::RelayServer), issued(CertificateRole::RelayServer));
        let theirs = files::read(&elsewhere.path().join(AUTHORITY_FILE)).expect("a certificate");
        let path = home.path().join(AUTHORITY_FILE);
        files::write(&path, theirs.as_bytes(), Readers::Everybody, Present::Replace).expect("written");
        let stranger = read(home.path(), &name, NOW).expect_err("another authority");
        assert!(stranger.contains("was not issued by the authority"), "{stranger}");

        let key = key_file(elsewhere.path(), &name);
        let text = files::read(&key).expect("a key");
        files::write(&key, text.as_bytes(), Readers::Everybody, Present::Replace).expect("written");
        let exposed = read(elsewhere.path(), &name, NOW).expect_err("others may read it");
        assert!(exposed.contains("chmod 600"), "{exposed}");
    }
}
