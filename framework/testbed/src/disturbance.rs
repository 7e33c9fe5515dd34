//! What happens to networks, servers and nodes that nobody has asked for.

use crate::nat::Nat;
use crate::site::{Outcome, Site};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

/// How long a server is gone before it starts again.
const GONE: Duration = Duration::from_secs(3);
/// How long a cable is out.
const OUT: Duration = Duration::from_secs(60);

/// One thing that happens.
#[derive(Clone, Copy)]
pub struct Disturbance {
    /// What it is called.
    pub name: &'static str,
    /// What happens, and from when on traffic is to come back.
    pub what: &'static str,
    /// The NAT in front of Alice.
    pub nat: Nat,
    /// Makes it happen; when traffic could be back again.
    act: fn(&mut Site) -> SystemTime,
}

impl Disturbance {
    /// Makes it happen, and waits until traffic is back.
    ///
    /// # Panics
    /// When traffic does not come back.
    pub fn happen(&self, site: &mut Site) -> Outcome {
        let began = SystemTime::now();
        let over = (self.act)(site);
        site.await_traffic(began, over)
    }

    /// The one of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(name: &str) -> Self {
        *DISTURBANCES.iter().find(|disturbance| disturbance.name == name).expect("a disturbance's name")
    }
}

/// All that traffic has to survive.
pub const DISTURBANCES: &[Disturbance] = &[
    Disturbance {
        name: "node-killed",
        what: "kill -9 of Alice's `ntm up`, started again at once; from when it is up",
        nat: Nat::Masquerade,
        act: |site| killed(site, "alice"),
    },
    Disturbance {
        name: "peers-killed",
        what: "kill -9 of Bob's and Carol's `ntm up`, started again at once; from when they are up",
        nat: Nat::Masquerade,
        act: |site| {
            killed(site, "bob");
            killed(site, "carol")
        },
    },
    Disturbance {
        name: "as-killed",
        what: "kill -9 of the AS, started again after three seconds; from when it is ready",
        nat: Nat::Masquerade,
        act: |site| server_killed(site, "as"),
    },
    Disturbance {
        name: "dc-killed",
        what: "the same of Alice's DC",
        nat: Nat::Masquerade,
        act: |site| server_killed(site, "dc1"),
    },
    Disturbance {
        name: "peers-dc-killed",
        what: "the same of Bob's and Carol's DC",
        nat: Nat::Masquerade,
        act: |site| server_killed(site, "dc2"),
    },
    Disturbance {
        name: "rs-killed",
        what: "the same of the RS",
        nat: Nat::Masquerade,
        act: |site| server_killed(site, "rs1"),
    },
    Disturbance {
        name: "ns-killed",
        what: "the same of the NS",
        nat: Nat::Masquerade,
        act: |site| server_killed(site, "ns1"),
    },
    Disturbance {
        name: "names-killed",
        what: "the same of the root name server",
        nat: Nat::Masquerade,
        act: |site| server_killed(site, "root"),
    },
    Disturbance {
        name: "cable-out",
        what: "Alice's cable out for a minute; from when it is in again",
        nat: Nat::Masquerade,
        act: |site| {
            site.network.world.unplug("home", "alice");
            sleep(OUT);
            site.network.world.plug_in("home", "alice");
            SystemTime::now()
        },
    },
    Disturbance {
        name: "route-flapping",
        what: "Alice's default route gone for a second, back for two, five times; from when it is back to stay",
        nat: Nat::Masquerade,
        act: |site| {
            for _ in 0..5 {
                site.network.world.ip("alice", "route del default");
                sleep(Duration::from_secs(1));
                site.network.world.ip("alice", "route add default via 192.168.1.1");
                sleep(Duration::from_secs(2));
            }
            SystemTime::now() - Duration::from_secs(2)
        },
    },
    Disturbance {
        name: "renumbered",
        what: "Alice gets another address in the same network; from when she has it",
        nat: Nat::Masquerade,
        act: |site| {
            let world = &site.network.world;
            let old = world.must("alice", "ip -4 -o addr show dev eth0");
            let (from, to) = if old.contains("192.168.1.10/") { (10, 11) } else { (11, 10) };
            world.ip("alice", &format!("addr del 192.168.1.{from}/24 dev eth0"));
            world.ip("alice", &format!("addr add 192.168.1.{to}/24 dev eth0"));
            world.ip("alice", "route add default via 192.168.1.1");
            SystemTime::now()
        },
    },
    Disturbance {
        name: "conntrack-flushed",
        what: "Alice's NAT forgets its mappings and gives the same ports again; from then on",
        nat: Nat::Masquerade,
        act: |site| {
            site.network.world.must("home", "conntrack -F");
            SystemTime::now()
        },
    },
    Disturbance {
        name: "conntrack-flushed-random",
        what: "Alice's NAT forgets its mappings and gives others; from then on",
        nat: Nat::Random,
        act: |site| {
            site.network.world.must("home", "conntrack -F");
            SystemTime::now()
        },
    },
    Disturbance {
        name: "mtu-1280",
        what: "the path through Alice's NAT becomes as narrow as 1,280 octets; from then on",
        nat: Nat::Masquerade,
        act: |site| narrowed(site, 1_280),
    },
    Disturbance {
        name: "mtu-1124",
        what: "the same with 1,124 octets",
        nat: Nat::Masquerade,
        act: |site| narrowed(site, 1_124),
    },
];

fn killed(site: &mut Site, host: &str) -> SystemTime {
    site.kill(host);
    site.up(host);
    SystemTime::now()
}

fn server_killed(site: &mut Site, server: &str) -> SystemTime {
    site.network.kill(server);
    sleep(GONE);
    site.network.serve(server);
    SystemTime::now()
}

fn narrowed(site: &mut Site, mtu: u16) -> SystemTime {
    site.network.world.narrow("home", "192.168.1", mtu);
    SystemTime::now()
}
