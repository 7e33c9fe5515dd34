//! `public-key`: K_mncn is sealed to the peer's public key, so that a DC that listens learns nothing (§1.3 of the protocol).

use ntmobile_proto::policy::{AgreementError, AgreementMaterial, KeyAgreementStrategy};
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::KeyAgreement;
use ntmobile_wire::sealed_key;

/// Sealed by this end to the peer; whichever protection surrounds it, nothing is wrapped in K_tmp besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct SealedToPublicKey;

impl KeyAgreementStrategy for SealedToPublicKey {
    fn name(&self) -> &'static str {
        "public-key"
    }

    fn kind(&self) -> KeyAgreement {
        KeyAgreement::PublicKey
    }

    fn needs_public_keys(&self) -> bool {
        true
    }

    fn seal(
        &self,
        material: AgreementMaterial<'_>,
        key: &NamedKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, AgreementError> {
        let peer = material.peer.ok_or(AgreementError::NoPublicKey)?;
        sealed_key::seal(key, material.own, peer, material.negotiation, entropy)
            .map_err(|_| AgreementError::NotAuthentic)
    }

    fn open(&self, material: AgreementMaterial<'_>, wrapped: &[u8]) -> Result<NamedKey, AgreementError> {
        let peer = material.peer.ok_or(AgreementError::NoPublicKey)?;
        sealed_key::open(wrapped, peer, material.own, material.negotiation).map_err(|_| AgreementError::NotAuthentic)
    }
}
