//! For any message and any bytes at all.

use crate::arbitrary::{message, trace};
use crate::samples::messages;
use ntmobile_wire::datagram::{Header, OpenError, classify, decode_source_unknown, open, seal};
use ntmobile_wire::esp::{EspKey, EspOpener};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Negotiation, Session, Spi, Transaction};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::sealed_key::{self, AgreementKey};
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use ntmobile_wire::wrap;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn subkey() -> Subkey {
    Subkey::derive(&Secret::from_bytes([1; 32]), Purpose::Signalling(KeyKind::Dcdc), Role::Requester, Session(1))
}

proptest! {
    #[test]
    fn any_message_survives_frame_and_datagram(message in message(), trace in trace(), numbers in any::<[u64; 4]>()) {
        let [transaction, key_id, session, sequence] = numbers;
        let (transaction, session) = (Transaction(transaction), Session(session));
        let frame = Frame { transaction, session, message: message.clone(), trace };
        prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));

        let header = Header { kind: message.kind(), transaction, key_id: KeyId(key_id), session, sequence };
        match open(&subkey(), &seal(&subkey(), header, &message, trace)) {
            Ok((opened_header, opened, extensions)) => {
                prop_assert_eq!((opened_header, opened, extensions.trace), (header, message, trace));
            }
            Err(error) => prop_assert_eq!(error, OpenError::NeverSealed(67)),
        }
    }

    #[test]
    fn what_a_damaged_frame_decodes_to_is_sound(
        message in select(messages()),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let frame = Frame { transaction: Transaction(1), session: Session(2), message, trace: None };
        let mut bytes = frame.encode().to_vec();
        for (index, value) in changes {
            *index.get_mut(&mut bytes) = value;
        }
        if let Ok(decoded) = Frame::decode(&bytes) {
            prop_assert_eq!(Frame::decode(&decoded.encode()), Ok(decoded));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(kind in any::<u8>(), bytes in vec(any::<u8>(), 0..400)) {
        let _ = classify(&bytes);
        let _ = Frame::decode(&[&[1, kind], &bytes[..]].concat());
        let signalling = [&[0, 0, 0, 0, 1, kind], &bytes[..]].concat();
        let _ = Header::parse(&signalling);
        let _ = decode_source_unknown(&signalling);
        prop_assert!(open(&subkey(), &signalling).is_err());
    }

    #[test]
    fn no_bytes_pass_for_a_key_or_a_packet(bytes in vec(any::<u8>(), 0..200)) {
        let secret = Secret::from_bytes([1; 32]);
        prop_assert!(wrap::unwrap(&secret, (Role::Mn, Session(1)), Negotiation(1), &bytes).is_err());
        let node = AgreementKey::from_bytes([1; 32]);
        prop_assert!(sealed_key::open(&bytes, &node.public(), &node, Negotiation(1)).is_err());
        for suite in [CipherSuite::Aes128Gcm, CipherSuite::ChaCha20Poly1305] {
            let key = EspKey::derive(&secret, suite, Role::Mn, Spi(0x1230)).expect("a known suite");
            prop_assert!(EspOpener::new(&key).open(&mut bytes.clone()).is_err());
        }
    }
}
