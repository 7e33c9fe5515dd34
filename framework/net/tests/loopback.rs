//! The ports on one host's loopback, as entities use them: no privilege, no namespaces.

use bytes::Bytes;
use ntmobile_net::clock::OsClock;
use ntmobile_net::net::{NetOptions, OsNet};
use ntmobile_ports::certificate::NetworkAuthority;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{Net, NetError};
use ntmobile_ports::quic::{CryptoChoice, TlsEndpoint, TlsOptions};
use ntmobile_ports::tls::{ServerIdentity, TlsRequest};
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::machine::{CertificateFault, TlsFailure};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::name::Fqdn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const DC: (&str, CertificateRole) = ("dc.example", CertificateRole::DirectionCoordinator);
const DAY: Duration = Duration::from_secs(86_400);

fn host() -> OsNet {
    OsNet::new(NetOptions { allow_loopback: true, ..NetOptions::server() }).unwrap()
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_connection_carries_bytes_both_ways_in_both_families() {
    let net = host();
    let port = net.listen_tcp(0).unwrap();
    for loopback in LOOPBACKS {
        let to = SocketAddr::new(loopback, port.port());
        let (accepted, connected) = futures::join!(port.accept(), net.connect_tcp(to));
        let (mut server, mut client) = (accepted.unwrap(), connected.unwrap());
        assert_eq!((server.local(), server.peer()), (client.peer(), client.local()));
        assert_eq!(client.peer(), to);
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        server.read_to_string(&mut question).await.unwrap();
        server.write_all(b"answer to ").await.unwrap();
        server.write_all(question.as_bytes()).await.unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer to question");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_refused_and_a_port_listens_once() {
    let net = host();
    let port = net.listen_tcp(0).unwrap();
    let number = port.port();
    assert_eq!(net.listen_tcp(number).err(), Some(NetError::PortInUse(number)));
    drop(port);
    let to = SocketAddr::new(LOOPBACKS[0], number);
    assert_eq!(net.connect_tcp(to).await.err(), Some(NetError::Refused(to)));
}

#[tokio::test]
async fn loopback_counts_as_an_address_only_when_it_is_allowed() {
    assert!(host().addresses().contains(&LOOPBACKS[0]));
    let usable = OsNet::new(NetOptions::default()).unwrap().addresses();
    assert!(usable.iter().all(|address| !address.is_loopback()), "{usable:?}");
}

#[tokio::test]
async fn no_change_is_told_when_there_is_none() {
    let net = host();
    let waiting = net.address_change(0);
    let quiet = tokio::time::timeout(Duration::from_millis(300), waiting).await;
    assert!(quiet.is_err(), "nothing has changed");
}

fn endpoint(net: &OsNet, trust: &NetworkAuthority, bearer: Option<(&str, CertificateRole)>) -> (Arc<TlsEndpoint>, u16) {
    let clock = Arc::new(OsClock);
    let identity = bearer.map(|(own, role)| trust.issue(&name(own), role, 1, clock.wall(), DAY).unwrap());
    let udp = net.bind_udp(0).unwrap();
    let port = udp.port();
    let end =
        TlsEndpoint::new(udp, clock, identity, trust.trust().unwrap(), CryptoChoice::System, TlsOptions::default());
    (Arc::new(end.unwrap()), port)
}

fn dc(text: &str) -> ServerIdentity {
    ServerIdentity { name: name(text), role: CertificateRole::DirectionCoordinator }
}

fn at(port: u16) -> [DualStack; 2] {
    [
        DualStack { v4: Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)), v6: None },
        DualStack { v4: None, v6: Some(SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0)) },
    ]
}

async fn answer_all(end: Arc<TlsEndpoint>) {
    while let Some(TlsRequest { certificate, frame, answer, .. }) = end.next_request().await {
        let who = certificate.map_or_else(|| "a stranger".to_owned(), |shown| shown.name.to_string());
        let _caller_gone = answer.send([b"to ", who.as_bytes(), b": ", &frame[..]].concat().into());
    }
}

#[tokio::test]
async fn tls_legs_run_on_real_sockets_real_time_and_real_chance() {
    let net = host();
    let authority = NetworkAuthority::from_seed([7; 32], OsClock.wall()).unwrap();
    let (server, port) = endpoint(&net, &authority, Some(DC));
    let (client, _) = endpoint(&net, &authority, Some(("alice.example", CertificateRole::Node)));
    tokio::spawn(answer_all(server));
    let long = Bytes::from(vec![b'x'; 40_000]);
    for addresses in at(port) {
        let greeting = Bytes::from_static(b"hello");
        let stranger = client.call(&dc("dc.example"), addresses, greeting.clone(), false).await.unwrap();
        assert_eq!(stranger, "to a stranger: hello");
        let known = client.call(&dc("dc.example"), addresses, greeting, true).await.unwrap();
        assert_eq!(known, "to alice.example: hello");
        let answer = client.call(&dc("dc.example"), addresses, long.clone(), true).await.unwrap();
        assert_eq!(answer.len(), "to alice.example: ".len() + long.len());
        client.network_changed();
    }
}

#[tokio::test]
async fn tls_refuses_another_name_and_another_authority() {
    let net = host();
    let authority = NetworkAuthority::from_seed([7; 32], OsClock.wall()).unwrap();
    let (server, port) = endpoint(&net, &authority, Some(DC));
    tokio::spawn(answer_all(server));
    let (client, _) = endpoint(&net, &authority, None);
    let foreign = NetworkAuthority::from_seed([8; 32], OsClock.wall()).unwrap();
    let (stranger, _) = endpoint(&net, &foreign, None);
    let call = |end: Arc<TlsEndpoint>, server: &'static str| async move {
        end.call(&dc(server), at(port)[0], Bytes::from_static(b"hello"), false).await
    };
    assert_eq!(
        call(Arc::clone(&client), "as.example").await,
        Err(TlsFailure::Certificate(CertificateFault::OtherBearer))
    );
    assert_eq!(call(stranger, "dc.example").await, Err(TlsFailure::Certificate(CertificateFault::OtherAuthority)));
    assert!(call(client, "dc.example").await.is_ok());
}
