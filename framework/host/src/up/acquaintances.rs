//! Whose addresses are whose: bounded, and whoever was met longest ago and has no tunnel makes room.
//!
//! An address stays when its tunnel closes, so that the next packet to it has the tunnel built again.

use ntmobile_proto::endpoint::Peer;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A part of all makes room at once: looking for it takes time.
const PART: usize = 64;

/// Who was met under an address.
#[derive(Clone, Debug)]
struct Met {
    peer: Peer,
    /// Counts up with each meeting.
    turn: u64,
}

/// Everybody who has been met.
#[derive(Debug)]
pub(super) struct Acquaintances {
    most: usize,
    met: BTreeMap<IpAddr, Met>,
    turn: u64,
}

/// What a meeting changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The address was not known before.
    pub(super) is_new: bool,
    /// These addresses are not known any more.
    pub(super) forgotten: Vec<IpAddr>,
}

impl Acquaintances {
    /// At most so many addresses.
    pub(super) fn new(most: usize) -> Self {
        Self { most, met: BTreeMap::new(), turn: 0 }
    }

    /// Who is met under an address.
    pub(super) fn of(&self, address: IpAddr) -> Option<&Peer> {
        self.met.get(&address).map(|met| &met.peer)
    }

    /// Every address that is known.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.met.keys().copied().collect()
    }

    /// An address is a peer's. `None` if there is no room, because everybody has a tunnel.
    pub(super) fn meet(&mut self, address: IpAddr, peer: &Peer, has_tunnel: impl Fn(IpAddr) -> bool) -> Option<Change> {
        let is_new = !self.met.contains_key(&address);
        let is_full = is_new && self.met.len() >= self.most;
        let forgotten = if is_full { self.make_room(has_tunnel) } else { Vec::new() };
        if is_full && forgotten.is_empty() {
            return None;
        }
        self.turn += 1;
        self.met.insert(address, Met { peer: peer.clone(), turn: self.turn });
        Some(Change { is_new, forgotten })
    }

    fn make_room(&mut self, has_tunnel: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let mut idle: Vec<(u64, IpAddr)> = self
            .met
            .iter()
            .filter(|(address, _)| !has_tunnel(**address))
            .map(|(address, met)| (met.turn, *address))
            .collect();
        idle.sort_unstable();
        idle.truncate((self.most / PART).max(1));
        let forgotten: Vec<IpAddr> = idle.into_iter().map(|(_, address)| address).collect();
        for address in &forgotten {
            self.met.remove(address);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_wire::identifier::ApplicationId;
    use ntmobile_wire::name::Fqdn;
    use std::net::Ipv4Addr;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn peer(number: u32) -> Peer {
        let name = Fqdn::parse(&format!("peer{number}.u1.example")).expect("a name");
        Peer { name, application: ApplicationId(0) }
    }

    #[test]
    fn short_lived_peers_make_room_for_each_other_and_those_with_a_tunnel_stay() {
        let mut known = Acquaintances::new(256);
        // The first ten keep their tunnels; the eleventh is met again and again.
        let has_tunnel = |met: IpAddr| (0..10).any(|number| met == address(number));
        let mut led = 0_usize;
        for number in 0..20_000 {
            let change = known.meet(address(number), &peer(number), has_tunnel).expect("there is room");
            assert!(change.is_new && change.forgotten.iter().all(|gone| known.of(*gone).is_none()));
            led = led + 1 - change.forgotten.len();
            if number > 10 {
                let again = known.meet(address(10), &peer(10), has_tunnel);
                assert_eq!(again, Some(Change::default()), "it is known");
            }
            assert!(led <= 256 && led == known.addresses().len(), "every address that is forgotten was told");
        }
        for number in (0..=10).chain(19_900..20_000) {
            assert_eq!(known.of(address(number)), Some(&peer(number)));
        }
    }

    #[test]
    fn where_everybody_has_a_tunnel_there_is_no_room() {
        let mut known = Acquaintances::new(2);
        for number in 0..2 {
            known.meet(address(number), &peer(number), |_| true).expect("there is room");
        }
        assert_eq!(known.meet(address(2), &peer(2), |_| true), None);
        assert_eq!(
            known.meet(address(0), &peer(7), |_| true),
            Some(Change::default()),
            "an address may be another's now"
        );
        assert_eq!(known.of(address(0)), Some(&peer(7)));
    }
}
