//! The node models: each without what it does without, and every pair of them.

use ntmobile_testbed::nat::Nat;
use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use ntmobile_testbed::vpn::{MARK, NOBODY};
use std::path::Path;

/// Gives back what comes, over both transports and both families; or, with a name, asks there and says what came back.
const ECHO: &str = r#"
import socket, sys, threading
PORT = 7000

def streams(server):
    while True:
        stream, _ = server.accept()
        threading.Thread(target=lambda: [stream.sendall(part) for part in iter(lambda: stream.recv(4096), b"")]).start()

def serve():
    server = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=streams, args=(server,), daemon=True).start()
    port = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    port.bind(("::", PORT))
    print("serves", flush=True)
    while True:
        datagram, sender = port.recvfrom(4096)
        port.sendto(datagram, sender)

def ask(name, word):
    for family in (socket.AF_INET6, socket.AF_INET):
        to = socket.getaddrinfo(name, PORT, family, socket.SOCK_DGRAM)[0][4]
        port = socket.socket(family, socket.SOCK_DGRAM)
        port.settimeout(1)
        for _ in range(20):
            port.sendto(word, to)
            try:
                print("udp", family.name, port.recv(4096).decode())
                break
            except TimeoutError:
                pass
        stream = socket.create_connection(to[:2], 20)
        stream.sendall(word)
        print("tcp", family.name, stream.recv(4096).decode())

serve() if len(sys.argv) == 1 else ask(sys.argv[1], sys.argv[2].encode())
"#;

/// How a node is made of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    Tun,
    VpnService,
    Library,
}

impl Model {
    const ALL: [Self; 3] = [Self::Tun, Self::VpnService, Self::Library];

    /// What its hosts are called; `place` says where they are.
    fn host(self, place: char) -> String {
        format!("{place}{}", ["tun", "vpn", "lib"][self as usize])
    }

    /// Makes a node of a host that offers the service: what has to live for that.
    fn serve(self, network: &Network, host: &str, account: &str) -> Vec<Process> {
        let node = match self {
            Self::Tun => network.up(host, account),
            Self::VpnService => network.vpn(host, account),
            Self::Library => {
                let mut echo = network.echo(host, account, None);
                echo.await_word(" is fd", PATIENCE);
                return vec![echo];
            }
        };
        let mut command = network.world.command(host, Path::new("python3"));
        command.args(["-u", "echo.py"]).current_dir(network.home.path());
        let words = network.home.path().join(format!("{host}-serves.log"));
        let mut service = Process::start(command, &words).expect("python3 starts");
        service.await_word("serves", PATIENCE);
        vec![node, service]
    }

    /// Talks from a host to a peer by its name, over everything that there is; which way that went.
    fn talk(self, network: &Network, host: &str, account: &str, peer: &str) -> String {
        let word = format!("from {host} to {peer}");
        if self == Self::Library {
            let mut echo = network.echo(host, account, Some(peer));
            echo.await_word(&format!("{peer} is fd"), PATIENCE);
            echo.say(&word);
            echo.await_word(&format!("udp: {word}"), PATIENCE);
            echo.await_word(&format!("tcp: {word}"), PATIENCE);
            return echo.words();
        }
        network.world.must(host, &format!("ping -c 1 -w 30 {peer}"));
        let mut command = network.world.command(host, Path::new("python3"));
        let output =
            command.args(["echo.py", peer, &word]).current_dir(network.home.path()).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let heard: String = ["udp AF_INET6", "tcp AF_INET6", "udp AF_INET", "tcp AF_INET"]
            .map(|way| format!("{way} {word}\n"))
            .concat();
        assert_eq!(said, heard, "{host} to {peer}: {errors}");
        match self {
            Self::Tun => network.ask(host, &["path", peer]).1,
            _ => ask(network, host, &["path", peer]),
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn every_pair_of_models_talks_directly_and_through_a_relay() {
    let mut network = Network::start("ntmp-");
    network.write("echo.py", ECHO);
    // Three hosts of each model: behind one NAT, behind another, in the open.
    let (mut serving, mut number) = (Vec::new(), 40);
    for model in Model::ALL {
        number += 1;
        let [near, far, open] = ['a', 'b', 'c'].map(|place| model.host(place));
        network.world.behind("home", &near, "192.168.1", number);
        network.world.behind("office", &far, "192.168.2", number);
        network.world.host(&open, &format!("203.0.113.{}", 120 + number));
        network.resolvers(&[near.as_str(), far.as_str(), open.as_str()]);
        for (host, domain) in [(&near, "u1"), (&far, "u2"), (&open, "u2")] {
            network.add_account(&format!("{host}@{domain}.example"));
        }
        for host in [&far, &open] {
            serving.extend(model.serve(&network, host, &format!("{host}@u2.example")));
        }
    }
    for caller in Model::ALL {
        let host = caller.host('a');
        let account = format!("{host}@u1.example");
        let _node = if caller == Model::Library { Vec::new() } else { caller.serve(&network, &host, &account) };
        for called in Model::ALL {
            for (place, way) in [('b', "through rs1.u1.example"), ('c', "directly")] {
                let went = caller.talk(&network, &host, &account, &format!("{}.u2.example", called.host(place)));
                assert!(went.contains(way), "{caller:?} to {called:?}: not {way}: {went}");
            }
        }
    }
}

/// Asks the node without privilege on a host.
fn ask(network: &Network, host: &str, arguments: &[&str]) -> String {
    let mut line = vec!["--run-directory".to_owned(), format!("run-{host}")];
    line.splice(0..0, arguments.iter().map(|word| (*word).to_owned()));
    let arguments: Vec<&str> = line.iter().map(String::as_str).collect();
    let mut command = network.world.command(host, &ntmobile_testbed::program::program("ntm"));
    let output = command.args(arguments).current_dir(network.home.path()).output().expect("ntm starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_node_without_any_privilege_serves_its_device_wherever_that_moves() {
    let mut network = Network::start("ntmv-");
    network.resolvers(&["alice", "carol"]);
    network.world.nat("cafe", "203.0.113.103", "192.168.3", Nat::Random);
    for account in ["alice@u1.example", "bob@u2.example", "carol@u2.example"] {
        network.add_account(account);
    }
    let before = network.looks("alice");
    let mut bob = network.echo("bob", "bob@u2.example", None);
    bob.await_word("bob.u2.example is fd", PATIENCE);
    let _carol = network.up("carol", "carol@u2.example");
    let mut alice = network.vpn("alice", "alice@u1.example");

    let status = ask(&network, "alice", &["status", "--json"]);
    let process = status.lines().find_map(|line| line.trim().strip_prefix("\"process\": ")).expect("it says which");
    let process = std::fs::read_to_string(format!("/proc/{}/status", process.trim_end_matches(','))).expect("it runs");
    for nothing in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(process.contains(&format!("{nothing}:\t0000000000000000")), "{process}");
    }
    assert!(process.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}")) && process.contains("NoNewPrivs:\t1"), "{process}");

    // Whatever is not marked and goes to a server ends in the device from now on: all that the node itself sends is.
    network.world.ip("alice", "route add 203.0.113.0/24 dev ntm0 table 77");
    network.world.ip("alice", &format!("rule add not fwmark {MARK} lookup 77"));
    assert!(!network.world.run("alice", "ping -c 1 -W 1 203.0.113.2").status.success(), "it ends in the device");
    for family in ["-4", "-6"] {
        network.world.must("alice", &format!("ping {family} -c 2 -W 10 carol.u2.example"));
        network.world.must("alice", &format!("ping {family} -c 2 -W 10 bob.u2.example"));
    }
    // Other names are what they were, by datagram and by stream.
    for way in ["+notcp", "+tcp"] {
        let server = network.world.must("alice", &format!("dig {way} +short +tries=1 +time=9 as.example A"));
        assert_eq!(server.trim(), "203.0.113.2");
        let carol = network.world.must("alice", &format!("dig {way} +short +tries=1 +time=9 carol.u2.example AAAA"));
        assert!(carol.starts_with("fd"), "{carol}");
    }
    let status = ask(&network, "alice", &["status"]);
    assert!(
        status.contains("carol.u2.example  directly") && status.contains("bob.u2.example  through rs1"),
        "{status}"
    );

    // The device moves, and the host program says so; a conversation goes on.
    let mut stream = Process::start(
        {
            let mut command = network.world.command("alice", Path::new("ping"));
            command.args(["-i", "0.2", "-w", "90", "carol.u2.example"]);
            command
        },
        &network.home.path().join("ping.log"),
    )
    .expect("ping starts");
    stream.await_word("icmp_seq=3", PATIENCE);
    network.world.move_behind("cafe", "alice", "192.168.3", 10);
    alice.await_word("has moved its tunnel to carol.u2.example", PATIENCE);
    stream.await_word("bytes from", PATIENCE);
    assert!(alice.words().contains("state: Moved"), "{}", alice.words());
    drop(stream);

    network.world.ip("alice", &format!("rule del not fwmark {MARK} lookup 77"));
    alice.signal("TERM");
    assert_eq!(alice.end(PATIENCE), Some(0), "{}", alice.words());
    assert!(alice.words().contains("state: Down"), "{}", alice.words());
    network.await_looks("alice", &before.replace("192.168.1", "192.168.3"));
}
