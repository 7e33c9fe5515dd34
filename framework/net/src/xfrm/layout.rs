//! The kernel's structures, octet by octet as `linux/xfrm.h` has them. Numbers are in the host's order unless the header says
//! network order; everything between the fields is zero.

use std::net::IpAddr;

/// Types of messages (`XFRM_MSG_…`).
pub(super) const NEW_STATE: u16 = 0x10;
pub(super) const DELETE_STATE: u16 = 0x11;
pub(super) const GET_STATE: u16 = 0x12;
pub(super) const DELETE_POLICY: u16 = 0x14;
pub(super) const GET_POLICY: u16 = 0x15;
pub(super) const ACQUIRE: u16 = 0x17;
pub(super) const UPDATE_POLICY: u16 = 0x19;
pub(super) const UPDATE_STATE: u16 = 0x1a;
pub(super) const NEW_POLICY: u16 = 0x13;
pub(super) const NEW_COUNTERS: u16 = 0x1e;
pub(super) const GET_COUNTERS: u16 = 0x1f;
pub(super) const MAPPING: u16 = 0x26;

/// Types of attributes (`XFRMA_…`).
pub(super) const ENCAPSULATION: u16 = 4;
pub(super) const TEMPLATE: u16 = 5;
pub(super) const LIFETIME: u16 = 9;
pub(super) const REPLAY: u16 = 10;
pub(super) const AEAD: u16 = 18;
pub(super) const REPLAY_WINDOW: u16 = 23;
pub(super) const INTERFACE: u16 = 31;
pub(super) const MAPPING_THRESHOLD: u16 = 32;

/// Lengths of structures.
pub(super) const ADDRESS: usize = 16;
pub(super) const SELECTOR: usize = 56;
pub(super) const STATE: usize = 224;
pub(super) const STATE_ID: usize = 24;
pub(super) const POLICY: usize = 168;
pub(super) const POLICY_ID: usize = 64;
pub(super) const COUNTERS_ID: usize = 48;
pub(super) const TEMPLATE_LENGTH: usize = 64;
pub(super) const ACQUIRE_LENGTH: usize = 280;
pub(super) const MAPPING_LENGTH: usize = 64;
pub(super) const REPLAY_LENGTH: usize = 12;
pub(super) const REPLAY_WINDOW_HEADER: usize = 24;
pub(super) const LIFETIME_LENGTH: usize = 32;

/// Where fields are.
pub(super) mod at {
    /// In a selector: destination, source, their ports with masks, family, prefix lengths, protocol.
    pub(in super::super) const SELECTOR_SOURCE: usize = 16;
    pub(in super::super) const SELECTOR_PORTS: usize = 32;
    pub(in super::super) const SELECTOR_FAMILY: usize = 40;
    pub(in super::super) const SELECTOR_PREFIXES: usize = 42;
    pub(in super::super) const SELECTOR_PROTOCOL: usize = 44;
    /// In a state: its identity, behind the selector; source; limits.
    pub(in super::super) const STATE_DESTINATION: usize = 56;
    pub(in super::super) const STATE_SPI: usize = 72;
    pub(in super::super) const STATE_PROTOCOL: usize = 76;
    pub(in super::super) const STATE_SOURCE: usize = 80;
    pub(in super::super) const STATE_LIMITS: usize = 96;
    pub(in super::super) const STATE_REQUEST: usize = 208;
    pub(in super::super) const STATE_FAMILY: usize = 212;
    pub(in super::super) const STATE_MODE: usize = 214;
    pub(in super::super) const STATE_FLAGS: usize = 216;
    /// In a state's identity.
    pub(in super::super) const ID_SPI: usize = 16;
    pub(in super::super) const ID_FAMILY: usize = 20;
    pub(in super::super) const ID_PROTOCOL: usize = 22;
    /// In a policy.
    pub(in super::super) const POLICY_LIMITS: usize = 56;
    pub(in super::super) const POLICY_PRIORITY: usize = 152;
    pub(in super::super) const POLICY_DIRECTION: usize = 160;
    pub(in super::super) const POLICY_ACTION: usize = 161;
    /// In a policy's identity.
    pub(in super::super) const POLICY_ID_DIRECTION: usize = 60;
    /// In a template.
    pub(in super::super) const TEMPLATE_PROTOCOL: usize = 20;
    pub(in super::super) const TEMPLATE_FAMILY: usize = 24;
    pub(in super::super) const TEMPLATE_SOURCE: usize = 28;
    pub(in super::super) const TEMPLATE_REQUEST: usize = 44;
    pub(in super::super) const TEMPLATE_MODE: usize = 48;
    pub(in super::super) const TEMPLATE_ALGORITHMS: usize = 52;
    /// In an acquire: the selector of the packet that found no state.
    pub(in super::super) const ACQUIRE_SELECTOR: usize = 40;
    /// In a mapping: the state's identity comes first.
    pub(in super::super) const MAPPING_SOURCE: usize = 44;
    pub(in super::super) const MAPPING_PORT: usize = 62;
}

/// The security protocol (`IPPROTO_ESP`).
pub(super) const ESP: u8 = 50;
/// Whole packets go inside (`XFRM_MODE_TUNNEL`).
pub(super) const TUNNEL_MODE: u8 = 1;
/// Outer packets may be fragmented (`XFRM_STATE_NOPMTUDISC`), and inner ones are of either family (`XFRM_STATE_AF_UNSPEC`).
pub(super) const STATE_FLAGS: u8 = 4 | 32;
/// In datagrams, as RFC 3948 says (`UDP_ENCAP_ESPINUDP`).
pub(super) const IN_UDP: u16 = 2;
/// The families, as structures have them.
const IPV4: u16 = libc::AF_INET as u16;
const IPV6: u16 = libc::AF_INET6 as u16;

/// The number of an address's family.
pub(super) fn family(address: IpAddr) -> u16 {
    if address.is_ipv4() { IPV4 } else { IPV6 }
}

/// Writes an address where one is expected.
pub(super) fn put_address(place: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(address) => place[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => place[..ADDRESS].copy_from_slice(&address.octets()),
    }
}

/// Reads an address of this family; `None` where it is not all there, or of another family.
pub(super) fn address_at(octets: &[u8], offset: usize, family: u16) -> Option<IpAddr> {
    let place: [u8; ADDRESS] = array_at(octets, offset)?;
    match family {
        IPV4 => Some(IpAddr::from([place[0], place[1], place[2], place[3]])),
        IPV6 => Some(IpAddr::from(place)),
        _ => None,
    }
}

/// Some octets at a place, if they are there.
pub(super) fn array_at<const N: usize>(octets: &[u8], offset: usize) -> Option<[u8; N]> {
    octets.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

pub(super) fn u16_at(octets: &[u8], offset: usize) -> Option<u16> {
    array_at(octets, offset).map(u16::from_ne_bytes)
}

pub(super) fn u32_at(octets: &[u8], offset: usize) -> Option<u32> {
    array_at(octets, offset).map(u32::from_ne_bytes)
}

pub(super) fn u64_at(octets: &[u8], offset: usize) -> Option<u64> {
    array_at(octets, offset).map(u64::from_ne_bytes)
}
