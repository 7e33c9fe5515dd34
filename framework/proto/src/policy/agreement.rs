//! How K_mncn travels inside Tunnel Request.

use super::InnerProtection;
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::identifier::{Negotiation, Session};
use ntmobile_wire::key::{NamedKey, PublicKey};
use ntmobile_wire::message::KeyAgreement;
use ntmobile_wire::sealed_key::AgreementKey;
use ntmobile_wire::subkey::Role;
use thiserror::Error;

/// Why a tunnel key could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AgreementError {
    /// The agreement needs the peer's public key, and none was told or vouched for.
    #[error("the peer's public key is not known")]
    NoPublicKey,
    /// The content was not made for this negotiation and this end.
    #[error("the tunnel key does not open")]
    NotAuthentic,
}

/// The keys that an end holds while it agrees on K_mncn.
#[derive(Clone, Copy)]
pub struct AgreementMaterial<'a> {
    /// Which negotiation.
    pub negotiation: Negotiation,
    /// The end that wraps the key, and its session: this end when sealing, the other when opening.
    pub sender: (Role, Session),
    /// K_tmp of the negotiation.
    pub k_tmp: &'a NamedKey,
    /// This end's own key pair.
    pub own: &'a AgreementKey,
    /// The peer's public key, vouched for or pinned.
    pub peer: Option<&'a PublicKey>,
    /// What the protection variant asks for inside the sealed message.
    pub inner: InnerProtection,
}

/// A way to agree on K_mncn.
pub trait KeyAgreementStrategy: Send + Sync {
    /// Its name in scenario files.
    fn name(&self) -> &'static str;

    /// Its number in messages.
    fn kind(&self) -> KeyAgreement;

    /// Whether both ends must tell each other their public keys.
    fn needs_public_keys(&self) -> bool;

    /// Wraps a fresh K_mncn for the peer.
    fn seal(
        &self,
        material: AgreementMaterial<'_>,
        key: &NamedKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, AgreementError>;

    /// Opens what the peer wrapped.
    fn open(&self, material: AgreementMaterial<'_>, wrapped: &[u8]) -> Result<NamedKey, AgreementError>;
}
