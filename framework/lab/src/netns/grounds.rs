//! The grounds of a lab: namespaces for all hosts, the emulated internet between them, and networks whose router is a kernel.
//! Hosts move on them, and links go down.

use super::internet::{AttachError, AttachSettings, EmulatedInternet, InternetError};
use super::kernel::{self, KernelError};
use super::plan::{Plan, Router};
use super::standing::{Description, Standing, StandingError};
use crate::scenario::Scenario;
use crate::world::topology::{Topology, TopologyError};
use ntmobile_net::namespace::NetworkNamespace;
use ntmobile_sim::network::{InterfaceId, Network};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use thiserror::Error;

/// The metric of a host's preferred default route; each further interface's is one more.
const METRIC: u32 = 100;
/// The largest part of the routing tables' numbers that nobody else uses.
const TABLE: u32 = 10_000;

/// Why the grounds are not as they should be.
#[derive(Debug, Error)]
pub enum GroundsError {
    /// The lab cannot stand.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The emulated internet does not run.
    #[error(transparent)]
    Internet(#[from] InternetError),
    /// A host cannot be attached to it.
    #[error("{host}: {source}")]
    Attach {
        /// Which.
        host: String,
        /// Why.
        source: AttachError,
    },
    /// A namespace is not there.
    #[error("the namespace of {host}: {source}")]
    Namespace {
        /// Whose.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The model refused.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A router has no room for another host.
    #[error("the network {0} has no address left")]
    Full(String),
}

/// What connects a host with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cable {
    /// An interface of the model.
    Model(InterfaceId),
    /// A pair of Ethernet interfaces to a router of the kernel; the host's end has this number.
    Kernel(u32),
}

/// A network inside a router of the kernel.
#[derive(Debug)]
struct Inside {
    router: Router,
    /// The next address to be given out: none twice, so that nobody is taken for who was there before.
    next: u128,
}

/// Where a node is.
#[derive(Debug, Default)]
struct Whereabouts {
    full_name: String,
    cables: Vec<Cable>,
    /// How many interfaces it has had: each has another name.
    interfaces: u32,
}

/// Everything that is between processes.
#[derive(Debug)]
pub(super) struct Grounds {
    // First, so that devices go before their namespaces.
    internet: EmulatedInternet,
    standing: Standing,
    topology: Topology,
    inside: BTreeMap<String, Inside>,
    nodes: BTreeMap<String, Whereabouts>,
    servers: BTreeMap<String, Vec<InterfaceId>>,
    /// How many cables lead to routers of the kernel.
    cables: u32,
}

impl Grounds {
    /// Builds all of it; the hosts' first networks are those of the scenario.
    pub(super) fn build(
        standing: Standing,
        scenario: &Scenario,
        name: &str,
        plan: &mut Plan,
    ) -> Result<Self, GroundsError> {
        let network = std::mem::replace(&mut plan.network, Network::new(scenario.world.seed));
        let topology = std::mem::take(&mut plan.topology);
        let hosts: Vec<String> = plan.labels().into_iter().map(str::to_owned).collect();
        let nodes = plan.nodes.iter().map(|node| node.label.clone()).collect();
        standing.describe(&Description { scenario: name.to_owned(), hosts: hosts.clone(), nodes })?;
        for host in &hosts {
            standing.add_host(host)?;
        }
        let mut grounds = Self {
            internet: EmulatedInternet::start(network)?,
            standing,
            topology,
            inside: BTreeMap::new(),
            nodes: BTreeMap::new(),
            servers: BTreeMap::new(),
            cables: 0,
        };
        for server in &plan.servers {
            let interfaces = grounds.interfaces_of(&server.full_name);
            for (index, interface) in interfaces.iter().enumerate() {
                grounds.attach(&server.label, *interface, &format!("eth{index}"), METRIC + index as u32)?;
            }
            grounds.servers.insert(server.label.clone(), interfaces);
        }
        for router in plan.routers.values() {
            grounds.route(router)?;
        }
        for node in &plan.nodes {
            let whereabouts = Whereabouts { full_name: node.full_name.clone(), ..Whereabouts::default() };
            grounds.nodes.insert(node.label.clone(), whereabouts);
            // The model has attached a node to its networks already.
            let mut modelled = grounds.interfaces_of(&node.full_name).into_iter();
            for network in scenario.node[&node.label].networks() {
                let interface = if grounds.inside.contains_key(network) { None } else { modelled.next() };
                grounds.plug(&node.label, network, interface)?;
            }
        }
        Ok(grounds)
    }

    /// The internet.
    pub(super) fn internet(&self) -> &EmulatedInternet {
        &self.internet
    }

    /// A node loses all its networks.
    pub(super) fn leave(&mut self, node: &str) -> Result<(), GroundsError> {
        let Some(whereabouts) = self.nodes.get_mut(node) else { return Ok(()) };
        let namespace = self.standing.name().namespace(node);
        let cables = std::mem::take(&mut whereabouts.cables);
        if cables.iter().any(|cable| matches!(cable, Cable::Model(_))) {
            let (topology, full_name) = (&mut self.topology, &whereabouts.full_name);
            self.internet.network(|network| topology.detach(full_name, network)).map_err(TopologyError::from)?;
        }
        for cable in cables {
            if let Cable::Kernel(number) = cable {
                kernel::ip_in(&namespace, &format!("link del eth{number}\n"))?;
            }
        }
        Ok(())
    }

    /// A node that has left its networks arrives in another.
    pub(super) fn arrive(&mut self, node: &str, network: &str) -> Result<(), GroundsError> {
        let mut interface = None;
        if !self.inside.contains_key(network) {
            let full_name = self.nodes.get(node).map(|whereabouts| whereabouts.full_name.clone()).unwrap_or_default();
            let topology = &mut self.topology;
            interface = Some(self.internet.network(|model| topology.attach(&full_name, network, model))?);
        }
        self.plug(node, network, interface)
    }

    /// A network loses its link, or has it back.
    pub(super) fn set_link(&self, network: &str, is_up: bool) {
        if let Some(uplink) = self.topology.uplink(network) {
            self.internet.network(|network| network.set_link_up(uplink, is_up));
        }
    }

    /// A server's power goes out, as its network sees it, or is back.
    pub(super) fn set_power(&self, server: &str, is_on: bool) {
        let interfaces = self.servers.get(server).cloned().unwrap_or_default();
        self.internet.network(|network| {
            for interface in interfaces {
                network.set_link_up(interface, is_on);
            }
        });
    }

    /// Ends the internet, then removes everything; what the internet has done.
    pub(super) fn take_down(self) -> Result<super::internet::Account, GroundsError> {
        let Self { internet, standing, .. } = self;
        let account = internet.finish()?;
        standing.take_down()?;
        Ok(account)
    }

    fn interfaces_of(&self, full_name: &str) -> Vec<InterfaceId> {
        let place = self.topology.host(full_name);
        place.map(|place| place.interfaces.iter().map(|(_, interface)| *interface).collect()).unwrap_or_default()
    }

    fn attach(&self, label: &str, interface: InterfaceId, device: &str, metric: u32) -> Result<(), GroundsError> {
        let namespace = NetworkNamespace::named(&self.standing.name().namespace(label));
        let namespace = namespace.map_err(|source| GroundsError::Namespace { host: label.to_owned(), source })?;
        let settings = AttachSettings { default_metric: Some(metric), ..AttachSettings::device(device) };
        let attached = self.internet.attach(interface, namespace, &settings);
        attached.map_err(|source| GroundsError::Attach { host: label.to_owned(), source })
    }

    /// A router of the kernel, with nobody inside.
    fn route(&mut self, router: &Router) -> Result<(), GroundsError> {
        let namespace = self.standing.name().namespace(&router.label);
        let Some(uplink) = self.topology.uplink(&router.network) else { return Ok(()) };
        let settings = ["net.ipv4.ip_forward=1".to_owned()].into_iter().chain(router.translation.timers());
        kernel::sysctl(&namespace, &settings.collect::<Vec<_>>())?;
        self.attach(&router.label, uplink, "wan", METRIC)?;
        let gateway = router.inside.nth(1).ok_or_else(|| GroundsError::Full(router.network.clone()))?;
        let lines = format!(
            "link add lan type bridge stp_state 0 mcast_snooping 0\naddr add {gateway}/{} dev lan\nlink set lan up\n",
            router.inside.length()
        );
        kernel::ip_in(&namespace, &lines)?;
        let outer = self.internet.network(|network| network.interface_addresses(uplink).collect::<Vec<_>>());
        let outer = outer.into_iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        kernel::nft(&namespace, &router.translation.rules(outer.unwrap_or(Ipv4Addr::UNSPECIFIED), router.inside))?;
        // The bridge has the first address, so hosts begin with the second.
        self.inside.insert(router.network.clone(), Inside { router: router.clone(), next: 2 });
        Ok(())
    }

    /// Connects a node with one more network.
    fn plug(&mut self, node: &str, network: &str, interface: Option<InterfaceId>) -> Result<(), GroundsError> {
        let Some(whereabouts) = self.nodes.get_mut(node) else { return Ok(()) };
        let (number, index) = (whereabouts.interfaces, whereabouts.cables.len() as u32);
        whereabouts.interfaces += 1;
        let metric = METRIC + index;
        let (addresses, gateway) = match (interface, self.inside.get_mut(network)) {
            (Some(interface), _) => {
                whereabouts.cables.push(Cable::Model(interface));
                self.attach(node, interface, &format!("eth{number}"), metric)?;
                (self.internet.network(|network| network.interface_addresses(interface).collect()), None)
            }
            (None, Some(inside)) => {
                whereabouts.cables.push(Cable::Kernel(number));
                let (address, gateway) = inside.lend().ok_or_else(|| GroundsError::Full(network.to_owned()))?;
                let (router, length) = (inside.router.label.clone(), inside.router.inside.length());
                self.lay(node, &router, number)?;
                let lines = format!(
                    "addr add {address}/{length} dev eth{number}\nlink set eth{number} up\nroute add default via {gateway} dev \
                     eth{number} metric {metric}\n"
                );
                kernel::ip_in(&self.standing.name().namespace(node), &lines)?;
                (vec![address], Some(gateway))
            }
            (None, None) => return Err(GroundsError::Full(network.to_owned())),
        };
        if index > 0 { self.lead_back(node, number, &addresses, gateway) } else { Ok(()) }
    }

    /// Lays a cable between a host and a router of the kernel.
    fn lay(&mut self, node: &str, router: &str, number: u32) -> Result<(), GroundsError> {
        self.cables += 1;
        let (name, cable) = (self.standing.name(), self.cables);
        let (host, router) = (name.namespace(node), name.namespace(router));
        let lines = format!(
            "link add cable{cable} type veth peer name eth{number} netns {host}\nlink set cable{cable} master lan up\n"
        );
        Ok(kernel::ip_in(&router, &lines)?)
    }

    /// A socket that is bound to an address of a further interface must leave by that one: without a rule the kernel takes
    /// the preferred default route.
    fn lead_back(
        &self,
        node: &str,
        number: u32,
        addresses: &[IpAddr],
        gateway: Option<IpAddr>,
    ) -> Result<(), GroundsError> {
        let (namespace, table) = (self.standing.name().namespace(node), TABLE + number);
        let via = gateway.map(|gateway| format!("via {gateway} ")).unwrap_or_default();
        for address in addresses {
            let family = if address.is_ipv4() { "-4" } else { "-6" };
            let lines = format!(
                "route replace default {via}dev eth{number} table {table}\nrule add from {address} lookup {table}\n"
            );
            kernel::ip_family_in(&namespace, family, &lines)?;
        }
        Ok(())
    }
}

impl Inside {
    /// The next address that nobody has had, and the router's own.
    fn lend(&mut self) -> Option<(IpAddr, IpAddr)> {
        let prefix = self.router.inside;
        let address = prefix.nth(self.next).filter(|_| prefix.nth(self.next + 1).is_some())?;
        self.next += 1;
        Some((address, prefix.nth(1)?))
    }
}
