//! The largest message of every type that travels in a datagram still fits one.

use crate::samples::{messages, name, named_key, trace, voucher};
use ntmobile_wire::address::{DualStack, Leg, VirtualAddresses};
use ntmobile_wire::codec::{ADDRESS_LIMIT, BYTES_LIMIT, DATAGRAM_LIMIT, LEG_LIMIT, TEXT_LIMIT};
use ntmobile_wire::datagram::{Header, seal};
use ntmobile_wire::identifier::{ApplicationId, KeyId, Negotiation, Session, Spi, Transaction};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::*;
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The messages below this number travel in TLS alone.
const FIRST_IN_DATAGRAMS: u8 = 16;

/// A name of 253 characters.
fn long(first: char) -> Fqdn {
    name(&[first.to_string().repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join("."))
}

fn offer(node: Fqdn) -> Option<PublicKeyOffer> {
    Some(PublicKeyOffer { voucher: KeyVoucher { node, ..voucher() } })
}

fn socket() -> SocketAddr {
    "[2001:db8::1]:65535".parse().expect("a sound address")
}

fn server() -> DualStack {
    DualStack {
        v4: Some("203.0.113.5:4500".parse().expect("a sound address")),
        v6: Some("[2001:db8::5]:4500".parse().expect("a sound address")),
    }
}

fn addresses() -> VirtualAddresses {
    VirtualAddresses { v4: [100, 64, 0, 9].into(), v6: [0xfd; 16].into() }
}

fn of_registration() -> Vec<Message> {
    let (node, application) = (long('n'), ApplicationId(u32::MAX));
    let (key, lifetime_s, node_session) = (named_key(1), u32::MAX, Session(u64::MAX));
    let assignment = NotificationAssignment {
        server: long('s'),
        addresses: server(),
        key: named_key(1),
        server_session: Session(1),
        keepalive_s: 1,
    };
    vec![
        RegistrationRequest {
            application,
            real: vec![socket(); ADDRESS_LIMIT],
            reachability: Reachability::Push,
            device_token: vec![0; BYTES_LIMIT],
            epoch: 1,
        }
        .into(),
        RegistrationResponse {
            addresses: addresses(),
            outer: socket(),
            lifetime_s: 1,
            keepalive_s: 1,
            notification: Some(assignment),
            prefix_lengths: (20, 64),
        }
        .into(),
        Keepalive { application, real: socket(), epoch: 1 }.into(),
        NotificationDirection { node: node.clone(), application, key, lifetime_s, node_session }.into(),
        NotificationRegistration { node: node.clone(), application }.into(),
        Notification { node, application }.into(),
    ]
}

fn route_direction() -> RouteDirection {
    RouteDirection {
        negotiation: Negotiation(1),
        end: TunnelEnd::Cn,
        action: TunnelAction::Await,
        node: long('n'),
        application: ApplicationId(1),
        peer: long('p'),
        peer_application: ApplicationId(1),
        peer_addresses: addresses(),
        peer_session: Session(1),
        route: Route::Relayed {
            relay: long('r'),
            addresses: server(),
            session: Session(1),
            handshake: RelayHandshake::Forwarded,
        },
        reason: DirectionReason::NewTunnel,
        protection: TunnelProtection::TwoKeys,
        agreement: KeyAgreement::PublicKey,
        suite: CipherSuite::Aes128Gcm,
        k_tun: Some(named_key(1)),
        k_tmp: named_key(2),
        peer_public_key: offer(long('p')),
        spi_in: Spi(1),
        spi_out: Spi(2),
        idle_s: 1,
    }
}

fn of_direction() -> Vec<Message> {
    let (application, peer_application) = (ApplicationId(1), ApplicationId(2));
    let information = NodeInformation {
        node: long('n'),
        application,
        legs: vec![Leg { real: socket(), outer: socket() }; LEG_LIMIT],
        real: vec![socket(); ADDRESS_LIMIT],
        reachability: Reachability::TcpNs,
        addresses: addresses(),
        session: Session(1),
    };
    vec![
        DirectionRequest {
            peer: long('p'),
            application,
            peer_application,
            reason: DirectionReason::NewTunnel,
            agreement: KeyAgreement::PublicKey,
            protection: TunnelProtection::TwoKeys,
            suite: CipherSuite::Aes128Gcm,
            public_key: offer(long('n')),
        }
        .into(),
        NodeInformationRequest { peer: long('p'), peer_application, requester: long('n') }.into(),
        NodeInformationResponse { node: information }.into(),
        route_direction().into(),
        RouteDirectionAcknowledge { negotiation: Negotiation(1), public_key: offer(long('n')) }.into(),
        RouteDirectionRequest { application }.into(),
        RouteDirectionResponse { direction: Some(Box::new(route_direction())), waiting: 1 }.into(),
    ]
}

fn others() -> Vec<Message> {
    let (negotiation, wrapped_key) = (Negotiation(1), vec![0; BYTES_LIMIT]);
    vec![
        NtmAck { observed: Some(socket()) }.into(),
        Refusal { code: RefusalCode::NoRelay, detail: "x".repeat(TEXT_LIMIT), negotiation: Some(negotiation) }.into(),
        SessionChallenge { nonce: [0; 16] }.into(),
        SessionEcho { nonce: [0; 16] }.into(),
        RelayDirection {
            negotiation,
            handshake: RelayHandshake::Forwarded,
            k_tun: named_key(1),
            spi_mn: Spi(1),
            spi_cn: Spi(2),
            mn_session: Session(1),
            cn_session: Session(2),
            idle_s: 1,
        }
        .into(),
        RelayResponse { negotiation }.into(),
        RelayAssignment { negotiation, relay: long('r'), addresses: server(), session: Session(1) }.into(),
        HolePunching { negotiation, spi_in: Spi(1) }.into(),
        TunnelRequest { negotiation, end: TunnelEnd::Mn, wrapped_key: wrapped_key.clone() }.into(),
        TunnelResponse { negotiation, wrapped_key: wrapped_key.clone() }.into(),
        SourceUnknown { spi: Spi(1) }.into(),
        RekeyRequest { generation: 1, wrapped_key }.into(),
        RekeyResponse { generation: 1 }.into(),
        Close.into(),
        TunnelProbe.into(),
    ]
}

#[test]
fn the_largest_of_every_type_fits_one_datagram() {
    let largest = [of_registration(), of_direction(), others()].concat();
    let kinds = |messages: &[Message]| -> BTreeSet<u8> {
        messages.iter().map(Message::kind).filter(|kind| *kind >= FIRST_IN_DATAGRAMS).collect()
    };
    assert_eq!(kinds(&largest), kinds(&messages()), "none is left out");

    let purpose = Purpose::Signalling(KeyKind::Ntmdc);
    let subkey = Subkey::derive(&Secret::from_bytes([1; 32]), purpose, Role::Dc, Session(1));
    let header = Header { kind: 0, transaction: Transaction(1), key_id: KeyId(1), session: Session(1), sequence: 1 };
    for message in largest {
        let sealed = seal(&subkey, header, &message, Some(trace()));
        assert!(sealed.len() <= DATAGRAM_LIMIT, "{} has {} octets", message.label(), sealed.len());
    }
}
