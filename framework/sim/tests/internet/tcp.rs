//! TCP through NATs (RFC 5382): mappings that last as long as the connection's state says.

use crate::driven::{Lab, SYN_ACK, tcp};
use ntmobile_sim::network::{Dependence, NatRecord, tcp_flag};
use std::net::SocketAddr;
use std::time::Duration;

/// Sends a segment out; what the outside sees it come from.
fn out(lab: &mut Lab, flags: u8) -> Option<SocketAddr> {
    let (source, destination) = (lab.inner(0, 5_000), lab.outer(0, 80));
    lab.driven.send(lab.inside[0], tcp(source, destination, flags));
    lab.driven.run().first().map(|delivered| delivered.endpoints().0)
}

/// Sends a segment in; whether it arrives.
fn back(lab: &mut Lab, from: (usize, u16), to: SocketAddr, flags: u8) -> bool {
    let source = lab.outer(from.0, from.1);
    lab.driven.send(lab.outside[from.0], tcp(source, to, flags));
    !lab.driven.run().is_empty()
}

fn connected() -> (Lab, SocketAddr) {
    let mut lab = Lab::with_nat(NatRecord::default());
    let outer = out(&mut lab, tcp_flag::SYN).expect("the segment gets out");
    assert!(back(&mut lab, (0, 80), outer, SYN_ACK));
    assert_eq!(out(&mut lab, tcp_flag::ACK), Some(outer));
    (lab, outer)
}

#[test]
fn an_open_connection_outlives_the_udp_timer_by_far_req_5() {
    let record = NatRecord::default();
    for (quiet, is_there) in
        [(record.tcp_established - Duration::from_millis(10), true), (record.tcp_established, false)]
    {
        let (mut lab, outer) = connected();
        lab.driven.wait(quiet);
        assert_eq!(back(&mut lab, (0, 80), outer, tcp_flag::ACK), is_there);
    }
}

#[test]
fn a_connection_half_open_or_closing_is_forgotten_soon_req_5() {
    let record = NatRecord::default();
    for end in [None, Some(tcp_flag::FIN | tcp_flag::ACK), Some(tcp_flag::RST)] {
        for (quiet, is_there) in
            [(record.tcp_transitory - Duration::from_millis(10), true), (record.tcp_transitory, false)]
        {
            let (mut lab, outer) = match end {
                Some(_) => connected(),
                None => {
                    let mut lab = Lab::with_nat(record);
                    let outer = out(&mut lab, tcp_flag::SYN).expect("the segment gets out");
                    (lab, outer)
                }
            };
            if let Some(flags) = end {
                assert_eq!(out(&mut lab, flags), Some(outer));
            }
            lab.driven.wait(quiet);
            assert_eq!(back(&mut lab, (0, 80), outer, tcp_flag::ACK), is_there, "{end:?} after {quiet:?}");
        }
    }
}

#[test]
fn filters_hold_for_connections_too_req_3() {
    for filtering in Dependence::ALL {
        let mut lab = Lab::with_nat(NatRecord { filtering, ..NatRecord::default() });
        let outer = out(&mut lab, tcp_flag::SYN).expect("the segment gets out");
        let (other_port, other_address) = match filtering {
            Dependence::EndpointIndependent => (true, true),
            Dependence::AddressDependent => (true, false),
            Dependence::AddressAndPortDependent => (false, false),
        };
        assert_eq!(back(&mut lab, (0, 81), outer, tcp_flag::SYN), other_port, "{filtering:?}");
        assert_eq!(back(&mut lab, (1, 80), outer, tcp_flag::SYN), other_address, "{filtering:?}");
    }
}

#[test]
fn tcp_and_udp_have_ports_of_their_own() {
    let (mut lab, outer) = connected();
    assert_eq!(lab.probe_out((0, 5_000), (0, 80)), Some(outer), "the port is kept for both");
    let now = lab.driven.now;
    assert_eq!(lab.driven.network.nat_mappings(now, lab.middlebox), 2);
}
