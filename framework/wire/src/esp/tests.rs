//! Known answers of the RFCs, and what a receiver refuses.

use super::*;
use crate::key::Secret;
use crate::message::CipherSuite;
use crate::subkey::Role;

const SPI: Spi = Spi(0x1234_5670);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal"))
        .collect()
}

fn key(suite: CipherSuite) -> EspKey {
    EspKey::derive(&Secret::from_bytes([7; 32]), suite, Role::Mn, SPI).expect("a known suite")
}

/// Seals `inner` with everything given, and opens the result again.
fn check(suite: CipherSuite, key_and_salt: &str, inner: &str, next_header: u8, packet: &str) {
    let key = EspKey::from_vector(suite, &hex(key_and_salt));
    let (inner, packet) = (hex(inner), hex(packet));
    let [a, b, c, d, e, f, g, h, iv @ ..] = *packet.first_chunk::<HEADER_LENGTH>().expect("a whole header");
    let (spi, sequence) = (Spi(u32::from_be_bytes([a, b, c, d])), u32::from_be_bytes([e, f, g, h]));

    let mut sealed = vec![0xaa; sealed_length(inner.len())];
    sealed[HEADER_LENGTH..HEADER_LENGTH + inner.len()].copy_from_slice(&inner);
    seal_packet(&key.cipher(), spi, sequence, iv, &mut sealed, inner.len(), next_header);
    assert_eq!(sealed, packet);

    let opened = EspOpener::new(&key).open(&mut sealed).map(|inner| (inner.packet.to_vec(), inner.next_header));
    assert_eq!(opened, Ok((inner, next_header)));
}

#[test]
fn chacha20_poly1305_gives_the_packet_of_rfc_7634_appendix_a() {
    check(
        CipherSuite::ChaCha20Poly1305,
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
        "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f
         101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
        4,
        "01020304 00000005 1011121314151617
         24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7
         2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0
         76aaa8266b7fb0f7b11b369907e1ad43",
    );
}

#[test]
fn aes_gcm_gives_the_second_packet_of_the_ipsec_gcm_test_cases() {
    check(
        CipherSuite::Aes128Gcm,
        "feffe9928665731c6d6a8f9467308308 cafebabe",
        "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100000100000000000003736970
         0963796265726369747902646b0000010001",
        1,
        "0000a5f8 0000000a facedbaddecaf888
         deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642
         cfbb85a5b47e48a4ec3b9ba95d918bd1
         83b70d3aa8bc6ee4c309e9d85a41ad4a",
    );
}

#[test]
fn aes_gcm_gives_the_empty_padded_packet_at_the_last_sequence_number() {
    check(
        CipherSuite::Aes128Gcm,
        "7d773d00c144c525ac619d18c84a3f47 d9664267",
        "",
        1,
        "335467ae ffffffff 43457e9182443bc6 437f866b cb3f699fe9b0822bac961c4504bef270",
    );
}

fn sealed(sealer: &EspSealer, inner: &[u8], next_header: u8) -> Vec<u8> {
    let mut packet = vec![0; sealed_length(inner.len())];
    packet[HEADER_LENGTH..HEADER_LENGTH + inner.len()].copy_from_slice(inner);
    let length = sealer.seal(&mut packet, inner.len(), next_header).expect("room and numbers are left");
    assert_eq!(length, packet.len());
    packet
}

#[test]
fn every_length_comes_back_aligned_and_whole() {
    for suite in [CipherSuite::Aes128Gcm, CipherSuite::ChaCha20Poly1305] {
        let (sealer, opener) = (EspSealer::new(SPI, &key(suite)), EspOpener::new(&key(suite)));
        for length in 0..64 {
            let inner: Vec<u8> = (0..length).collect();
            let mut packet = sealed(&sealer, &inner, NEXT_HEADER_IPV6);
            assert_eq!((packet.len() - HEADER_LENGTH - ICV_LENGTH) % 4, 0);
            let sequence = u32::from(length) + 1;
            assert_eq!(
                opener.open(&mut packet),
                Ok(Inner { packet: &mut inner.clone(), next_header: NEXT_HEADER_IPV6, sequence })
            );
        }
    }
}

#[test]
fn a_packet_opens_once() {
    let key = key(CipherSuite::Aes128Gcm);
    let (sealer, opener) = (EspSealer::new(SPI, &key), EspOpener::new(&key));
    let first = sealed(&sealer, b"one", NEXT_HEADER_IPV4);
    let second = sealed(&sealer, b"two", NEXT_HEADER_IPV4);
    assert!(opener.open(&mut second.clone()).is_ok());
    assert!(opener.open(&mut first.clone()).is_ok(), "late is not replayed");
    assert_eq!(opener.open(&mut first.clone()), Err(EspError::Replayed(1)));
    assert_eq!(opener.open(&mut second.clone()), Err(EspError::Replayed(2)));
}

#[test]
fn a_forged_packet_leaves_the_window_alone() {
    let key = key(CipherSuite::ChaCha20Poly1305);
    let (sealer, opener) = (EspSealer::new(SPI, &key), EspOpener::new(&key));
    let genuine = sealed(&sealer, b"inner", NEXT_HEADER_IPV4);
    for bit in 0..genuine.len() * 8 {
        let mut forged = genuine.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(opener.open(&mut forged).is_err(), "bit {bit}");
    }
    let mut ahead = genuine.clone();
    ahead[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(opener.open(&mut ahead), Err(EspError::NotAuthentic));
    assert!(opener.open(&mut genuine.clone()).is_ok());
}

#[test]
fn directions_generations_and_suites_have_keys_of_their_own() {
    let secret = Secret::from_bytes([7; 32]);
    let keys = [
        EspKey::derive(&secret, CipherSuite::Aes128Gcm, Role::Mn, SPI),
        EspKey::derive(&secret, CipherSuite::Aes128Gcm, Role::Cn, SPI),
        EspKey::derive(&secret, CipherSuite::Aes128Gcm, Role::Mn, SPI.at_generation(1)),
        EspKey::derive(&secret, CipherSuite::ChaCha20Poly1305, Role::Mn, SPI),
    ]
    .map(|key| key.expect("a known suite").wireshark_key());
    let different: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(different.len(), keys.len());
    assert_eq!(keys.map(|key| key.len()), [2 + 40, 2 + 40, 2 + 40, 2 + 72]);
    assert_eq!(EspKey::derive(&secret, CipherSuite::Unknown(9), Role::Mn, SPI).map(|_| ()), Err(UnknownSuite(9)));
}

#[test]
fn a_sealer_asks_for_a_rekey_in_time_and_stops_before_a_number_repeats() {
    let sealer = EspSealer::new(SPI, &key(CipherSuite::Aes128Gcm));
    sealer.last.store(REKEY_DUE - 1, Ordering::Relaxed);
    assert!(!sealer.is_rekey_due());
    sealed(&sealer, b"", NEXT_HEADER_DUMMY);
    assert!(sealer.is_rekey_due());
    sealer.last.store(u32::MAX - 1, Ordering::Relaxed);
    let last = sealed(&sealer, b"", NEXT_HEADER_DUMMY);
    assert_eq!(last[4..8], [0xff; 4]);
    assert_eq!(sealer.seal(&mut [0; 64], 0, NEXT_HEADER_DUMMY), Err(SealError::Exhausted));
}

#[test]
fn a_buffer_without_room_costs_no_sequence_number() {
    let sealer = EspSealer::new(SPI, &key(CipherSuite::Aes128Gcm));
    assert_eq!(sealer.seal(&mut [0; 39], 8, NEXT_HEADER_IPV4), Err(SealError::NoRoom { have: 39, need: 44 }));
    assert_eq!(sealer.sealed(), 0);
}

#[test]
fn authentic_nonsense_is_refused() {
    let key = key(CipherSuite::Aes128Gcm);
    let cipher = key.cipher();
    for body in [[9, 9, 9, 9], [0, 0, 2, 4], [1, 2, 9, 4]] {
        let mut packet = [&hex("12345670 00000001 0000000000000001")[..], &body].concat();
        let (header, plain) = packet.split_at_mut(HEADER_LENGTH);
        let icv = cipher.seal([0, 0, 0, 0, 0, 0, 0, 1], &header[..ASSOCIATED_LENGTH], plain);
        packet.extend_from_slice(&icv);
        assert_eq!(EspOpener::new(&key).open(&mut packet), Err(EspError::Padding));
    }
    for length in 0..HEADER_LENGTH + TRAILER_LENGTH + ICV_LENGTH {
        assert_eq!(EspOpener::new(&key).open(&mut vec![1; length]), Err(EspError::Malformed));
    }
}

#[test]
fn many_threads_never_share_a_sequence_number() {
    let sealer = EspSealer::new(SPI, &key(CipherSuite::Aes128Gcm));
    let numbers: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let number = |packet: Vec<u8>| u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
                    (0..500).map(|_| number(sealed(&sealer, b"", NEXT_HEADER_DUMMY))).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let different: std::collections::BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!((different.len(), different.last()), (2_000, Some(&2_000)));
}

/// A train of `count` packets of `inner` octets each.
fn train(sealer: &EspSealer, count: u32, inner: usize) -> Vec<u8> {
    let stride = sealed_length(inner);
    let mut train = vec![0; stride * count as usize];
    let mut reservation = sealer.reserve(count).expect("numbers are left");
    for (packet, number) in train.chunks_mut(stride).zip(0..) {
        packet[HEADER_LENGTH..HEADER_LENGTH + inner].fill(number);
        reservation.seal(packet, inner, NEXT_HEADER_IPV6).expect("there is room");
    }
    train
}

fn open_all(opener: &EspOpener, train: &mut [u8], stride: usize) -> Vec<Result<(u8, u32), EspError>> {
    let mut outcomes = Vec::new();
    opener.open_train(train, stride, |outcome| {
        outcomes.push(outcome.map(|inner| (inner.packet.first().copied().unwrap_or(0), inner.sequence)));
    });
    outcomes
}

#[test]
fn a_train_opens_as_its_packets_would() {
    let key = key(CipherSuite::Aes128Gcm);
    let sealer = EspSealer::new(SPI, &key);
    let stride = sealed_length(33);
    let mut whole = train(&sealer, 150, 33);
    // A repetition, a forgery, and a packet that is cut short at the end.
    let (first, rest) = whole.split_at_mut(stride);
    rest[..stride].copy_from_slice(first);
    whole[5 * stride + 40] ^= 1;
    whole.truncate(149 * stride + 20);

    let single = EspOpener::new(&key);
    let expected: Vec<_> = whole
        .chunks(stride)
        .map(|packet| single.open(&mut packet.to_vec()).map(|inner| (inner.packet[0], inner.sequence)))
        .collect();
    assert_eq!(expected[1], Err(EspError::Replayed(1)));
    assert_eq!(expected[5], Err(EspError::NotAuthentic));
    assert_eq!(expected[149], Err(EspError::Malformed));
    assert_eq!(expected.iter().filter(|outcome| outcome.is_ok()).count(), 147);

    let opener = EspOpener::new(&key);
    assert_eq!(open_all(&opener, &mut whole.clone(), stride), expected);
    let again = open_all(&opener, &mut whole, stride);
    assert!(again.iter().all(|outcome| outcome.is_err()), "no packet of a train opens twice");
}

#[test]
fn a_reservation_is_nobody_elses_and_goes_on_one_by_one() {
    let sealer = EspSealer::new(SPI, &key(CipherSuite::Aes128Gcm));
    let number = |packet: &[u8]| u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
    let mut reservation = sealer.reserve(2).expect("numbers are left");
    assert_eq!(number(&sealed(&sealer, b"", NEXT_HEADER_DUMMY)), 3);
    let numbers: Vec<u32> = (0..4)
        .map(|_| {
            let mut packet = [0; sealed_length(0)];
            reservation.seal(&mut packet, 0, NEXT_HEADER_DUMMY).expect("there is room");
            number(&packet)
        })
        .collect();
    assert_eq!(numbers, [1, 2, 4, 5]);
    sealer.last.store(u32::MAX - 1, Ordering::Relaxed);
    assert_eq!(sealer.reserve(2).map(|_| ()), Err(SealError::Exhausted));
    assert!(sealer.reserve(1).is_ok(), "what is left may be used");
}
