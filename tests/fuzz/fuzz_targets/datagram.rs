//! Nothing opens that was not sealed; and a body of any content, sealed, is decoded or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntmobile_wire::datagram::{Header, classify, decode_source_unknown, open, seal};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Session};
use ntmobile_wire::key::Secret;
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use std::sync::LazyLock;

static SUBKEY: LazyLock<Subkey> = LazyLock::new(|| {
    let secret = Secret::from_bytes([1; 32]);
    Subkey::derive(&secret, Purpose::Signalling(KeyKind::Ntmdc), Role::Node, Session(1))
});

fuzz_target!(|bytes: &[u8]| {
    let _ = classify(bytes);
    let _ = Header::parse(bytes);
    let _ = decode_source_unknown(bytes);
    assert!(open(&SUBKEY, bytes).is_err());
    if let Ok(Frame { transaction, session, message, trace }) = Frame::decode(bytes) {
        let header = Header { kind: message.kind(), transaction, key_id: KeyId(1), session, sequence: 1 };
        if let Ok(opened) = open(&SUBKEY, &seal(&SUBKEY, header, &message, trace)) {
            assert_eq!((opened.0, opened.1, opened.2.trace), (header, message, trace));
        }
    }
});
