//! What happens in the guest: a network of real servers, and nodes of each model.

use ntmobile_testbed::nat::Nat;
use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

/// The port of the echo that `host_echo` offers and asks.
const ECHO: u16 = 7000;

/// What begins the names of the guest's namespaces.
const PREFIX: &str = "g-";

/// Runs `ntm up` with this model on a host, and waits until it is up.
fn up(network: &Network, host: &str, account: &str, model: &str) -> Process {
    network.up_with(host, account, &format!("model = \"{model}\""))
}

/// What `ntm` says on a host.
fn ask(network: &Network, host: &str, arguments: &[&str]) -> String {
    network.ask(host, arguments).1
}

/// Asks again until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never so: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn start(network: &Network, host: &str, file: &str, words: &[&str]) -> Process {
    let mut command = network.world.command(host, Path::new(words[0]));
    command.args(&words[1..]).current_dir(network.home.path());
    Process::start(command, &network.home.path().join(file)).expect("a program of the guest")
}

/// How many states and policies a host's kernel has, and whether the interface is there.
fn left(network: &Network, host: &str) -> (usize, usize, bool) {
    let lines = |line: &str| network.world.must(host, line).lines().filter(|line| line.starts_with("src ")).count();
    let link = network.world.run(host, "ip link show ntm0").status.success();
    (lines("ip xfrm state"), lines("ip xfrm policy"), link)
}

/// Each with each, directly: a kernel with a TUN device, with an application, with a kernel; either starts.
fn everybody_understands_a_kernel(network: &Network) {
    for line in ["ping -4 -c 2 -W 10 carol.u2.example", "ping -6 -c 2 -W 10 carol.u2.example"] {
        network.world.must("alice", line);
    }
    let said = ask(network, "alice", &["status"]);
    assert!(said.contains("carol.u2.example  directly"), "{said}");
    let mut service = start(network, "carol", "iperf.log", &["iperf3", "--forceflush", "-s"]);
    service.await_word("listening", PATIENCE);
    for direction in ["", " -R"] {
        network.world.must("alice", &format!("iperf3 -c carol.u2.example -n 2M{direction}"));
        let said = network.world.must("alice", &format!("iperf3 -u -b 400k -t 2 -c carol.u2.example{direction}"));
        assert!(said.contains("(0%)"), "datagrams are lost: {said}");
    }
    println!("guest: tun and kernel, directly");

    let mut library = network.echo("erin", "erin@u1.example", None);
    library.await_word("erin.u1.example is fd", PATIENCE);
    for way in ["tcp", "udp"] {
        let script =
            format!("exec 3<>/dev/{way}/erin.u1.example/{ECHO}; echo {way} >&3; timeout 20 dd bs=2048 count=1 <&3");
        let mut shell = network.world.command("carol", Path::new("bash"));
        let said = shell.args(["-c", &script]).output().expect("bash starts").stdout;
        assert_eq!(String::from_utf8_lossy(&said).trim(), way);
    }
    drop(library);
    let own = std::env::current_exe().expect("we run");
    let echo = [own.to_str().expect("in letters"), "guest_echo", "--exact", "--ignored", "--nocapture"];
    let mut service = start(network, "carol", "echo.log", &echo);
    service.await_word("listening", PATIENCE);
    let mut library = network.echo("erin", "erin@u1.example", Some("carol.u2.example"));
    library.await_word("reached directly", PATIENCE);
    library.say("from an application");
    library.await_word("udp: from an application", PATIENCE);
    library.await_word("tcp: from an application", PATIENCE);
    println!("guest: library and kernel, directly");

    network.world.must("bob", "ping -c 2 -W 10 carol.u2.example");
    println!("guest: kernel and kernel, directly");
}

/// The whole scenario.
pub(crate) fn run() {
    let mut network = Network::start(PREFIX);
    network.world.host("erin", "203.0.113.111");
    network.world.nat("cafe", "203.0.113.103", "192.168.3", Nat::Random);
    network.resolvers(&["alice", "bob", "carol", "dave"]);
    for account in ["alice@u1.example", "bob@u2.example", "carol@u2.example", "dave@u1.example", "erin@u1.example"] {
        network.add_account(account);
    }
    println!("guest: the servers run");
    let mut carol = up(&network, "carol", "carol@u2.example", "kernel");
    let mut alice = up(&network, "alice", "alice@u1.example", "tun");
    let mut bob = up(&network, "bob", "bob@u2.example", "kernel");
    println!("guest: the nodes are up");
    everybody_understands_a_kernel(&network);

    // Both behind NATs that keep them apart; then by an RS between the two versions of IP, and over IPv6.
    network.world.must("alice", "ping -c 2 -W 10 bob.u2.example");
    let said = ask(&network, "bob", &["status"]);
    assert!(said.contains("alice.u1.example  through rs1.u1.example"), "{said}");
    let mut dave = up(&network, "dave", "dave@u1.example", "kernel");
    network.world.must("dave", "ping -c 2 -W 10 carol.u2.example");
    println!("guest: through an RS");

    // The peer's NAT forgets her and gives her another port: what comes from there is authentic, and answered there.
    for kind in ["", "_stream"] {
        network.world.must("home", &format!("sysctl -qw net.netfilter.nf_conntrack_udp_timeout{kind}=1"));
    }
    let hop = || ask(&network, "carol", &["status"]).lines().find(|line| line.contains("alice")).map(str::to_owned);
    let before = hop();
    until("she has another port", || {
        std::thread::sleep(Duration::from_secs(4));
        // With a NAT as forgetful as this, each echo may leave by a port of its own, and its answer go to the one before: what counts is
        // that carol follows. Once the NAT is as patient as others, answers have to arrive.
        network.world.run("alice", "ping -c 3 -W 5 carol.u2.example");
        hop() != before
    });
    for kind in ["", "_stream"] {
        network.world.must("home", &format!("sysctl -qw net.netfilter.nf_conntrack_udp_timeout{kind}=120"));
    }
    // So that the mapping that stands now stays: nobody but she can open another.
    network.world.must("alice", "ping -c 3 -W 5 carol.u2.example");
    println!("guest: a peer's address that changes is followed");

    // A host whose kernel carries its packets changes networks, and its connection goes on.
    let mut service = start(&network, "carol", "iperf.log", &["iperf3", "--forceflush", "-s"]);
    service.await_word("listening", PATIENCE);
    let mut stream = start(
        &network,
        "bob",
        "mobile.log",
        &["iperf3", "--forceflush", "-c", "carol.u2.example", "-t", "12", "-b", "400k"],
    );
    for _ in 0..2 {
        stream.await_word("bits/sec", PATIENCE);
    }
    network.world.move_behind("cafe", "bob", "192.168.3", 20);
    bob.await_word("has moved its tunnel to carol.u2.example", PATIENCE);
    assert_eq!(stream.end(PATIENCE), Some(0), "{}", stream.words());
    println!("guest: a connection goes on while its host moves");

    // A tunnel that its peer has closed: the kernel asks for another when a packet wants to go there.
    let address = network.world.must("carol", "ping -4 -c 1 -W 10 alice.u1.example");
    let address = address.split(['(', ')']).nth(1).expect("an address").to_owned();
    assert_eq!(network.ask("alice", &["down"]).0, Some(0));
    assert_eq!(alice.end(PATIENCE), Some(0), "{}", alice.words());
    until("carol has heard it", || ask(&network, "carol", &["path", "alice.u1.example"]).contains("closed: closed"));
    let _alice = up(&network, "alice", "alice@u1.example", "tun");
    // Until it stands, programs are told that the host is unreachable.
    until("carol has a tunnel again", || {
        network.world.run("carol", &format!("ping -c 1 -W 2 {address}")).status.success()
    });
    println!("guest: a tunnel is built for a packet");

    // A host whose kernel carries its packets says farewell inside the tunnel, while the kernel still has it.
    network.world.must("bob", "ping -c 2 -W 10 carol.u2.example");
    bob.signal("TERM");
    assert_eq!(bob.end(PATIENCE), Some(0), "{}", bob.words());
    until("carol has heard it", || ask(&network, "carol", &["path", "bob.u2.example"]).contains("closed: closed"));
    println!("guest: a kernel says farewell");

    // However a node ends, nothing of it is left in the kernel.
    assert!(left(&network, "carol").0 > 0 && left(&network, "carol").1 > 0 && left(&network, "carol").2);
    carol.signal("KILL");
    assert_eq!(carol.end(PATIENCE), None, "it was killed");
    until("nothing of the killed is left", || left(&network, "carol") == (0, 0, false));
    dave.signal("TERM");
    assert_eq!(dave.end(PATIENCE), Some(0), "{}", dave.words());
    assert_eq!([left(&network, "bob"), left(&network, "dave")], [(0, 0, false); 2]);
    println!("guest: nothing is left");
}

/// Gives back whatever comes over TCP and over UDP.
pub(crate) fn echo() {
    let socket = UdpSocket::bind(("::", ECHO)).expect("a port");
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).expect("datagrams come");
            // Whoever asked may be gone.
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    let listener = TcpListener::bind(("::", ECHO)).expect("a port");
    println!("listening");
    for stream in listener.incoming() {
        std::thread::spawn(move || {
            let mut stream = stream.expect("connections come");
            let mut buffer = [0; 2_048];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        });
    }
}
