//! The quickstart among strangers who wish it ill, on the simulated internet: for its whole minute they send garbage to every port of every host, and
//! packets of an earlier capture of the same run, as they were and spoilt, in the names of those who had sent them.

use ntmobile_lab::progress::Progress;
use ntmobile_lab::record::RunDirectory;
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::builtin::BUILTIN;
use ntmobile_lab::world::{Guest, Life, Lived, Recording};
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::Net;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_sim::network::{Packet, Transport};
use ntmobile_tests::bench::Dice;
use ntmobile_tests::captured::packets;
use ntmobile_tests::malice::{garbage, spoilt};
use ntmobile_wire::entropy::Entropy;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

/// What counts the strangers' messages, and nothing else.
const COUNTERS: [&str; 9] = [
    "datagram.malformed",
    "dns.unanswered",
    "esp.unexpected",
    "esp.unknown_spi",
    "notification.stream_malformed",
    "signalling.malformed",
    "signalling.not_authentic",
    "signalling.replayed",
    "signalling.unknown_key",
];
/// Signalling and packets, TLS, DNS.
const PORTS: [u16; 3] = [4500, 4433, 53];
/// How often the strangers do something.
const PAUSE: Duration = Duration::from_millis(100);
/// Captured packets sent each time.
const REPLAYS: usize = 30;
/// What is younger than this may still be on its way, and would be no replay.
const OLD: Duration = Duration::from_secs(1);

fn quickstart() -> Scenario {
    let builtin = BUILTIN.iter().find(|builtin| builtin.name == "quickstart").expect("it is built in");
    builtin.scenario().expect("a sound scenario")
}

/// The same packet with other contents.
fn spoil(dice: &mut Dice, packet: &Packet) -> Option<Packet> {
    match packet.transport() {
        Transport::Udp { source, destination, payload } => {
            let (from, to) =
                (SocketAddr::new(packet.source(), *source), SocketAddr::new(packet.destination(), *destination));
            Packet::udp(from, to, spoilt(dice, payload)).ok()
        }
        Transport::Tcp { segment, .. } => {
            let segment = spoilt(dice, segment);
            Packet::tcp(packet.source(), packet.destination(), segment).ok()
        }
        _ => None,
    }
}

async fn trouble(guest: Guest, captured: Vec<(Instant, Packet)>) {
    let mut dice = Dice(u64::from_be_bytes(guest.entropy().array()));
    let socket = guest.host().bind_udp(0).expect("a port");
    // Where NATs have shown themselves there is somebody, too.
    let mut targets: BTreeSet<SocketAddr> =
        captured.iter().filter_map(|(_, packet)| Some(packet.endpoints()?.1)).collect();
    let addresses = guest.hosts().iter().flat_map(|(_, addresses)| addresses.clone());
    targets.extend(addresses.flat_map(|address| PORTS.map(|port| SocketAddr::new(address, port))));
    let targets: Vec<_> = targets.into_iter().collect();
    let notifiers: Vec<_> = guest.hosts().iter().filter(|(name, _)| name.starts_with("ns")).cloned().collect();
    loop {
        for _ in 0..REPLAYS {
            let target = targets[usize::try_from(dice.roll()).unwrap_or_default() % targets.len()];
            // What cannot be sent is not sent: there may be no way there.
            let _ = socket.send(target, garbage(&mut dice));
        }
        let old = guest.now().minus(OLD);
        let count = captured.partition_point(|(at, _)| *at < old);
        for _ in 0..if count > 0 { REPLAYS } else { 0 } {
            let packet = &captured[usize::try_from(dice.roll()).unwrap_or_default() % count].1;
            if let Some(packet) = if dice.happens(0.5) { Some(packet.clone()) } else { spoil(&mut dice, packet) } {
                guest.forge(packet);
            }
        }
        for address in notifiers.iter().flat_map(|(_, addresses)| addresses) {
            guest.shout(SocketAddr::new(*address, 4500), &garbage(&mut dice)).await;
        }
        guest.clock().sleep(PAUSE).await;
    }
}

/// A run of the quickstart, and its files.
struct Run {
    lived: Lived,
    trace: String,
    directory: RunDirectory,
    _home: TempDir,
}

/// Runs the quickstart, among strangers if there is anything that they have captured.
fn run(captured: Option<Vec<(Instant, Packet)>>) -> Run {
    let home = tempfile::tempdir().expect("a temporary directory");
    let directory = RunDirectory::create(home.path().join("run")).expect("a directory");
    let recording = Recording { trace: true, capture: captured.is_none() };
    let mut life = Life::prepare(&quickstart(), &directory, recording).unwrap_or_else(|error| panic!("{error}"));
    if let Some(captured) = captured {
        let guest = life.with_guest("mallory", move |guest| trouble(guest, captured));
        life = guest.unwrap_or_else(|error| panic!("{error}"));
    }
    let lived = life.live(&Progress::default());
    assert!(lived.failure.is_none(), "{:?}", lived.failure);
    let trace = fs::read_to_string(directory.trace_path()).expect("the trace can be read");
    Run { lived, trace, directory, _home: home }
}

#[test]
fn a_minute_among_strangers_is_counted_and_the_quickstarts_conversations_go_on() {
    let peaceful = run(None);
    let captured = packets(&peaceful.directory.capture_path(), UnixTime(quickstart().world.epoch));
    assert!(captured.len() > 10_000, "{} packets", captured.len());
    let troubled = run(Some(captured));
    let rows = troubled.lived.conversations.iter().zip(&peaceful.lived.conversations);
    assert_eq!(rows.len(), quickstart().traffic.len());
    for (row, before) in rows {
        let ends = format!("{} to {}", row.from, row.to);
        assert_eq!(row.failure, None, "{ends}");
        assert_eq!(row.sent, before.sent, "{ends}");
        // The move costs what it costs; beside it hardly anything may get lost.
        let allowed = before.lost() + before.sent / 50;
        assert!(row.lost() <= allowed, "{ends}: {} of {} lost, {} in peace", row.lost(), row.sent, before.lost());
    }
    for counter in COUNTERS {
        assert!(troubled.trace.contains(counter), "{counter} was not counted");
        assert!(!peaceful.trace.contains(counter), "{counter} is counted in peace, too");
    }
    // Each entity has a line for what it counted. In peace one hears from where no connection was begun: of erin, who has moved.
    let strangers = |run: &Run| run.trace.lines().filter(|line| line.contains("\"tls.stranger\"")).count();
    assert!(strangers(&peaceful) <= 1, "{} in peace", strangers(&peaceful));
    assert!(strangers(&troubled) >= 7, "{} among strangers", strangers(&troubled));
    assert_eq!(troubled.lived.sizes.len(), peaceful.lived.sizes.len());
    for (name, sizes) in &troubled.lived.sizes {
        let before = &peaceful.lived.sizes[name];
        for (table, entries) in sizes.iter() {
            // Strangers reach the tables of what is not authenticated, and a connection until it is closed.
            let limit = match table {
                "early" | "challenges" => 32,
                "streams" | "unregistered_streams" => before.of(table) + 110,
                "answers" | "requests" => before.of(table) + 8,
                _ => before.of(table),
            };
            assert!(entries <= limit, "{name}: {entries} {table}, {} in peace", before.of(table));
        }
    }
}
