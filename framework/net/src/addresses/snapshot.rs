//! What the kernel says of links, addresses and the way out, at one moment.

use crate::net::NetOptions;
use crate::netlink;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Somewhere in the wide network, to ask for the way there; nothing is sent.
const WIDE: [IpAddr; 2] =
    [IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)), IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4))];

/// Which addresses count, and whose way out.
#[derive(Clone, Debug)]
pub(super) struct View {
    listen: Vec<IpAddr>,
    own_interfaces: Vec<String>,
    allow_loopback: bool,
    device: Option<String>,
    mark: Option<u32>,
}

impl View {
    pub(super) fn new(options: &NetOptions) -> Self {
        Self {
            listen: options.listen.clone(),
            own_interfaces: options.own_interfaces.clone(),
            allow_loopback: options.allow_loopback,
            device: options.device.clone(),
            mark: options.mark,
        }
    }
}

/// The addresses, the best first, and the ways out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) addresses: Vec<IpAddr>,
    ways: Vec<Way>,
}

/// How packets to the wide network leave.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    interface: u32,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
}

#[derive(Debug)]
struct Link {
    name: String,
    /// Up, and with a carrier.
    is_running: bool,
}

/// An address of one of the links.
#[derive(Debug)]
struct Own {
    address: IpAddr,
    interface: u32,
    /// Behind another of the same network.
    is_secondary: bool,
}

impl Snapshot {
    pub(super) fn read(view: &View) -> io::Result<Self> {
        let links = read_links()?;
        let index_of = |name: &String| links.iter().find(|(_, link)| link.name == *name).map(|(&index, _)| index);
        let device = view.device.as_ref().and_then(index_of);
        let mut ways = Vec::new();
        for wide in WIDE {
            // A way that leads into one of our own tunnels is none: what is found behind it is ourselves.
            ways.extend(way_to(wide, view.mark, device)?.filter(|way| is_usable_link(view, &links, way.interface)));
        }
        let mut own = read_addresses()?;
        own.retain(|own| is_usable(view, own.address) && is_usable_link(view, &links, own.interface));
        if view.device.is_some() {
            own.retain(|own| Some(own.interface) == device);
        }
        // The sort keeps the kernel's order among equals.
        own.sort_by_key(|own| {
            let preferred = ways.iter().position(|way| way.source == Some(own.address)).unwrap_or(usize::MAX);
            let is_outside = !ways.iter().any(|way| way.interface == own.interface);
            (preferred, is_outside, own.is_secondary, own.interface)
        });
        // All of 127.0.0.0/8 is a host's own, though no interface bears more than one of them.
        let chosen = view.listen.iter().copied().filter(|address| address.is_loopback());
        let mut addresses: Vec<IpAddr> = Vec::with_capacity(own.len());
        for address in own.into_iter().map(|own| own.address).chain(chosen) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(Self { addresses, ways })
    }
}

/// A link that could not be read counts as usable: better one address too many than none.
fn is_usable_link(view: &View, links: &BTreeMap<u32, Link>, interface: u32) -> bool {
    links.get(&interface).is_none_or(|link| link.is_running && !view.own_interfaces.contains(&link.name))
}

fn is_usable(view: &View, address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let is_chosen = view.listen.contains(&address);
    !is_link_local
        && !address.is_unspecified()
        && !address.is_multicast()
        && (view.allow_loopback || is_chosen || !address.is_loopback())
        && (is_chosen || is_served(view, address))
}

/// Whether ports are opened on all addresses of this one's family.
fn is_served(view: &View, address: IpAddr) -> bool {
    let is_any = |chosen: &IpAddr| chosen.is_unspecified() && chosen.is_ipv4() == address.is_ipv4();
    view.listen.is_empty() || view.listen.iter().any(is_any)
}

fn read_links() -> io::Result<BTreeMap<u32, Link>> {
    let messages = netlink::dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .map(|link| {
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            let is_running = link.header.flags.contains(LinkFlags::Up | LinkFlags::Running);
            (link.header.index, Link { name: name.unwrap_or_default(), is_running })
        })
        .collect())
}

fn read_addresses() -> io::Result<Vec<Own>> {
    let messages = netlink::dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) => own(&address),
            _ => None,
        })
        .collect())
}

fn own(message: &AddressMessage) -> Option<Own> {
    let (mut local, mut address, mut flags) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link the other attribute is the other end's.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(all) => flags = Some(*all),
            _ => {}
        }
    }
    let address = local.or(address)?;
    let flags = flags.unwrap_or_else(|| AddressFlags::from_bits_retain(message.header.flags.bits().into()));
    let not_ours_to_use = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    let is_optimistic = flags.contains(AddressFlags::Optimistic);
    if address.is_ipv6() && !is_optimistic && flags.intersects(not_ours_to_use) {
        return None;
    }
    // The same bit says "temporary" of an IPv6 address, which is not worse than the others.
    let is_secondary = address.is_ipv4() && flags.contains(AddressFlags::Secondary);
    Some(Own { address, interface: message.header.index, is_secondary })
}

/// How packets to `wide` would leave; `None` if they could not.
fn way_to(wide: IpAddr, mark: Option<u32>, device: Option<u32>) -> io::Result<Option<Way>> {
    let mut question = RouteMessage::default();
    (question.header.address_family, question.header.destination_prefix_length) =
        if wide.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
    question.attributes.push(RouteAttribute::Destination(wide.into()));
    question.attributes.extend(mark.map(RouteAttribute::Mark));
    question.attributes.extend(device.map(RouteAttribute::Oif));
    let Ok(Some(RouteNetlinkMessage::NewRoute(route))) = netlink::get(RouteNetlinkMessage::GetRoute(question)) else {
        // "No route" comes as an error, and in several forms.
        return Ok(None);
    };
    let mut way = Way { interface: 0, gateway: None, source: None };
    for attribute in route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => way.interface = index,
            RouteAttribute::Gateway(gateway) => way.gateway = ip(&gateway),
            RouteAttribute::PrefSource(source) => way.source = ip(&source),
            _ => {}
        }
    }
    Ok(Some(way))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}
