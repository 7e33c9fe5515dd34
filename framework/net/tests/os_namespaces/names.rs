//! The name service as the programs of a host meet it, by way of the C library, and who does not meet it.

use crate::namespace::Namespace;
use bytes::Bytes;
use futures::future::BoxFuture;
use ntmobile_net::names::{Finding, NameService, Names, Owner};
use ntmobile_net::net::{NetOptions, OsNet};
use ntmobile_ports::net::Net;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::name::Fqdn;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A network with Bob in it.
struct Network;

impl Names for Network {
    fn find(&self, name: Fqdn) -> BoxFuture<'static, Finding> {
        let addresses =
            VirtualAddresses { v4: Ipv4Addr::new(100, 64, 0, 9), v6: "fd00:1:2:3::9".parse().expect("an address") };
        let is_bob = name.as_str() == "bob.u2.example";
        let finding =
            if is_bob { Finding::Node { addresses, lifetime: Duration::from_secs(1) } } else { Finding::Elsewhere };
        Box::pin(std::future::ready(finding))
    }

    fn owner(&self, _: IpAddr) -> Owner {
        Owner::Node("bob.u2.example".parse().expect("a name"))
    }
}

/// What a program finds out about a name.
fn look_up(namespace: &Namespace, database: &str, key: &str) -> Option<String> {
    let output = Command::new("ip")
        .args(["netns", "exec", &namespace.name, "getent", database, key])
        .output()
        .expect("getent is part of the C library");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[ignore = "needs root"]
fn programs_find_nodes_and_everything_else_and_other_hosts_find_nothing() {
    let (host, site) = (Namespace::new("host"), Namespace::new("site"));
    host.cable("wired", &site, "lan");
    host.ip("addr add 10.0.0.10/24 dev wired");
    site.ip("addr add 10.0.0.1/24 dev lan");
    fs::create_dir_all(host.etc()).unwrap();
    fs::write(host.etc().join("resolv.conf"), "nameserver 10.0.0.10\n").unwrap();
    fs::write(host.etc().join("nsswitch.conf"), "hosts: dns\n").unwrap();
    std::thread::scope(|scope| {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let namespace = &host;
        let serving = scope.spawn(move || {
            namespace.enter(|| async move {
                let net = Arc::new(OsNet::new(NetOptions::default()).unwrap());
                let listener = "10.0.0.10:53".parse().unwrap();
                let service = NameService::start(listener, Arc::new(Network), net, Vec::new()).unwrap();
                ready.send(()).unwrap();
                let _ended = stopped.await;
                drop(service);
            });
        });
        is_ready.recv().unwrap();
        let v4 = look_up(&host, "ahostsv4", "bob.u2.example").expect("bob is found");
        assert!(v4.starts_with("100.64.0.9"), "{v4}");
        let v6 = look_up(&host, "ahostsv6", "bob.u2.example").expect("bob is found");
        assert!(v6.starts_with("fd00:1:2:3::9"), "{v6}");
        let name = look_up(&host, "hosts", "100.64.0.9").expect("his address is");
        assert!(name.contains("bob.u2.example"), "{name}");
        assert_eq!(look_up(&host, "ahostsv4", "www.example"), None, "there is nobody to ask");
        // The listener's address can be reached from outside; it answers nobody there.
        site.enter(|| async {
            let net = OsNet::new(NetOptions::default()).unwrap();
            let port = net.bind_udp(0).unwrap();
            let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03bob\x02u2\x07example\x00\x00\x01\x00\x01";
            port.send("10.0.0.10:53".parse().unwrap(), Bytes::from_static(query)).unwrap();
            assert!(timeout(Duration::from_millis(500), port.receive()).await.is_err());
        });
        drop(stop);
        serving.join().unwrap();
    });
}
