//! The internet of a scenario: one core, a site for each domain's servers, an access network for each of the scenario's.
//!
//! It is a tree. Every site and access network hangs below the core, or below the network it is behind, by one link; hosts
//! hang below their network by a link without delay. So there is one way between any two hosts, and the time a packet takes
//! on it follows from the scenario alone: [`Topology::one_way`]. Set-up times are compared with sums of these.
//!
//! Addresses are handed out in order of names, from ranges that are set aside for such use: 198.18.0.0/15 (RFC 2544) and
//! 2001:db8::/32 (RFC 3849) on the internet, 10.0.0.0/8 behind NATs.

use super::records::{firewall_record, link_record, nat_record};
use crate::scenario::entity::SITE_DELAY;
use crate::scenario::network::{Family, Network as AccessNetwork};
use crate::scenario::{Core, Scenario};
use ntmobile_sim::network::{BuildError, InterfaceId, Link, LinkRecord, Network, NodeId, NodeKind, Prefix};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use thiserror::Error;

/// Why a scenario's internet cannot be built.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TopologyError {
    /// The simulated internet refuses.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// So many networks need more addresses than there are.
    #[error("the scenario's networks need more addresses than {0} has")]
    AddressesExhausted(&'static str),
    /// A host or network is not there.
    #[error(transparent)]
    Nowhere(#[from] NowhereError),
}

/// One-way delay between a domain's DC and its other servers: enough to see in a diagram who spoke first.
const WITHIN_SITE: Duration = Duration::from_micros(500);

/// The name of the core.
pub const CORE: &str = "internet";

/// Where everything is.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Access networks and sites by name.
    networks: BTreeMap<String, Place>,
    /// Hosts by full name.
    hosts: BTreeMap<String, HostPlace>,
    /// Where each node of the tree hangs, and how far below.
    above: BTreeMap<NodeId, (NodeId, Duration)>,
    /// The prefixes of access networks that somebody else serves.
    elsewhere: BTreeMap<String, Prefix>,
}

/// An access network or site.
#[derive(Clone, Copy, Debug)]
struct Place {
    node: NodeId,
    /// Its link towards the core.
    uplink: InterfaceId,
}

/// A host.
#[derive(Clone, Debug)]
pub struct HostPlace {
    /// The host in the network.
    pub node: NodeId,
    /// Its interfaces by the network they lead to, the preferred one first.
    pub interfaces: Vec<(String, InterfaceId)>,
}

/// Something that is looked for in the topology is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no {0:?} in the topology, or it is attached nowhere")]
pub struct NowhereError(pub String);

impl Topology {
    /// Builds the scenario's internet into an empty network.
    pub fn build(scenario: &Scenario, network: &mut Network) -> Result<Self, TopologyError> {
        Self::build_without(scenario, network, &BTreeSet::new())
    }

    /// The same, where somebody else translates for these access networks: of each there is only its router, as a host at the
    /// end of the network's link, and the nodes in it are attached to nothing. Every address is what it is in the whole.
    pub fn build_without(
        scenario: &Scenario,
        network: &mut Network,
        elsewhere: &BTreeSet<String>,
    ) -> Result<Self, TopologyError> {
        let core = network.add_node(CORE, NodeKind::Router)?;
        let (topology, ranges) = (Self::default(), Ranges::default());
        let mut builder = Builder { scenario, network, core, elsewhere, topology, ranges };
        builder.infrastructure()?;
        builder.access_networks()?;
        builder.nodes()?;
        Ok(builder.topology)
    }

    /// A host by its full name.
    pub fn host(&self, name: &str) -> Option<&HostPlace> {
        self.hosts.get(name)
    }

    /// Every host, in order of names.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &HostPlace)> {
        self.hosts.iter().map(|(name, place)| (name.as_str(), place))
    }

    /// The node of an access network.
    pub fn network(&self, name: &str) -> Option<NodeId> {
        self.networks.get(name).map(|place| place.node)
    }

    /// The prefix of an access network that somebody else serves.
    pub fn served_elsewhere(&self, name: &str) -> Option<Prefix> {
        self.elsewhere.get(name).copied()
    }

    /// The link of an access network towards the core.
    pub fn uplink(&self, name: &str) -> Option<InterfaceId> {
        self.networks.get(name).map(|place| place.uplink)
    }

    /// Takes a host away from all its networks.
    pub fn detach(&mut self, host: &str, network: &mut Network) -> Result<(), NowhereError> {
        let place = self.hosts.get_mut(host).ok_or_else(|| NowhereError(host.to_owned()))?;
        for (_, interface) in place.interfaces.drain(..) {
            network.detach(interface);
        }
        self.above.remove(&place.node);
        Ok(())
    }

    /// Attaches a host to a network, which becomes its preferred one.
    pub fn attach(&mut self, host: &str, to: &str, network: &mut Network) -> Result<InterfaceId, TopologyError> {
        let place = self.hosts.get_mut(host).ok_or_else(|| NowhereError(host.to_owned()))?;
        let access = self.networks.get(to).ok_or_else(|| NowhereError(to.to_owned()))?;
        let interface = network.attach(place.node, access.node, LinkRecord::default())?;
        network.prefer(interface);
        place.interfaces.insert(0, (to.to_owned(), interface));
        self.above.insert(place.node, (access.node, Duration::ZERO));
        Ok(interface)
    }

    /// How long a packet takes from one host to another, by their preferred interfaces, on links without rate limit,
    /// jitter and loss.
    pub fn one_way(&self, from: &str, to: &str) -> Result<Duration, NowhereError> {
        let there = self.standpoint(to)?;
        self.standpoint(from)?.one_way(&there).ok_or_else(|| NowhereError(to.to_owned()))
    }

    /// Where a host is now.
    pub fn standpoint(&self, host: &str) -> Result<Standpoint, NowhereError> {
        let nowhere = || NowhereError(host.to_owned());
        let place = self.hosts.get(host).ok_or_else(nowhere)?;
        let (network, _) = place.interfaces.first().ok_or_else(nowhere)?;
        let (mut node, mut distance) = (place.node, Duration::ZERO);
        let mut way_up = vec![(node, distance)];
        while let Some((above, link)) = self.above.get(&node) {
            node = *above;
            distance += *link;
            way_up.push((node, distance));
        }
        Ok(Standpoint { host: host.to_owned(), network: network.clone(), way_up })
    }
}

/// Where a host is at some time: enough to tell how far it is from any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standpoint {
    /// The host's full name.
    pub host: String,
    /// The network it is attached to, its preferred one.
    pub network: String,
    /// The nodes above it and how far each is, itself first.
    way_up: Vec<(NodeId, Duration)>,
}

impl Standpoint {
    /// How long a packet takes from here to there. `None` between different topologies.
    pub fn one_way(&self, there: &Self) -> Option<Duration> {
        // The ways meet at the first node they share: in a tree there is one, the core at the latest.
        self.way_up.iter().find_map(|(node, up)| {
            let (_, down) = there.way_up.iter().find(|(other, _)| other == node)?;
            Some(*up + *down)
        })
    }
}

struct Builder<'b> {
    scenario: &'b Scenario,
    network: &'b mut Network,
    core: NodeId,
    elsewhere: &'b BTreeSet<String>,
    topology: Topology,
    ranges: Ranges,
}

impl Builder<'_> {
    /// The core's addresses, and every server.
    fn infrastructure(&mut self) -> Result<(), TopologyError> {
        let core = self.core;
        self.network.serve(core, fixed(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 16))?;
        self.network.serve(core, fixed(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)), 64))?;
        let dns = self.scenario.dns;
        self.host(ROOT_SERVER, core, dns.root_delay.duration())?;
        for top_level in self.scenario.top_level_domains() {
            self.host(&top_level_server(&top_level), core, dns.top_level_delay.duration())?;
        }
        let delay = self.scenario.account_server.delay.unwrap_or(SITE_DELAY);
        self.host(&self.scenario.account_server_name(), core, delay.duration())?;
        for (name, domain) in &self.scenario.domain {
            let link = LinkRecord::with_delay(domain.delay.unwrap_or(SITE_DELAY).duration());
            let site = self.network.add_node(&format!("site.{name}"), NodeKind::Router)?;
            let uplink = self.below(site, core, link)?;
            let (v4, v6) = (self.ranges.public(32)?, self.ranges.ipv6());
            self.network.serve(site, v4)?;
            self.network.serve(site, v6)?;
            self.topology.networks.insert(format!("site.{name}"), Place { node: site, uplink });
            let servers = self.scenario.servers();
            for server in servers.iter().filter(|server| server.ends_with(&format!(".{name}"))) {
                let is_coordinator = server.starts_with("dc.");
                self.host(server, site, if is_coordinator { Duration::ZERO } else { WITHIN_SITE })?;
            }
        }
        Ok(())
    }

    /// Outer networks before those behind them.
    fn access_networks(&mut self) -> Result<(), TopologyError> {
        let mut waiting: Vec<(&String, &AccessNetwork)> = self.scenario.network.iter().collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for (name, access) in waiting {
                match self.outer(access.behind.as_deref()) {
                    Some(outer) => self.access_network(name, access, outer)?,
                    None => later.push((name, access)),
                }
            }
            assert!(later.len() < before, "a checked scenario has no circle of networks");
            waiting = later;
        }
        Ok(())
    }

    /// What a network hangs below, if that is there already.
    fn outer(&self, behind: Option<&str>) -> Option<NodeId> {
        match behind {
            Some(name) => self.topology.network(name),
            None => Some(self.core),
        }
    }

    fn access_network(&mut self, name: &str, access: &AccessNetwork, outer: NodeId) -> Result<(), TopologyError> {
        let link = link_record(&access.link);
        if self.elsewhere.contains(name) {
            let (node, uplink) = self.border(name, NodeKind::Host, outer, link)?;
            let prefix = self.ranges.private(self.hosts_at(name))?;
            self.topology.elsewhere.insert(name.to_owned(), prefix);
            self.topology.networks.insert(name.to_owned(), Place { node, uplink });
            return Ok(());
        }
        let families = self.scenario.families(name);
        let (node, uplink) = match (access.nat.as_ref().map(nat_record), firewall_record(access.firewall)) {
            (None, None) => self.border(name, NodeKind::Router, outer, link)?,
            (Some(nat), None) => self.border(name, NodeKind::Nat(nat), outer, link)?,
            (None, Some(firewall)) => self.border(name, NodeKind::Firewall(firewall), outer, link)?,
            (Some(nat), Some(firewall)) => {
                // The firewall is on the inside, where it sees who is who.
                let (translator, uplink) = self.border(&format!("{name}.nat"), NodeKind::Nat(nat), outer, link)?;
                let between = self.ranges.private(1)?;
                self.network.serve(translator, between)?;
                if families.contains(&Family::Ipv6) {
                    self.network.serve(translator, self.ranges.ipv6())?;
                }
                (self.border(name, NodeKind::Firewall(firewall), translator, LinkRecord::default())?.0, uplink)
            }
        };
        let hosts = self.hosts_at(name);
        if families.contains(&Family::Ipv4) {
            let prefix = if self.scenario.is_behind_nat(name) {
                self.ranges.private(hosts)?
            } else {
                self.ranges.public(hosts)?
            };
            self.network.serve(node, prefix)?;
        }
        if families.contains(&Family::Ipv6) {
            self.network.serve(node, self.ranges.ipv6())?;
        }
        self.topology.networks.insert(name.to_owned(), Place { node, uplink });
        Ok(())
    }

    fn border(
        &mut self,
        name: &str,
        kind: NodeKind,
        outer: NodeId,
        link: LinkRecord,
    ) -> Result<(NodeId, InterfaceId), TopologyError> {
        let node = self.network.add_node(name, kind)?;
        Ok((node, self.below(node, outer, link)?))
    }

    /// How many addresses a network may have to hand out, ever.
    fn hosts_at(&self, name: &str) -> u32 {
        let nodes = self.scenario.node.values().flat_map(|node| node.networks()).filter(|network| *network == name);
        let moves = self.scenario.moves().filter(|action| action.to == name);
        let behind = self.scenario.network.values().filter(|network| network.behind.as_deref() == Some(name));
        let outer = behind.map(|network| network.nat.map_or(1, |nat| usize::from(nat.addresses)));
        u32::try_from(nodes.count() + moves.count() + outer.sum::<usize>()).unwrap_or(u32::MAX)
    }

    fn nodes(&mut self) -> Result<(), TopologyError> {
        for (name, node) in &self.scenario.node {
            let full_name = format!("{name}.{}", node.domain);
            let id = self.network.add_node(&full_name, NodeKind::Host)?;
            let mut interfaces = Vec::new();
            for network in node.networks().filter(|network| !self.elsewhere.contains(*network)) {
                let access = self.topology.networks[network].node;
                interfaces.push((network.to_owned(), self.network.attach(id, access, LinkRecord::default())?));
                self.topology.above.entry(id).or_insert((access, Duration::ZERO));
            }
            self.topology.hosts.insert(full_name, HostPlace { node: id, interfaces });
        }
        Ok(())
    }

    fn host(&mut self, name: &str, at: NodeId, delay: Duration) -> Result<(), TopologyError> {
        let node = self.network.add_node(name, NodeKind::Host)?;
        let interface = self.below(node, at, LinkRecord::with_delay(delay))?;
        let interfaces = vec![(self.network.node_name(at).to_owned(), interface)];
        self.topology.hosts.insert(name.to_owned(), HostPlace { node, interfaces });
        Ok(())
    }

    fn below(&mut self, node: NodeId, above: NodeId, link: LinkRecord) -> Result<InterfaceId, TopologyError> {
        // Whatever crosses the core comes up by exactly one of the links below it.
        let up = if above == self.core { across(&link, &self.scenario.core) } else { link };
        let interface = self.network.attach(node, above, Link { up, down: link })?;
        self.topology.above.insert(node, (above, link.delay));
        Ok(interface)
    }
}

/// The host of the DNS root.
pub const ROOT_SERVER: &str = "root-server";

/// The host that serves a top-level domain.
pub fn top_level_server(domain: &str) -> String {
    format!("top-level-server.{domain}")
}

/// A link up to the core, with what befalls its packets there.
fn across(link: &LinkRecord, core: &Core) -> LinkRecord {
    let either = |one: f64, other: f64| 1.0 - (1.0 - one) * (1.0 - other);
    LinkRecord {
        loss: either(link.loss, core.loss.probability()),
        duplication: either(link.duplication, core.duplication.probability()),
        reordering: either(link.reordering, core.reordering.probability()),
        ..*link
    }
}

/// A prefix whose length fits its address.
fn fixed(address: IpAddr, length: u8) -> Prefix {
    Prefix::new(address, length).expect("the length is within the address")
}

/// What is left of the address ranges.
#[derive(Debug)]
struct Ranges {
    public: u32,
    private: u32,
    ipv6: u16,
}

impl Default for Ranges {
    fn default() -> Self {
        let bits = |a, b, c, d| Ipv4Addr::new(a, b, c, d).to_bits();
        Self { public: bits(198, 19, 0, 0), private: bits(10, 0, 0, 0), ipv6: 1 }
    }
}

impl Ranges {
    fn public(&mut self, hosts: u32) -> Result<Prefix, TopologyError> {
        let end = Ipv4Addr::new(198, 20, 0, 0).to_bits();
        cut(&mut self.public, end, hosts).ok_or(TopologyError::AddressesExhausted("198.19.0.0/16"))
    }

    fn private(&mut self, hosts: u32) -> Result<Prefix, TopologyError> {
        let end = Ipv4Addr::new(11, 0, 0, 0).to_bits();
        cut(&mut self.private, end, hosts).ok_or(TopologyError::AddressesExhausted("10.0.0.0/8"))
    }

    fn ipv6(&mut self) -> Prefix {
        let number = self.ipv6;
        // Networks run out of IPv4 addresses first: a checked range of 256 public and 65,536 private networks.
        self.ipv6 = self.ipv6.wrapping_add(1);
        fixed(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, number, 0, 0, 0, 0)), 64)
    }
}

/// Cuts the next prefix with room for so many hosts and some more, a /24 at least, off a range.
fn cut(next: &mut u32, end: u32, hosts: u32) -> Option<Prefix> {
    let size = hosts.checked_add(4)?.checked_next_power_of_two()?.max(256);
    let start = next.checked_next_multiple_of(size)?;
    let after = start.checked_add(size).filter(|after| *after <= end)?;
    *next = after;
    let length = u8::try_from(32 - size.trailing_zeros()).ok()?;
    Prefix::new(IpAddr::V4(Ipv4Addr::from_bits(start)), length).ok()
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
