//! Building the network, and changing it while it runs: nodes, attachments, addresses, movement.

use super::chance::Chance;
use super::firewall::Firewall;
use super::link::{Link, LinkRecordError, Transmitter};
use super::nat::{Nat, NatRecordError};
use super::prefix::{Pool, Prefix};
use super::route::{RouteTable, Target};
use super::transit::PathMtu;
use super::{Assigned, Counters, DropReason, Interface, InterfaceId, Network, Node, NodeId, NodeKind, Role, Traffic};
use std::net::IpAddr;
use thiserror::Error;

/// Why the network cannot be built so.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BuildError {
    /// The link's record makes no sense.
    #[error(transparent)]
    Link(#[from] LinkRecordError),
    /// The NAT's record makes no sense.
    #[error(transparent)]
    Nat(#[from] NatRecordError),
    /// Two nodes of one name.
    #[error("there are two nodes with the name `{0}`")]
    NameTaken(String),
    /// The network has no address left to hand out.
    #[error("`{node}` has no address left in {prefix}")]
    PoolEmpty {
        /// Who hands out.
        node: String,
        /// From where.
        prefix: Prefix,
    },
    /// A prefix too small to hand anything out.
    #[error("{0} is too small to hand out addresses")]
    PrefixTooSmall(Prefix),
    /// A host was asked to hand addresses out, or to have something attached to it.
    #[error("`{0}` is a host: nothing can be attached to it")]
    NotARouter(String),
    /// A node attached to itself.
    #[error("`{0}` cannot be attached to itself")]
    ToItself(String),
}

impl Network {
    /// Adds a node. Its name must be its own: it names its interfaces in captures and its streams of chance.
    pub fn add_node(&mut self, name: &str, kind: NodeKind) -> Result<NodeId, BuildError> {
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(BuildError::NameTaken(name.to_owned()));
        }
        let role = match kind {
            NodeKind::Host => Role::Host,
            NodeKind::Router => Role::Router,
            NodeKind::Nat(record) => {
                record.check()?;
                Role::Nat(Box::new(Nat::new(record, Chance::new(self.seed, name))))
            }
            NodeKind::Firewall(record) => Role::Firewall(Box::new(Firewall::new(record))),
        };
        let id = NodeId(u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes"));
        self.nodes.push(Node {
            name: name.to_owned(),
            role,
            is_up: true,
            interfaces: Vec::new(),
            uplinks: Vec::new(),
            routes: RouteTable::default(),
            pools: Vec::new(),
            behind: Vec::new(),
            next_identification: 0,
            reassembly: Default::default(),
            path_mtu: PathMtu::default(),
            counters: Counters::default(),
        });
        Ok(id)
    }

    /// Lets a node hand out the addresses of `prefix` to whatever is attached to it. The node takes the first one.
    pub fn serve(&mut self, node: NodeId, prefix: Prefix) -> Result<(), BuildError> {
        if matches!(self.node(node).role, Role::Host) {
            return Err(BuildError::NotARouter(self.node(node).name.clone()));
        }
        let pool = Pool::new(prefix);
        let gateway = pool.gateway().ok_or(BuildError::PrefixTooSmall(prefix))?;
        let place = self.node_mut(node);
        place.pools.push(pool);
        place.routes.insert(prefix, Target::Nobody);
        place.routes.insert(Prefix::host(gateway), Target::Local);
        self.announce(node, prefix, None);
        Ok(())
    }

    /// Attaches a node to another one, which lends it an address out of each prefix that it serves.
    ///
    /// The attached node gets a default route there; the other one, and those above it, get routes to the prefixes
    /// that the attached one serves (not to those that a NAT hides). Returns the attached node's interface.
    pub fn attach(&mut self, node: NodeId, to: NodeId, link: impl Into<Link>) -> Result<InterfaceId, BuildError> {
        self.attach_node(node, to, link.into(), None)
    }

    /// Like [`Network::attach`], with addresses of the caller's choice, each with the length of its network's prefix.
    pub fn attach_with(
        &mut self,
        node: NodeId,
        to: NodeId,
        link: impl Into<Link>,
        addresses: &[(IpAddr, u8)],
    ) -> Result<InterfaceId, BuildError> {
        self.attach_node(node, to, link.into(), Some(addresses))
    }

    fn attach_node(
        &mut self,
        node: NodeId,
        to: NodeId,
        link: Link,
        addresses: Option<&[(IpAddr, u8)]>,
    ) -> Result<InterfaceId, BuildError> {
        if matches!(self.node(to).role, Role::Host) {
            return Err(BuildError::NotARouter(self.node(to).name.clone()));
        }
        if node == to {
            return Err(BuildError::ToItself(self.node(node).name.clone()));
        }
        link.up.check()?;
        link.down.check()?;
        let addresses = match addresses {
            Some(addresses) => addresses.iter().map(|(address, length)| explicit(*address, *length)).collect(),
            None => self.lend(to, self.wanted_addresses(node))?,
        };
        let (lower, upper) = self.join(node, to, link, addresses);
        self.node_mut(node).uplinks.push(lower);
        self.set_default_routes(node);
        for place in 0..self.interface(lower).addresses.len() {
            let address = self.interface(lower).addresses[place].address;
            self.node_mut(node).routes.insert(Prefix::host(address), Target::Local);
            self.announce(to, Prefix::host(address), Some(upper));
        }
        for prefix in self.shown_above(node) {
            self.announce(to, prefix, Some(upper));
        }
        self.refresh_outer_addresses(node);
        Ok(lower)
    }

    /// How many IPv4 addresses a node wants where it is attached.
    fn wanted_addresses(&self, node: NodeId) -> u8 {
        match &self.node(node).role {
            Role::Nat(nat) => nat.record.addresses,
            Role::Host | Role::Router | Role::Firewall(_) => 1,
        }
    }

    /// So many addresses of each IPv4 prefix that the node serves, and one of each IPv6 prefix.
    fn lend(&mut self, lender: NodeId, ipv4_addresses: u8) -> Result<Vec<Assigned>, BuildError> {
        let node = self.node_mut(lender);
        let mut lent = Vec::new();
        for pool in &mut node.pools {
            let prefix = pool.prefix();
            for _ in 0..if prefix.is_ipv4() { ipv4_addresses } else { 1 } {
                let address = pool.take().ok_or_else(|| BuildError::PoolEmpty { node: node.name.clone(), prefix })?;
                lent.push(Assigned { address, prefix, is_lent: true });
            }
        }
        Ok(lent)
    }

    /// Creates both ends of a link.
    fn join(&mut self, node: NodeId, to: NodeId, link: Link, addresses: Vec<Assigned>) -> (InterfaceId, InterfaceId) {
        let count = self.links_between.entry((node, to)).or_default();
        let ordinal = *count;
        *count += 1;
        let number = u32::try_from(self.interfaces.len()).expect("fewer than 2^32 interfaces");
        let (lower, upper) = (InterfaceId(number), InterfaceId(number + 1));
        let suffix = if ordinal == 0 { String::new() } else { format!("#{ordinal}") };
        let (below, above) = (self.node(node).name.clone(), self.node(to).name.clone());
        let lower_name = format!("{below}>{above}{suffix}");
        let upper_name = format!("{above}>{below}{suffix}");
        let chance = |name: &str| Chance::new(self.seed, name);
        let (up, down) = (chance(&lower_name), chance(&upper_name));
        let interface = |name, node, peer, addresses, transmitter| Interface {
            name,
            node,
            peer,
            is_up: true,
            addresses,
            transmitter,
            traffic: Traffic::default(),
            captured_as: None,
            is_open: false,
            delegated: Vec::new(),
        };
        self.interfaces.push(interface(lower_name, node, upper, addresses, Transmitter::new(link.up, up)));
        self.interfaces.push(interface(upper_name, to, lower, Vec::new(), Transmitter::new(link.down, down)));
        self.node_mut(node).interfaces.push(lower);
        self.node_mut(to).interfaces.push(upper);
        (lower, upper)
    }

    /// Takes an attached node's interface away, with its addresses and routes. Packets on the link are lost.
    pub fn detach(&mut self, interface: InterfaceId) {
        let (lower, upper) = self.ends(interface);
        if !self.node(self.interface(lower).node).interfaces.contains(&lower) {
            return;
        }
        self.interface_mut(lower).is_up = false;
        self.interface_mut(upper).is_up = false;
        let (node, to) = (self.interface(lower).node, self.interface(upper).node);
        let addresses = std::mem::take(&mut self.interface_mut(lower).addresses);
        let delegated = std::mem::take(&mut self.interface_mut(lower).delegated);
        for prefix in self.shown_above(node).into_iter().chain(delegated) {
            self.withdraw(to, prefix, upper);
        }
        for assigned in addresses {
            self.node_mut(node).routes.remove(Prefix::host(assigned.address), Target::Local);
            self.withdraw(to, Prefix::host(assigned.address), upper);
            let pools = &mut self.node_mut(to).pools;
            if let Some(pool) = pools.iter_mut().find(|pool| assigned.is_lent && pool.prefix() == assigned.prefix) {
                pool.give_back(assigned.address);
            }
        }
        let below = self.node_mut(node);
        below.interfaces.retain(|other| *other != lower);
        below.uplinks.retain(|other| *other != lower);
        for prefix in [Prefix::ALL_V4, Prefix::ALL_V6] {
            below.routes.remove(prefix, Target::Via(lower));
        }
        self.set_default_routes(node);
        self.node_mut(to).interfaces.retain(|other| *other != upper);
        self.refresh_outer_addresses(node);
    }

    /// Both ends of the link that the interface is an end of, the attached node's first.
    fn ends(&self, interface: InterfaceId) -> (InterfaceId, InterfaceId) {
        let first = interface.0 & !1;
        (InterfaceId(first), InterfaceId(first + 1))
    }

    /// Adds a static route by hand, where those that attaching makes do not suffice.
    pub fn add_route(&mut self, node: NodeId, prefix: Prefix, interface: InterfaceId) {
        self.node_mut(node).routes.insert(prefix, Target::Via(interface));
    }

    /// Makes an interface the one that a node sends by when nothing else decides, and whose addresses come first.
    pub fn prefer(&mut self, interface: InterfaceId) {
        let node = self.interface(interface).node;
        let place = self.node_mut(node);
        for list in [&mut place.interfaces, &mut place.uplinks] {
            if let Some(at) = list.iter().position(|other| *other == interface) {
                list[..=at].rotate_right(1);
            }
        }
        self.set_default_routes(node);
    }

    /// Takes a link down or up again; addresses and routes stay. Packets on it when it goes down are lost.
    pub fn set_link_up(&mut self, interface: InterfaceId, is_up: bool) {
        let (lower, upper) = self.ends(interface);
        if self.node(self.interface(lower).node).interfaces.contains(&lower) {
            self.interface_mut(lower).is_up = is_up;
            self.interface_mut(upper).is_up = is_up;
        }
    }

    /// Whether the link is up.
    pub fn is_link_up(&self, interface: InterfaceId) -> bool {
        self.interface(interface).is_up
    }

    /// Changes a link while it runs. Packets already on it are not affected.
    pub fn set_link(&mut self, interface: InterfaceId, link: impl Into<Link>) -> Result<(), BuildError> {
        let link = link.into();
        link.up.check()?;
        link.down.check()?;
        let (lower, upper) = self.ends(interface);
        self.interface_mut(lower).transmitter.record = link.up;
        self.interface_mut(upper).transmitter.record = link.down;
        Ok(())
    }

    /// Switches a node off or on again. One that is off loses whatever comes to it, and forgets what it held.
    pub fn set_node_up(&mut self, node: NodeId, is_up: bool) {
        let node = self.node_mut(node);
        node.is_up = is_up;
        match &mut node.role {
            Role::Host | Role::Router => {}
            Role::Nat(nat) => nat.forget(),
            Role::Firewall(firewall) => firewall.table.forget(),
        }
        let lost = node.reassembly.clear();
        node.counters.drop_many(DropReason::NodeDown, lost);
    }

    /// The node's name.
    pub fn node_name(&self, node: NodeId) -> &str {
        &self.node(node).name
    }

    /// The interface's name: `node>neighbour`, and `#n` for a later link between the two.
    pub fn interface_name(&self, interface: InterfaceId) -> &str {
        &self.interface(interface).name
    }

    /// The node that an interface belongs to.
    pub fn node_of(&self, interface: InterfaceId) -> NodeId {
        self.interface(interface).node
    }

    /// The interface at the other end of the link.
    pub fn peer_of(&self, interface: InterfaceId) -> InterfaceId {
        self.interface(interface).peer
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The node's interfaces, the preferred one first.
    pub fn interfaces(&self, node: NodeId) -> &[InterfaceId] {
        &self.node(node).interfaces
    }

    /// The addresses of an interface.
    pub fn interface_addresses(&self, interface: InterfaceId) -> impl Iterator<Item = IpAddr> {
        self.interface(interface).addresses.iter().map(|assigned| assigned.address)
    }

    /// The addresses of an interface, each with the network in which it lies.
    pub fn interface_networks(&self, interface: InterfaceId) -> impl Iterator<Item = (IpAddr, Prefix)> {
        self.interface(interface).addresses.iter().map(|assigned| (assigned.address, assigned.prefix))
    }

    /// The largest packet that the interface sends.
    pub fn interface_mtu(&self, interface: InterfaceId) -> usize {
        self.interface(interface).transmitter.record.mtu
    }

    /// The node's addresses on links that are up, those of the preferred interface first.
    pub fn addresses(&self, node: NodeId) -> Vec<IpAddr> {
        let interfaces = self.node(node).interfaces.iter().map(|interface| self.interface(*interface));
        let usable = interfaces.filter(|interface| interface.is_up);
        usable.flat_map(|interface| interface.addresses.iter().map(|assigned| assigned.address)).collect()
    }
}

fn explicit(address: IpAddr, length: u8) -> Assigned {
    let prefix = Prefix::new(address, length).unwrap_or(Prefix::host(address));
    Assigned { address, prefix, is_lent: false }
}
