//! How fast a world runs: timers and messages, datagrams through the network, and a thousand TLS logins.

use actix::{Actor, Handler, Message};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ntmobile_ports::certificate::NetworkAuthority;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::Net;
use ntmobile_ports::quic::{TlsEndpoint, TlsOptions};
use ntmobile_ports::tls::ServerIdentity;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_sim::network::{LinkRecord, NodeKind};
use ntmobile_sim::ports::host::SimHost;
use ntmobile_sim::{Simulation, World};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::name::Fqdn;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

struct Counter(u64);

impl Actor for Counter {
    type Context = actix::Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

impl Handler<Tick> for Counter {
    type Result = ();
    fn handle(&mut self, _: Tick, _: &mut Self::Context) {
        self.0 += 1;
    }
}

/// 1,000 actors, each of which gets 1,000 messages from a task that sleeps between them.
fn timers() -> u64 {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    let clock = world.clock();
    let run = simulation.run(async move {
        let senders: Vec<_> = (0..1_000)
            .map(|i| {
                let (actor, clock) = (Counter(0).start(), clock.clone());
                actix::spawn(async move {
                    for _ in 0..1_000 {
                        clock.sleep(Duration::from_nanos(1_500 + i)).await;
                        actor.do_send(Tick);
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.expect("the sender ends");
        }
    });
    run.expect("the run ends");
    world.events()
}

/// Hosts around one router, 10 ms from one to the other.
fn hosts(world: &World, count: usize) -> Vec<SimHost> {
    let nodes = world.network(|network| {
        let router = network.add_node("router", NodeKind::Router).expect("a new name");
        network.serve(router, "10.0.0.0/16".parse().expect("a prefix")).expect("a router");
        let mut nodes = Vec::new();
        for number in 0..count {
            let node = network.add_node(&format!("host {number}"), NodeKind::Host).expect("a new name");
            let link = LinkRecord::with_delay(Duration::from_millis(5));
            network.attach(node, router, link).expect("an address is left");
            nodes.push(node);
        }
        nodes
    });
    nodes.into_iter().map(|node| world.host(node)).collect()
}

/// 100 pairs of hosts, each of which plays 5,000 datagrams of 1,200 bytes back and forth: two hops each.
fn datagrams() -> u64 {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    let hosts = hosts(&world, 200);
    let run = simulation.run(async move {
        let players: Vec<_> = (0..hosts.len())
            .map(|number| {
                let (host, other) = (&hosts[number], &hosts[number ^ 1]);
                let port = host.bind_udp(4500).expect("the port is free");
                let to = SocketAddr::new(other.addresses()[0], 4500);
                tokio::spawn(async move {
                    let payload = Bytes::from(vec![0; 1_200]);
                    for round in 0..5_000u64 {
                        if (round + number as u64).is_multiple_of(2) {
                            port.send(to, payload.clone()).expect("the way is there");
                        } else {
                            port.receive().await.expect("the port stays open");
                        }
                    }
                })
            })
            .collect();
        for player in players {
            player.await.expect("the player ends");
        }
    });
    run.expect("the run ends");
    world.events()
}

/// As many nodes, each of which asks one server once, with a certificate of its own.
fn logins(nodes: usize) -> u64 {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    let hosts = hosts(&world, nodes + 1);
    let now = world.clock().wall();
    let authority = NetworkAuthority::from_seed([1; 32], now).expect("an authority");
    let inner = world.clone();
    let run = simulation.run(async move {
        let end = |number: usize, name: &Fqdn, port: u16, serve: bool| {
            let role = if serve { CertificateRole::DirectionCoordinator } else { CertificateRole::Node };
            let identity = authority.issue(name, role, number as u64, now, YEAR).expect("a certificate");
            let udp = hosts[number].bind_udp(port).expect("the port is free");
            let trust = authority.trust().expect("the authority's certificate");
            let crypto = inner.tls_crypto(name.as_str());
            let options = TlsOptions { serve, max_connections: 2_000, ..TlsOptions::default() };
            let clock = Arc::new(inner.clock());
            Arc::new(TlsEndpoint::new(udp, clock, Some(identity), trust, crypto, options).expect("an endpoint"))
        };
        let name: Fqdn = "dc.example".parse().expect("a name");
        let server = end(0, &name, 4433, true);
        let dc = ServerIdentity { name, role: CertificateRole::DirectionCoordinator };
        let IpAddr::V4(address) = hosts[0].addresses()[0] else { unreachable!("the prefix is IPv4") };
        let addresses = DualStack { v4: Some(SocketAddrV4::new(address, 4433)), v6: None };
        tokio::spawn(async move {
            while let Some(request) = server.next_request().await {
                drop(request.answer.send(request.frame));
            }
        });
        let calls: Vec<_> = (1..=nodes)
            .map(|number| {
                let bearer = format!("node{number}.example").parse().expect("a name");
                let (client, dc) = (end(number, &bearer, 0, false), dc.clone());
                tokio::spawn(async move {
                    client.call(&dc, addresses, Bytes::from_static(b"login"), true).await.expect("an answer");
                })
            })
            .collect();
        for call in calls {
            call.await.expect("the call ends");
        }
    });
    run.expect("the run ends");
    world.events()
}

fn world(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("world");
    group.sample_size(10);
    for (name, run) in [("timers and messages", timers as fn() -> u64), ("datagrams", datagrams)] {
        group.throughput(Throughput::Elements(run()));
        group.bench_function(name, |bencher| bencher.iter(run));
    }
    group.throughput(Throughput::Elements(1_000));
    group.bench_function(BenchmarkId::new("TLS logins", 1_000), |bencher| bencher.iter(|| logins(1_000)));
    group.finish();
}

criterion_group!(benches, world);
criterion_main!(benches);
