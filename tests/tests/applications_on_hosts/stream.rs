//! Streams in both directions, by iperf3.

use super::Application;
use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A test of iperf3 that lasts for as long as it is wanted.
pub(crate) struct Stream {
    client: Process,
    _server: Process,
}

impl Stream {
    /// Starts a server on one host, and streams to and from it on the other.
    pub(crate) fn open(network: &Network, server_host: &str, host: &str, name: &str) -> Self {
        let mut serve = network.world.command(server_host, Path::new("iperf3"));
        serve.args(["--forceflush", "-s"]);
        let mut server = Process::start(serve, &network.home.path().join("iperf-server.log")).expect("iperf3 starts");
        server.await_word("listening", PATIENCE);
        let mut connect = network.world.command(host, Path::new("iperf3"));
        connect.args(["--forceflush", "-c", name, "--bidir", "-b", "2M", "-t", "86400"]);
        let client = Process::start(connect, &network.home.path().join("iperf.log")).expect("iperf3 starts");
        Self { client, _server: server }
    }

    /// How many seconds there were in which something was carried, in this direction.
    fn full_seconds(&self, direction: &str) -> usize {
        let words = self.client.words();
        words
            .lines()
            .filter(|line| line.contains(direction) && line.contains("/sec") && !line.contains(" 0.00 B"))
            .count()
    }
}

impl Application for Stream {
    fn goes_on(&mut self, mark: &str) {
        for direction in ["[TX-C]", "[RX-C]"] {
            let (before, deadline) = (self.full_seconds(direction), Instant::now() + PATIENCE);
            while self.full_seconds(direction) < before + 2 {
                assert!(Instant::now() < deadline, "{mark}: nothing is carried: {}", self.client.words());
                sleep(Duration::from_millis(100));
            }
        }
    }
}
