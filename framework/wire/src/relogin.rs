//! The proof of a re-login in `via-dc`: whoever holds the current K_ntmdc need not go back to the AS.

use crate::codec::Writer;
use crate::identifier::Session;
use crate::key::Secret;
use crate::name::Account;
use crate::subkey::expand;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use subtle::ConstantTimeEq;

/// HMAC-SHA256 over the account and the sender's session, under a subkey of K_ntmdc.
pub fn prove(k_ntmdc: &Secret, account: &Account, session: Session) -> [u8; 32] {
    let key = expand::<32>(k_ntmdc.expose(), "re-login proof", &[]);
    let mut writer = Writer::new();
    writer.write(account);
    writer.write(&session);
    let tag = sign(&Key::new(HMAC_SHA256, &*key), &writer.finish());
    tag.as_ref().try_into().expect("HMAC-SHA256 gives 32 octets")
}

/// Whether `proof` is [`prove`]'s, in constant time.
pub fn verify(k_ntmdc: &Secret, account: &Account, session: Session, proof: &[u8; 32]) -> bool {
    prove(k_ntmdc, account, session).ct_eq(proof).into()
}
