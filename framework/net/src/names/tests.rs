use super::{Finding, NameService, Names, Owner};
use crate::net::{NetOptions, OsNet};
use futures::future::BoxFuture;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ntmobile_ports::net::{Net, UdpPort};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::name::Fqdn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BOB: VirtualAddresses =
    VirtualAddresses { v4: Ipv4Addr::new(100, 64, 0, 9), v6: std::net::Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, 9) };

/// A network with one node that can be had and one that cannot.
struct Network;

impl Names for Network {
    fn find(&self, name: Fqdn) -> BoxFuture<'static, Finding> {
        let finding = match name.as_str() {
            "bob.u2.example" => Finding::Node { addresses: BOB, lifetime: Duration::from_secs(30) },
            "carol.u2.example" => Finding::Failed,
            _ => Finding::Elsewhere,
        };
        Box::pin(std::future::ready(finding))
    }

    fn owner(&self, address: IpAddr) -> Owner {
        match address {
            IpAddr::V4(v4) if v4 == BOB.v4 => Owner::Node("bob.u2.example".parse().unwrap()),
            IpAddr::V6(v6) if v6 == BOB.v6 => Owner::Node("bob.u2.example".parse().unwrap()),
            IpAddr::V4(v4) if v4.octets()[..2] == [100, 64] => Owner::Nobody,
            _ => Owner::Elsewhere,
        }
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// What a name server of the site says to a query; `None` for nothing.
type Says = fn(&Message) -> Option<Message>;

/// Everybody lives here, with this as the last octet.
fn says_its_address(query: &Message) -> Option<Message> {
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.add_queries(query.queries.clone());
    answer.add_answer(Record::from_rdata(query.queries[0].name().clone(), 60, RData::A(A::new(192, 0, 2, 80))));
    Some(answer)
}

fn says_nothing(_: &Message) -> Option<Message> {
    None
}

/// A name server of the site.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Message>>>,
}

impl Server {
    fn start(net: &OsNet, says: Says) -> Self {
        let (datagrams, streams) = loop {
            let datagrams = net.bind_udp(0).unwrap();
            if let Ok(streams) = net.listen_tcp(datagrams.port()) {
                break (datagrams, streams);
            }
        };
        let address = SocketAddr::new(LOOPBACK, datagrams.port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let received = datagrams.receive().await.unwrap();
                let query = Message::from_vec(&received.bytes).unwrap();
                if let Some(answer) = says(&query) {
                    // Others hear of the question and answer before: with another identifier, to another question.
                    let mut forged = answer.clone();
                    forged.metadata.id ^= 1;
                    datagrams.send(received.from, forged.to_vec().unwrap().into()).unwrap();
                    let mut forged = answer.clone();
                    forged.queries = vec![Query::query(Name::from_ascii("other.example.").unwrap(), RecordType::A)];
                    datagrams.send(received.from, forged.to_vec().unwrap().into()).unwrap();
                    datagrams.send(received.from, answer.to_vec().unwrap().into()).unwrap();
                }
                log.lock().unwrap().push(query);
            }
        });
        tokio::spawn(async move {
            loop {
                let mut stream = streams.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut bytes = vec![0; length.into()];
                stream.read_exact(&mut bytes).await.unwrap();
                if let Some(answer) = says(&Message::from_vec(&bytes).unwrap()) {
                    let answer = answer.to_vec().unwrap();
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// The name service, and a program of the host.
struct Scene {
    net: Arc<OsNet>,
    service: NameService,
    program: Arc<dyn UdpPort>,
}

impl Scene {
    fn new(servers: impl FnOnce(&OsNet) -> Vec<SocketAddr>) -> Self {
        let net = Arc::new(OsNet::new(NetOptions::default()).unwrap());
        let servers = servers(&net);
        let service = NameService::start((LOOPBACK, 0).into(), Arc::new(Network), net.clone(), servers).unwrap();
        let program = net.bind_udp(0).unwrap();
        Self { net, service, program }
    }

    async fn exchange(&self, query: &[u8]) -> Option<Message> {
        self.program.send(self.service.address(), query.to_vec().into()).unwrap();
        let received = timeout(Duration::from_secs(9), self.program.receive()).await.ok()?.unwrap();
        Some(Message::from_vec(&received.bytes).unwrap())
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        let answer = self.exchange(&query(name, kind).to_vec().unwrap()).await.expect("an answer");
        assert_eq!(answer.metadata.id, 0x1234);
        assert_eq!(answer.queries, query(name, kind).queries);
        answer
    }

    async fn ask_on_stream(&self, name: &str, kind: RecordType) -> Message {
        let mut stream = self.net.connect_tcp(self.service.address()).await.unwrap();
        let bytes = query(name, kind).to_vec().unwrap();
        stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await.unwrap();
        Message::from_vec(&answer).unwrap()
    }
}

fn data(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|record| format!("{} {}", record.ttl, record.data)).collect()
}

#[tokio::test]
async fn a_node_s_name_gives_its_virtual_addresses_and_its_address_its_name() {
    let scene = Scene::new(|_| Vec::new());
    for (name, kind, expected) in [
        ("bob.u2.example.", RecordType::A, vec!["30 100.64.0.9"]),
        ("BOB.u2.example.", RecordType::AAAA, vec!["30 fd00:1:2:3::9"]),
        ("bob.u2.example.", RecordType::HTTPS, vec![]),
        ("9.0.64.100.in-addr.arpa.", RecordType::PTR, vec!["60 bob.u2.example."]),
    ] {
        let answer = scene.ask(name, kind).await;
        assert_eq!(
            (answer.metadata.response_code, data(&answer)),
            (ResponseCode::NoError, expected.iter().map(|s| s.to_string()).collect())
        );
        assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
    }
    assert_eq!(data(&scene.ask_on_stream("bob.u2.example.", RecordType::A).await), ["30 100.64.0.9"]);
    assert_eq!(
        scene.ask("8.0.64.100.in-addr.arpa.", RecordType::PTR).await.metadata.response_code,
        ResponseCode::NXDomain
    );
    assert_eq!(scene.ask("carol.u2.example.", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn every_other_query_goes_unchanged_to_the_site_s_name_server() {
    let mut server = None;
    let scene = Scene::new(|net| vec![server.insert(Server::start(net, says_its_address)).address]);
    let server = server.unwrap();
    let names = ["www.example.", "_service._tcp.example.", "localhost.", ".", "80.2.0.192.in-addr.arpa."];
    for (number, name) in names.into_iter().enumerate() {
        for kind in [RecordType::A, RecordType::MX, RecordType::PTR] {
            assert_eq!(data(&scene.ask(name, kind).await), ["60 192.0.2.80"], "{name}");
        }
        assert_eq!(server.asked(), 3 * (number + 1));
    }
    let mut signed = query("www.example.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(4_000);
    signed.set_edns(edns.clone());
    scene.exchange(&signed.to_vec().unwrap()).await.unwrap();
    assert_eq!(server.asked.lock().unwrap().last().unwrap().edns, Some(edns));
    assert_eq!(data(&scene.ask_on_stream("www.example.", RecordType::TXT).await), ["60 192.0.2.80"]);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_passed_over_and_asked_last_from_then_on() {
    let mut servers = None;
    let scene = Scene::new(|net| {
        let (silent, other) = servers.insert((Server::start(net, says_nothing), Server::start(net, says_its_address)));
        vec![silent.address, other.address]
    });
    let (silent, other) = servers.unwrap();
    for _ in 0..3 {
        assert_eq!(data(&scene.ask("www.example.", RecordType::A).await), ["60 192.0.2.80"]);
    }
    assert_eq!((silent.asked(), other.asked()), (1, 3));
    // The site has another name server now.
    scene.service.set_servers(vec![silent.address]);
    let nothing = scene.ask("www.example.", RecordType::A).await;
    assert_eq!(nothing.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(other.asked(), 3);
}

#[tokio::test]
async fn what_is_no_query_is_refused_or_not_answered_at_all() {
    let scene = Scene::new(|_| Vec::new());
    let mut two = query("bob.u2.example.", RecordType::A);
    two.add_queries(query("bob.u2.example.", RecordType::AAAA).queries);
    let refusal = scene.exchange(&two.to_vec().unwrap()).await.unwrap();
    assert_eq!((refusal.metadata.id, refusal.metadata.response_code), (0x1234, ResponseCode::FormErr));
    let mut response = query("bob.u2.example.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    for silent in [&b"nonsense"[..], b"", &response.to_vec().unwrap()] {
        scene.program.send(scene.service.address(), silent.to_vec().into()).unwrap();
    }
    let answer = scene.ask("bob.u2.example.", RecordType::A).await;
    assert_eq!(data(&answer), ["30 100.64.0.9"], "nothing before this was answered");
}

#[tokio::test]
async fn the_port_is_free_again_at_once() {
    let scene = Scene::new(|net| vec![Server::start(net, says_nothing).address]);
    let address = scene.service.address();
    let waiting = query("www.example.", RecordType::A).to_vec().unwrap();
    scene.program.send(address, waiting.into()).unwrap();
    scene.ask("bob.u2.example.", RecordType::A).await;
    drop(scene.service);
    tokio::task::yield_now().await;
    let again = NameService::start(address, Arc::new(Network), scene.net, Vec::new()).unwrap();
    assert_eq!(again.address(), address);
}
