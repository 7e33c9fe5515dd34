//! K_mncn sealed to the peer's public key: the `public-key` agreement.
//!
//! Two X25519 secrets enter the derivation, as in HPKE's authenticated mode: one between an ephemeral key and the peer's
//! key, so that a new one protects every negotiation, and one between both ends' own keys, so that a DC, which could seal
//! a key of its own choice to anybody, cannot pass for the sender.

use crate::codec::Writer;
use crate::entropy::{Entropy, draw};
use crate::identifier::Negotiation;
use crate::key::{NamedKey, PublicKey};
use crate::subkey::{Subkey, expand};
use crate::wrap::{UnwrapError, decode_key};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use std::fmt;
use zeroize::Zeroizing;

/// The octets of a public key.
const PUBLIC_LENGTH: usize = 32;

/// The ephemeral key seals once, so its one nonce may be anything.
const NONCE: [u8; 12] = [0; 12];

/// A node's X25519 private key; zeroised when dropped.
#[derive(Clone)]
pub struct AgreementKey {
    private: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

/// A public key that leads to no secret: it has small order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the public key has small order")]
pub struct WeakKey;

impl AgreementKey {
    /// Draws a fresh key.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        Self::from_bytes(draw(entropy))
    }

    /// Takes the bytes of a private key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let private = Zeroizing::new(bytes);
        let public = private_key(&private).compute_public_key().expect("a private key has its public key");
        let public = PublicKey(public.as_ref().try_into().expect("an X25519 public key has 32 octets"));
        Self { private, public }
    }

    /// The key that others know.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The private bytes, for the durable store alone.
    pub fn expose(&self) -> &[u8; 32] {
        &self.private
    }

    /// The secret shared with `peer`; the library refuses one of all zeros.
    fn agree(&self, peer: &PublicKey) -> Result<Zeroizing<[u8; 32]>, WeakKey> {
        agree(&private_key(&self.private), UnparsedPublicKey::new(&X25519, &peer.0), WeakKey, |secret| {
            secret.try_into().map(Zeroizing::new).map_err(|_| WeakKey)
        })
    }
}

impl fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgreementKey({:?})", self.public)
    }
}

/// Seals `key` from `sender` to `recipient`; the result belongs to this negotiation alone.
pub fn seal(
    key: &NamedKey,
    sender: &AgreementKey,
    recipient: &PublicKey,
    negotiation: Negotiation,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, WeakKey> {
    let ephemeral = AgreementKey::draw(entropy);
    let secrets = [ephemeral.agree(recipient)?, sender.agree(recipient)?];
    let subkey = subkey(secrets, &ephemeral.public, &sender.public, recipient, negotiation);
    let mut writer = Writer::new();
    writer.write(&ephemeral.public);
    writer.write(key);
    let mut sealed = writer.finish();
    let tag = subkey.seal(NONCE, &[], &mut sealed[PUBLIC_LENGTH..]);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens what `sender` sealed to `recipient`.
pub fn open(
    sealed: &[u8],
    sender: &PublicKey,
    recipient: &AgreementKey,
    negotiation: Negotiation,
) -> Result<NamedKey, UnwrapError> {
    let (ephemeral, sealed) = sealed.split_first_chunk().ok_or(UnwrapError::Malformed)?;
    let ephemeral = PublicKey(*ephemeral);
    let agree = |public| recipient.agree(public).map_err(|WeakKey| UnwrapError::NotAuthentic);
    let secrets = [agree(&ephemeral)?, agree(sender)?];
    let subkey = subkey(secrets, &ephemeral, sender, &recipient.public, negotiation);
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let key = subkey.open(NONCE, &[], &mut sealed).ok_or(UnwrapError::NotAuthentic)?;
    decode_key(key).ok_or(UnwrapError::Malformed)
}

/// Derives the one-time subkey from both secrets, bound to every public key and to the negotiation.
fn subkey(
    [ephemeral_secret, static_secret]: [Zeroizing<[u8; 32]>; 2],
    ephemeral: &PublicKey,
    sender: &PublicKey,
    recipient: &PublicKey,
    negotiation: Negotiation,
) -> Subkey {
    let mut secret = Zeroizing::new([0; 64]);
    secret[..32].copy_from_slice(&*ephemeral_secret);
    secret[32..].copy_from_slice(&*static_secret);
    let context: [&[u8]; 4] = [&ephemeral.0, &sender.0, &recipient.0, &negotiation.0.to_be_bytes()];
    Subkey::from_key(&expand(&*secret, "sealed key", &context))
}

fn private_key(bytes: &[u8; 32]) -> PrivateKey {
    PrivateKey::from_private_key(&X25519, bytes).expect("any 32 octets are an X25519 private key")
}
