//! Certificates and keys as text (PEM, RFC 7468), as files hold them.

use rustls_pki_types::pem::{self, PemObject};
use zeroize::Zeroizing;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters in a line.
const LINE: usize = 64;

/// Bytes as text between its two lines.
pub(super) fn encode(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    let base64 = base64(bytes);
    // All at once, so that no half of a key is left behind by a string that grew.
    let mut text = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / LINE + 2 * label.len() + 40));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in base64.as_bytes().chunks(LINE) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Everything of one kind that a text holds.
pub(super) fn decode<T: PemObject>(text: &str) -> Result<Vec<T>, pem::Error> {
    T::pem_slice_iter(text.as_bytes()).collect()
}

fn base64(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let sextet = bits >> (18 - 6 * place) & 0x3f;
            text.push(if place <= group.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::CertificateDer;

    #[test]
    fn the_test_vectors_of_rfc_4648() {
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, text) in vectors {
            assert_eq!(base64(plain.as_bytes()).as_str(), text);
        }
    }

    #[test]
    fn what_is_written_is_read_again_at_every_length() {
        for length in [1, 2, 3, 47, 48, 49, 200] {
            let bytes: Vec<u8> = (0..length).map(|number: u8| number.wrapping_mul(7)).collect();
            let text = encode("CERTIFICATE", &bytes);
            assert!(text.lines().all(|line| line.len() <= LINE), "{}", *text);
            let read: Vec<CertificateDer<'_>> = decode(&text).unwrap();
            assert_eq!(read, [CertificateDer::from(bytes)]);
        }
    }
}
