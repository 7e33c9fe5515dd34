//! Which of our addresses each correspondent asked last: a server with several answers from that one, since the asker (and
//! every NAT on the way) takes the answer from no other.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Two generations: when the younger is full, the older is forgotten and the younger becomes the older.
#[derive(Debug)]
pub(crate) struct Asked {
    generation: usize,
    younger: HashMap<SocketAddr, IpAddr>,
    older: HashMap<SocketAddr, IpAddr>,
}

impl Asked {
    /// So many correspondents are remembered at least, and twice as many at most; the least recent are forgotten first.
    pub(crate) fn new(generation: usize) -> Self {
        Self { generation, younger: HashMap::new(), older: HashMap::new() }
    }

    /// Whether it is remembered, and not about to be forgotten, that `who` has asked our address `ours`.
    pub(crate) fn is_recent(&self, who: &SocketAddr, ours: IpAddr) -> bool {
        self.younger.get(who) == Some(&ours)
    }

    /// `who` has asked our address `ours`.
    pub(crate) fn remember(&mut self, who: SocketAddr, ours: IpAddr) {
        if self.younger.len() >= self.generation && !self.younger.contains_key(&who) {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(who, ours);
    }

    /// Which address `who` asked.
    pub(crate) fn of(&self, who: &SocketAddr) -> Option<IpAddr> {
        self.younger.get(who).or_else(|| self.older.get(who)).copied()
    }

    /// The address that `who` asked is no longer ours.
    pub(crate) fn forget(&mut self, who: &SocketAddr) {
        self.younger.remove(who);
        self.older.remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const GENERATION: usize = 64;

    fn who(number: usize) -> SocketAddr {
        (Ipv4Addr::from_bits(u32::try_from(number).unwrap()), 7).into()
    }

    #[test]
    fn the_last_address_asked_counts() {
        let mut asked = Asked::new(GENERATION);
        asked.remember(who(1), Ipv4Addr::new(192, 0, 2, 1).into());
        asked.remember(who(1), Ipv4Addr::new(192, 0, 2, 2).into());
        assert_eq!(asked.of(&who(1)), Some(Ipv4Addr::new(192, 0, 2, 2).into()));
        asked.forget(&who(1));
        assert_eq!(asked.of(&who(1)), None);
    }

    #[test]
    fn a_flood_of_strangers_is_forgotten_again_and_those_who_keep_asking_are_not() {
        let mut asked = Asked::new(GENERATION);
        let ours = Ipv4Addr::new(192, 0, 2, 1).into();
        for number in 1..=10 * GENERATION {
            asked.remember(who(number), ours);
            asked.remember(who(0), ours);
        }
        assert!(asked.younger.len() + asked.older.len() <= 2 * GENERATION);
        assert_eq!(asked.of(&who(0)), Some(ours));
        assert_eq!(asked.of(&who(1)), None);
    }
}
