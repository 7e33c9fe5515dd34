//! Key derivation written a second time, from the book alone, so that the vectors do not merely repeat the crate.

use aws_lc_rs::aead::{AES_128_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

pub(crate) fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), data).as_ref().to_vec()
}

/// HKDF-SHA256 (RFC 5869) with the format's salt and `label 0 context` as its info.
pub(crate) fn derive(secret: &[u8], label: &str, context: &[u8], length: usize) -> Vec<u8> {
    let extracted = hmac(b"NTMobile 1", secret);
    let info = [label.as_bytes(), &[0], context].concat();
    let (mut block, mut derived) = (Vec::new(), Vec::new());
    for counter in 1..=length.div_ceil(32) as u8 {
        block = hmac(&extracted, &[&block[..], &info, &[counter]].concat());
        derived.extend_from_slice(&block);
    }
    derived.truncate(length);
    derived
}

fn open(algorithm: &'static Algorithm, key: &[u8], nonce: &[u8], associated: &[u8], sealed: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("a key of the right length"));
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("a nonce of 12 octets");
    let mut sealed = sealed.to_vec();
    key.open_in_place(nonce, Aad::from(associated), &mut sealed).expect("it is authentic").to_vec()
}

pub(crate) fn open_aes(key: &[u8], nonce: &[u8], associated: &[u8], sealed: &[u8]) -> Vec<u8> {
    open(&AES_128_GCM, key, nonce, associated, sealed)
}

pub(crate) fn open_chacha(key: &[u8], nonce: &[u8], associated: &[u8], sealed: &[u8]) -> Vec<u8> {
    open(&CHACHA20_POLY1305, key, nonce, associated, sealed)
}

pub(crate) fn x25519(private: &[u8], public: &[u8]) -> Vec<u8> {
    let private = PrivateKey::from_private_key(&X25519, private).expect("32 octets");
    agree(&private, UnparsedPublicKey::new(&X25519, public), (), |secret| Ok(secret.to_vec())).expect("a sound key")
}
