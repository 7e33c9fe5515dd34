//! Which of a peer's applications a connection belongs to. All applications on a device share its virtual addresses, so
//! where a peer has several tunnels to us, the address alone does not say which one an answer takes: it takes the one that
//! the question came by. What has no ports, such as a ping, takes the newest.

use ntmobile_wire::identifier::ApplicationId;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// So many connections are remembered. Beyond, all are forgotten; each is learnt again from its next packet.
const CAPACITY: usize = 4_096;

/// A connection as both ends' packets show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    remote: IpAddr,
    protocol: u8,
    remote_port: u16,
    local_port: u16,
}

/// The direction of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It has come from the peer.
    In,
    /// It goes to the peer.
    Out,
}

impl Flow {
    /// The flow of a TCP or UDP packet; others have none.
    pub fn of(packet: &[u8], direction: Direction) -> Option<Self> {
        let (protocol, source, destination, payload): (u8, IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
            4 => {
                let header: &[u8; 20] = packet.first_chunk()?;
                let address = |at: usize| <[u8; 4]>::try_from(&header[at..at + 4]).ok().map(IpAddr::from);
                let payload = packet.get(usize::from(header[0] & 0xf) * 4..)?;
                (header[9], address(12)?, address(16)?, payload)
            }
            6 => {
                let (header, payload) = packet.split_first_chunk::<40>()?;
                let address = |at: usize| <[u8; 16]>::try_from(&header[at..at + 16]).ok().map(IpAddr::from);
                (header[6], address(8)?, address(24)?, payload)
            }
            _ => return None,
        };
        if !matches!(protocol, 6 | 17) {
            return None;
        }
        let ports: &[u8; 4] = payload.first_chunk()?;
        let source_port = u16::from_be_bytes([ports[0], ports[1]]);
        let destination_port = u16::from_be_bytes([ports[2], ports[3]]);
        Some(match direction {
            Direction::In => Self { remote: source, protocol, remote_port: source_port, local_port: destination_port },
            Direction::Out => {
                Self { remote: destination, protocol, remote_port: destination_port, local_port: source_port }
            }
        })
    }

    /// The peer's address.
    pub fn remote(&self) -> IpAddr {
        self.remote
    }
}

/// The connections with peers that have several tunnels to us.
#[derive(Debug, Default)]
pub struct Flows {
    known: BTreeMap<Flow, ApplicationId>,
    /// Where a new connection to a peer goes: the application that was asked for last.
    preferred: BTreeMap<IpAddr, ApplicationId>,
}

impl Flows {
    /// A packet of this flow came from this application. `newest` is the one that answers go to unless something else is known:
    /// that need not be remembered, unless the flow was another's before.
    pub fn came(&mut self, flow: Flow, application: ApplicationId, newest: Option<ApplicationId>) {
        if newest.is_some_and(|newest| newest != application) || self.known.contains_key(&flow) {
            self.learn(flow, application);
        }
    }

    fn learn(&mut self, flow: Flow, application: ApplicationId) {
        if self.known.len() >= CAPACITY && !self.known.contains_key(&flow) {
            self.known.clear();
        }
        self.known.insert(flow, application);
    }

    /// New connections to this address are for this application.
    pub fn prefer(&mut self, address: IpAddr, application: ApplicationId) {
        if self.preferred.len() >= CAPACITY {
            self.preferred.clear();
        }
        self.preferred.insert(address, application);
    }

    /// Which application a packet of this flow is for, if that is known.
    pub fn application(&self, flow: &Flow) -> Option<ApplicationId> {
        self.known.get(flow).or_else(|| self.preferred.get(&flow.remote)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp_v4(source: [u8; 4], destination: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[9] = 17;
        packet[12..16].copy_from_slice(&source);
        packet[16..20].copy_from_slice(&destination);
        packet[20..22].copy_from_slice(&ports.0.to_be_bytes());
        packet[22..24].copy_from_slice(&ports.1.to_be_bytes());
        packet
    }

    const US: [u8; 4] = [100, 64, 0, 1];
    const PEER: [u8; 4] = [100, 64, 0, 2];

    #[test]
    fn an_answer_belongs_to_the_flow_of_its_question() {
        let question = Flow::of(&udp_v4(PEER, US, (7, 9)), Direction::In).unwrap();
        let answer = Flow::of(&udp_v4(US, PEER, (9, 7)), Direction::Out).unwrap();
        assert_eq!(question, answer);
        assert_ne!(Flow::of(&udp_v4(US, PEER, (9, 8)), Direction::Out), Some(question));
    }

    #[test]
    fn what_has_no_ports_has_no_flow() {
        let mut icmp = udp_v4(PEER, US, (7, 9));
        icmp[9] = 1;
        assert_eq!(Flow::of(&icmp, Direction::In), None);
        for length in 0..24 {
            assert_eq!(Flow::of(&udp_v4(PEER, US, (7, 9))[..length], Direction::In), None);
        }
    }

    #[test]
    fn a_known_flow_goes_before_the_preference_for_new_ones() {
        let mut flows = Flows::default();
        let flow = Flow::of(&udp_v4(PEER, US, (7, 9)), Direction::In).unwrap();
        assert_eq!(flows.application(&flow), None);
        flows.prefer(flow.remote(), ApplicationId(2));
        assert_eq!(flows.application(&flow), Some(ApplicationId(2)));
        flows.came(flow, ApplicationId(1), Some(ApplicationId(2)));
        assert_eq!(flows.application(&flow), Some(ApplicationId(1)));
    }

    #[test]
    fn what_comes_from_the_newest_is_remembered_only_where_it_was_anothers() {
        let mut flows = Flows::default();
        let flow = Flow::of(&udp_v4(PEER, US, (7, 9)), Direction::In).unwrap();
        flows.came(flow, ApplicationId(2), Some(ApplicationId(2)));
        assert_eq!(flows.application(&flow), None);
        flows.came(flow, ApplicationId(1), Some(ApplicationId(2)));
        flows.came(flow, ApplicationId(2), Some(ApplicationId(2)));
        assert_eq!(flows.application(&flow), Some(ApplicationId(2)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut flows = Flows::default();
        for port in 0..=u16::MAX {
            let flow = Flow::of(&udp_v4(PEER, US, (port, 9)), Direction::In).unwrap();
            flows.came(flow, ApplicationId(1), Some(ApplicationId(2)));
            assert_eq!(flows.application(&flow), Some(ApplicationId(1)));
            assert!(flows.known.len() <= CAPACITY);
        }
    }
}
