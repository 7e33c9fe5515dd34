//! Where a host's resolver begins: the root servers of the public DNS.
//!
//! Nodes and servers find each other by resolving from the root, never through the resolver that the host is set up with:
//! that one may be the overlay itself, and a server that resolved its own way out through the overlay would lose it with the
//! overlay. A network with roots of its own (a lab, a closed site) configures their addresses instead of these.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of DNS.
const PORT: u16 = 53;

/// The addresses of a.root-servers.net to m.root-servers.net, as IANA publishes them.
const ROOTS: [(Ipv4Addr, Ipv6Addr); 13] = [
    (Ipv4Addr::new(198, 41, 0, 4), Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
    (Ipv4Addr::new(170, 247, 170, 2), Ipv6Addr::new(0x2801, 0x1b8, 0x10, 0, 0, 0, 0, 0xb)),
    (Ipv4Addr::new(192, 33, 4, 12), Ipv6Addr::new(0x2001, 0x500, 2, 0, 0, 0, 0, 0xc)),
    (Ipv4Addr::new(199, 7, 91, 13), Ipv6Addr::new(0x2001, 0x500, 0x2d, 0, 0, 0, 0, 0xd)),
    (Ipv4Addr::new(192, 203, 230, 10), Ipv6Addr::new(0x2001, 0x500, 0xa8, 0, 0, 0, 0, 0xe)),
    (Ipv4Addr::new(192, 5, 5, 241), Ipv6Addr::new(0x2001, 0x500, 0x2f, 0, 0, 0, 0, 0xf)),
    (Ipv4Addr::new(192, 112, 36, 4), Ipv6Addr::new(0x2001, 0x500, 0x12, 0, 0, 0, 0, 0xd0d)),
    (Ipv4Addr::new(198, 97, 190, 53), Ipv6Addr::new(0x2001, 0x500, 1, 0, 0, 0, 0, 0x53)),
    (Ipv4Addr::new(192, 36, 148, 17), Ipv6Addr::new(0x2001, 0x7fe, 0, 0, 0, 0, 0, 0x53)),
    (Ipv4Addr::new(192, 58, 128, 30), Ipv6Addr::new(0x2001, 0x503, 0xc27, 0, 0, 0, 2, 0x30)),
    (Ipv4Addr::new(193, 0, 14, 129), Ipv6Addr::new(0x2001, 0x7fd, 0, 0, 0, 0, 0, 1)),
    (Ipv4Addr::new(199, 7, 83, 42), Ipv6Addr::new(0x2001, 0x500, 0x9f, 0, 0, 0, 0, 0x42)),
    (Ipv4Addr::new(202, 12, 27, 33), Ipv6Addr::new(0x2001, 0xdc3, 0, 0, 0, 0, 0, 0x35)),
];

/// The public root servers, both addresses of each.
pub fn root_hints() -> Vec<SocketAddr> {
    ROOTS
        .iter()
        .flat_map(|&(v4, v6)| [IpAddr::from(v4), IpAddr::from(v6)])
        .map(|address| SocketAddr::new(address, PORT))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_root_server_is_there_once_in_both_families() {
        let hints = root_hints();
        assert_eq!(hints.iter().collect::<BTreeSet<_>>().len(), 26);
        assert_eq!(hints.iter().filter(|hint| hint.is_ipv6()).count(), 13);
        assert!(hints.contains(&"[2001:503:ba3e::2:30]:53".parse().unwrap()));
        assert!(hints.contains(&"202.12.27.33:53".parse().unwrap()));
    }
}
