//! What RFC 4787 says of NATs, requirement by requirement, seen by probes from inside and outside.

use crate::driven::{Lab, milliseconds, prefix, udp};
use bytes::Bytes;
use ntmobile_sim::network::{
    Dependence, DropReason, Fragments, Hairpin, LinkRecord, NatRecord, NodeKind, Packet, Pooling, PortAllocation,
    Refresh,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const EXPIRY: Duration = Duration::from_secs(120);

/// Every combination of mapping and filtering.
fn all_nats() -> impl Iterator<Item = NatRecord> {
    Dependence::ALL.into_iter().flat_map(|mapping| {
        let of = move |filtering| NatRecord { mapping, filtering, expiry: EXPIRY, ..NatRecord::default() };
        Dependence::ALL.into_iter().map(of)
    })
}

#[test]
fn mappings_depend_on_what_they_say_req_1() {
    for record in all_nats() {
        let mut lab = Lab::with_nat(record);
        let mut seen = |to| lab.probe_out((0, 5_000), to).expect("the probe gets out");
        let [first, other_port, other_address, again] = [seen((0, 1)), seen((0, 2)), seen((1, 1)), seen((0, 1))];
        let (same_port, same_address) = match record.mapping {
            Dependence::EndpointIndependent => (true, true),
            Dependence::AddressDependent => (true, false),
            Dependence::AddressAndPortDependent => (false, false),
        };
        assert_eq!(first == other_port, same_port, "{record:?}");
        assert_eq!(first == other_address, same_address, "{record:?}");
        assert_eq!(first, again, "{record:?}");
        let other_inner_port = lab.probe_out((0, 5_001), (0, 1)).expect("the probe gets out");
        let other_host = lab.probe_out((1, 5_000), (0, 1)).expect("the probe gets out");
        assert_eq!(BTreeSet::from([first, other_inner_port, other_host]).len(), 3, "{record:?}");
    }
}

#[test]
fn filters_let_in_whom_they_say_req_8() {
    for record in all_nats() {
        let mut lab = Lab::with_nat(record);
        let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
        let (other_port, other_address) = match record.filtering {
            Dependence::EndpointIndependent => (true, true),
            Dependence::AddressDependent => (true, false),
            Dependence::AddressAndPortDependent => (false, false),
        };
        assert!(lab.probe_in((0, 1), outer, (0, 5_000)), "{record:?}");
        assert_eq!(lab.probe_in((0, 2), outer, (0, 5_000)), other_port, "{record:?}");
        assert_eq!(lab.probe_in((1, 1), outer, (0, 5_000)), other_address, "{record:?}");
        let filtered = lab.driven.network.counters(lab.middlebox).dropped(DropReason::NatFiltered);
        assert_eq!(filtered, u64::from(!other_port) + u64::from(!other_address), "{record:?}");
        // A port without a mapping lets nobody in, whatever the filter.
        let elsewhere = SocketAddr::new(outer.ip(), outer.port() ^ 0x100);
        assert!(!lab.probe_in((0, 1), elsewhere, (0, 5_000)), "{record:?}");
        assert_eq!(lab.driven.network.counters(lab.middlebox).dropped(DropReason::NatNoMapping), 1);
    }
}

#[test]
fn what_came_in_gave_no_permission_req_8() {
    // The outside may not open a filter that the inside did not: carol's probe was let in by address, dave's never is.
    let record = NatRecord { filtering: Dependence::AddressDependent, ..NatRecord::default() };
    let mut lab = Lab::with_nat(record);
    let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    assert!(!lab.probe_in((1, 1), outer, (0, 5_000)));
    assert!(!lab.probe_in((1, 1), outer, (0, 5_000)));
    assert!(lab.probe_out((0, 5_000), (1, 9)).is_some());
    assert!(lab.probe_in((1, 1), outer, (0, 5_000)));
}

#[test]
fn pooled_addresses_are_paired_or_arbitrary_req_2() {
    for pooling in [Pooling::Paired, Pooling::Arbitrary] {
        let record =
            NatRecord { pooling, addresses: 4, mapping: Dependence::AddressAndPortDependent, ..NatRecord::default() };
        let mut lab = Lab::with_nat(record);
        let mut addresses_of = |host| -> BTreeSet<IpAddr> {
            (1..40).filter_map(|port| lab.probe_out((host, 5_000), (0, port))).map(|seen| seen.ip()).collect()
        };
        let (alice, bob) = (addresses_of(0), addresses_of(1));
        match pooling {
            Pooling::Paired => {
                assert_eq!((alice.len(), bob.len()), (1, 1));
                assert_ne!(alice, bob, "hosts are spread over the pool");
            }
            Pooling::Arbitrary => assert_eq!((alice.len(), bob.len()), (4, 4)),
        }
    }
}

#[test]
fn no_port_serves_two_mappings_and_privileged_ports_stay_so_req_3() {
    for ports in [PortAllocation::Preserving, PortAllocation::Sequential, PortAllocation::Random] {
        let mut lab = Lab::with_nat(NatRecord { ports, ..NatRecord::default() });
        let mut seen = BTreeSet::new();
        for port in [500, 501, 5_000, 5_001, 60_000] {
            for host in [0, 1] {
                let outer = lab.probe_out((host, port), (0, 1)).expect("the probe gets out");
                assert_eq!(outer.port() < 1_024, port < 1_024, "{ports:?}: {port} became {}", outer.port());
                assert!(seen.insert(outer), "{ports:?}: {outer} was given twice");
                if ports == PortAllocation::Preserving && host == 0 {
                    assert_eq!(outer.port(), port);
                }
            }
        }
    }
}

#[test]
fn parity_is_kept_req_4() {
    for ports in [PortAllocation::Preserving, PortAllocation::Sequential, PortAllocation::Random] {
        let mut lab = Lab::with_nat(NatRecord { ports, ..NatRecord::default() });
        for port in 5_000..5_020 {
            for host in [0, 1] {
                let outer = lab.probe_out((host, port), (0, 1)).expect("the probe gets out");
                assert_eq!(outer.port() % 2, port % 2, "{ports:?}");
            }
        }
    }
}

#[test]
fn mappings_last_exactly_as_long_as_said_req_5() {
    for record in all_nats() {
        for (quiet, is_there) in [(EXPIRY - Duration::from_millis(10), true), (EXPIRY, false)] {
            let mut lab = Lab::with_nat(record);
            let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
            lab.driven.wait(quiet);
            assert_eq!(lab.probe_in((0, 1), outer, (0, 5_000)), is_there, "{record:?} after {quiet:?}");
            let now = lab.driven.now;
            assert_eq!(lab.driven.network.nat_mappings(now, lab.middlebox), usize::from(is_there));
        }
    }
}

#[test]
fn mappings_are_refreshed_by_the_directions_said_req_6() {
    // Without a filter the mapping's own timer decides, with one also the filter's.
    let filters = [Dependence::EndpointIndependent, Dependence::AddressAndPortDependent];
    let refreshes = [Refresh::Outbound, Refresh::Inbound, Refresh::Both];
    for (filtering, refresh) in filters.into_iter().flat_map(|filter| refreshes.map(|refresh| (filter, refresh))) {
        for outbound in [true, false] {
            let mut lab = Lab::with_nat(NatRecord { filtering, refresh, expiry: EXPIRY, ..NatRecord::default() });
            let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
            lab.driven.wait(EXPIRY * 2 / 3);
            if outbound {
                assert_eq!(lab.probe_out((0, 5_000), (0, 1)), Some(outer));
            } else {
                assert!(lab.probe_in((0, 1), outer, (0, 5_000)));
            }
            lab.driven.wait(EXPIRY * 2 / 3);
            let refreshes = match refresh {
                Refresh::Both => true,
                Refresh::Outbound => outbound,
                Refresh::Inbound => !outbound,
            };
            assert_eq!(
                lab.probe_in((0, 1), outer, (0, 5_000)),
                refreshes,
                "{filtering:?}, {refresh:?}, outbound: {outbound}"
            );
        }
    }
}

#[test]
fn filters_run_out_one_by_one_req_8() {
    let mut lab = Lab::with_nat(NatRecord { expiry: EXPIRY, ..NatRecord::default() });
    let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    lab.driven.wait(EXPIRY / 2);
    assert_eq!(lab.probe_out((0, 5_000), (1, 1)), Some(outer));
    lab.driven.wait(EXPIRY * 2 / 3);
    assert!(!lab.probe_in((0, 1), outer, (0, 5_000)), "carol was not spoken to for too long");
    assert!(lab.probe_in((1, 1), outer, (0, 5_000)), "dave was");
}

#[test]
fn hairpins_come_from_the_external_endpoint_req_9() {
    for record in all_nats() {
        for hairpin in [Hairpin::Off, Hairpin::ExternalSource, Hairpin::InternalSource] {
            let mut lab = Lab::with_nat(NatRecord { hairpin, ..record });
            let alice = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
            let bob = lab.probe_out((1, 6_000), (0, 1)).expect("the probe gets out");
            // Both speak first, so that every filter is open for whoever keeps his endpoint.
            let mut send = |from: usize, port, to| {
                let source = lab.inner(from, port);
                lab.driven.send(lab.inside[from], udp(source, to));
                lab.driven.run()
            };
            send(1, 6_000, alice);
            let delivered = send(0, 5_000, bob);
            let keeps_endpoint = record.mapping == Dependence::EndpointIndependent;
            let is_let_in = match record.filtering {
                Dependence::EndpointIndependent | Dependence::AddressDependent => true,
                Dependence::AddressAndPortDependent => keeps_endpoint,
            };
            // Where bob's mapping depends on the destination, what he opened for alice is not what carol sees.
            let is_open = is_let_in && (keeps_endpoint || record.filtering == Dependence::EndpointIndependent);
            assert_eq!(!delivered.is_empty(), hairpin != Hairpin::Off && is_open, "{hairpin:?} {record:?}");
            if let Some(arrived) = delivered.first() {
                assert_eq!(arrived.host, lab.inside[1]);
                assert_eq!(arrived.endpoints().1, lab.inner(1, 6_000));
                let source = arrived.endpoints().0;
                match hairpin {
                    Hairpin::ExternalSource if keeps_endpoint => assert_eq!(source, alice),
                    Hairpin::ExternalSource => assert_eq!(source.ip(), alice.ip()),
                    Hairpin::InternalSource => assert_eq!(source, lab.inner(0, 5_000)),
                    Hairpin::Off => panic!("it does not hairpin"),
                }
            }
        }
    }
}

#[test]
fn behaviour_does_not_change_under_collisions_req_7_and_11() {
    // Two hosts with the same inner port: the second gets another outer port, and still one for every destination.
    let mut lab = Lab::with_nat(NatRecord::default());
    for host in [0, 1] {
        let seen: BTreeSet<_> = [(0, 1), (0, 2), (1, 1)].map(|to| lab.probe_out((host, 5_000), to)).into();
        assert_eq!(seen.len(), 1);
    }
}

#[test]
fn fragments_pass_in_any_order_or_not_at_all_req_14() {
    let payload: Vec<u8> = (0..5_000u32).map(|byte| byte as u8).collect();
    // Held back at random, the pieces come to the NAT in another order than they left.
    let link = LinkRecord { mtu: 576, reordering: 0.5, ..milliseconds(1) };
    for fragments in [Fragments::Reassemble, Fragments::Drop] {
        let mut lab = Lab::with_nat(NatRecord { fragments, ..NatRecord::default() });
        for host in [lab.inside[0], lab.outside[0]] {
            let interface = lab.driven.network.interfaces(host)[0];
            lab.driven.network.set_link(interface, link).expect("a sensible link");
        }
        let small = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
        let passes = fragments == Fragments::Reassemble;
        let out = Packet::udp(lab.inner(0, 5_000), lab.outer(0, 1), payload.clone().into()).expect("one family");
        lab.driven.send(lab.inside[0], out);
        let delivered = lab.driven.run();
        assert_eq!(!delivered.is_empty(), passes);
        for arrived in delivered {
            assert_eq!(arrived.endpoints().0, small);
            assert_eq!(Lab::payload_of(&arrived.packet), &payload);
        }
        let back = Packet::udp(lab.outer(0, 1), small, payload.clone().into()).expect("one family");
        lab.driven.send(lab.outside[0], back);
        let delivered = lab.driven.run();
        assert_eq!(!delivered.is_empty(), passes);
        let refused = lab.driven.network.counters(lab.middlebox).dropped(DropReason::FragmentRefused);
        assert_eq!(refused, if passes { 0 } else { 20 });
    }
}

#[test]
fn limits_are_kept_and_a_full_table_keeps_what_it_has() {
    let full = NatRecord { max_mappings: 3, ..NatRecord::default() };
    let shared = NatRecord { max_mappings_per_host: 3, ..NatRecord::default() };
    let narrow = NatRecord { port_range: (5_000, 5_002), ..NatRecord::default() };
    let reasons =
        [(full, DropReason::NatTableFull), (shared, DropReason::NatTableFull), (narrow, DropReason::NatNoPort)];
    for (record, reason) in reasons {
        let mut lab = Lab::with_nat(record);
        let first: Vec<_> = (0..3).map(|port| lab.probe_out((0, 5_000 + port), (0, 1))).collect();
        assert!(first.iter().all(Option::is_some));
        assert_eq!(lab.probe_out((0, 5_003), (0, 1)), None);
        assert_eq!(lab.driven.network.counters(lab.middlebox).dropped(reason), 1);
        assert_eq!(lab.probe_out((1, 5_000), (0, 1)).is_some(), record == shared);
        assert_eq!(lab.probe_out((0, 5_000), (0, 1)), first[0]);
        lab.driven.wait(record.expiry);
        assert!(lab.probe_out((0, 5_003), (0, 1)).is_some(), "what was forgotten makes room");
    }
}

#[test]
fn a_mapping_remembers_so_many_outside_endpoints() {
    let mut lab = Lab::with_nat(NatRecord { max_sessions_per_mapping: 2, ..NatRecord::default() });
    assert!(lab.probe_out((0, 5_000), (0, 1)).is_some());
    assert!(lab.probe_out((0, 5_000), (0, 2)).is_some());
    assert!(lab.probe_out((0, 5_000), (0, 3)).is_none());
    lab.driven.wait(NatRecord::default().expiry - Duration::from_secs(1));
    assert!(lab.probe_out((0, 5_000), (0, 2)).is_some(), "the mapping lives on");
    lab.driven.wait(Duration::from_secs(2));
    assert!(lab.probe_out((0, 5_000), (0, 3)).is_some(), "what ran out makes room");
}

#[test]
fn nats_behind_nats_translate_twice() {
    let mut lab = Lab::with_nat(NatRecord { addresses: 1, ..NatRecord::default() });
    let network = &mut lab.driven.network;
    let inner_nat = network.add_node("inner nat", NodeKind::Nat(NatRecord::default())).expect("a new name");
    // The same private network on both sides, as it happens with real carriers.
    network.serve(inner_nat, prefix("192.168.1.0/24")).expect("a NAT hands out addresses");
    network.attach(inner_nat, lab.middlebox, milliseconds(1)).expect("addresses are left");
    let host = network.add_node("erin", NodeKind::Host).expect("a new name");
    network.attach(host, inner_nat, milliseconds(1)).expect("addresses are left");
    let source = SocketAddr::new(lab.driven.ipv4(host), 5_000);
    let destination = lab.outer(0, 1);
    lab.driven.send(host, udp(source, destination));
    let delivered = lab.driven.run();
    let seen = delivered[0].endpoints().0;
    assert_eq!(seen.ip(), lab.driven.ipv4(lab.middlebox));
    lab.driven.send(lab.outside[0], udp(destination, seen));
    let delivered = lab.driven.run();
    assert_eq!((delivered[0].host, delivered[0].endpoints()), (host, (destination, source)));
    let now = lab.driven.now;
    assert_eq!(lab.driven.network.nat_mappings(now, inner_nat), 1);
    assert_eq!(lab.driven.network.nat_mappings(now, lab.middlebox), 1);
}

#[test]
fn a_nat_that_is_restarted_or_moved_has_forgotten_everything() {
    let mut lab = Lab::with_nat(NatRecord { ports: PortAllocation::Random, ..NatRecord::default() });
    let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    lab.driven.network.set_node_up(lab.middlebox, false);
    lab.driven.network.set_node_up(lab.middlebox, true);
    assert!(!lab.probe_in((0, 1), outer, (0, 5_000)));
    let after = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    assert_ne!(outer, after);
    let uplink = lab.driven.network.interfaces(lab.middlebox)[0];
    let core = lab.driven.network.node_of(lab.driven.network.peer_of(uplink));
    lab.driven.network.detach(uplink);
    assert!(lab.probe_out((0, 5_000), (0, 1)).is_none());
    lab.driven.network.attach(lab.middlebox, core, milliseconds(1)).expect("addresses are left");
    let moved = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    assert_ne!(moved.ip(), outer.ip());
    assert!(lab.probe_in((0, 1), moved, (0, 5_000)));
}

#[test]
fn inside_hosts_reach_each_other_untranslated() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let (alice, bob) = (lab.inner(0, 5_000), lab.inner(1, 6_000));
    lab.driven.send(lab.inside[0], udp(alice, bob));
    let delivered = lab.driven.run();
    assert_eq!((delivered[0].host, delivered[0].endpoints()), (lab.inside[1], (alice, bob)));
    let now = lab.driven.now;
    assert_eq!(lab.driven.network.nat_mappings(now, lab.middlebox), 0);
}

#[test]
fn what_a_nat_cannot_translate_is_dropped() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let transport = ntmobile_sim::network::Transport::Other { protocol: 50, payload: Bytes::from_static(b"esp") };
    let packet = Packet::new(lab.inner(0, 0).ip(), lab.outer(0, 0).ip(), transport).expect("one family");
    lab.driven.send(lab.inside[0], packet);
    assert!(lab.driven.run().is_empty());
    assert_eq!(lab.driven.network.counters(lab.middlebox).dropped(DropReason::NatProtocol), 1);
}
