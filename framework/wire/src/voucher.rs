//! The AS's signature that a public key belongs to a node, so that no DC can put its own in place.

use crate::codec::Writer;
use crate::key::PublicKey;
use crate::message::KeyVoucher;
use crate::name::Fqdn;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// What is signed begins with this, so that no other signature can pass for a voucher.
const LABEL: &[u8] = b"NTMobile 1 key voucher\0";

/// Why a voucher is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VoucherError {
    /// It is not signed by the network's voucher key.
    #[error("the voucher's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the voucher expired at {not_after} s, it is {now} s")]
    Expired {
        /// The last second in which it held.
        not_after: u64,
        /// Now, in seconds since the Unix epoch.
        now: u64,
    },
}

/// The AS's Ed25519 voucher key.
pub struct VoucherSigner(Ed25519KeyPair);

impl VoucherSigner {
    /// Makes the key from its seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(Ed25519KeyPair::from_seed_unchecked(&*seed).expect("any 32 octets are an Ed25519 seed"))
    }

    /// The key that verifies.
    pub fn verifying_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 octets")
    }

    /// Signs that `public_key` belongs to `node` until `not_after`, in seconds since the Unix epoch.
    pub fn sign(&self, node: Fqdn, public_key: PublicKey, not_after: u64) -> KeyVoucher {
        let signature = self.0.sign(&statement(&node, &public_key, not_after));
        let signature = signature.as_ref().try_into().expect("an Ed25519 signature has 64 octets");
        KeyVoucher { node, public_key, not_after, signature }
    }
}

impl fmt::Debug for VoucherSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoucherSigner(…)")
    }
}

/// Verifies a voucher at `now`, in seconds since the Unix epoch.
pub fn verify(voucher: &KeyVoucher, verifying_key: &[u8; 32], now: u64) -> Result<(), VoucherError> {
    UnparsedPublicKey::new(&ED25519, verifying_key)
        .verify(&statement(&voucher.node, &voucher.public_key, voucher.not_after), &voucher.signature)
        .map_err(|_| VoucherError::Signature)?;
    if now > voucher.not_after {
        return Err(VoucherError::Expired { not_after: voucher.not_after, now });
    }
    Ok(())
}

fn statement(node: &Fqdn, public_key: &PublicKey, not_after: u64) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.put(LABEL);
    writer.write(node);
    writer.write(public_key);
    writer.write(&not_after);
    writer.finish()
}
