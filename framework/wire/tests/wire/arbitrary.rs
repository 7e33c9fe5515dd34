//! Any message within its limits.

use ntmobile_wire::address::{DualStack, Leg, VirtualAddresses};
use ntmobile_wire::identifier::{ApplicationId, KeyId, Negotiation, Session, Spi};
use ntmobile_wire::key::{NamedKey, PublicKey, Secret, SecretBytes, SecretText};
use ntmobile_wire::message::*;
use ntmobile_wire::name::{Account, Fqdn};
use ntmobile_wire::trace_context::TraceContext;
use proptest::array::{uniform8, uniform16, uniform32};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// A strategy for a struct from one for each of its fields; on the heap, since the tree of all messages is too large for a
/// thread's stack.
macro_rules! structure {
    ($name:ident { $($field:ident: $strategy:expr),* $(,)? }) => {{
        ($($strategy,)*).prop_map(|($($field,)*)| $name { $($field),* }).boxed()
    }};
}

fn fqdn() -> impl Strategy<Value = Fqdn> {
    vec("[a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?", 1..4)
        .prop_map(|labels| Fqdn::parse(&labels.join(".")).expect("three labels of at most 63 characters are a name"))
}

fn account() -> impl Strategy<Value = Account> {
    ("[a-z0-9]{1,20}", fqdn()).prop_map(|(user, domain)| {
        Account::parse(&format!("{user}@{domain}")).expect("a label and three more are a name")
    })
}

fn named_key() -> impl Strategy<Value = NamedKey> {
    (any::<u64>(), uniform32(any::<u8>()))
        .prop_map(|(id, secret)| NamedKey { id: KeyId(id), secret: Secret::from_bytes(secret) })
}

fn public_key() -> impl Strategy<Value = PublicKey> {
    uniform32(any::<u8>()).prop_map(PublicKey)
}

fn session() -> impl Strategy<Value = Session> {
    any::<u64>().prop_map(Session)
}

fn negotiation() -> impl Strategy<Value = Negotiation> {
    any::<u64>().prop_map(Negotiation)
}

fn application() -> impl Strategy<Value = ApplicationId> {
    any::<u32>().prop_map(ApplicationId)
}

fn spi() -> impl Strategy<Value = Spi> {
    any::<u32>().prop_map(Spi)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=256)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,30}"
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn sockets() -> impl Strategy<Value = Vec<SocketAddr>> {
    vec(socket(), 0..=8)
}

fn dual_stack() -> impl Strategy<Value = DualStack> {
    let v4 = (any::<std::net::Ipv4Addr>(), any::<u16>()).prop_map(|(address, port)| SocketAddrV4::new(address, port));
    let v6 =
        (any::<std::net::Ipv6Addr>(), any::<u16>()).prop_map(|(address, port)| SocketAddrV6::new(address, port, 0, 0));
    (v4, v6, 0..3)
        .prop_map(|(v4, v6, which)| DualStack { v4: (which != 1).then_some(v4), v6: (which != 2).then_some(v6) })
}

fn virtual_addresses() -> impl Strategy<Value = VirtualAddresses> {
    structure!(VirtualAddresses { v4: any::<std::net::Ipv4Addr>(), v6: any::<std::net::Ipv6Addr>() })
}

fn leg() -> impl Strategy<Value = Leg> {
    structure!(Leg { real: socket(), outer: socket() })
}

fn voucher() -> impl Strategy<Value = KeyVoucher> {
    let signature = (uniform32(any::<u8>()), uniform32(any::<u8>()));
    (fqdn(), public_key(), any::<u64>(), signature).prop_map(|(node, public_key, not_after, halves)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&halves.0);
        signature[32..].copy_from_slice(&halves.1);
        KeyVoucher { node, public_key, not_after, signature }
    })
}

fn offer() -> impl Strategy<Value = Option<PublicKeyOffer>> {
    of(voucher().prop_map(|voucher| PublicKeyOffer { voucher }))
}

fn credential() -> impl Strategy<Value = Credential> {
    prop_oneof![
        "\\PC{0,100}".prop_map(|text| Credential::Password(SecretText::new(text))),
        Just(Credential::Certificate),
        (any::<u64>(), uniform32(any::<u8>()))
            .prop_map(|(id, proof)| Credential::CurrentKey { key_id: KeyId(id), proof }),
    ]
}

/// A number that no version has given a meaning yet.
fn unknown() -> impl Strategy<Value = u8> {
    100..=u8::MAX
}

/// Any of the values listed, or an unknown one.
macro_rules! one_of {
    ($name:ident: $($variant:ident),*) => {
        prop_oneof![$(Just($name::$variant),)* unknown().prop_map($name::Unknown)]
    };
}

fn reachability() -> impl Strategy<Value = Reachability> {
    one_of!(Reachability: UdpKeepalive, TcpNs, Push)
}

fn agreement() -> impl Strategy<Value = KeyAgreement> {
    one_of!(KeyAgreement: KTmp, PublicKey)
}

fn protection() -> impl Strategy<Value = TunnelProtection> {
    one_of!(TunnelProtection: TwoKeys, OneKey)
}

fn handshake() -> impl Strategy<Value = RelayHandshake> {
    one_of!(RelayHandshake: Forwarded, Rendezvous)
}

fn suite() -> impl Strategy<Value = CipherSuite> {
    one_of!(CipherSuite: Aes128Gcm, ChaCha20Poly1305)
}

fn end() -> impl Strategy<Value = TunnelEnd> {
    one_of!(TunnelEnd: Mn, Cn)
}

fn reason() -> impl Strategy<Value = DirectionReason> {
    one_of!(DirectionReason: NewTunnel, Handover, DirectFailed)
}

fn refusal_code() -> impl Strategy<Value = RefusalCode> {
    one_of!(RefusalCode: NoSuchName, WrongCredentials, PeerAsleep, PeerNotRegistered, NoRelay, ExpiredKey, SpiInUse,
        Superseded, ServerUnreachable, StorageFailed, NotAllowed, Overloaded, Unsupported, NotRegistered)
}

fn route() -> impl Strategy<Value = Route> {
    prop_oneof![
        sockets().prop_map(|candidates| Route::Direct { candidates }),
        (fqdn(), dual_stack(), session(), handshake()).prop_map(|(relay, addresses, session, handshake)| {
            Route::Relayed { relay, addresses, session, handshake }
        }),
    ]
}

fn login_request() -> impl Strategy<Value = LoginRequest> {
    structure!(LoginRequest {
        account: account(),
        credential: credential(),
        application: application(),
        public_key: public_key(),
    })
}

fn route_direction() -> BoxedStrategy<RouteDirection> {
    let action = one_of!(TunnelAction: Send, Await);
    let who = (negotiation(), end(), action, fqdn(), application());
    let peer = (fqdn(), application(), virtual_addresses(), session(), offer());
    let how = (route(), reason(), protection(), agreement(), suite());
    let keys = (of(named_key()), named_key(), spi(), spi(), any::<u32>());
    (who, peer, how, keys)
        .prop_map(|(who, peer, how, keys)| RouteDirection {
            negotiation: who.0,
            end: who.1,
            action: who.2,
            node: who.3,
            application: who.4,
            peer: peer.0,
            peer_application: peer.1,
            peer_addresses: peer.2,
            peer_session: peer.3,
            peer_public_key: peer.4,
            route: how.0,
            reason: how.1,
            protection: how.2,
            agreement: how.3,
            suite: how.4,
            k_tun: keys.0,
            k_tmp: keys.1,
            spi_in: keys.2,
            spi_out: keys.3,
            idle_s: keys.4,
        })
        .boxed()
}

fn in_tls() -> BoxedStrategy<Message> {
    let purpose = one_of!(SharedKeyPurpose: DcDc, DcRs, DcNs);
    let key = || uniform32(any::<u8>());
    prop_oneof![
        login_request().prop_map(Message::from),
        structure!(LoginResponse {
            node: fqdn(),
            key: named_key(),
            lifetime_s: any::<u32>(),
            dc_session: session(),
            cs_token: bytes().prop_map(SecretBytes::new),
            voucher: voucher(),
            voucher_key: key(),
        })
        .prop_map(Message::from),
        structure!(KeyDistribution {
            node: fqdn(),
            application: application(),
            key: named_key(),
            lifetime_s: any::<u32>(),
            node_session: session(),
            cs_token: bytes().prop_map(SecretBytes::new),
        })
        .prop_map(Message::from),
        structure!(InitialDataRequest { account: account(), credential: credential() }).prop_map(Message::from),
        structure!(InitialDataResponse { node: fqdn(), domain: fqdn() }).prop_map(Message::from),
        structure!(AuthenticationRequest { login: login_request(), certificate: of(key()) }).prop_map(Message::from),
        structure!(AuthenticationResponse {
            node: fqdn(),
            cs_token: bytes().prop_map(SecretBytes::new),
            voucher: voucher(),
            voucher_key: key()
        })
        .prop_map(Message::from),
        structure!(KeySharingRequest {
            purpose: purpose,
            requester: fqdn(),
            key: named_key(),
            lifetime_s: any::<u32>(),
        })
        .prop_map(Message::from),
        structure!(KeySharingResponse { server: fqdn() }).prop_map(Message::from),
    ]
    .boxed()
}

fn anywhere() -> BoxedStrategy<Message> {
    prop_oneof![
        structure!(NtmAck { observed: of(socket()) }).prop_map(Message::from),
        structure!(Refusal { code: refusal_code(), detail: text(), negotiation: of(negotiation()) })
            .prop_map(Message::from),
        structure!(SessionChallenge { nonce: uniform16(any::<u8>()) }).prop_map(Message::from),
        structure!(SessionEcho { nonce: uniform16(any::<u8>()) }).prop_map(Message::from),
    ]
    .boxed()
}

fn of_registration() -> BoxedStrategy<Message> {
    let assignment = structure!(NotificationAssignment {
        server: fqdn(),
        addresses: dual_stack(),
        key: named_key(),
        server_session: session(),
        keepalive_s: any::<u32>(),
    });
    prop_oneof![
        structure!(RegistrationRequest {
            application: application(),
            real: sockets(),
            reachability: reachability(),
            device_token: bytes(),
            epoch: any::<u32>(),
        })
        .prop_map(Message::from),
        structure!(RegistrationResponse {
            addresses: virtual_addresses(),
            outer: socket(),
            lifetime_s: any::<u32>(),
            keepalive_s: any::<u32>(),
            notification: of(assignment),
            prefix_lengths: any::<(u8, u8)>(),
        })
        .prop_map(Message::from),
        structure!(Keepalive { application: application(), real: socket(), epoch: any::<u32>() })
            .prop_map(Message::from),
        structure!(NotificationDirection {
            node: fqdn(),
            application: application(),
            key: named_key(),
            lifetime_s: any::<u32>(),
            node_session: session(),
        })
        .prop_map(Message::from),
        structure!(NotificationRegistration { node: fqdn(), application: application() }).prop_map(Message::from),
        structure!(Notification { node: fqdn(), application: application() }).prop_map(Message::from),
    ]
    .boxed()
}

fn of_direction() -> BoxedStrategy<Message> {
    let information = structure!(NodeInformation {
        node: fqdn(),
        application: application(),
        legs: vec(leg(), 0..=4),
        real: sockets(),
        reachability: reachability(),
        addresses: virtual_addresses(),
        session: session(),
    });
    prop_oneof![
        structure!(DirectionRequest {
            peer: fqdn(),
            application: application(),
            peer_application: application(),
            reason: reason(),
            agreement: agreement(),
            protection: protection(),
            suite: suite(),
            public_key: offer(),
        })
        .prop_map(Message::from),
        structure!(NodeInformationRequest { peer: fqdn(), peer_application: application(), requester: fqdn() })
            .prop_map(Message::from),
        structure!(NodeInformationResponse { node: information }).prop_map(Message::from),
        route_direction().prop_map(Message::from),
        structure!(RouteDirectionAcknowledge { negotiation: negotiation(), public_key: offer() })
            .prop_map(Message::from),
        structure!(RouteDirectionRequest { application: application() }).prop_map(Message::from),
        structure!(RouteDirectionResponse {
            direction: of(route_direction().prop_map(Box::new)),
            waiting: any::<u8>()
        })
        .prop_map(Message::from),
    ]
    .boxed()
}

fn of_tunnels() -> BoxedStrategy<Message> {
    prop_oneof![
        structure!(RelayDirection {
            negotiation: negotiation(),
            handshake: handshake(),
            k_tun: named_key(),
            spi_mn: spi(),
            spi_cn: spi(),
            mn_session: session(),
            cn_session: session(),
            idle_s: any::<u32>(),
        })
        .prop_map(Message::from),
        structure!(RelayResponse { negotiation: negotiation() }).prop_map(Message::from),
        structure!(RelayAssignment {
            negotiation: negotiation(),
            relay: fqdn(),
            addresses: dual_stack(),
            session: session(),
        })
        .prop_map(Message::from),
        structure!(HolePunching { negotiation: negotiation(), spi_in: spi() }).prop_map(Message::from),
        structure!(TunnelRequest { negotiation: negotiation(), end: end(), wrapped_key: bytes() })
            .prop_map(Message::from),
        structure!(TunnelResponse { negotiation: negotiation(), wrapped_key: bytes() }).prop_map(Message::from),
        structure!(SourceUnknown { spi: spi() }).prop_map(Message::from),
        structure!(RekeyRequest { generation: any::<u8>(), wrapped_key: bytes() }).prop_map(Message::from),
        structure!(RekeyResponse { generation: any::<u8>() }).prop_map(Message::from),
        Just(Message::from(Close)),
        Just(Message::from(TunnelProbe)),
    ]
    .boxed()
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![in_tls(), anywhere(), of_registration(), of_direction(), of_tunnels()]
}

/// A context, or none; those of all zeros mean none on the wire.
pub(crate) fn trace() -> impl Strategy<Value = Option<TraceContext>> {
    let context = (uniform16(1..=u8::MAX), uniform8(1..=u8::MAX));
    of(context.prop_map(|(trace, span)| TraceContext { trace, span }))
}
