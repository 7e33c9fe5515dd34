//! What a certificate of the network says of its bearer: a name, and the part that it may play under it.
//!
//! The network's CA certifies both. TLS proves that somebody holds the certificate; whoever takes a message on a TLS leg
//! looks whether the message is one of that part. A node holds a certificate like any server, and is nothing but a node.

use ntmobile_wire::name::Fqdn;
use std::fmt;

/// The part that the bearer of a certificate may play. A certificate names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateRole {
    /// An AS: takes logins, distributes K_ntmdc.
    AccountServer,
    /// A DC: shares keys with other servers, asks the AS about its nodes.
    DirectionCoordinator,
    /// An RS: is shared a key with.
    RelayServer,
    /// An NS: is shared a key with.
    NotificationServer,
    /// A CS: keeps what is stored for nodes.
    CacheServer,
    /// A node that authenticates by its public key. It calls servers and is called by nobody over TLS.
    Node,
}

impl CertificateRole {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::AccountServer,
        Self::DirectionCoordinator,
        Self::RelayServer,
        Self::NotificationServer,
        Self::CacheServer,
        Self::Node,
    ];

    /// The role as certificates and people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountServer => "account-server",
            Self::DirectionCoordinator => "direction-coordinator",
            Self::RelayServer => "relay-server",
            Self::NotificationServer => "notification-server",
            Self::CacheServer => "cache-server",
            Self::Node => "node",
        }
    }

    /// The role that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether it may be called over TLS.
    pub fn is_server(self) -> bool {
        self != Self::Node
    }
}

impl fmt::Display for CertificateRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The certificate that the other side of a TLS connection proved to hold, verified against the network's CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The DNS name in it.
    pub name: Fqdn,
    /// The part that its bearer may play.
    pub role: CertificateRole,
    /// SHA-256 of its DER form.
    pub fingerprint: [u8; 32],
}

impl PeerCertificate {
    /// Whether its bearer may play this part under this name.
    pub fn proves(&self, role: CertificateRole, name: &Fqdn) -> bool {
        self.role == role && self.name == *name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_as_it_is_written_and_nothing_else_is_one() {
        for role in CertificateRole::ALL {
            assert_eq!(CertificateRole::parse(role.as_str()), Some(role));
        }
        assert_eq!(CertificateRole::parse("Node"), None);
        assert_eq!(CertificateRole::parse(""), None);
    }

    #[test]
    fn a_certificate_proves_its_own_name_and_role_together_only() {
        let name = |text: &str| Fqdn::parse(text).expect("a sound name");
        let role = CertificateRole::RelayServer;
        let certificate = PeerCertificate { name: name("rs.u1.example"), role, fingerprint: [0; 32] };
        assert!(certificate.proves(role, &name("rs.u1.example")));
        assert!(!certificate.proves(CertificateRole::DirectionCoordinator, &name("rs.u1.example")));
        assert!(!certificate.proves(role, &name("rs.u2.example")));
    }
}
