//! What the emulated internet costs: round trips and throughput between two namespaces on links without delay, rate or loss.
//!
//! `cargo run --release -p ntmobile-lab --example internet_cost` as root, with `ip`, `ping` and `iperf3` installed. Beside it the same
//! over a pair of veth, which is what the kernel alone does.

use ntmobile_lab::netns::internet::{AttachSettings, EmulatedInternet};
use ntmobile_net::namespace::NetworkNamespace;
use ntmobile_sim::network::{LinkRecord, NatRecord, Network, NodeKind};
use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Two namespaces, removed at the end.
struct Pair([String; 2]);

impl Pair {
    fn new() -> Result<Self, Box<dyn Error>> {
        let pair = Self(["a", "b"].map(|end| format!("ntmcost-{}-{end}", std::process::id())));
        for name in &pair.0 {
            run(&["ip", "netns", "add", name])?;
            run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(pair)
    }

    fn within(&self, end: usize, line: &str) -> Result<String, Box<dyn Error>> {
        let words: Vec<&str> = ["ip", "netns", "exec", &self.0[end]].into_iter().chain(line.split(' ')).collect();
        run(&words)
    }

    /// Measures between the first and the second, at this address.
    fn measure(&self, name: &str, to: &str) -> Result<(), Box<dyn Error>> {
        let said = self.within(0, &format!("ping -n -q -c 500 -i 0.002 {to}"))?;
        let round_trip = said.lines().last().unwrap_or_default().to_owned();
        let _server = Server(
            Command::new("ip").args(["netns", "exec", &self.0[1], "iperf3", "-s"]).stdout(Stdio::null()).spawn()?,
        );
        sleep(Duration::from_millis(500));
        let tcp = self.within(0, &format!("iperf3 -c {to} -t 5 -f m"))?;
        let udp = self.within(0, &format!("iperf3 -c {to} -u -b 200M -l 1200 -t 5 -f m"))?;
        let received = |said: &str| said.lines().rfind(|line| line.contains("receiver")).unwrap_or_default().to_owned();
        println!("{name}\n  ping  {round_trip}\n  tcp   {}\n  udp   {}", received(&tcp), received(&udp));
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in &self.0 {
            let _there_may_be_none = run(&["ip", "netns", "del", name]);
        }
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(words: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new(words[0]).args(&words[1..]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn emulated(behind_nat: bool) -> Result<(), Box<dyn Error>> {
    let pair = Pair::new()?;
    let mut network = Network::new(7);
    let core = network.add_node("core", NodeKind::Router)?;
    network.serve(core, "203.0.113.0/24".parse()?)?;
    let mut access = core;
    if behind_nat {
        access = network.add_node("home", NodeKind::Nat(NatRecord::default()))?;
        network.serve(access, "192.168.1.0/24".parse()?)?;
        network.attach(access, core, LinkRecord::default())?;
    }
    let mut interfaces = Vec::new();
    let mut to = String::new();
    for (name, at) in [("a", access), ("b", core)] {
        let host = network.add_node(name, NodeKind::Host)?;
        interfaces.push(network.attach(host, at, LinkRecord::default())?);
        to = network.addresses(host)[0].to_string();
    }
    let internet = EmulatedInternet::start(network)?;
    for (interface, name) in interfaces.into_iter().zip(&pair.0) {
        internet.attach(interface, NetworkNamespace::named(name)?, &AttachSettings::device("net0"))?;
    }
    pair.measure(if behind_nat { "emulated, one NAT" } else { "emulated, no NAT" }, &to)?;
    let account = internet.finish()?;
    let overload = account.punctuality.overload().map_or("kept up".to_owned(), |why| why.to_string());
    println!("  {:?}\n  {overload}", account.punctuality);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    {
        let pair = Pair::new()?;
        run(&["ip", "link", "add", "net0", "netns", &pair.0[0], "type", "veth", "peer", "net0", "netns", &pair.0[1]])?;
        for (end, number) in [(0, 1), (1, 2)] {
            pair.within(end, &format!("ip addr add 10.9.8.{number}/24 dev net0"))?;
            pair.within(end, "ip link set net0 up")?;
        }
        pair.measure("veth", "10.9.8.2")?;
    }
    emulated(false)?;
    emulated(true)
}
