//! Keys of application packets: derived from K_mncn per sender and generation, with the salt that the nonces begin with.

use super::ICV_LENGTH;
use crate::identifier::Spi;
use crate::key::Secret;
use crate::message::CipherSuite;
use crate::subkey::{Role, expand};
use aws_lc_rs::aead::{AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::fmt::{self, Write};
use thiserror::Error;
use zeroize::Zeroizing;

/// The octets of the salt before the IV in a nonce.
const SALT_LENGTH: usize = 4;

/// The longest cipher key.
const LONGEST_KEY: usize = 32;

/// A cipher suite that this version does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the cipher suite {0} is not known")]
pub struct UnknownSuite(pub u8);

/// The key and salt of one generation of one direction; zeroised when dropped.
#[derive(Clone)]
pub struct EspKey {
    suite: Suite,
    /// The cipher's key, then the salt.
    material: Zeroizing<[u8; LONGEST_KEY + SALT_LENGTH]>,
}

/// A suite that is certainly known.
#[derive(Clone, Copy, Debug)]
enum Suite {
    Aes128Gcm,
    ChaCha20Poly1305,
}

impl Suite {
    fn key_length(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::ChaCha20Poly1305 => 32,
        }
    }
}

impl EspKey {
    /// Derives the key under which the end `sender` sends to `spi`, in the generation that the SPI bears.
    pub fn derive(k_mncn: &Secret, suite: CipherSuite, sender: Role, spi: Spi) -> Result<Self, UnknownSuite> {
        let context: [&[u8]; 2] = [&[sender as u8], &[spi.generation() as u8]];
        let (suite, label) = match suite {
            CipherSuite::Aes128Gcm => (Suite::Aes128Gcm, "ESP AES-128-GCM"),
            CipherSuite::ChaCha20Poly1305 => (Suite::ChaCha20Poly1305, "ESP ChaCha20-Poly1305"),
            CipherSuite::Unknown(number) => return Err(UnknownSuite(number)),
        };
        Ok(Self { suite, material: expand(k_mncn.expose(), label, &context) })
    }

    #[cfg(test)]
    pub(super) fn from_vector(suite: CipherSuite, key_and_salt: &[u8]) -> Self {
        let suite = match suite {
            CipherSuite::Aes128Gcm => Suite::Aes128Gcm,
            _ => Suite::ChaCha20Poly1305,
        };
        let mut material = Zeroizing::new([0; LONGEST_KEY + SALT_LENGTH]);
        material[..key_and_salt.len()].copy_from_slice(key_and_salt);
        Self { suite, material }
    }

    /// Key and salt in the form that Wireshark's `esp_sa` table takes, such as `0x0011…`.
    ///
    /// For captures of experiments only: whoever reads it reads the traffic.
    pub fn wireshark_key(&self) -> String {
        let mut text = String::from("0x");
        for byte in self.used() {
            write!(text, "{byte:02x}").expect("writing to a string does not fail");
        }
        text
    }

    /// The cipher that the key is for.
    pub fn suite(&self) -> CipherSuite {
        match self.suite {
            Suite::Aes128Gcm => CipherSuite::Aes128Gcm,
            Suite::ChaCha20Poly1305 => CipherSuite::ChaCha20Poly1305,
        }
    }

    /// The cipher's key and the salt behind it, for whoever seals or opens in this process's place: the kernel.
    pub fn expose(&self) -> &[u8] {
        self.used()
    }

    /// As much of the material as the suite takes.
    fn used(&self) -> &[u8] {
        &self.material[..self.suite.key_length() + SALT_LENGTH]
    }

    pub(super) fn cipher(&self) -> EspCipher {
        let (key, salt) = self.used().split_at(self.suite.key_length());
        let algorithm = match self.suite {
            Suite::Aes128Gcm => &AES_128_GCM,
            Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("the key has the cipher's length"));
        EspCipher { key, salt: salt.try_into().expect("the salt has four octets") }
    }
}

impl fmt::Debug for EspKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EspKey({:?}, …)", self.suite)
    }
}

/// A cipher ready for use; nonces are salt and IV.
pub(super) struct EspCipher {
    key: LessSafeKey,
    salt: [u8; SALT_LENGTH],
}

impl EspCipher {
    /// Encrypts `body` in place and returns the integrity check value.
    pub(super) fn seal(&self, iv: [u8; 8], associated: &[u8], body: &mut [u8]) -> [u8; ICV_LENGTH] {
        let icv = self
            .key
            .seal_in_place_separate_tag(self.nonce(iv), Aad::from(associated), body)
            .expect("a packet is far shorter than the cipher's limit");
        icv.as_ref().try_into().expect("both suites have an integrity check value of 16 octets")
    }

    /// Decrypts `body` in place; `false` if it is not authentic.
    pub(super) fn open(&self, iv: [u8; 8], associated: &[u8], body: &mut [u8], icv: &[u8]) -> bool {
        self.key.open_in_place_separate_tag(self.nonce(iv), Aad::from(associated), icv, body).is_ok()
    }

    fn nonce(&self, iv: [u8; 8]) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..SALT_LENGTH].copy_from_slice(&self.salt);
        nonce[SALT_LENGTH..].copy_from_slice(&iv);
        Nonce::assume_unique_for_key(nonce)
    }
}
