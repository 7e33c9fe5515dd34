//! `k-tmp`: the end that starts the tunnel draws K_mncn and wraps it in K_tmp ([003]).

use ntmobile_proto::policy::{AgreementError, AgreementMaterial, InnerProtection, KeyAgreementStrategy};
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::identifier::KeyId;
use ntmobile_wire::key::{NamedKey, Secret};
use ntmobile_wire::message::KeyAgreement;
use ntmobile_wire::wrap;

/// Whoever holds K_tmp — the two ends and their DCs — can open the key; an RS cannot.
#[derive(Clone, Copy, Debug, Default)]
pub struct KTmp;

impl KeyAgreementStrategy for KTmp {
    fn name(&self) -> &'static str {
        "k-tmp"
    }

    fn kind(&self) -> KeyAgreement {
        KeyAgreement::KTmp
    }

    fn needs_public_keys(&self) -> bool {
        false
    }

    fn seal(
        &self,
        material: AgreementMaterial<'_>,
        key: &NamedKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, AgreementError> {
        Ok(match material.inner {
            InnerProtection::Wrapped => {
                wrap::wrap(&material.k_tmp.secret, material.sender, material.negotiation, key, entropy)
            }
            InnerProtection::Plain => plain(key),
        })
    }

    fn open(&self, material: AgreementMaterial<'_>, wrapped: &[u8]) -> Result<NamedKey, AgreementError> {
        match material.inner {
            InnerProtection::Wrapped => {
                wrap::unwrap(&material.k_tmp.secret, material.sender, material.negotiation, wrapped).ok()
            }
            InnerProtection::Plain => from_plain(wrapped),
        }
        .ok_or(AgreementError::NotAuthentic)
    }
}

/// The key as it is inside a message that K_tmp itself seals: identifier, then secret.
fn plain(key: &NamedKey) -> Vec<u8> {
    [key.id.0.to_be_bytes().as_slice(), key.secret.expose()].concat()
}

fn from_plain(bytes: &[u8]) -> Option<NamedKey> {
    let (id, secret) = bytes.split_first_chunk()?;
    let secret = secret.try_into().ok()?;
    Some(NamedKey { id: KeyId(u64::from_be_bytes(*id)), secret: Secret::from_bytes(secret) })
}
