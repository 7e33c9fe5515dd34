//! The golden vectors in `tests/vectors/`: what every implementation must produce and accept, byte for byte.
//!
//! They change with the version of the wire format and never otherwise; a new message adds its own to them. After either
//! `NTMOBILE_WRITE_VECTORS=1 cargo test -p ntmobile-wire vectors` writes them anew; continuous integration never sets it.

use crate::independent::{derive, hmac, open_aes, open_chacha, x25519};
use crate::samples::{Counting, account, messages, name, named_key, trace};
use ntmobile_wire::datagram::{Header, encode_source_unknown, open, seal};
use ntmobile_wire::esp::{EspKey, EspOpener, EspSealer, HEADER_LENGTH, sealed_length};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Negotiation, Session, Spi, Transaction};
use ntmobile_wire::key::{PublicKey, Secret};
use ntmobile_wire::message::{CipherSuite, Message};
use ntmobile_wire::sealed_key::{self, AgreementKey};
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use ntmobile_wire::voucher::{self, VoucherSigner};
use ntmobile_wire::{relogin, wrap};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

pub(crate) const SECRET: [u8; 32] = *b"a named key of thirty-two octets";
const SESSION: Session = Session(0x5e55_1017);
const NEGOTIATION: Negotiation = Negotiation(0x6e60_71a7);

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// Compares with the file, or writes it where that is asked for.
pub(crate) fn check(file: &str, vectors: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(file);
    let text = serde_json::to_string_pretty(vectors).expect("a value is JSON") + "\n";
    if std::env::var_os("NTMOBILE_WRITE_VECTORS").is_some() {
        std::fs::write(&path, text).expect("the vectors' directory is writable");
        return;
    }
    let golden = std::fs::read_to_string(&path).expect("the vectors are in the tree");
    assert!(golden == text, "{file} is not what this crate produces");
}

fn header(message: &Message) -> Header {
    let (transaction, key_id) = (Transaction(0x7a45), KeyId(0x6b65_7920_6964));
    Header { kind: message.kind(), transaction, key_id, session: SESSION, sequence: 0x0102_0304_0506_0708 }
}

#[test]
fn frames() {
    let vectors: Vec<Value> = messages()
        .into_iter()
        .map(|message| {
            let described = format!("{message:?}");
            let (kind, label) = (message.kind(), message.label());
            let frame = Frame { transaction: Transaction(0x7a45), session: SESSION, message, trace: Some(trace()) };
            json!({ "kind": kind, "label": label, "message": described, "frame": hex(&frame.encode()) })
        })
        .collect();
    check("frames.json", &json!({ "transaction": 0x7a45, "session": SESSION.0, "vectors": vectors }));
}

#[test]
fn datagrams() {
    let subkey = Subkey::derive(&Secret::from_bytes(SECRET), Purpose::Signalling(KeyKind::Ntmdc), Role::Node, SESSION);
    let key = derive(&SECRET, "signalling K_ntmdc", &[&[1][..], &SESSION.0.to_be_bytes()].concat(), 16);
    let mut vectors = Vec::new();
    for message in messages() {
        let datagram = if let Message::SourceUnknown(message) = &message {
            encode_source_unknown(Transaction(0x7a45), SESSION, message)
        } else {
            let sealed = seal(&subkey, header(&message), &message, Some(trace()));
            let nonce = [&[0; 4], &sealed[30..38]].concat();
            let frame = Frame {
                transaction: Transaction(0x7a45),
                session: SESSION,
                message: message.clone(),
                trace: Some(trace()),
            };
            let body = open_aes(&key, &nonce, &sealed[..38], &sealed[38..]);
            assert_eq!(body, frame.encode()[18..], "frames and datagrams have one body");
            assert!(open(&subkey, &sealed).is_ok());
            sealed
        };
        vectors.push(json!({ "kind": message.kind(), "label": message.label(), "datagram": hex(&datagram) }));
    }
    let context = json!({ "named_key": hex(&SECRET), "label": "signalling K_ntmdc", "role": 1, "session": SESSION.0 });
    check("datagrams.json", &json!({ "subkey_of": context, "subkey": hex(&key), "vectors": vectors }));
}

#[test]
fn subkeys() {
    let secret = Secret::from_bytes(SECRET);
    let kinds: [(KeyKind, &str, &[Role]); 8] = [
        (KeyKind::Ntmdc, "signalling K_ntmdc", &[Role::Node, Role::Dc]),
        (KeyKind::Dcns, "signalling K_dcns", &[Role::Dc, Role::Ns]),
        (KeyKind::Dcdc, "signalling K_dcdc", &[Role::Requester, Role::Responder]),
        (KeyKind::Dcrs, "signalling K_dcrs", &[Role::Dc, Role::Rs]),
        (KeyKind::Ntmns, "signalling K_ntmns", &[Role::Node, Role::Ns]),
        (KeyKind::Tun, "signalling K_tun", &[Role::Mn, Role::Cn, Role::Rs]),
        (KeyKind::Tmp, "signalling K_tmp", &[Role::Mn, Role::Cn]),
        (KeyKind::Mncn, "signalling K_mncn", &[Role::Mn, Role::Cn]),
    ];
    let mut vectors = Vec::new();
    for (kind, label, roles) in kinds {
        for &role in roles {
            let key = derive(&SECRET, label, &[&[role as u8][..], &SESSION.0.to_be_bytes()].concat(), 16);
            let subkey = Subkey::derive(&secret, Purpose::Signalling(kind), role, SESSION);
            let message = &messages()[0];
            let sealed = seal(&subkey, header(message), message, None);
            open_aes(&key, &[&[0; 4], &sealed[30..38]].concat(), &sealed[..38], &sealed[38..]);
            vectors.push(json!({ "label": label, "role": role as u8, "subkey": hex(&key) }));
        }
    }
    check("subkeys.json", &json!({ "named_key": hex(&SECRET), "session": SESSION.0, "vectors": vectors }));
}

#[test]
fn keys() {
    let secret = Secret::from_bytes(SECRET);
    let key = named_key(0x40);
    let plain = [&key.id.0.to_be_bytes()[..], key.secret.expose()].concat();

    let sender = (Role::Mn, SESSION);
    let wrapped = wrap::wrap(&secret, sender, NEGOTIATION, &key, &mut Counting(0xa0));
    let wrapping = derive(&SECRET, "wrapping", &[&[7][..], &SESSION.0.to_be_bytes()].concat(), 16);
    assert_eq!(open_aes(&wrapping, &wrapped[..12], &NEGOTIATION.0.to_be_bytes(), &wrapped[12..]), plain);
    assert_eq!(wrap::unwrap(&secret, sender, NEGOTIATION, &wrapped), Ok(key.clone()));

    let [mn, cn] = [0x11, 0x22].map(|byte| AgreementKey::from_bytes([byte; 32]));
    let sealed = sealed_key::seal(&key, &mn, &cn.public(), NEGOTIATION, &mut Counting(0xb0)).expect("a sound key");
    assert_eq!(sealed_key::open(&sealed, &mn.public(), &cn, NEGOTIATION), Ok(key.clone()));
    let secrets = [x25519(cn.expose(), &sealed[..32]), x25519(cn.expose(), &mn.public().0)].concat();
    let context = [&sealed[..32], &mn.public().0, &cn.public().0, &NEGOTIATION.0.to_be_bytes()].concat();
    let one_time = derive(&secrets, "sealed key", &context, 16);
    assert_eq!(open_aes(&one_time, &[0; 12], &[], &sealed[32..]), plain);

    let signer = VoucherSigner::from_seed([0x33; 32]);
    let statement = signer.sign(name("bob.u2.example"), PublicKey([7; 32]), 2_000_000_000);
    assert_eq!(voucher::verify(&statement, &signer.verifying_key(), 2_000_000_000), Ok(()));

    let proof = relogin::prove(&secret, &account(), SESSION);
    let proved = [&[16][..], b"alice@u1.example", &SESSION.0.to_be_bytes()].concat();
    assert_eq!(hmac(&derive(&SECRET, "re-login proof", &[], 32), &proved), proof);
    check(
        "keys.json",
        &json!({
            "named_key": { "id": hex(&key.id.0.to_be_bytes()), "secret": hex(key.secret.expose()), "encoded": hex(&plain) },
            "negotiation": NEGOTIATION.0,
            "wrap": {
                "k_tmp": hex(&SECRET),
                "role": 7,
                "session": SESSION.0,
                "subkey": hex(&wrapping),
                "wrapped": hex(&wrapped),
            },
            "sealed_key": {
                "ephemeral_private": hex(&std::array::from_fn::<u8, 32, _>(|octet| 0xb0 + octet as u8)),
                "sender_private": hex(mn.expose()),
                "sender_public": hex(&mn.public().0),
                "recipient_private": hex(cn.expose()),
                "recipient_public": hex(&cn.public().0),
                "subkey": hex(&one_time),
                "sealed": hex(&sealed),
            },
            "voucher": {
                "seed": hex(&[0x33; 32]),
                "verifying_key": hex(&signer.verifying_key()),
                "node": statement.node.as_str(),
                "public_key": hex(&statement.public_key.0),
                "not_after": statement.not_after,
                "signature": hex(&statement.signature),
            },
            "relogin": {
                "k_ntmdc": hex(&SECRET),
                "account": account().to_string(),
                "session": SESSION.0,
                "proof": hex(&proof),
            },
        }),
    );
}

#[test]
fn esp() {
    let suites =
        [(CipherSuite::Aes128Gcm, "ESP AES-128-GCM", 16), (CipherSuite::ChaCha20Poly1305, "ESP ChaCha20-Poly1305", 32)];
    let mut vectors = Vec::new();
    for (suite, label, key_length) in suites {
        for (role, spi) in [(Role::Mn, Spi(0x1234_5670)), (Role::Cn, Spi(0x7654_3213))] {
            let key = EspKey::derive(&Secret::from_bytes(SECRET), suite, role, spi).expect("a known suite");
            let material = derive(&SECRET, label, &[role as u8, spi.generation() as u8], 36);
            let material = &material[..key_length + 4];
            assert_eq!(key.wireshark_key(), format!("0x{}", hex(material)));

            let (sealer, opener) = (EspSealer::new(spi, &key), EspOpener::new(&key));
            let mut packets = Vec::new();
            for inner in [&b""[..], b"\x45 inner packet", b"\x60 another inner packet"] {
                let next_header = inner.first().map_or(59, |first| if first >> 4 == 4 { 4 } else { 41 });
                let mut packet = vec![0; sealed_length(inner.len())];
                packet[HEADER_LENGTH..HEADER_LENGTH + inner.len()].copy_from_slice(inner);
                sealer.seal(&mut packet, inner.len(), next_header).expect("room and numbers are left");
                let nonce = [&material[key_length..], &packet[8..16]].concat();
                let open = if key_length == 16 { open_aes } else { open_chacha };
                let body = open(&material[..key_length], &nonce, &packet[..8], &packet[HEADER_LENGTH..]);
                assert!(body.starts_with(inner) && body.ends_with(&[next_header]));
                packets.push(json!({ "inner": hex(inner), "next_header": next_header, "packet": hex(&packet) }));
                assert_eq!(opener.open(&mut packet).map(|opened| opened.next_header), Ok(next_header));
            }
            vectors.push(json!({
                "label": label,
                "sender_role": role as u8,
                "spi": spi.0,
                "key_and_salt": hex(material),
                "packets": packets,
            }));
        }
    }
    check("esp.json", &json!({ "k_mncn": hex(&SECRET), "vectors": vectors }));
}
