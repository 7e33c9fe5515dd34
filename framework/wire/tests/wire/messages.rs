//! Frames and datagrams: round trips, refusals, and what may be read without a key.

use crate::samples::{messages, name, trace};
use ntmobile_wire::codec::DecodeError;
use ntmobile_wire::datagram::{
    Datagram, Header, OpenError, classify, decode_source_unknown, encode_source_unknown, open, seal,
};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Session, Spi, Transaction};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::*;
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};

fn frame(message: Message) -> Frame {
    Frame { transaction: Transaction(7), session: Session(8), message, trace: Some(trace()) }
}

fn header(sequence: u64) -> Header {
    Header { kind: 0, transaction: Transaction(1), key_id: KeyId(2), session: Session(3), sequence }
}

fn subkey(kind: KeyKind, role: Role, session: u64) -> Subkey {
    Subkey::derive(&Secret::from_bytes([42; 32]), Purpose::Signalling(kind), role, Session(session))
}

#[test]
fn there_is_a_sample_of_every_message() {
    let sampled: std::collections::BTreeSet<u8> = messages().iter().map(Message::kind).collect();
    let known: std::collections::BTreeSet<u8> = (0..=255)
        .filter(|kind| {
            let mut bytes = frame(Close.into()).encode().to_vec();
            bytes[1] = *kind;
            Frame::decode(&bytes) != Err(DecodeError::UnknownKind(*kind))
        })
        .collect();
    assert_eq!(sampled, known);
}

#[test]
fn every_message_survives_its_frame() {
    for message in messages() {
        for trace in [None, Some(trace())] {
            let frame = Frame { trace, ..frame(message.clone()) };
            assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }
}

#[test]
fn every_message_but_one_survives_its_datagram() {
    let key = subkey(KeyKind::Ntmdc, Role::Node, 3);
    for message in messages() {
        let datagram = seal(&key, header(9), &message, Some(trace()));
        assert_eq!(classify(&datagram), Datagram::Signalling);
        assert_eq!(Header::parse(&datagram).map(|header| header.kind), Ok(message.kind()));
        let opened = open(&key, &datagram);
        if matches!(message, Message::SourceUnknown(_)) {
            assert_eq!(opened, Err(OpenError::NeverSealed(67)));
        } else {
            let (opened_header, opened_message, extensions) = opened.expect("opens under its own key");
            assert_eq!(opened_header, Header { kind: message.kind(), ..header(9) });
            assert_eq!(opened_message, message);
            assert_eq!(extensions.trace, Some(trace()));
        }
    }
}

#[test]
fn a_cut_frame_is_refused_at_every_length() {
    for message in messages() {
        let bytes = Frame { trace: None, ..frame(message) }.encode();
        for length in 0..bytes.len() {
            assert_eq!(Frame::decode(&bytes[..length]), Err(DecodeError::Truncated), "{length} of {}", bytes.len());
        }
    }
}

#[test]
fn another_version_is_refused() {
    let mut bytes = frame(Close.into()).encode().to_vec();
    bytes[0] = 2;
    assert_eq!(Frame::decode(&bytes), Err(DecodeError::UnsupportedVersion(2)));
}

#[test]
fn unknown_extensions_are_skipped_unless_critical() {
    let plain = Frame { trace: None, ..frame(RekeyResponse { generation: 1 }.into()) };
    let extended = |kind: u16| {
        let mut bytes = plain.encode().to_vec();
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 3, 1, 2, 3]);
        Frame::decode(&bytes)
    };
    assert_eq!(extended(0x7abc), Ok(plain.clone()));
    assert_eq!(extended(0x8abc), Err(DecodeError::CriticalExtension(0x8abc)));
}

#[test]
fn a_trace_context_comes_once_and_a_broken_one_costs_nothing() {
    let plain = Frame { trace: None, ..frame(Close.into()) };
    let traced = Frame { trace: Some(trace()), ..plain.clone() }.encode();
    let extension = &traced[plain.encode().len()..];
    let twice = [&traced[..], extension].concat();
    assert_eq!(Frame::decode(&twice), Err(DecodeError::DuplicateExtension(1)));
    let mut future = traced.to_vec();
    future[plain.encode().len() + 4] = 1;
    assert_eq!(Frame::decode(&future), Ok(plain));
}

#[test]
fn an_unknown_number_stays_what_it_is() {
    let refusal = Refusal { code: RefusalCode::Unknown(200), detail: String::new(), negotiation: None };
    let frame = frame(refusal.into());
    assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
}

#[test]
fn texts_and_lists_are_cut_at_their_limits() {
    let detail = "ä".repeat(100);
    let sent = frame(Refusal { code: RefusalCode::NoRelay, detail, negotiation: None }.into());
    let Ok(Frame { message: Message::Refusal(received), .. }) = Frame::decode(&sent.encode()) else {
        panic!("a cut text is a sound text");
    };
    assert_eq!(received.detail, "ä".repeat(60));
}

#[test]
fn bytes_above_their_limit_are_refused_by_the_receiver() {
    let request = RekeyRequest { generation: 1, wrapped_key: vec![0; 257] };
    let refused = Frame::decode(&frame(request.into()).encode());
    assert_eq!(refused, Err(DecodeError::Limit { what: "a byte string", length: 257, limit: 256 }));
}

#[test]
fn a_name_in_capitals_is_refused() {
    let bytes = frame(KeySharingResponse { server: name("rs.example") }.into()).encode();
    let capital: Vec<u8> = bytes.iter().map(|byte| if *byte == b'r' { b'R' } else { *byte }).collect();
    assert_eq!(Frame::decode(&capital), Err(DecodeError::Name));
}

#[test]
fn a_reference_to_a_name_that_never_came_is_refused() {
    let mut bytes = Frame { trace: None, ..frame(KeySharingResponse { server: name("a") }.into()) }.encode().to_vec();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&[0, 0]);
    assert_eq!(Frame::decode(&bytes), Err(DecodeError::Name));
}

#[test]
fn a_name_costs_two_octets_the_second_time() {
    let once = InitialDataResponse { node: name("a.example"), domain: name("b.example") };
    let twice = InitialDataResponse { node: name("a.example"), domain: name("a.example") };
    let twice = frame(twice.into());
    assert_eq!(frame(once.into()).encode().len() - twice.encode().len(), 8);
    assert_eq!(Frame::decode(&twice.encode()), Ok(twice));
}

#[test]
fn any_change_of_a_datagram_is_noticed() {
    let key = subkey(KeyKind::Tun, Role::Mn, 3);
    let sealed = seal(&key, header(5), &Close.into(), Some(trace()));
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&key, &changed).is_err(), "bit {bit}");
    }
}

#[test]
fn another_purpose_role_or_session_opens_nothing() {
    let sealed = seal(&subkey(KeyKind::Tun, Role::Mn, 3), header(5), &Close.into(), None);
    for other in
        [subkey(KeyKind::Tmp, Role::Mn, 3), subkey(KeyKind::Tun, Role::Cn, 3), subkey(KeyKind::Tun, Role::Mn, 4)]
    {
        assert_eq!(open(&other, &sealed), Err(OpenError::NotAuthentic));
    }
}

#[test]
fn source_unknown_travels_in_the_clear() {
    let message = SourceUnknown { spi: Spi(0x1234_5670) };
    let datagram = encode_source_unknown(Transaction(4), Session(5), &message);
    let (header, decoded) = decode_source_unknown(&datagram).expect("decodes");
    assert_eq!(
        (header.transaction, header.session, header.key_id, decoded),
        (Transaction(4), Session(5), KeyId(0), message)
    );
    assert!(datagram.len() < 60, "it is never larger than the ESP packet that causes it");
}

#[test]
fn datagrams_are_told_apart_as_rfc_3948_says() {
    let esp = [&[0x12, 0x34, 0x56, 0x70][..], &[0; 40]].concat();
    assert_eq!(classify(&esp), Datagram::Esp(Spi(0x1234_5670)));
    assert_eq!(classify(&[0xff]), Datagram::Keepalive);
    assert_eq!(classify(&[0, 0, 0, 0, 1]), Datagram::Signalling);
    for malformed in [&[][..], &[1], &[0, 0, 0, 0], &[0, 0, 0, 255, 1, 2, 3, 4], &esp[..20]] {
        assert_eq!(classify(malformed), Datagram::Malformed);
    }
    let reserved = [&[0, 0, 0, 255][..], &[0; 40]].concat();
    assert_eq!(classify(&reserved), Datagram::Malformed);
}

#[test]
fn tokens_and_keys_do_not_show_in_what_is_printed() {
    for message in messages() {
        let shown = format!("{message:?}");
        assert!(!shown.contains(&format!("{:?}", b"token")), "{shown}");
    }
}
