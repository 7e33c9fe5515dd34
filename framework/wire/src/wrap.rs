//! K_mncn wrapped in K_tmp, for Tunnel Request: the `k-tmp` agreement.

use crate::codec::{Decode, Reader, Writer};
use crate::entropy::{Entropy, draw};
use crate::identifier::{Negotiation, Session};
use crate::key::{NamedKey, Secret};
use crate::subkey::{Purpose, Role, Subkey};
use thiserror::Error;
use zeroize::Zeroizing;

/// The octets of the nonce before the sealed key.
const NONCE_LENGTH: usize = 12;

/// Why a wrapped key could not be unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnwrapError {
    /// It has not the length of a wrapped key.
    #[error("a wrapped key has not the right length")]
    Malformed,
    /// It was not wrapped for this negotiation by this sender under this key.
    #[error("a wrapped key is not authentic")]
    NotAuthentic,
}

/// Wraps `key` under `k_tmp` as the end `role` in its session; the result belongs to this negotiation alone.
pub fn wrap(
    k_tmp: &Secret,
    (role, session): (Role, Session),
    negotiation: Negotiation,
    key: &NamedKey,
    entropy: &mut dyn Entropy,
) -> Vec<u8> {
    let nonce: [u8; NONCE_LENGTH] = draw(entropy);
    let subkey = Subkey::derive(k_tmp, Purpose::Wrapping, role, session);
    let mut writer = Writer::new();
    writer.put(&nonce);
    writer.write(key);
    let mut wrapped = writer.finish();
    let tag = subkey.seal(nonce, &negotiation.0.to_be_bytes(), &mut wrapped[NONCE_LENGTH..]);
    wrapped.extend_from_slice(&tag);
    wrapped
}

/// Unwraps what the end `role` wrapped in its session.
pub fn unwrap(
    k_tmp: &Secret,
    (role, session): (Role, Session),
    negotiation: Negotiation,
    wrapped: &[u8],
) -> Result<NamedKey, UnwrapError> {
    let (nonce, sealed) = wrapped.split_first_chunk().ok_or(UnwrapError::Malformed)?;
    let subkey = Subkey::derive(k_tmp, Purpose::Wrapping, role, session);
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let key = subkey.open(*nonce, &negotiation.0.to_be_bytes(), &mut sealed).ok_or(UnwrapError::NotAuthentic)?;
    decode_key(key).ok_or(UnwrapError::Malformed)
}

/// Reads a key that fills `bytes` exactly.
pub(crate) fn decode_key(bytes: &[u8]) -> Option<NamedKey> {
    let mut reader = Reader::new(bytes);
    let key = NamedKey::decode(&mut reader).ok()?;
    reader.finish().ok()?;
    Some(key)
}
