//! The authority makes what is asked for, writes and reads itself, and keeps its secrets.

use super::*;
use ntmobile_proto::time::UnixTime;
use ntmobile_wire::entropy::Entropy;
use std::time::Duration;

const NOW: UnixTime = UnixTime(1_893_456_000);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const DC: CertificateRole = CertificateRole::DirectionCoordinator;

/// Draws one byte again and again.
struct Always(u8);

impl Entropy for Always {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn authority(seed: u8) -> NetworkAuthority {
    NetworkAuthority::from_seed([seed; 32], NOW).unwrap()
}

fn issue(authority: &NetworkAuthority, name: &str, role: CertificateRole, serial: u64) -> Identity {
    authority.issue(&name.parse().unwrap(), role, serial, NOW, YEAR).unwrap()
}

#[test]
fn the_same_arguments_give_the_same_bytes_and_any_other_seed_name_or_serial_another_key() {
    let identity = issue(&authority(1), "dc.example", DC, 7);
    let again = issue(&authority(1), "dc.example", DC, 7);
    assert_eq!((&identity.chain, &identity.key), (&again.chain, &again.key));
    assert_eq!(authority(1).fingerprint(), authority(1).fingerprint());
    for other in [
        issue(&authority(2), "dc.example", DC, 7),
        issue(&authority(1), "rs.example", DC, 7),
        issue(&authority(1), "dc.example", DC, 8),
    ] {
        assert_ne!(identity.key, other.key);
        assert_ne!(identity.fingerprint(), other.fingerprint());
    }
}

#[test]
fn a_certificate_names_its_bearer_and_the_bearers_role_and_fits_the_first_flight() {
    for role in CertificateRole::ALL {
        let identity = issue(&authority(1), "alice.u1.example", role, 7);
        let peer = identity.bearer().unwrap();
        assert_eq!((peer.name.as_str(), peer.role), ("alice.u1.example", role));
        assert_eq!(peer.fingerprint, identity.fingerprint());
        assert!(identity.chain[0].len() < 500, "{} bytes", identity.chain[0].len());
    }
    assert_eq!(peer_certificate(authority(1).certificate()), Err(CertificateError::NoName));
    assert_eq!(peer_certificate(&CertificateDer::from(vec![1, 2, 3])), Err(CertificateError::NoName));
}

/// A certificate with these alternative names, by an authority that knows no roles.
fn with_uris(uris: &[&str]) -> CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::new(vec!["dc.example".to_owned()]).unwrap();
    params.subject_alt_names.extend(uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap())));
    let identity = issue(&authority(1), "dc.example", DC, 1);
    let PrivateKeyDer::Pkcs8(pkcs8) = &identity.key else { panic!("PKCS#8") };
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(pkcs8, &rcgen::PKCS_ED25519).unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

#[test]
fn a_certificate_must_name_one_role_that_is_known() {
    let role = |uris: &[&str]| peer_certificate(&with_uris(uris)).map(|peer| peer.role);
    assert_eq!(role(&["ntmobile:node"]), Ok(CertificateRole::Node));
    assert_eq!(role(&["https://dc.example", "ntmobile:node"]), Ok(CertificateRole::Node));
    for wrong in [
        &[] as &[&str],
        &["ntmobile:emperor"],
        &["ntmobile:node", "ntmobile:direction-coordinator"],
        &["ntmobile:emperor", "ntmobile:node"],
        &["https://dc.example"],
    ] {
        assert_eq!(role(wrong), Err(CertificateError::NoRole), "{wrong:?}");
    }
}

#[test]
fn an_authority_read_from_its_files_is_the_one_that_wrote_them() {
    let written = NetworkAuthority::create(&mut Always(5), NOW, YEAR).unwrap();
    let read = NetworkAuthority::load(&written.certificate_pem(), &written.key_pem()).unwrap();
    assert_eq!(read.certificate(), written.certificate());
    let (one, other) = (issue(&written, "dc.example", DC, 7), issue(&read, "dc.example", DC, 7));
    assert_eq!((one.chain, one.key), (other.chain, other.key));
    assert_eq!(trust_in_pem(&written.certificate_pem()).unwrap().roots, written.trust().unwrap().roots);
}

#[test]
fn files_that_do_not_belong_together_are_no_authority() {
    let (one, other) = (authority(1), authority(2));
    let leaf = issue(&one, "dc.example", DC, 7);
    let load = |certificate: &str, key: &str| NetworkAuthority::load(certificate, key).map(drop);
    assert_eq!(load(&one.certificate_pem(), &other.key_pem()), Err(CertificateError::NotAuthority));
    assert_eq!(load(&leaf.chain_pem(), &one.key_pem()), Err(CertificateError::NotAuthority));
    assert_eq!(load(&leaf.chain_pem(), &leaf.key_pem()), Err(CertificateError::NotAuthority));
    let both = one.certificate_pem() + &other.certificate_pem();
    assert_eq!(load(&both, &one.key_pem()), Err(CertificateError::Entries(2)));
    assert!(matches!(load("", &one.key_pem()), Err(CertificateError::Text(_))));
    assert!(matches!(load(&one.certificate_pem(), ""), Err(CertificateError::Text(_))));
    let rsa = pem::encode("PRIVATE KEY", &[0x30; 48]);
    assert_eq!(load(&one.certificate_pem(), &rsa), Err(CertificateError::NotEd25519));
}

#[test]
fn an_identity_read_from_its_files_is_the_one_that_was_written() {
    let written = issue(&authority(1), "dc.example", DC, 7);
    let read = Identity::from_pem(&written.chain_pem(), &written.key_pem()).unwrap();
    assert_eq!((&read.chain, &read.key), (&written.chain, &written.key));
    let stranger = pem::encode("CERTIFICATE", &with_uris(&[]));
    assert_eq!(Identity::from_pem(&stranger, &written.key_pem()).map(drop), Err(CertificateError::NoRole));
    assert_eq!(Identity::from_pem("", &written.key_pem()).map(drop), Err(CertificateError::NoName));
}

#[test]
fn who_has_issued_a_certificate_can_be_told_while_it_is_valid() {
    let leaf = issue(&authority(1), "dc.example", DC, 7);
    let node = issue(&authority(1), "alice.u1.example", CertificateRole::Node, 8);
    let after = UnixTime(NOW.0 + YEAR.as_secs() + 1);
    for identity in [&leaf, &node] {
        assert!(is_issued_by(&identity.chain[0], authority(1).certificate(), NOW));
        assert!(!is_issued_by(&identity.chain[0], authority(2).certificate(), NOW));
        assert!(!is_issued_by(&identity.chain[0], authority(1).certificate(), after));
    }
    assert!(!is_issued_by(authority(2).certificate(), authority(1).certificate(), NOW));
}

#[test]
fn drawn_serial_numbers_are_positive_and_never_the_authoritys_own() {
    assert_eq!(draw_serial(&mut Always(0xff)), u64::MAX >> 1);
    assert_eq!(draw_serial(&mut Always(0)), 2);
}

#[test]
fn keys_do_not_show() {
    let identity = issue(&authority(3), "dc.example", DC, 7);
    let shown = format!("{identity:?}{:?}", authority(3));
    let PrivateKeyDer::Pkcs8(key) = &identity.key else { panic!("PKCS#8") };
    let secret = &key.secret_pkcs8_der()[16..];
    assert!(!shown.contains(&format!("{secret:?}")) && !shown.contains(&format!("{:?}", [3; 32])));
}
