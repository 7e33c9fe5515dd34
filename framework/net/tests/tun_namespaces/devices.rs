//! Devices: made, handed over, refused.

use crate::namespace::Namespace;
use futures::FutureExt;
use ntmobile_net::clock::OsClock;
use ntmobile_net::packet_path::{Failure, PacketPath};
use ntmobile_net::tun::{Tun, TunError, TunSettings};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

fn settings(name: &str, queues: usize) -> TunSettings {
    TunSettings { name: name.into(), mtu: 1_400, queues, largest: 60_000 }
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn a_device_is_up_with_its_mtu_and_goes_with_its_last_queue() {
    let namespace = Namespace::new("device");
    let device = namespace.enter(async || Tun::create(&settings("ntm%d", 2))).expect("root may make a device");
    assert_eq!(device.name(), "ntm0");
    let shown = namespace.ip("-details link show ntm0");
    for expected in ["mtu 1400", ",UP", "gso_max_size 60000", "numtxqueues 2"] {
        assert!(shown.contains(expected), "{expected} is missing in {shown}");
    }
    let queues = device.into_queues();
    assert_eq!(queues.len(), 2);
    assert!(queues[0].mergeable().tcp);
    drop(queues);
    assert!(!namespace.ip("link show").contains("ntm0"));
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn a_device_that_was_handed_over_carries_packets_and_anything_else_is_refused() {
    let namespace = Namespace::new("adopted");
    namespace.enter(async || {
        let made = Tun::create(&settings("ntm0", 1)).expect("root may make a device").into_queues();
        let handed_over: OwnedFd = made[0].as_fd().try_clone_to_owned().expect("a descriptor");
        let adopted = Tun::adopt(handed_over).expect("it is a TUN device");
        assert_eq!(adopted.name(), "ntm0");
        namespace.ip("address add 100.64.0.1/24 dev ntm0");
        let sender = std::net::UdpSocket::bind("100.64.0.1:0").expect("the address is ours");
        sender.send_to(b"question", "100.64.0.2:7").expect("the device takes it");
        let queue = &adopted.into_queues()[0];
        let mut buffer = vec![0; 65_545];
        let question = std::iter::from_fn(|| queue.read(&mut buffer).ok().map(|length| buffer[10..length].to_vec()))
            .find(|packet| packet[0] == 0x45 && packet[9] == 17);
        assert_eq!(&question.expect("it is there")[16..20], &[100, 64, 0, 2]);
        assert_eq!(queue.read(&mut buffer).map_err(|error| error.kind()).err(), Some(ErrorKind::WouldBlock));
    });
    let file: OwnedFd = std::fs::File::open("/dev/null").expect("it is there").into();
    assert!(matches!(Tun::adopt(file), Err(TunError::NotTun)));
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn each_refusal_says_what_to_do() {
    let namespace = Namespace::new("refused");
    namespace.enter(async || {
        let _kept = Tun::create(&settings("ntm0", 1)).expect("root may make a device");
        assert!(matches!(Tun::create(&settings("ntm0", 1)), Err(TunError::InUse(name)) if name == "ntm0"));
        assert!(matches!(Tun::create(&settings("a name/with", 1)), Err(TunError::BadName(_))));
        give_up_capabilities();
        let refused = Tun::create(&settings("ntm1", 1)).expect_err("nobody may without CAP_NET_ADMIN");
        assert!(refused.to_string().contains("CAP_NET_ADMIN"), "{refused}");
    });
}

/// This thread can do no more than any user's.
fn give_up_capabilities() {
    // The header: version 3, this thread; then two empty sets of effective, permitted and inheritable capabilities.
    let (header, none) = ([0x2008_0522u32, 0], [0u32; 6]);
    // SAFETY: both live through the call, and concern this thread alone.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "capset: {}", std::io::Error::last_os_error());
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn a_device_that_is_removed_is_told_of_until_there_is_another() {
    let namespace = Namespace::new("removed");
    namespace.enter(async || {
        let (path, _events) = PacketPath::node(0, 2, Arc::new(OsClock)).expect("a free port");
        let make = || Tun::create(&settings("ntm0", 2)).expect("root may make a device").into_queues();
        path.attach(make());
        namespace.ip("link del ntm0");
        assert_eq!(path.failed().await, Failure::DeviceGone);
        path.attach(make());
        assert_eq!(path.failed().now_or_never(), None, "the new one is there");
        namespace.ip("link del ntm0");
        assert_eq!(path.failed().await, Failure::DeviceGone);
    });
}
