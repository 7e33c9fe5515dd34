//! Packets of applications to peers whose tunnel is being built: a few are kept for each, so that the first packet of a
//! conversation is not lost; the rest are dropped, as a full queue on any path would.

use bytes::Bytes;
use ntmobile_proto::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// So many packets are kept for one peer.
const PACKETS: usize = 32;

/// So many peers can be waited for.
const PEERS: usize = 64;

/// A tunnel that has not come after this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a packet without a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits, the first for this peer: ask for the tunnel.
    WaitsFirst,
    /// It waits behind others.
    Waits,
    /// It is gone.
    Dropped,
}

/// The packets that wait, by the virtual address they are for.
#[derive(Debug, Default)]
pub struct WaitingPackets {
    by_peer: BTreeMap<IpAddr, Queue>,
}

#[derive(Debug)]
struct Queue {
    since: Instant,
    packets: VecDeque<Bytes>,
}

impl WaitingPackets {
    /// Keeps a packet if there is room.
    pub fn keep(&mut self, now: Instant, destination: IpAddr, packet: Bytes) -> Fate {
        self.by_peer.retain(|_, queue| now.since(queue.since) < PATIENCE);
        if let Some(queue) = self.by_peer.get_mut(&destination) {
            if queue.packets.len() == PACKETS {
                return Fate::Dropped;
            }
            queue.packets.push_back(packet);
            return Fate::Waits;
        }
        if self.by_peer.len() == PEERS {
            return Fate::Dropped;
        }
        self.by_peer.insert(destination, Queue { since: now, packets: VecDeque::from([packet]) });
        Fate::WaitsFirst
    }

    /// Takes out everything that waits for a peer, in order: its tunnel stands.
    pub fn take(&mut self, destination: IpAddr) -> impl Iterator<Item = Bytes> + use<> {
        self.by_peer.remove(&destination).into_iter().flat_map(|queue| queue.packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const NOW: Instant = Instant::ORIGIN;

    fn peer(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x6440_0000 + number).into()
    }

    #[test]
    fn packets_leave_in_the_order_in_which_they_came() {
        let mut waiting = WaitingPackets::default();
        assert_eq!(waiting.keep(NOW, peer(1), Bytes::from("one")), Fate::WaitsFirst);
        assert_eq!(waiting.keep(NOW, peer(2), Bytes::from("other")), Fate::WaitsFirst);
        assert_eq!(waiting.keep(NOW, peer(1), Bytes::from("two")), Fate::Waits);
        assert_eq!(waiting.take(peer(1)).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(waiting.take(peer(1)).count(), 0);
        assert_eq!(waiting.keep(NOW, peer(1), Bytes::from("three")), Fate::WaitsFirst);
    }

    #[test]
    fn neither_one_peer_nor_many_take_more_than_their_room() {
        let mut waiting = WaitingPackets::default();
        let fates: Vec<_> = (0..=PACKETS).map(|_| waiting.keep(NOW, peer(0), Bytes::new())).collect();
        assert_eq!(fates.last(), Some(&Fate::Dropped));
        assert_eq!(waiting.take(peer(0)).count(), PACKETS);

        let peers = u32::try_from(PEERS).unwrap();
        for number in 0..peers {
            assert_eq!(waiting.keep(NOW, peer(number), Bytes::new()), Fate::WaitsFirst);
        }
        assert_eq!(waiting.keep(NOW, peer(peers), Bytes::new()), Fate::Dropped);
    }

    #[test]
    fn what_has_waited_too_long_makes_room_and_asks_again() {
        let mut waiting = WaitingPackets::default();
        assert_eq!(waiting.keep(NOW, peer(1), Bytes::from("old")), Fate::WaitsFirst);
        assert_eq!(waiting.keep(NOW + PATIENCE, peer(1), Bytes::from("new")), Fate::WaitsFirst);
        assert_eq!(waiting.take(peer(1)).collect::<Vec<_>>(), ["new"]);
    }
}
