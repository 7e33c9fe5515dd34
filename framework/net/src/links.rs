//! Links, addresses and routes: changed one at a time, and as often as one likes.

use crate::{netlink, xfrm};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoXfrm, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use std::ffi::CString;
use std::io;
use std::net::IpAddr;

/// Whether a link is up, and how long its packets may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) is_up: bool,
    pub(crate) mtu: u32,
}

/// The number of the interface with this name.
pub(crate) fn index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a string that ends with a zero and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

pub(crate) fn state(index: u32) -> io::Result<State> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    let Some(RouteNetlinkMessage::NewLink(link)) = netlink::get(RouteNetlinkMessage::GetLink(question))? else {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    };
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    Ok(State { is_up: link.header.flags.contains(LinkFlags::Up), mtu: mtu.unwrap_or_default() })
}

pub(crate) fn set_state(index: u32, state: &State) -> io::Result<()> {
    let mut order = LinkMessage::default();
    order.header.index = index;
    order.header.change_mask = LinkFlags::Up;
    if state.is_up {
        order.header.flags = LinkFlags::Up;
    }
    if state.mtu != 0 {
        order.attributes.push(LinkAttribute::Mtu(state.mtu));
    }
    netlink::change(RouteNetlinkMessage::SetLink(order), 0)
}

/// The number by which the kernel's IPsec tables know an interface of ours: the same for the same name, so that whoever comes
/// next finds what a predecessor has left.
pub(crate) fn kernel_number(name: &str) -> u32 {
    // FNV-1a; should another interface have the number, the kernel refuses to make ours.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.max(1)
}

/// Makes an xfrm interface.
pub(crate) fn make_kernel_interface(name: &str, number: u32) -> io::Result<()> {
    let mut order = LinkMessage::default();
    order.attributes.push(LinkAttribute::IfName(name.to_owned()));
    order.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Xfrm),
        LinkInfo::Data(InfoData::Xfrm(vec![InfoXfrm::IfId(number)])),
    ]));
    netlink::change(RouteNetlinkMessage::NewLink(order), NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes an xfrm interface, if it is there, and what the kernel's IPsec tables hold for it.
pub(crate) fn remove_kernel_interface(index: Option<u32>, number: u32) -> io::Result<()> {
    let flushed = xfrm::flush(number);
    if let Some(index) = index {
        let mut order = LinkMessage::default();
        order.header.index = index;
        unless(netlink::change(RouteNetlinkMessage::DelLink(order), 0), &[libc::ENODEV])?;
    }
    flushed
}

/// Sets how many packets wait for whoever takes them off the link.
pub(crate) fn set_queue_length(index: u32, packets: u32) -> io::Result<()> {
    let mut order = LinkMessage::default();
    order.header.index = index;
    order.attributes.push(LinkAttribute::TxQueueLen(packets));
    netlink::change(RouteNetlinkMessage::SetLink(order), 0)
}

/// How many packets the link has lost because nobody took them off it in time.
pub(crate) fn transmit_drops(index: u32) -> io::Result<u64> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    let Some(RouteNetlinkMessage::NewLink(link)) = netlink::get(RouteNetlinkMessage::GetLink(question))? else {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    };
    let drops = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(statistics) => Some(statistics.tx_dropped),
        _ => None,
    });
    Ok(drops.unwrap_or_default())
}

/// Leads everything of one family that has no better route out by the interface; among several such, the smallest metric wins.
pub(crate) fn add_default_route(index: u32, family_of: IpAddr, metric: u32) -> io::Result<()> {
    let mut message = route_message(index, family_of, 0);
    message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Destination(_)));
    message.attributes.push(RouteAttribute::Priority(metric));
    netlink::change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

pub(crate) fn add_address(index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    let mut order = address_message(index, address, prefix);
    if address.is_ipv6() {
        // Nobody else can have it: no need to ask for a second.
        order.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    netlink::change(RouteNetlinkMessage::NewAddress(order), NLM_F_CREATE | NLM_F_REPLACE)
}

pub(crate) fn remove_address(index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    let order = RouteNetlinkMessage::DelAddress(address_message(index, address, prefix));
    unless(netlink::change(order, 0), &[libc::EADDRNOTAVAIL, libc::ENODEV])
}

/// The addresses of all interfaces of this network namespace.
pub(crate) fn addresses() -> io::Result<Vec<IpAddr>> {
    let messages = netlink::dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let of = |message: AddressMessage| {
        // On a point-to-point link the other attribute is the other end's.
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        local.or_else(|| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        })
    };
    let told = messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewAddress(message) => of(message),
        _ => None,
    });
    Ok(told.collect())
}

fn address_message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

/// Fails with [`io::ErrorKind::AlreadyExists`] if the network is routed to another interface.
pub(crate) fn add_route(index: u32, network: IpAddr, prefix: u8) -> io::Result<()> {
    let order = RouteNetlinkMessage::NewRoute(route_message(index, network, prefix));
    match netlink::change(order, NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) && is_routed(index, network, prefix)? => Ok(()),
        outcome => outcome,
    }
}

pub(crate) fn remove_route(index: u32, network: IpAddr, prefix: u8) -> io::Result<()> {
    let order = RouteNetlinkMessage::DelRoute(route_message(index, network, prefix));
    unless(netlink::change(order, 0), &[libc::ESRCH, libc::ENODEV, libc::ENETUNREACH])
}

fn route_message(index: u32, network: IpAddr, prefix: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(network);
    message.header.destination_prefix_length = prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    // What is behind the interface is there, not behind a router; IPv6 knows no difference.
    message.header.scope = if network.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Destination(network.into()), RouteAttribute::Oif(index)];
    message
}

/// Whether the network is routed to this interface.
fn is_routed(index: u32, network: IpAddr, prefix: u8) -> io::Result<bool> {
    let mut question = RouteMessage::default();
    question.header.address_family = family(network);
    let routes = netlink::dump(&RouteNetlinkMessage::GetRoute(question))?;
    Ok(routes.iter().any(|message| {
        let RouteNetlinkMessage::NewRoute(route) = message else { return false };
        let has = |wanted: &RouteAttribute| route.attributes.contains(wanted);
        route.header.table == RouteHeader::RT_TABLE_MAIN
            && route.header.destination_prefix_length == prefix
            && has(&RouteAttribute::Destination(RouteAddress::from(network)))
            && has(&RouteAttribute::Oif(index))
    }))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// What is gone already need not go.
fn unless(outcome: io::Result<()>, harmless: &[i32]) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error().is_some_and(|code| harmless.contains(&code)) => Ok(()),
        outcome => outcome,
    }
}
