//! Which outer ports are taken, and which one a new mapping gets (RFC 4787 §4.2).

use super::{NatRecord, PortAllocation};
use crate::network::chance::Chance;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Ports are counted for each protocol and outer address by itself.
pub(super) type Space = (u8, Ipv4Addr);

/// The ports of one space.
#[derive(Clone, Debug)]
struct Taken {
    /// One bit for each port.
    bits: Vec<u64>,
    /// How many of the ports below 1,024 are taken, and of the others.
    counts: [u32; 2],
    /// Where a sequential search goes on.
    next: u16,
}

impl Taken {
    fn new(first: u16) -> Self {
        Self { bits: vec![0; 1_024], counts: [0; 2], next: first }
    }

    fn has(&self, port: u16) -> bool {
        self.bits[usize::from(port / 64)] >> (port % 64) & 1 == 1
    }

    fn flip(&mut self, port: u16) {
        self.bits[usize::from(port / 64)] ^= 1 << (port % 64);
    }
}

/// All outer ports of a NAT.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    spaces: BTreeMap<Space, Taken>,
}

/// Ports below this one are for servers; a NAT keeps to the side on which the inner port is (REQ-3).
const FIRST_UNPRIVILEGED: u16 = 1_024;

impl Ports {
    /// Takes a port for a mapping of `inner_port`; `None` when no port is left.
    pub(super) fn take(
        &mut self,
        space: Space,
        inner_port: u16,
        record: &NatRecord,
        chance: &mut Chance,
    ) -> Option<u16> {
        let (first, last) =
            if inner_port < FIRST_UNPRIVILEGED { (1, FIRST_UNPRIVILEGED - 1) } else { record.port_range };
        let side = usize::from(first >= FIRST_UNPRIVILEGED);
        let size = u32::from(last - first) + 1;
        let taken = self.spaces.entry(space).or_insert_with(|| Taken::new(record.port_range.0));
        let port = if record.ports == PortAllocation::Preserving
            && (first..=last).contains(&inner_port)
            && !taken.has(inner_port)
        {
            inner_port
        } else if first >= FIRST_UNPRIVILEGED && taken.counts[side] >= size {
            return None;
        } else {
            let start = match record.ports {
                PortAllocation::Sequential if (first..=last).contains(&taken.next) => taken.next,
                PortAllocation::Sequential => first,
                PortAllocation::Preserving | PortAllocation::Random => first + chance.below(u64::from(size)) as u16,
            };
            let candidates = || (start..=last).chain(first..start).filter(|port| !taken.has(*port));
            let with_parity = candidates().find(|port| !record.port_parity || port % 2 == inner_port % 2);
            with_parity.or_else(|| candidates().next())?
        };
        taken.flip(port);
        taken.counts[usize::from(port >= FIRST_UNPRIVILEGED)] += 1;
        taken.next = port.wrapping_add(1);
        Some(port)
    }

    /// Gives a port back.
    pub(super) fn give_back(&mut self, space: Space, port: u16) {
        let Some(taken) = self.spaces.get_mut(&space).filter(|taken| taken.has(port)) else { return };
        taken.flip(port);
        taken.counts[usize::from(port >= FIRST_UNPRIVILEGED)] -= 1;
    }

    pub(super) fn forget(&mut self) {
        self.spaces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::packet::protocol::UDP;
    use std::collections::BTreeSet;

    const SPACE: Space = (UDP, Ipv4Addr::new(192, 0, 2, 1));

    fn take_all(record: NatRecord, inner_port: u16) -> Vec<u16> {
        let (mut ports, mut chance) = (Ports::default(), Chance::new(1, "nat"));
        std::iter::from_fn(|| ports.take(SPACE, inner_port, &record, &mut chance)).collect()
    }

    #[test]
    fn every_port_is_given_once_and_parity_is_kept_while_it_can_be() {
        for ports in [PortAllocation::Preserving, PortAllocation::Sequential, PortAllocation::Random] {
            let record = NatRecord { ports, port_range: (2_000, 2_099), ..NatRecord::default() };
            let taken = take_all(record, 2_050);
            assert_eq!(taken.iter().copied().collect::<BTreeSet<_>>(), (2_000..=2_099).collect());
            assert!(taken[..50].iter().all(|port| port % 2 == 0), "{taken:?}");
        }
    }

    #[test]
    fn each_allocation_does_as_its_name_says() {
        let record = |ports| NatRecord { ports, port_parity: false, ..NatRecord::default() };
        let preserved = take_all(NatRecord { port_range: (5_000, 5_009), ..record(PortAllocation::Preserving) }, 5_003);
        assert_eq!(preserved[0], 5_003);
        let sequential = take_all(NatRecord { port_range: (5_000, 5_009), ..record(PortAllocation::Sequential) }, 7);
        assert!(sequential.len() == 1_023, "privileged ports are their own range");
        let sequential =
            take_all(NatRecord { port_range: (5_000, 5_009), ..record(PortAllocation::Sequential) }, 5_007);
        assert_eq!(sequential, (5_000..=5_009).collect::<Vec<_>>());
        let random = take_all(record(PortAllocation::Random), 5_003);
        let gaps = random.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count();
        assert!(gaps < 600, "{gaps} of 64,511 followed each other");
    }

    #[test]
    fn a_port_given_back_is_free() {
        let record = NatRecord { port_range: (5_000, 5_000), ..NatRecord::default() };
        let (mut ports, mut chance) = (Ports::default(), Chance::new(1, "nat"));
        assert_eq!(ports.take(SPACE, 5_000, &record, &mut chance), Some(5_000));
        assert_eq!(ports.take(SPACE, 5_000, &record, &mut chance), None);
        ports.give_back(SPACE, 5_000);
        ports.give_back(SPACE, 5_000);
        assert_eq!(ports.take(SPACE, 6_000, &record, &mut chance), Some(5_000));
    }
}
