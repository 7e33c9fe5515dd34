//! Orders to the kernel's IPsec tables, as messages.

use super::layout::{self, at, family, put_address};
use ntmobile_wire::esp::EspKey;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::message::CipherSuite;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zeroize::Zeroizing;

/// Octets of a netlink header.
pub(super) const HEADER: usize = 16;

/// Bits of an integrity check value.
const ICV_BITS: u32 = 128;
/// Octets of an algorithm's name.
const NAME: usize = 64;
/// Numbers of the replay window in one word.
const WORD: u32 = 32;
/// The most numbers that the kernel's replay window has.
pub(crate) const REPLAY_NUMBERS: u32 = 4_096;
/// A moved peer is told of so often, in seconds.
const MAPPING_PAUSE: u32 = 10;
/// A port as a whole.
const WHOLE_PORT: u16 = u16::MAX;

/// Which state: the kernel finds it by where its packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StateId {
    pub(crate) destination: IpAddr,
    pub(crate) spi: Spi,
}

/// How far a state has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// It seals: the last number used.
    Seals(u32),
    /// It opens: the highest number that has come, and which of those below it, in the kernel's own words.
    Opens { highest: u32, seen: Vec<u32> },
}

impl Sequence {
    /// One that has opened nothing yet.
    pub(crate) fn nothing_opened() -> Self {
        Self::Opens { highest: 0, seen: Vec::new() }
    }
}

/// One direction of a tunnel under one key.
#[derive(Debug)]
pub(crate) struct State<'a> {
    pub(crate) id: StateId,
    pub(crate) source: IpAddr,
    /// Source and destination port of its datagrams.
    pub(crate) ports: (u16, u16),
    /// Which policies' packets take it.
    pub(crate) request: u32,
    /// The virtual interface that it belongs to.
    pub(crate) interface: u32,
    pub(crate) key: &'a EspKey,
    pub(crate) sequence: Sequence,
}

/// Which packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector {
    /// Addresses with prefix lengths.
    pub(crate) source: (IpAddr, u8),
    pub(crate) destination: (IpAddr, u8),
    /// UDP between these ports alone.
    pub(crate) udp: Option<UdpPorts>,
}

/// Ports of UDP; `None` for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UdpPorts {
    pub(crate) source: Option<u16>,
    pub(crate) destination: Option<u16>,
}

impl Selector {
    /// Everything between two addresses.
    pub(crate) fn between(source: IpAddr, destination: IpAddr) -> Self {
        let whole = |address: IpAddr| (address, if address.is_ipv4() { 32 } else { 128 });
        Self { source: whole(source), destination: whole(destination), udp: None }
    }

    /// Everything of the family of this address.
    pub(crate) fn everything_like(address: IpAddr) -> Self {
        let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self { source: (any, 0), destination: (any, 0), udp: None }
    }
}

/// Which way packets go that a policy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    In = 0,
    Out = 1,
}

/// What is to become of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// They are refused.
    Refuse,
    /// They must have come, or go, through a state of this request.
    Tunnel {
        request: u32,
        /// Where outer packets go to, and whence; any, for what comes.
        ends: Option<(Option<IpAddr>, IpAddr)>,
    },
}

/// What is to become of which packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) id: PolicyId,
    /// The least is asked first.
    pub(crate) priority: u32,
    pub(crate) action: Action,
}

/// Which policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyId {
    pub(crate) selector: Selector,
    pub(crate) direction: Direction,
    /// The virtual interface that it belongs to.
    pub(crate) interface: u32,
}

/// A message that is being written. It may hold keys.
pub(super) struct Message(Zeroizing<Vec<u8>>);

impl Message {
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut octets = Zeroizing::new(Vec::with_capacity(1_024));
        octets.extend_from_slice(&[0; 4]);
        octets.extend_from_slice(&kind.to_ne_bytes());
        octets.extend_from_slice(&(libc::NLM_F_REQUEST as u16 | flags).to_ne_bytes());
        octets.extend_from_slice(&[0; 8]);
        octets.extend_from_slice(body);
        Self(octets).measured()
    }

    fn with(mut self, attribute: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("an attribute is far shorter than 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&attribute.to_ne_bytes());
        self.0.extend_from_slice(value);
        let padded = self.0.len().next_multiple_of(4);
        self.0.resize(padded, 0);
        self.measured()
    }

    fn measured(mut self) -> Self {
        let length = u32::try_from(self.0.len()).expect("a message is far shorter than 4 GiB");
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// A change, which the kernel acknowledges.
const CHANGE: u16 = libc::NLM_F_ACK as u16;

/// Adds a state.
pub(super) fn add_state(state: &State<'_>) -> Message {
    state_message(layout::NEW_STATE, CHANGE | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, state)
}

/// Gives a state other ports; its key, its addresses and its sequence stay.
pub(super) fn update_state(state: &State<'_>) -> Message {
    state_message(layout::UPDATE_STATE, CHANGE, state)
}

fn state_message(kind: u16, flags: u16, state: &State<'_>) -> Message {
    let mut body = [0; layout::STATE];
    put_address(&mut body[at::STATE_DESTINATION..], state.id.destination);
    body[at::STATE_SPI..][..4].copy_from_slice(&state.id.spi.0.to_be_bytes());
    body[at::STATE_PROTOCOL] = layout::ESP;
    put_address(&mut body[at::STATE_SOURCE..], state.source);
    put_no_limits(&mut body[at::STATE_LIMITS..]);
    body[at::STATE_REQUEST..][..4].copy_from_slice(&state.request.to_ne_bytes());
    body[at::STATE_FAMILY..][..2].copy_from_slice(&family(state.id.destination).to_ne_bytes());
    body[at::STATE_MODE] = layout::TUNNEL_MODE;
    body[at::STATE_FLAGS] = layout::STATE_FLAGS;
    let message = Message::new(kind, flags, &body)
        .with(layout::AEAD, &aead(state.key))
        .with(layout::ENCAPSULATION, &encapsulation(state.ports))
        .with(layout::INTERFACE, &state.interface.to_ne_bytes());
    match &state.sequence {
        Sequence::Seals(last) => {
            let mut replay = [0; layout::REPLAY_LENGTH];
            replay[..4].copy_from_slice(&last.to_ne_bytes());
            message.with(layout::REPLAY, &replay)
        }
        Sequence::Opens { highest, seen } => message
            .with(layout::REPLAY_WINDOW, &replay_window(*highest, seen))
            .with(layout::MAPPING_THRESHOLD, &MAPPING_PAUSE.to_ne_bytes()),
    }
}

/// The cipher by the kernel's name, with its key and salt.
fn aead(key: &EspKey) -> Zeroizing<Vec<u8>> {
    let name: &[u8] = match key.suite() {
        CipherSuite::ChaCha20Poly1305 => b"rfc7539esp(chacha20,poly1305)",
        _ => b"rfc4106(gcm(aes))",
    };
    let material = key.expose();
    let bits = u32::try_from(material.len() * 8).expect("a key has some hundred bits");
    let mut value = Zeroizing::new(vec![0; NAME]);
    value[..name.len()].copy_from_slice(name);
    value.extend_from_slice(&bits.to_ne_bytes());
    value.extend_from_slice(&ICV_BITS.to_ne_bytes());
    value.extend_from_slice(material);
    value
}

fn encapsulation((source, destination): (u16, u16)) -> [u8; 24] {
    let mut value = [0; 24];
    value[..2].copy_from_slice(&layout::IN_UDP.to_ne_bytes());
    value[2..4].copy_from_slice(&source.to_be_bytes());
    value[4..6].copy_from_slice(&destination.to_be_bytes());
    value
}

/// Words of the window, numbers sealed, highest number opened, both again for high halves, width of the window; the words.
fn replay_window(highest: u32, seen: &[u32]) -> Vec<u8> {
    let words = REPLAY_NUMBERS / WORD;
    let mut value = Vec::with_capacity(layout::REPLAY_WINDOW_HEADER + words as usize * 4);
    for number in [words, 0, highest, 0, 0, REPLAY_NUMBERS] {
        value.extend_from_slice(&number.to_ne_bytes());
    }
    for word in seen.iter().copied().chain(std::iter::repeat(0)).take(words as usize) {
        value.extend_from_slice(&word.to_ne_bytes());
    }
    value
}

/// No end by octets, packets or age.
fn put_no_limits(place: &mut [u8]) {
    place[..32].fill(0xff);
}

/// Removes a state.
pub(super) fn remove_state(id: &StateId) -> Message {
    Message::new(layout::DELETE_STATE, CHANGE, &state_id(id))
}

fn state_id(id: &StateId) -> [u8; layout::STATE_ID] {
    let mut body = [0; layout::STATE_ID];
    put_address(&mut body, id.destination);
    body[at::ID_SPI..][..4].copy_from_slice(&id.spi.0.to_be_bytes());
    body[at::ID_FAMILY..][..2].copy_from_slice(&family(id.destination).to_ne_bytes());
    body[at::ID_PROTOCOL] = layout::ESP;
    body
}

/// Asks how far a state has come; the answer holds no key.
pub(super) fn ask_counters(id: &StateId) -> Message {
    let mut body = [0; layout::COUNTERS_ID];
    body[..layout::STATE_ID].copy_from_slice(&state_id(id));
    Message::new(layout::GET_COUNTERS, 0, &body)
}

/// Asks for all states.
pub(super) fn ask_states() -> Message {
    Message::new(layout::GET_STATE, libc::NLM_F_DUMP as u16, &[])
}

/// Asks for all policies.
pub(super) fn ask_policies() -> Message {
    Message::new(layout::GET_POLICY, libc::NLM_F_DUMP as u16, &[])
}

/// Puts a policy in the place of the one with its identity, if there is one.
pub(super) fn put_policy(policy: &Policy) -> Message {
    let mut body = [0; layout::POLICY];
    put_selector(&mut body, &policy.id.selector);
    put_no_limits(&mut body[at::POLICY_LIMITS..]);
    body[at::POLICY_PRIORITY..][..4].copy_from_slice(&policy.priority.to_ne_bytes());
    body[at::POLICY_DIRECTION] = policy.id.direction as u8;
    body[at::POLICY_ACTION] = u8::from(policy.action == Action::Refuse);
    let message =
        Message::new(layout::UPDATE_POLICY, CHANGE, &body).with(layout::INTERFACE, &policy.id.interface.to_ne_bytes());
    match &policy.action {
        Action::Refuse => message,
        Action::Tunnel { request, ends } => message.with(layout::TEMPLATE, &template(*request, *ends)),
    }
}

fn template(request: u32, ends: Option<(Option<IpAddr>, IpAddr)>) -> [u8; layout::TEMPLATE_LENGTH] {
    let mut value = [0; layout::TEMPLATE_LENGTH];
    let (source, destination) = ends.unwrap_or((None, Ipv4Addr::UNSPECIFIED.into()));
    put_address(&mut value, destination);
    value[at::TEMPLATE_PROTOCOL] = layout::ESP;
    value[at::TEMPLATE_FAMILY..][..2].copy_from_slice(&family(destination).to_ne_bytes());
    if let Some(source) = source {
        put_address(&mut value[at::TEMPLATE_SOURCE..], source);
    }
    value[at::TEMPLATE_REQUEST..][..4].copy_from_slice(&request.to_ne_bytes());
    value[at::TEMPLATE_MODE] = layout::TUNNEL_MODE;
    value[at::TEMPLATE_ALGORITHMS..].fill(0xff);
    value
}

fn put_selector(place: &mut [u8], selector: &Selector) {
    put_address(place, selector.destination.0);
    put_address(&mut place[at::SELECTOR_SOURCE..], selector.source.0);
    place[at::SELECTOR_FAMILY..][..2].copy_from_slice(&family(selector.destination.0).to_ne_bytes());
    place[at::SELECTOR_PREFIXES..][..2].copy_from_slice(&[selector.destination.1, selector.source.1]);
    let Some(ports) = selector.udp else { return };
    place[at::SELECTOR_PROTOCOL] = libc::IPPROTO_UDP as u8;
    for (number, port) in [ports.destination, ports.source].into_iter().enumerate() {
        if let Some(port) = port {
            let place = &mut place[at::SELECTOR_PORTS + number * 4..][..4];
            place[..2].copy_from_slice(&port.to_be_bytes());
            place[2..].copy_from_slice(&WHOLE_PORT.to_be_bytes());
        }
    }
}

/// Removes a policy.
pub(super) fn remove_policy(id: &PolicyId) -> Message {
    let mut selector = [0; layout::SELECTOR];
    put_selector(&mut selector, &id.selector);
    remove_policy_as(&selector, id.direction as u8, id.interface)
}

/// Removes a policy whose selector is as the kernel has told it.
pub(super) fn remove_policy_as(selector: &[u8; layout::SELECTOR], direction: u8, interface: u32) -> Message {
    let mut body = [0; layout::POLICY_ID];
    body[..layout::SELECTOR].copy_from_slice(selector);
    body[at::POLICY_ID_DIRECTION] = direction;
    Message::new(layout::DELETE_POLICY, CHANGE, &body).with(layout::INTERFACE, &interface.to_ne_bytes())
}
