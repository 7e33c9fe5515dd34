//! The capture: what passed the attachments, as Wireshark reads it.

use crate::site::{Plan, delay, receive};
use ntmobile_sim::network::{NatRecord, NodeKind};
use std::fs::File;
use std::process::Command;

#[test]
#[ignore = "needs root and network namespaces, and tshark"]
fn both_ends_of_a_way_are_in_one_capture_on_one_axis_of_time() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("capture.pcapng");
    let mut plan = Plan::new();
    let nat = plan.below_core("nat", NodeKind::Nat(NatRecord::default()), delay(10), &["192.168.1.0/24"]);
    let (alice, bob) = (plan.host("alice", nat, delay(5)), plan.host("bob", plan.core, delay(1)));
    let living = plan.live(&[&alice]);
    living.internet.start_capture(Box::new(File::create(&path).expect("a file"))).expect("a thread");
    let settings = ntmobile_lab::netns::internet::AttachSettings::device("net0");
    living.internet.attach(bob.interface, bob.namespace.handle(), &settings).expect("it can be attached");
    let there = bob.udp(2_000);
    alice.udp(1_000).send_to(b"captured", bob.at(2_000)).expect("the device takes it");
    let (_, seen) = receive(&there);
    let epoch = living.internet.epoch();
    living.internet.finish().expect("the capture is whole");

    let output = Command::new("tshark")
        .args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-n", "-r"])
        .arg(&path)
        .args(["-Y", "udp", "-T", "fields", "-e", "frame.interface_name", "-e", "ip.src", "-e", "frame.time_epoch"])
        .args(["-e", "ip.checksum.status", "-e", "udp.checksum.status"])
        .output()
        .expect("tshark is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 2, "{said}{}", String::from_utf8_lossy(&output.stderr));
    let places: Vec<(&str, &str)> = lines.iter().map(|line| (line[0], line[1])).collect();
    let (inner, outer) = (alice.ipv4.to_string(), seen.ip().to_string());
    assert_eq!(places, [("alice>nat", inner.as_str()), ("bob>core", outer.as_str())]);
    let times: Vec<f64> = lines.iter().map(|line| line[2].parse().expect("a time")).collect();
    // In the capture, what arrives arrives when the model says: to the microsecond that a float can hold.
    assert!((times[1] - times[0] - 0.016).abs() < 0.000_002, "{times:?}");
    assert!(times[0] >= epoch.0 as f64 && times[0] < epoch.0 as f64 + 60.0);
    assert!(lines.iter().all(|line| line[3..] == ["1", "1"]), "the checksums are right: {said}");
}
