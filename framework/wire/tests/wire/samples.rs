//! One sample of every message, with fixed values, and a fixed source of bytes.

use ntmobile_wire::address::{DualStack, Leg, VirtualAddresses};
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Negotiation, Session, Spi};
use ntmobile_wire::key::{NamedKey, PublicKey, SecretBytes, SecretText};
use ntmobile_wire::message::*;
use ntmobile_wire::name::{Account, Fqdn};
use ntmobile_wire::trace_context::TraceContext;
use std::net::SocketAddr;

/// Counts upwards from a first byte.
pub(crate) struct Counting(pub(crate) u8);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
    }
}

pub(crate) fn trace() -> TraceContext {
    TraceContext { trace: *b"0123456789abcdef", span: *b"ABCDEFGH" }
}

pub(crate) fn name(text: &str) -> Fqdn {
    Fqdn::parse(text).expect("a sound name")
}

pub(crate) fn account() -> Account {
    Account::parse("alice@u1.example").expect("a sound account")
}

pub(crate) fn named_key(first: u8) -> NamedKey {
    NamedKey::draw(&mut Counting(first))
}

fn v4(text: &str) -> SocketAddr {
    text.parse().expect("a sound address")
}

fn server() -> DualStack {
    DualStack {
        v4: Some("203.0.113.5:4500".parse().expect("a sound address")),
        v6: Some("[2001:db8::5]:4500".parse().expect("a sound address")),
    }
}

fn addresses() -> VirtualAddresses {
    VirtualAddresses { v4: [100, 64, 0, 9].into(), v6: "fd00:1:2:3::9".parse().expect("a sound address") }
}

pub(crate) fn voucher() -> KeyVoucher {
    KeyVoucher {
        node: name("bob.u2.example"),
        public_key: PublicKey([7; 32]),
        not_after: 2_000_000_000,
        signature: [8; 64],
    }
}

fn login() -> LoginRequest {
    LoginRequest {
        account: account(),
        credential: Credential::Password(SecretText::new("correct horse")),
        application: ApplicationId(3),
        public_key: PublicKey([9; 32]),
    }
}

fn route_direction() -> RouteDirection {
    RouteDirection {
        negotiation: Negotiation(0x0102_0304_0506_0708),
        end: TunnelEnd::Mn,
        action: TunnelAction::Send,
        node: name("alice.u1.example"),
        application: ApplicationId(3),
        peer: name("bob.u2.example"),
        peer_application: ApplicationId(0),
        peer_addresses: addresses(),
        peer_session: Session(0x2222),
        route: Route::Relayed {
            relay: name("rs1.u1.example"),
            addresses: server(),
            session: Session(0x3333),
            handshake: RelayHandshake::Forwarded,
        },
        reason: DirectionReason::NewTunnel,
        protection: TunnelProtection::TwoKeys,
        agreement: KeyAgreement::PublicKey,
        suite: CipherSuite::Aes128Gcm,
        k_tun: Some(named_key(0x10)),
        k_tmp: named_key(0x50),
        peer_public_key: Some(PublicKeyOffer { voucher: voucher() }),
        spi_in: Spi(0x1234_5670),
        spi_out: Spi(0x7654_3210),
        idle_s: 300,
    }
}

/// One of each, by type number; several where a message has shapes of its own.
pub(crate) fn messages() -> Vec<Message> {
    let proof = Credential::CurrentKey { key_id: KeyId(0x99), proof: [5; 32] };
    let direct = Route::Direct { candidates: vec![v4("192.0.2.7:40000"), v4("[2001:db8::7]:40000")] };
    let rendezvous = Route::Relayed {
        relay: name("rs1.u1.example"),
        addresses: server(),
        session: Session(0x3333),
        handshake: RelayHandshake::Rendezvous,
    };
    vec![
        login().into(),
        LoginRequest { credential: Credential::Certificate, ..login() }.into(),
        LoginRequest { credential: proof, ..login() }.into(),
        LoginResponse {
            node: name("alice.u1.example"),
            key: named_key(0x20),
            lifetime_s: 86_400,
            dc_session: Session(0x1111),
            cs_token: SecretBytes::new(b"token".to_vec()),
            voucher: voucher(),
            voucher_key: [6; 32],
        }
        .into(),
        KeyDistribution {
            node: name("alice.u1.example"),
            application: ApplicationId(3),
            key: named_key(0x20),
            lifetime_s: 86_400,
            node_session: Session(0x4444),
            cs_token: SecretBytes::default(),
        }
        .into(),
        InitialDataRequest { account: account(), credential: Credential::Certificate }.into(),
        InitialDataResponse { node: name("alice.u1.example"), domain: name("u1.example") }.into(),
        AuthenticationRequest { login: login(), certificate: Some([4; 32]) }.into(),
        AuthenticationResponse {
            node: name("alice.u1.example"),
            cs_token: SecretBytes::new(b"token".to_vec()),
            voucher: voucher(),
            voucher_key: [6; 32],
        }
        .into(),
        KeySharingRequest {
            purpose: SharedKeyPurpose::DcRs,
            requester: name("dc.u1.example"),
            key: named_key(0x60),
            lifetime_s: 3_600,
        }
        .into(),
        KeySharingResponse { server: name("rs1.u1.example") }.into(),
        NtmAck { observed: None }.into(),
        NtmAck { observed: Some(v4("198.51.100.1:61000")) }.into(),
        Refusal {
            code: RefusalCode::NoRelay,
            detail: "no relay is registered here".into(),
            negotiation: Some(Negotiation(0x77)),
        }
        .into(),
        SessionChallenge { nonce: [1; 16] }.into(),
        SessionEcho { nonce: [1; 16] }.into(),
        RegistrationRequest {
            application: ApplicationId(3),
            real: vec![v4("192.168.1.2:40000"), v4("[2001:db8::2]:40000")],
            reachability: Reachability::TcpNs,
            device_token: Vec::new(),
            epoch: 2,
        }
        .into(),
        RegistrationResponse {
            addresses: addresses(),
            outer: v4("198.51.100.1:61000"),
            lifetime_s: 120,
            keepalive_s: 20,
            notification: Some(NotificationAssignment {
                server: name("ns1.u1.example"),
                addresses: server(),
                key: named_key(0x80),
                server_session: Session(0x5555),
                keepalive_s: 3_600,
            }),
            prefix_lengths: (20, 64),
        }
        .into(),
        Keepalive { application: ApplicationId(3), real: v4("192.168.1.2:40000"), epoch: 2 }.into(),
        NotificationDirection {
            node: name("alice.u1.example"),
            application: ApplicationId(3),
            key: named_key(0x80),
            lifetime_s: 86_400,
            node_session: Session(0x4444),
        }
        .into(),
        NotificationRegistration { node: name("alice.u1.example"), application: ApplicationId(3) }.into(),
        Notification { node: name("alice.u1.example"), application: ApplicationId(3) }.into(),
        DirectionRequest {
            peer: name("bob.u2.example"),
            application: ApplicationId(3),
            peer_application: ApplicationId(0),
            reason: DirectionReason::Handover,
            agreement: KeyAgreement::KTmp,
            protection: TunnelProtection::OneKey,
            suite: CipherSuite::ChaCha20Poly1305,
            public_key: Some(PublicKeyOffer { voucher: voucher() }),
        }
        .into(),
        NodeInformationRequest {
            peer: name("bob.u2.example"),
            peer_application: ApplicationId(0),
            requester: name("alice.u1.example"),
        }
        .into(),
        NodeInformationResponse {
            node: NodeInformation {
                node: name("bob.u2.example"),
                application: ApplicationId(0),
                legs: vec![Leg { real: v4("10.0.0.2:5000"), outer: v4("198.51.100.9:5000") }],
                real: vec![v4("10.0.0.2:5000")],
                reachability: Reachability::UdpKeepalive,
                addresses: addresses(),
                session: Session(0x2222),
            },
        }
        .into(),
        route_direction().into(),
        RouteDirection { route: direct, k_tun: None, peer_public_key: None, ..route_direction() }.into(),
        RouteDirection { route: rendezvous, ..route_direction() }.into(),
        RouteDirectionAcknowledge {
            negotiation: Negotiation(0x77),
            public_key: Some(PublicKeyOffer { voucher: voucher() }),
        }
        .into(),
        RouteDirectionRequest { application: ApplicationId(3) }.into(),
        RouteDirectionResponse { direction: Some(Box::new(route_direction())), waiting: 1 }.into(),
        RouteDirectionResponse { direction: None, waiting: 0 }.into(),
        RelayDirection {
            negotiation: Negotiation(0x77),
            handshake: RelayHandshake::Rendezvous,
            k_tun: named_key(0x10),
            spi_mn: Spi(0x1234_5670),
            spi_cn: Spi(0x7654_3210),
            mn_session: Session(0x4444),
            cn_session: Session(0x2222),
            idle_s: 300,
        }
        .into(),
        RelayResponse { negotiation: Negotiation(0x77) }.into(),
        RelayAssignment {
            negotiation: Negotiation(0x77),
            relay: name("rs1.u2.example"),
            addresses: server(),
            session: Session(0x5555),
        }
        .into(),
        HolePunching { negotiation: Negotiation(0x77), spi_in: Spi(0x7654_3210) }.into(),
        TunnelRequest { negotiation: Negotiation(0x77), end: TunnelEnd::Cn, wrapped_key: vec![3; 68] }.into(),
        TunnelRequest { negotiation: Negotiation(0x77), end: TunnelEnd::Mn, wrapped_key: vec![3; 68] }.into(),
        TunnelRequest { negotiation: Negotiation(0x77), end: TunnelEnd::Cn, wrapped_key: Vec::new() }.into(),
        TunnelResponse { negotiation: Negotiation(0x77), wrapped_key: Vec::new() }.into(),
        TunnelResponse { negotiation: Negotiation(0x77), wrapped_key: vec![3; 68] }.into(),
        SourceUnknown { spi: Spi(0x1234_5670) }.into(),
        RekeyRequest { generation: 1, wrapped_key: vec![3; 40] }.into(),
        RekeyResponse { generation: 1 }.into(),
        Close.into(),
        TunnelProbe.into(),
    ]
}
