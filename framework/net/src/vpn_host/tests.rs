//! Both ends in one process: what is said is heard, and what must not be said ends the conversation.

use super::*;
use crate::net::{HostProgram, NetOptions, OsNet};
use ntmobile_ports::net::Net;
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

fn network(interface: &str) -> Network {
    Network {
        interface: interface.to_owned(),
        addresses: vec![Ipv4Addr::new(192, 0, 2, 7).into()],
        ..Network::default()
    }
}

/// What a host program is, in a test: its end, and a few words.
struct Program(HostSocket);

impl Program {
    fn say(&self, message: &HostMessage) {
        self.0.send(&message.encode().unwrap(), None).unwrap();
    }

    fn hear(&self) -> Option<(EngineMessage, Option<OwnedFd>)> {
        let mut buffer = vec![0; LONGEST];
        let (length, descriptor) = self.0.receive(&mut buffer).unwrap()?;
        Some((EngineMessage::decode(&buffer[..length]).unwrap(), descriptor))
    }
}

/// A node's end whose program says hello and then does this.
fn converse(act: impl FnOnce(Program) + Send + 'static) -> (Line, JoinHandle<()>) {
    let (ours, theirs) = HostSocket::pair().unwrap();
    let program = std::thread::spawn(move || {
        let program = Program(theirs);
        assert_eq!(program.hear().unwrap().0, EngineMessage::Hello { version: VERSION });
        program.say(&HostMessage::Hello { version: VERSION, network: network("wifi") });
        act(program);
    });
    (Line::begin(ours).unwrap(), program)
}

/// How a conversation begins with a program that says this and no more.
fn begin_with(words: &[u8]) -> Result<Line, LineError> {
    let (ours, theirs) = HostSocket::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert!(Program(theirs.try_clone().unwrap()).hear().is_some());
            // An empty message is the end.
            theirs.send(words, None).unwrap();
        });
        Line::begin(ours)
    })
}

fn device() -> Device {
    Device {
        name: "ntm0".to_owned(),
        addresses: vec!["100.64.0.1/32".parse().unwrap()],
        mtu: 1_400,
        largest: 60_000,
        routes: vec!["fd00:1::/64".parse().unwrap()],
        name_servers: vec![Ipv4Addr::new(198, 18, 0, 53).into()],
    }
}

#[test]
fn a_message_is_one_packet_and_its_descriptor_goes_with_it() {
    let (one, other) = HostSocket::pair().unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    one.send(b"first", None).unwrap();
    one.send(b"second", Some(far.as_fd())).unwrap();
    drop(far);
    let mut buffer = [0; 16];
    assert!(matches!(other.receive(&mut buffer), Ok(Some((5, None)))));
    let Ok(Some((6, Some(descriptor)))) = other.receive(&mut buffer) else { panic!("the second has a descriptor") };
    assert_eq!(&buffer[..6], b"second");
    UnixStream::from(descriptor).write_all(b"through").unwrap();
    let mut through = [0; 7];
    near.read_exact(&mut through).unwrap();
    assert_eq!(&through, b"through");

    one.send(&[1; 17], None).unwrap();
    assert_eq!(other.receive(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    drop(one);
    assert!(matches!(other.receive(&mut buffer), Ok(None)));
}

#[test]
fn only_a_socket_that_keeps_messages_whole_is_inherited() {
    let (stream, _other) = UnixStream::pair().unwrap();
    assert!(HostSocket::inherit(stream.into()).is_err());
    let (one, other) = HostSocket::pair().unwrap();
    let one = socket2::Socket::from(one.into_fd());
    one.set_nonblocking(true).unwrap();
    let one = HostSocket::inherit(one.into()).unwrap();
    one.set_patience(Some(Duration::from_secs(60))).unwrap();
    let program = std::thread::spawn(move || {
        // Not before the other thread waits, as a rule.
        std::thread::sleep(Duration::from_millis(50));
        other.send(b"late", None).unwrap();
    });
    assert!(matches!(one.receive(&mut [0; 8]), Ok(Some((4, None)))), "it is waited for");
    program.join().unwrap();
}

#[tokio::test]
async fn a_socket_is_met_where_it_listens_and_only_one_node_listens_there() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let listener = SocketListener::listen(&path).unwrap();
    assert_eq!(SocketListener::listen(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    let there = path.clone();
    let program = tokio::task::spawn_blocking(move || HostSocket::connect(&there).unwrap());
    // Whoever tried above was not taken for a program.
    let met = listener.accept().await.unwrap();
    met.send(b"met", None).unwrap();
    let mut buffer = [0; 8];
    assert!(matches!(program.await.unwrap().receive(&mut buffer), Ok(Some((3, None)))));
    drop(listener);
    assert!(!path.exists(), "nothing is left");
    // One that was killed has left its file, and is in nobody's way.
    drop(UnixDatagram::bind(&path).unwrap());
    assert!(path.exists() && SocketListener::listen(&path).is_ok());
}

#[tokio::test]
async fn what_is_not_a_node_s_stays() {
    let home = tempfile::tempdir().unwrap();
    let refused = |path: &Path| SocketListener::listen(path).unwrap_err().kind() == std::io::ErrorKind::AddrInUse;
    let file = home.path().join("node.toml");
    std::fs::write(&file, "name = 1").unwrap();
    assert!(refused(&file));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "name = 1");
    let link = home.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert!(refused(&link) && link.is_symlink());
    let stream = home.path().join("stream");
    let listener = UnixListener::bind(&stream).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(refused(&stream));
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "it was not disturbed");
    let datagrams = home.path().join("datagrams");
    let _socket = UnixDatagram::bind(&datagrams).unwrap();
    assert!(refused(&datagrams) && datagrams.exists());
}

#[tokio::test]
async fn a_node_asks_for_a_device_and_routes_and_is_told_what_came_of_it() {
    let (line, program) = converse(|program| {
        let (message, _) = program.hear().unwrap();
        let EngineMessage::Device { request, device: wanted } = message else { panic!("{message:?}") };
        assert_eq!(wanted, device());
        let null = std::fs::File::open("/dev/null").unwrap();
        let done = HostMessage::Done { request }.encode().unwrap();
        program.0.send(&done, Some(null.as_fd())).unwrap();
        let (message, _) = program.hear().unwrap();
        let EngineMessage::Routes { request, add, remove } = message else { panic!("{message:?}") };
        assert_eq!((add, remove), (vec!["100.64.0.9/32".parse().unwrap()], Vec::new()));
        program.say(&HostMessage::Done { request: request + 7 });
        program.say(&HostMessage::Refused { request, why: "there are too many".to_owned() });
        let (message, _) = program.hear().unwrap();
        assert_eq!(message, EngineMessage::State(State::Down));
    });
    line.ask_for_device(device()).await.expect("it comes with the answer");
    let routes = vec!["100.64.0.9/32".parse().unwrap()];
    let refused = line.ask(|request| EngineMessage::Routes { request, add: routes, remove: Vec::new() }).await;
    assert_eq!(refused.unwrap_err(), AskError::Refused("there are too many".to_owned()));
    line.tell(State::Down);
    program.join().unwrap();
    assert_eq!(line.ended().await, LineEnd::Gone);
    assert_eq!(line.ask_for_device(device()).await.unwrap_err(), AskError::Gone);
}

#[tokio::test]
async fn no_socket_is_opened_that_the_program_has_not_protected() {
    let (line, program) = converse(|program| {
        let mut protected = Vec::new();
        while let Some((message, socket)) = program.hear() {
            let EngineMessage::Protect { request } = message else { panic!("{message:?}") };
            let socket = socket2::Socket::from(socket.expect("it comes with the question"));
            let is_bound = socket.local_addr().unwrap().as_socket().is_some_and(|address| address.port() != 0);
            assert!(!is_bound, "nothing can have been sent on it");
            protected.push(socket);
            match protected.len() {
                ..=4 => program.say(&HostMessage::Done { request }),
                _ => program.say(&HostMessage::Refused { request, why: "no".to_owned() }),
            }
        }
        assert_eq!(protected.len(), 5);
    });
    let line = Arc::new(line);
    let options = NetOptions { host: Some(line.clone()), ..NetOptions::default() };
    let net = OsNet::new(options).unwrap();
    assert_eq!(net.addresses(), network("wifi").addresses);
    let _datagrams = net.bind_udp(0).unwrap();
    let _streams = net.listen_tcp(0).unwrap();
    let refused = net.connect_tcp((Ipv4Addr::LOCALHOST, 1).into()).await.err().expect("the fifth is refused");
    assert!(refused.to_string().contains("the host program refused: no"), "{refused}");
    drop((net, line, _datagrams, _streams));
    program.join().unwrap();
}

#[tokio::test]
async fn a_move_is_another_interface_or_address_and_nothing_else() {
    let (line, program) = converse(|program| {
        let mut same = network("wifi");
        same.name_servers = vec!["192.0.2.53:53".parse().unwrap()];
        program.say(&HostMessage::Network(same));
        // The same addresses behind another way out: every home has 192.168.1.2.
        program.say(&HostMessage::Network(network("cell")));
        program.say(&HostMessage::Stop);
    });
    assert_eq!(line.ended().await, LineEnd::Stopped);
    assert_eq!(line.address_change(0).await, 1);
    assert_eq!(line.network().borrow().1, network("cell"));
    program.join().unwrap();
}

#[tokio::test]
async fn a_program_that_breaks_the_rules_is_not_listened_to_any_more() {
    let (line, program) = converse(|program| {
        program.0.send(b"open sesame", None).unwrap();
        assert!(program.hear().is_none_or(|(message, _)| matches!(message, EngineMessage::Device { .. })));
    });
    let asked = line.ask_for_device(device()).await;
    assert!(matches!(line.ended().await, LineEnd::Broken(_)));
    assert_eq!(asked.unwrap_err(), AskError::Gone, "nobody waits for what will not come");
    drop(line);
    program.join().unwrap();
}

#[test]
fn a_conversation_begins_with_hello_of_one_version() {
    let hello = |version| HostMessage::Hello { version, network: network("wifi") }.encode().unwrap();
    assert!(begin_with(&hello(VERSION)).is_ok());
    assert!(matches!(begin_with(&hello(VERSION + 1)), Err(LineError::Version(2))));
    assert!(matches!(begin_with(&HostMessage::Stop.encode().unwrap()), Err(LineError::NoHello)));
    assert!(matches!(begin_with(b"{\"hello\":{\"version\":1}}"), Err(LineError::Message(MessageError::Form(_)))));
    assert!(matches!(begin_with(b""), Err(LineError::Silent)));
}

#[test]
fn what_is_written_in_the_book_is_what_is_said() {
    let said = String::from_utf8(EngineMessage::Device { request: 2, device: device() }.encode().unwrap()).unwrap();
    assert_eq!(
        said,
        "{\"device\":{\"request\":2,\"device\":{\"name\":\"ntm0\",\"addresses\":[\"100.64.0.1/32\"],\"mtu\":1400,\
         \"largest\":60000,\"routes\":[\"fd00:1::/64\"],\"name-servers\":[\"198.18.0.53\"]}}}"
    );
    assert_eq!(EngineMessage::State(State::Joining).encode().unwrap(), b"{\"state\":\"joining\"}");
    assert_eq!(HostMessage::Stop.encode().unwrap(), b"\"stop\"");
    // A later program of this version may say more.
    let more = b"{\"done\":{\"request\":3,\"mood\":\"good\"}}";
    assert_eq!(HostMessage::decode(more).unwrap(), HostMessage::Done { request: 3 });
}

#[test]
fn lists_are_bounded() {
    let crowded = Network { addresses: vec![Ipv4Addr::LOCALHOST.into(); MOST_ADDRESSES + 1], ..Network::default() };
    let crowded = HostMessage::Network(crowded).encode().unwrap();
    assert!(matches!(HostMessage::decode(&crowded), Err(MessageError::TooMany { count: 65, .. })));
    let route = Subnet::host(IpAddr::from([0xfd; 16]));
    let routes =
        |count| EngineMessage::Routes { request: 1, add: vec![route; count], remove: vec![route; count] }.encode();
    assert!(EngineMessage::decode(&routes(MOST_ROUTES).unwrap()).is_ok(), "as many as are allowed fit");
    assert!(matches!(EngineMessage::decode(&routes(MOST_ROUTES + 1).unwrap()), Err(MessageError::TooMany { .. })));
    assert!(matches!(HostMessage::decode(&vec![b' '; LONGEST + 1]), Err(MessageError::TooLong(_))));
}

#[test]
fn a_subnet_has_no_more_bits_than_its_address() {
    for wrong in ["100.64.0.1", "100.64.0.1/33", "fd00::/129", "fd00::/-1", "/8", ""] {
        assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
    }
}

fn any_network() -> impl Strategy<Value = Network> {
    let addresses = vec(any::<IpAddr>(), 0..=MOST_ADDRESSES);
    (any::<String>(), addresses, vec(any::<SocketAddr>(), 0..4)).prop_map(|(interface, addresses, name_servers)| {
        // Flow labels and scopes are not an address's.
        let name_servers = name_servers.into_iter().map(|server| (server.ip(), server.port()).into()).collect();
        Network { interface, addresses, name_servers }
    })
}

fn any_subnet() -> impl Strategy<Value = Subnet> {
    (any::<IpAddr>(), any::<u8>())
        .prop_map(|(address, prefix)| Subnet { address, prefix: prefix % (Subnet::host(address).prefix + 1) })
}

fn any_host_message() -> impl Strategy<Value = HostMessage> {
    prop_oneof![
        (any::<u32>(), any_network()).prop_map(|(version, network)| HostMessage::Hello { version, network }),
        any_network().prop_map(HostMessage::Network),
        any::<u64>().prop_map(|request| HostMessage::Done { request }),
        (any::<u64>(), any::<String>()).prop_map(|(request, why)| HostMessage::Refused { request, why }),
        Just(HostMessage::Stop),
    ]
}

proptest! {
    #[test]
    fn what_a_program_says_is_understood(message in any_host_message()) {
        let bytes = message.encode().unwrap();
        prop_assert_eq!(HostMessage::decode(&bytes).unwrap(), message);
        // Cut off anywhere it is not.
        for length in 0..bytes.len().min(200) {
            prop_assert!(HostMessage::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn what_a_node_says_is_understood(request: u64, add in vec(any_subnet(), 0..40), name: String, mtu: u16) {
        let routes = EngineMessage::Routes { request, add: add.clone(), remove: add.clone() };
        prop_assert_eq!(EngineMessage::decode(&routes.encode().unwrap()).unwrap(), routes);
        let wanted = EngineMessage::Device { request, device: Device { name, mtu, addresses: add, ..device() } };
        prop_assert_eq!(EngineMessage::decode(&wanted.encode().unwrap()).unwrap(), wanted);
    }

    #[test]
    fn nothing_that_is_said_breaks_the_listener(bytes in vec(any::<u8>(), 0..2_000)) {
        let _ = HostMessage::decode(&bytes);
        let _ = EngineMessage::decode(&bytes);
    }
}

#[test]
fn a_descriptor_of_a_message_that_is_too_long_is_not_leaked() {
    let (one, other) = HostSocket::pair().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    one.send(&[1; 17], Some(far.as_fd())).unwrap();
    drop(far);
    assert!(other.receive(&mut [0; 16]).is_err());
    let mut end = [0; 1];
    assert_eq!((&near).read(&mut end).unwrap(), 0, "nobody has the other end of {} any more", near.as_raw_fd());
}
