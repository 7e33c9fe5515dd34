//! Simulated UDP at scale, as a program that prints its figures: `cargo bench -p ntmobile-sim --bench internet`.

#![expect(clippy::disallowed_methods, reason = "it measures how long the simulator itself takes, on the wall")]

#[path = "shared/traffic.rs"]
mod traffic;

use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_sim::agenda::Agenda;
use ntmobile_sim::capture::Capture;
use std::time::Duration;
use traffic::Load;

/// How long is simulated in each run, and how often each is run; the median counts.
const SIMULATED: Duration = Duration::from_secs(20);
const RUNS: usize = 5;

fn main() {
    println!("{:<36} {:>12} {:>12} {:>10} {:>12}", "", "packets/s", "events/s", "× real", "delivered");
    report("star, 1,000 hosts behind a NAT", || Load::star(1_000));
    report("tree, 1,024 hosts behind 32 NATs", || Load::tree(32));
    report("the tree, every interface captured", || {
        let mut load = Load::tree(32);
        let all: Vec<_> = load.network.nodes().flat_map(|node| load.network.interfaces(node).to_vec()).collect();
        load.network.start_capture(Capture::new(Box::new(std::io::sink()), UnixTime(1)), all);
        load
    });
    agenda();
}

fn report(name: &str, build: impl Fn() -> Load) {
    let runs = (0..RUNS).map(|_| {
        let mut load = build();
        // One simulated second to fill queues and tables.
        let warm = Instant::ORIGIN + Duration::from_secs(1);
        load.run_until(warm);
        let (packets, events) = (load.delivered, load.events);
        let begin = std::time::Instant::now();
        load.run_until(warm + SIMULATED);
        (begin.elapsed(), load.delivered - packets, load.events - events)
    });
    let mut runs: Vec<_> = runs.collect();
    runs.sort();
    let (took, packets, events) = runs[RUNS / 2];
    let rate = |count: u64| count as f64 / took.as_secs_f64();
    println!(
        "{name:<36} {:>12.0} {:>12.0} {:>10.1} {packets:>12}",
        rate(packets),
        rate(events),
        SIMULATED.as_secs_f64() / took.as_secs_f64()
    );
}

/// The bare agenda: each event schedules the next, while so many wait.
fn agenda() {
    for waiting in [1_000u64, 100_000] {
        let mut agenda = Agenda::new();
        for event in 0..waiting {
            agenda.schedule(Instant(event * 7_919 % 1_000_003), event);
        }
        const EVENTS: u64 = 10_000_000;
        let begin = std::time::Instant::now();
        for _ in 0..EVENTS {
            let Some((at, event)) = agenda.pop() else { break };
            agenda.schedule(Instant(at.0 + 1_000 + event * 7_919 % 1_000_003), event);
        }
        let rate = EVENTS as f64 / begin.elapsed().as_secs_f64();
        println!("{:<36} {:>12} {rate:>12.0}", format!("bare agenda, {waiting} waiting"), "");
    }
}
