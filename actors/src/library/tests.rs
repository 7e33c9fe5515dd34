//! Two packet paths with their stacks on an ideal network; the tests install the tunnels that signalling would.

use super::path::NodePath;
use crate::driver::PacketPath;
use crate::engine::{Errand, Errands};
use crate::host::{Host, HostParts};
use crate::ideal_network::Switch;
use crate::supervise::PanicPolicy;
use bytes::Bytes;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{Net, UdpPort};
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::packet::{Tunnel, TunnelSettings, TunnelTable};
use ntmobile_proto::time::UnixTime;
use ntmobile_sim::{Simulation, World};
use ntmobile_stack::{Stack, StackOptions};
use ntmobile_telemetry::{MemoryFile, Recorder, Timeline};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::{ApplicationId, Spi};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// One application on one device, without its node's machine.
pub(super) struct End {
    name: Fqdn,
    pub(super) addresses: VirtualAddresses,
    application: ApplicationId,
    pub(super) at: SocketAddr,
    pub(super) path: Arc<NodePath>,
    pub(super) table: Arc<TunnelTable>,
    pub(super) stack: Stack,
    errands: mpsc::Receiver<Errand>,
    pub(super) clock: Arc<dyn Clock>,
    recorder: Recorder,
    records: MemoryFile,
}

impl End {
    pub(super) fn new(world: &World, switch: &Switch, number: u8, application: u32) -> Self {
        let real: IpAddr = [10, 0, number, application.to_be_bytes()[3]].into();
        let net = switch.host(&real.to_string());
        let clock: Arc<dyn Clock> = Arc::new(world.clock());
        let timeline = Timeline::new(UnixTime(1_900_000_000), Duration::from_secs(86_400)).unwrap();
        let (recorder, records) = Recorder::in_memory(timeline);
        let entropy_world = world.clone();
        let host = Host::start(HostParts {
            name: "host".into(),
            clock: clock.clone(),
            net: net.clone(),
            entropy: Arc::new(move |who| Box::new(entropy_world.entropy(who))),
            recorder: recorder.clone(),
            root_servers: Vec::new(),
            panics: PanicPolicy::FailRun,
        });
        let port = net.bind_udp(0).unwrap();
        let (sender, errands) = Errands::new();
        let path = Arc::new(NodePath::new("end".into(), port.clone(), &host, sender));
        let table = Arc::new(TunnelTable::new());
        path.use_tunnels(table.clone());
        let addresses = VirtualAddresses {
            v4: [100, 64, 0, number].into(),
            v6: [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)].into(),
        };
        let out = Arc::downgrade(&path);
        let stack = Stack::new(
            clock.clone(),
            host.entropy("stack"),
            vec![addresses.v4.into(), addresses.v6.into()],
            StackOptions { mtu: 1_280, ..StackOptions::default() },
            Arc::new(move |packet| {
                if let Some(path) = out.upgrade() {
                    path.send(packet);
                }
            }),
        );
        path.use_stack(stack.clone());
        let at = SocketAddr::new(real, port.port());
        actix::spawn(receive_all(port, path.clone(), clock.clone()));
        let name = Fqdn::parse(&format!("node{number}.example")).unwrap();
        let application = ApplicationId(application);
        Self { name, addresses, application, at, path, table, stack, errands, clock, recorder, records }
    }

    /// Installs this end of a tunnel and lets packets into it.
    fn open(&self, peer: &Self, end: Role, spis: (Spi, Spi)) -> Arc<Tunnel> {
        let settings = TunnelSettings {
            peer: peer.name.clone(),
            application: peer.application,
            local: self.addresses,
            remote: peer.addresses,
            alias: None,
            next_hop: peer.at,
            end,
            suite: CipherSuite::Aes128Gcm,
            spi_in: spis.0,
            spi_out: spis.1,
        };
        let tunnel = self.table.install(self.clock.now(), settings, &Secret::from_bytes([7; 32])).unwrap();
        self.table.activate(&tunnel);
        self.path.tunnel_stands(&peer.peer(), peer.addresses);
        tunnel
    }

    fn peer(&self) -> Peer {
        Peer { name: self.name.clone(), application: self.application }
    }

    fn counted(&self, name: &str) -> bool {
        self.recorder.finish(self.clock.now()).expect("all is recorded");
        String::from_utf8(self.records.bytes()).unwrap().contains(name)
    }

    fn at_v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses.v4.into(), port)
    }

    fn at_v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses.v6.into(), port)
    }
}

async fn receive_all(port: Arc<dyn UdpPort>, path: Arc<NodePath>, clock: Arc<dyn Clock>) {
    while let Ok(received) = port.receive().await {
        path.receive(clock.now(), received, &*port);
    }
}

/// A tunnel between two ends.
fn tunnel(mn: &End, cn: &End, number: u32) -> (Arc<Tunnel>, Arc<Tunnel>) {
    let (to_mn, to_cn) = (Spi(number << 12), Spi((number << 12) + 16));
    (mn.open(cn, Role::Mn, (to_mn, to_cn)), cn.open(mn, Role::Cn, (to_cn, to_mn)))
}

pub(super) fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(World, Switch) -> F) {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    simulation.run(test(world, Switch::default())).unwrap();
}

#[test]
fn tcp_runs_through_a_tunnel_over_both_address_families() {
    run(|world, switch| async move {
        let (alice, bob) = (End::new(&world, &switch, 1, 0), End::new(&world, &switch, 2, 0));
        tunnel(&alice, &bob, 1);
        let listener = bob.stack.listen(7000).unwrap();
        for to in [bob.at_v4(7000), bob.at_v6(7000)] {
            let mut stream = alice.stack.connect(to).await.unwrap();
            let mut accepted = listener.accept().await.unwrap();
            let song: Vec<u8> = (0..100_000_u32).map(|at| at.to_be_bytes()[3]).collect();
            let sent = song.clone();
            actix::spawn(async move {
                stream.write_all(&sent).await.unwrap();
                stream.shutdown().await.unwrap();
            });
            let mut heard = Vec::new();
            accepted.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, song);
        }
    });
}

#[test]
fn packets_wait_for_a_tunnel_to_a_peer_that_was_met_before() {
    run(|world, switch| async move {
        let (mut alice, bob) = (End::new(&world, &switch, 1, 0), End::new(&world, &switch, 2, 0));
        let (mine, _) = tunnel(&alice, &bob, 1);
        alice.table.remove(&mine);
        let (from, to) = (alice.stack.bind(9).unwrap(), bob.stack.bind(9).unwrap());
        for word in ["one", "two"] {
            from.send_to(word.as_bytes(), bob.at_v4(9)).unwrap();
        }
        assert_eq!(alice.errands.recv().await, Some(Errand::Build(bob.peer())), "the tunnel is asked for");
        assert!(alice.errands.try_recv().is_err(), "once");
        tunnel(&alice, &bob, 2);
        for word in ["one", "two"] {
            assert_eq!(to.recv_from().await.unwrap().bytes, Bytes::from(word));
        }
    });
}

#[test]
fn packets_to_somebody_never_met_are_dropped_and_counted() {
    run(|world, switch| async move {
        let mut alice = End::new(&world, &switch, 1, 0);
        let socket = alice.stack.bind(9).unwrap();
        socket.send_to(b"hello?", "100.64.9.9:9".parse().unwrap()).unwrap();
        assert!(alice.errands.try_recv().is_err());
        assert!(alice.counted("packet.unknown_peer"));
    });
}

#[test]
fn an_answer_goes_to_the_application_that_asked() {
    run(|world, switch| async move {
        let bob = End::new(&world, &switch, 2, 0);
        let (first, second) = (End::new(&world, &switch, 1, 1), End::new(&world, &switch, 1, 2));
        tunnel(&first, &bob, 1);
        tunnel(&second, &bob, 2);
        let server = bob.stack.bind(9).unwrap();
        let clients = [first.stack.bind(1_001).unwrap(), second.stack.bind(1_002).unwrap()];
        for (client, question) in clients.iter().zip(["first", "second"]) {
            client.send_to(question.as_bytes(), bob.at_v4(9)).unwrap();
        }
        for _ in &clients {
            let question = server.recv_from().await.unwrap();
            server.send_to(&question.bytes, question.from).unwrap();
        }
        for (client, question) in clients.iter().zip(["first", "second"]) {
            assert_eq!(client.recv_from().await.unwrap().bytes, Bytes::from(question));
        }
    });
}

#[test]
fn new_connections_are_for_the_application_that_was_looked_up_last() {
    run(|world, switch| async move {
        let alice = End::new(&world, &switch, 1, 0);
        let (first, second) = (End::new(&world, &switch, 2, 1), End::new(&world, &switch, 2, 2));
        tunnel(&alice, &first, 1);
        tunnel(&alice, &second, 2);
        let client = alice.stack.bind(0).unwrap();
        let servers = [first.stack.bind(9).unwrap(), second.stack.bind(9).unwrap()];
        for (end, server) in [&first, &second].into_iter().zip(&servers) {
            alice.path.prefer(end.addresses, end.application);
            client.send_to(b"hello", end.at_v6(9)).unwrap();
            assert_eq!(server.recv_from().await.unwrap().bytes, Bytes::from("hello"));
        }
    });
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    run(|world, switch| async move {
        let (alice, bob) = (End::new(&world, &switch, 1, 0), End::new(&world, &switch, 2, 0));
        tunnel(&alice, &bob, 1);
        let stranger = switch.host("10.0.9.9").bind_udp(0).unwrap();
        let mut forged = vec![0x55; 100];
        stranger.send(bob.at, Bytes::copy_from_slice(&forged)).unwrap();
        forged[..4].copy_from_slice(&((1_u32 << 12) + 16).to_be_bytes());
        stranger.send(bob.at, Bytes::from(forged)).unwrap();
        let (from, to) = (alice.stack.bind(9).unwrap(), bob.stack.bind(9).unwrap());
        from.send_to(b"still here", bob.at_v4(9)).unwrap();
        assert_eq!(to.recv_from().await.unwrap().bytes, Bytes::from("still here"));
        assert!(bob.counted("esp.unknown_spi"));
        assert!(bob.counted("esp.refused"));
    });
}
