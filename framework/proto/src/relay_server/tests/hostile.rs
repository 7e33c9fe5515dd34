//! Ends that speak for each other, coordinators that take each other's keys, and plain garbage.

use super::*;
use crate::machine::{Record, RequestId};
use bytes::Bytes;
use proptest::prelude::*;
use std::net::SocketAddr;

#[test]
fn each_end_speaks_for_itself_alone() {
    let mut rs = directed(RelayHandshake::Forwarded);
    punch(&mut rs, "cn");
    rs.request("cn", K_TUN, tunnel_request(TunnelEnd::Mn, b"as MN"));
    assert_refused(rs.answered("cn"), RefusalCode::NotAllowed);
    rs.request("cn", K_TUN, tunnel_request(TunnelEnd::Cn, b"as CN"));
    assert_refused(rs.answered("cn"), RefusalCode::NotAllowed);
    rs.request("cn", K_TUN, HolePunching { negotiation: Negotiation(9), spi_in: SPI_MN });
    assert_refused(rs.answered("cn"), RefusalCode::NotAllowed);
    rs.request("mn", K_TUN, HolePunching { negotiation: Negotiation(8), spi_in: SPI_MN });
    let negotiation = assert_refused(rs.answered("mn"), RefusalCode::NotAllowed);
    assert_eq!(negotiation, Some(Negotiation(9)));
    rs.request("mn", K_TUN, RelayResponse { negotiation: Negotiation(9) });
    assert!(rs.is_quiet("mn"), "an answer that nobody waits for");
    let message = direction(&rs, RelayHandshake::Forwarded);
    rs.request("mn", K_TUN, message);
    assert_refused(rs.answered("mn"), RefusalCode::Unsupported);
    assert_eq!(packet(&rs, CN, SPI_MN), Relayed::Drop(Dropped::NoLeg), "none of it has opened MN's leg");
}

#[test]
fn nobody_takes_the_place_of_anothers_key() {
    let mut rs = relayed();
    for id in [K_TUN, K_DCRS] {
        let stolen = NamedKey { id, ..key(50) };
        let (spi_mn, spi_cn) = (Spi(0x0007_0000), Spi(0x0008_0000));
        let message = direction(&rs, RelayHandshake::Forwarded);
        rs.request("dc", K_DCRS, RelayDirection { k_tun: stolen.clone(), spi_mn, spi_cn, ..message });
        assert_refused(rs.answered("dc"), RefusalCode::NotAllowed);
        rs.tls(Some("dc.u2.example"), Session(1), sharing("dc.u2.example", stolen));
        assert_refused(rs.tls_answered(), RefusalCode::NotAllowed);
    }
    punch(&mut rs, "cn");
}

#[test]
fn keys_are_shared_with_coordinators_alone() {
    let mut rs = start(config());
    rs.tls(None, Session(1), sharing("dc.u1.example", key(60)));
    assert_refused(rs.tls_answered(), RefusalCode::NotAllowed);
    for other in ["alice.u1.example", "as.example", "rs2.u1.example", "ns.u1.example"] {
        rs.tls(Some(other), Session(1), sharing(other, key(60)));
        assert_refused(rs.tls_answered(), RefusalCode::NotAllowed);
    }
    let other = KeySharingRequest { purpose: SharedKeyPurpose::DcNs, ..sharing("dc.u1.example", key(60)) };
    rs.tls(Some("dc.u1.example"), Session(1), other);
    assert_refused(rs.tls_answered(), RefusalCode::Unsupported);
    rs.tls(Some("dc.u1.example"), Session(1), tunnel_response());
    assert_refused(rs.tls_answered(), RefusalCode::Unsupported);
}

/// Anything at all that may come from outside.
fn any_input() -> impl Strategy<Value = Input> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    // Headers that look right: marker, version, a type, a transaction, a key of ours.
    let header = (any::<u8>(), 0u64..4, 0u64..4, bytes()).prop_map(|(kind, transaction, key, rest)| {
        let head = [&[0, 0, 0, 0, 1, kind][..], &transaction.to_be_bytes(), &key.to_be_bytes(), &rest].concat();
        Bytes::from(head)
    });
    let from = || prop::sample::select(vec![MN, CN, "203.0.113.1:1"]).prop_map(at);
    let datagram = |from: SocketAddr, bytes| Input::Datagram { from, bytes };
    prop_oneof![
        (from(), bytes()).prop_map(move |(from, bytes)| datagram(from, bytes)),
        (from(), header).prop_map(move |(from, bytes)| datagram(from, bytes)),
        (any::<u64>(), from(), bytes()).prop_map(|(number, from, frame)| Input::TlsRequest {
            request: RequestId(number),
            from,
            certificate: None,
            frame,
        }),
        (0u64..5).prop_map(|call| Input::Persisted { call: crate::machine::CallId(call), result: Ok(()) }),
        (prop::sample::select(vec!["rs.relay", "rs.shared_key", "?"]), bytes(), bytes()).prop_map(
            |(table, key, value)| Input::Started {
                records: vec![Record { table: table.into(), key, value }],
                addresses: Vec::new(),
                port: 0,
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_input_makes_it_panic_or_moves_a_leg(inputs in prop::collection::vec(any_input(), 0..40)) {
        let mut rs = relayed();
        for input in inputs {
            rs.give(input);
            rs.pass(Duration::from_millis(700));
        }
        prop_assert_eq!(packet(&rs, MN, SPI_CN), Relayed::To(at(CN)));
        prop_assert_eq!(packet(&rs, CN, SPI_MN), Relayed::To(at(MN)));
    }
}
