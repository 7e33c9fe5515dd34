//! Sealing and opening packets of 1,400 octets beside the bare cipher, and coding messages.

use aws_lc_rs::aead::{AES_128_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ntmobile_wire::datagram::{Header, open, seal};
use ntmobile_wire::esp::{EspKey, EspOpener, EspSealer, HEADER_LENGTH, NEXT_HEADER_IPV4, sealed_length};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Session, Spi, Transaction};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::{CipherSuite, Message, Reachability, RegistrationRequest};
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use std::hint::black_box;

const INNER: usize = 1_400;

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn packets(criterion: &mut Criterion) {
    let suites: [(&str, CipherSuite, &'static Algorithm); 2] = [
        ("AES-128-GCM", CipherSuite::Aes128Gcm, &AES_128_GCM),
        ("ChaCha20-Poly1305", CipherSuite::ChaCha20Poly1305, &CHACHA20_POLY1305),
    ];
    for (name, suite, algorithm) in suites {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(INNER as u64));
        let spi = Spi(0x1234_5670);
        let key = EspKey::derive(&Secret::from_bytes([1; 32]), suite, Role::Mn, spi).expect("a known suite");
        let bare_key = vec![1; algorithm.key_len()];
        let bare = LessSafeKey::new(UnboundKey::new(algorithm, &bare_key).expect("a key of the right length"));

        let mut buffer = vec![0; INNER];
        let mut number = 0;
        group.bench_function("seal, bare cipher", |bencher| {
            bencher.iter(|| {
                number += 1;
                black_box(bare.seal_in_place_separate_tag(nonce(number), Aad::from([0; 8]), &mut buffer)).is_ok()
            });
        });

        let sealer = EspSealer::new(spi, &key);
        let mut buffer = vec![0; sealed_length(INNER)];
        group.bench_function("seal, ESP", |bencher| {
            bencher.iter(|| black_box(sealer.seal(&mut buffer, INNER, NEXT_HEADER_IPV4)).expect("numbers are left"));
        });

        let mut sealed = vec![0; INNER];
        let tag = bare.seal_in_place_separate_tag(nonce(0), Aad::from([0; 8]), &mut sealed).expect("it is short");
        sealed.extend_from_slice(tag.as_ref());
        group.bench_function("open, bare cipher", |bencher| {
            bencher.iter_batched_ref(
                || sealed.clone(),
                |packet| bare.open_in_place(nonce(0), Aad::from([0; 8]), packet).is_ok(),
                BatchSize::LargeInput,
            );
        });

        let sealer = EspSealer::new(spi, &key);
        let opener = EspOpener::new(&key);
        group.bench_function("open, ESP", |bencher| {
            bencher.iter_batched_ref(
                || {
                    let mut packet = vec![0; sealed_length(INNER)];
                    packet[HEADER_LENGTH..].fill(7);
                    sealer.seal(&mut packet, INNER, NEXT_HEADER_IPV4).expect("numbers are left");
                    packet
                },
                |packet| opener.open(packet).is_ok(),
                BatchSize::LargeInput,
            );
        });
    }
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Registration Request");
    let message = Message::from(RegistrationRequest {
        application: ApplicationId(0),
        real: vec!["192.168.1.2:40000".parse().expect("a sound address")],
        reachability: Reachability::UdpKeepalive,
        device_token: Vec::new(),
        epoch: 1,
    });
    let frame = Frame { transaction: Transaction(1), session: Session(2), message: message.clone(), trace: None };
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(frame.encode())));
    let bytes = frame.encode();
    group.bench_function("decode", |bencher| bencher.iter(|| black_box(Frame::decode(&bytes))));

    let purpose = Purpose::Signalling(KeyKind::Ntmdc);
    let subkey = Subkey::derive(&Secret::from_bytes([1; 32]), purpose, Role::Node, Session(2));
    let header = Header { kind: 0, transaction: Transaction(1), key_id: KeyId(3), session: Session(2), sequence: 4 };
    group.bench_function("seal", |bencher| bencher.iter(|| black_box(seal(&subkey, header, &message, None))));
    let sealed = seal(&subkey, header, &message, None);
    group.bench_function("open", |bencher| bencher.iter(|| black_box(open(&subkey, &sealed))));
}

criterion_group!(benches, packets, messages);
criterion_main!(benches);
