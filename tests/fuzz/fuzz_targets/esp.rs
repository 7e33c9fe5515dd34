//! Nothing opens that was not sealed; and every sealed packet opens once.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntmobile_wire::esp::{EspKey, EspOpener, EspSealer, HEADER_LENGTH, sealed_length};
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::subkey::Role;

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (is_aes, next_header, bytes) = input;
    let suite = if is_aes { CipherSuite::Aes128Gcm } else { CipherSuite::ChaCha20Poly1305 };
    let spi = Spi(0x1234_5670);
    let key = EspKey::derive(&Secret::from_bytes([1; 32]), suite, Role::Mn, spi).expect("a known suite");
    let opener = EspOpener::new(&key);
    assert!(opener.open(&mut bytes.to_vec()).is_err());

    let mut packet = vec![0; sealed_length(bytes.len())];
    packet[HEADER_LENGTH..HEADER_LENGTH + bytes.len()].copy_from_slice(bytes);
    EspSealer::new(spi, &key).seal(&mut packet, bytes.len(), next_header).expect("there is room");
    let mut again = packet.clone();
    let opened = opener.open(&mut packet).expect("it is authentic");
    assert_eq!((&*opened.packet, opened.next_header), (bytes, next_header));
    assert!(opener.open(&mut again).is_err());
});
