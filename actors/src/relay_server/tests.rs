//! The relay's packet path between two legs on an ideal network.

use super::*;
use crate::ideal_network::Switch;
use bytes::Bytes;
use ntmobile_ports::net::Net;
use ntmobile_proto::time::UnixTime;
use ntmobile_sim::Simulation;
use ntmobile_telemetry::{MemoryFile, Timeline};
use ntmobile_wire::datagram::decode_source_unknown;
use std::time::Duration;

const TO_MN: Spi = Spi(0x1000);
const TO_CN: Spi = Spi(0x2000);
const AT: &str = "10.0.0.3:4500";

fn packet(spi: Spi, length: usize) -> Bytes {
    let mut packet = vec![7; length];
    packet[..4].copy_from_slice(&spi.0.to_be_bytes());
    packet.into()
}

struct Scene {
    mn: Arc<dyn UdpPort>,
    cn: Arc<dyn UdpPort>,
    relay: Arc<dyn UdpPort>,
    path: RelayPath,
    table: Arc<RelayTable>,
    recorder: Recorder,
    records: MemoryFile,
}

impl Scene {
    fn new() -> Self {
        let switch = Switch::default();
        let port = |address: &str, port| switch.host(address).bind_udp(port).unwrap();
        let timeline = Timeline::new(UnixTime(1_900_000_000), Duration::from_secs(86_400)).unwrap();
        let (recorder, records) = Recorder::in_memory(timeline);
        let (path, table) = (RelayPath::new("rs".into(), recorder.clone()), Arc::new(RelayTable::new()));
        table.install(Instant::ORIGIN, TO_MN, TO_CN).unwrap();
        path.forward_by(table.clone(), Session(5));
        let (mn, cn, relay) = (port("10.0.0.1", 1), port("10.0.0.2", 2), port("10.0.0.3", 4500));
        Self { mn, cn, relay, path, table, recorder, records }
    }

    /// Sends to the relay and lets it take what came.
    async fn pass(&self, from: &dyn UdpPort, packet: &Bytes) {
        from.send(AT.parse().unwrap(), packet.clone()).unwrap();
        let received = self.relay.receive().await.unwrap();
        self.path.receive(Instant::ORIGIN, received, &*self.relay);
    }

    fn counted(&self, name: &str) -> bool {
        self.recorder.finish(Instant::ORIGIN).unwrap();
        String::from_utf8(self.records.bytes()).unwrap().contains(name)
    }
}

fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(Scene) -> F) {
    Simulation::new(1).run(test(Scene::new())).unwrap();
}

#[test]
fn packets_pass_unchanged_between_legs_that_have_proved_themselves() {
    run(|scene| async move {
        scene.table.prove(TO_MN, "10.0.0.1:1".parse().unwrap());
        scene.pass(&*scene.mn, &packet(TO_CN, 90)).await;
        assert!(scene.counted("relay.no_leg"), "CN has not proved its address yet");
        scene.table.prove(TO_CN, "10.0.0.2:2".parse().unwrap());
        scene.pass(&*scene.mn, &packet(TO_CN, 100)).await;
        assert_eq!(scene.cn.receive().await.unwrap().bytes, packet(TO_CN, 100));
        scene.pass(&*scene.cn, &packet(TO_MN, 101)).await;
        assert_eq!(scene.mn.receive().await.unwrap().bytes, packet(TO_MN, 101));
    });
}

#[test]
fn an_unproved_source_is_told_so_once_in_no_more_octets_than_it_sent() {
    run(|scene| async move {
        scene.pass(&*scene.mn, &packet(TO_CN, 40)).await;
        assert!(scene.counted("relay.source_unknown_unsaid"));
        scene.pass(&*scene.cn, &packet(TO_MN, 100)).await;
        let answer = scene.cn.receive().await.unwrap().bytes;
        assert!(answer.len() <= 100);
        let (header, message) = decode_source_unknown(&answer).unwrap();
        assert_eq!((header.session, message.spi), (Session(5), TO_MN));
        scene.pass(&*scene.cn, &packet(TO_MN, 100)).await;
        assert!(scene.counted("relay.source_unknown_again"));
    });
}

#[test]
fn packets_of_no_relay_are_counted() {
    run(|scene| async move {
        scene.pass(&*scene.mn, &packet(Spi(0x9990), 100)).await;
        assert!(scene.counted("esp.unknown_spi"));
    });
}
