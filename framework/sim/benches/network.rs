//! The parts of the simulated internet, each by itself: `cargo bench -p ntmobile-sim --bench network`.

#[path = "shared/traffic.rs"]
mod traffic;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ntmobile_proto::time::Instant;
use ntmobile_sim::agenda::Agenda;
use ntmobile_sim::network::Packet;
use std::hint::black_box;
use std::time::Duration;
use traffic::Load;

/// Simulated time that passes in one iteration.
const STEP: Duration = Duration::from_millis(100);

fn networks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("network");
    group.sample_size(10);
    for (name, mut load, hosts) in
        [("star of 1,000 hosts", Load::star(1_000), 1_000), ("tree of 1,024 hosts", Load::tree(32), 1_024)]
    {
        let mut now = Instant::ORIGIN + Duration::from_secs(1);
        load.run_until(now);
        group.throughput(Throughput::Elements(hosts * STEP.as_millis() as u64 / 10));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now += STEP;
                load.run_until(now);
            });
        });
    }
    group.finish();
}

fn agenda(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("agenda");
    group.throughput(Throughput::Elements(1));
    for waiting in [1_000u64, 100_000] {
        let mut agenda = Agenda::new();
        for event in 0..waiting {
            agenda.schedule(Instant(event * 7_919 % 1_000_003), event);
        }
        group.bench_function(format!("pop and schedule, {waiting} waiting"), |bencher| {
            bencher.iter(|| {
                let (at, event) = agenda.pop().expect("events wait");
                agenda.schedule(Instant(at.0 + 1_000 + event * 7_919 % 1_000_003), event);
            });
        });
        group.bench_function(format!("schedule and cancel, {waiting} waiting"), |bencher| {
            bencher.iter(|| {
                let key = agenda.schedule(Instant(u64::MAX), 0);
                black_box(agenda.cancel(key));
            });
        });
    }
    group.finish();
}

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet of 1,400 bytes");
    let endpoint = |text: &str| text.parse().expect("an address and port");
    let packet = Packet::udp(endpoint("192.0.2.1:1"), endpoint("192.0.2.2:2"), Bytes::from(vec![7; 1_372]));
    let packet = packet.expect("one family");
    group.throughput(Throughput::Bytes(packet.wire_len() as u64));
    let mut buffer = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            packet.encode(&mut buffer);
            black_box(&buffer);
        });
    });
    let bytes = packet.to_bytes();
    group.bench_function("decode", |bencher| bencher.iter(|| Packet::from_bytes(black_box(&bytes))));
    group.finish();
}

criterion_group!(benches, networks, agenda, packets);
criterion_main!(benches);
