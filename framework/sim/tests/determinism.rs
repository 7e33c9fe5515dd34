//! The same seed gives the same capture, byte for byte: TLS, TCP and UDP over lossy links, with a mover and a crash.

use bytes::Bytes;
use ntmobile_ports::certificate::NetworkAuthority;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::Net;
use ntmobile_ports::quic::{TlsEndpoint, TlsOptions};
use ntmobile_ports::tls::ServerIdentity;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_sim::Simulation;
use ntmobile_sim::capture::Capture;
use ntmobile_sim::network::{LinkRecord, NodeKind};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::name::Fqdn;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A file in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn capture(seed: u64) -> Vec<u8> {
    let mut simulation = Simulation::new(seed).with_time_limit(Duration::from_secs(10_000));
    let world = simulation.world();
    let file = Memory::default();
    let wall = world.clock().wall();
    let (router, interfaces) = world.network(|network| {
        let router = network.add_node("router", NodeKind::Router).unwrap();
        network.serve(router, "203.0.113.0/24".parse().unwrap()).unwrap();
        network.serve(router, "2001:db8::/64".parse().unwrap()).unwrap();
        let interfaces = ["server", "mover", "bystander"].map(|name| {
            let node = network.add_node(name, NodeKind::Host).unwrap();
            let delay = Duration::from_millis(3);
            let link = LinkRecord { loss: 0.05, jitter: delay, duplication: 0.02, ..LinkRecord::with_delay(delay) };
            network.attach(node, router, link).unwrap()
        });
        network.start_capture(Capture::new(Box::new(file.clone()), wall), interfaces);
        (router, interfaces)
    });
    let hosts = interfaces.map(|interface| world.host(world.network(|network| network.node_of(interface))));
    let inner = world.clone();
    simulation
        .run(async move {
            let [server, mover, bystander] = hosts;
            let clock = inner.clock();
            let authority = NetworkAuthority::from_seed([4; 32], wall).unwrap();
            let name: Fqdn = "dc.example".parse().unwrap();
            let identity = authority
                .issue(&name, CertificateRole::DirectionCoordinator, 1, wall, Duration::from_secs(86_400))
                .unwrap();
            let end = |host: &ntmobile_sim::ports::host::SimHost, identity, label: &str| {
                let crypto = inner.tls_crypto(label);
                let (udp, clock) = (host.bind_udp(4433).unwrap(), Arc::new(inner.clock()));
                let trust = authority.trust().unwrap();
                Arc::new(TlsEndpoint::new(udp, clock, identity, trust, crypto, TlsOptions::default()).unwrap())
            };
            let dc = ServerIdentity { name, role: CertificateRole::DirectionCoordinator };
            let (called, caller) = (end(&server, Some(identity), "server"), end(&mover, None, "mover"));
            tokio::spawn(async move {
                while let Some(request) = called.next_request().await {
                    drop(request.answer.send(request.frame));
                }
            });
            let listener = server.listen_tcp(80).unwrap();
            tokio::spawn(async move {
                while let Ok(mut stream) = listener.accept().await {
                    tokio::spawn(async move {
                        let mut received = Vec::new();
                        drop(stream.read_to_end(&mut received).await);
                        drop(stream.write_all(&received).await);
                    });
                }
            });
            let address = server.addresses().into_iter().find(std::net::IpAddr::is_ipv4).unwrap();
            let SocketAddr::V4(v4) = SocketAddr::new(address, 4433) else { panic!("IPv4 was looked for") };
            let addresses = DualStack { v4: Some(v4), v6: None };
            for round in 0..3u8 {
                let call = caller.call(&dc, addresses, Bytes::from(vec![round; 3_000]), false);
                assert_eq!(call.await.unwrap().len(), 3_000);
                let mut stream = bystander.connect_tcp(SocketAddr::new(address, 80)).await.unwrap();
                stream.write_all(&[round; 20_000]).await.unwrap();
                stream.shutdown().await.unwrap();
                let mut echo = Vec::new();
                stream.read_to_end(&mut echo).await.unwrap();
                assert_eq!(echo, [round; 20_000]);
                inner.network(|network| {
                    let old = network.interfaces(mover.node())[0];
                    network.detach(old);
                    let new = network.attach(mover.node(), router, LinkRecord::default()).unwrap();
                    network.capture_also(new);
                });
            }
            server.crash();
            let call = caller.call(&dc, addresses, Bytes::new(), false);
            assert!(call.await.is_err());
            clock.sleep(Duration::from_secs(60)).await;
        })
        .unwrap();
    world.network(|network| network.finish_capture()).unwrap();
    std::mem::take(&mut *file.0.lock().unwrap())
}

#[test]
fn the_same_seed_gives_the_same_capture() {
    let first = capture(1);
    assert!(first.len() > 100_000, "{} bytes", first.len());
    assert!(first == capture(1));
    let side_by_side: Vec<_> = (0..2).map(|_| std::thread::spawn(|| capture(1))).collect();
    for other in side_by_side {
        assert!(first == other.join().unwrap());
    }
    assert!(first != capture(2));
}
