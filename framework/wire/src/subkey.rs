//! What actually encrypts: subkeys, derived by HKDF-SHA256 from a named key per purpose, sender role and sender session.
//!
//! A restarted process has a new session, hence new subkeys, hence no nonce repeats however old the stored key.

use crate::identifier::Session;
use crate::key::Secret;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use std::fmt;
use zeroize::Zeroizing;

/// The octets of an authentication tag.
pub const TAG_LENGTH: usize = 16;

/// The salt of every extraction; it changes with the wire format's version.
const SALT: &[u8] = b"NTMobile 1";

/// The named keys that signalling datagrams are protected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// K_ntmdc, between a node and its DC.
    Ntmdc,
    /// K_dcns, between a DC and an NS.
    Dcns,
    /// K_dcdc, between two DCs.
    Dcdc,
    /// K_dcrs, between a DC and an RS.
    Dcrs,
    /// K_ntmns, between a node and an NS.
    Ntmns,
    /// K_tun, between the ends of a negotiation and their RS.
    Tun,
    /// K_tmp, between the ends of a negotiation.
    Tmp,
    /// K_mncn, between the ends of a tunnel.
    Mncn,
}

/// What a subkey is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Sealing signalling datagrams.
    Signalling(KeyKind),
    /// Wrapping K_mncn in K_tmp.
    Wrapping,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Signalling(KeyKind::Ntmdc) => "signalling K_ntmdc",
            Self::Signalling(KeyKind::Dcns) => "signalling K_dcns",
            Self::Signalling(KeyKind::Dcdc) => "signalling K_dcdc",
            Self::Signalling(KeyKind::Dcrs) => "signalling K_dcrs",
            Self::Signalling(KeyKind::Ntmns) => "signalling K_ntmns",
            Self::Signalling(KeyKind::Tun) => "signalling K_tun",
            Self::Signalling(KeyKind::Tmp) => "signalling K_tmp",
            Self::Signalling(KeyKind::Mncn) => "signalling K_mncn",
            Self::Wrapping => "wrapping",
        }
    }
}

/// Who sends under a subkey, so that the two directions never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// A node, towards a server.
    Node = 1,
    /// A DC, towards a node, an RS or an NS.
    Dc = 2,
    /// An NS.
    Ns = 3,
    /// An RS.
    Rs = 4,
    /// Of two like servers, the one that asked for Key Sharing.
    Requester = 5,
    /// Of two like servers, the one that answered.
    Responder = 6,
    /// The end that started the tunnel.
    Mn = 7,
    /// The end that was called.
    Cn = 8,
}

/// An AES-128-GCM key for one purpose, one sender and one session. The library overwrites it when it is freed.
pub struct Subkey(LessSafeKey);

impl Subkey {
    /// Derives the subkey under which `role` sends in its session.
    pub fn derive(secret: &Secret, purpose: Purpose, role: Role, session: Session) -> Self {
        let key: Zeroizing<[u8; 16]> =
            expand(secret.expose(), purpose.label(), &[&[role as u8], &session.0.to_be_bytes()]);
        Self::from_key(&key)
    }

    /// Takes a key that was derived elsewhere.
    pub(crate) fn from_key(key: &[u8; 16]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).expect("the key has the cipher's length")))
    }

    /// Encrypts `body` in place and returns the tag.
    pub(crate) fn seal(&self, nonce: [u8; 12], associated: &[u8], body: &mut [u8]) -> [u8; TAG_LENGTH] {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), body)
            .expect("a message is far shorter than the cipher's limit");
        tag.as_ref().try_into().expect("the tag has the cipher's length")
    }

    /// Decrypts `sealed`, tag included, in place; `None` if it is not authentic.
    pub(crate) fn open<'a>(&self, nonce: [u8; 12], associated: &[u8], sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated), sealed).ok().map(|body| &*body)
    }
}

impl fmt::Debug for Subkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subkey(…)")
    }
}

/// HKDF-SHA256: extracts with the format's salt, expands with the label, a zero octet and the context.
pub(crate) fn expand<const N: usize>(secret: &[u8], label: &str, context: &[&[u8]]) -> Zeroizing<[u8; N]> {
    struct Length(usize);

    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    let info = [&[label.as_bytes(), &[0]], context].concat();
    let mut key = Zeroizing::new([0; N]);
    Salt::new(HKDF_SHA256, SALT)
        .extract(secret)
        .expand(&info, Length(N))
        .and_then(|material| material.fill(&mut *key))
        .expect("the length is far below HKDF's limit");
    key
}
