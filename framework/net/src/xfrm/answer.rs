//! What the kernel says about its IPsec tables. Nothing in it is taken for granted: what is not all there, or of a kind that is
//! not known, is passed over.

use super::layout::{self, address_at, array_at, at, u16_at, u32_at, u64_at};
use super::order::{HEADER, Sequence, StateId};
use ntmobile_wire::identifier::Spi;
use std::net::{IpAddr, SocketAddr};

/// One message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has done what was asked, or refuses with this number of an error.
    Acknowledged(i32),
    /// It has told all.
    Done,
    /// How far a state has come.
    Counters(Counters),
    /// A state of this interface.
    State { id: StateId, interface: u32 },
    /// A policy of this interface.
    Policy { selector: [u8; layout::SELECTOR], direction: u8, interface: u32 },
    /// Something that it tells by itself.
    Event(KernelEvent),
    /// Something else.
    Other,
}

/// How far a state has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Packets that it has sealed, or that were authentic.
    pub(crate) packets: u64,
    /// Their octets, inner packets alone.
    pub(crate) bytes: u64,
    /// Its sequence.
    pub(crate) sequence: Sequence,
}

/// What the kernel tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KernelEvent {
    /// A packet to this address has found a policy and no state.
    Wanted(IpAddr),
    /// An authentic packet of this SPI has come from elsewhere than the state says.
    Moved { spi: Spi, from: SocketAddr },
}

/// Splits what came in one piece into messages.
pub(super) fn answers(mut octets: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((kind, body, rest)) = split(octets, HEADER, |octets| {
        let length = usize::try_from(u32_at(octets, 0)?).ok()?;
        Some((length, u16_at(octets, 4)?))
    }) {
        answers.push(answer(kind, body).unwrap_or(Answer::Other));
        octets = rest;
    }
    answers
}

/// The first of several things that begin with their length: kind, body, and the things behind it.
fn split(
    octets: &[u8],
    header: usize,
    read: impl FnOnce(&[u8]) -> Option<(usize, u16)>,
) -> Option<(u16, &[u8], &[u8])> {
    let (length, kind) = read(octets)?;
    let body = octets.get(header..length)?;
    Some((kind, body, octets.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The value of the first attribute of a kind.
fn attribute(mut octets: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((kind, value, rest)) =
        split(octets, 4, |octets| Some((usize::from(u16_at(octets, 0)?), u16_at(octets, 2)?)))
    {
        if kind == wanted {
            return Some(value);
        }
        octets = rest;
    }
    None
}

fn answer(kind: u16, body: &[u8]) -> Option<Answer> {
    match i32::from(kind) {
        libc::NLMSG_ERROR => return Some(Answer::Acknowledged(array_at(body, 0).map(i32::from_ne_bytes)?)),
        libc::NLMSG_DONE => return Some(Answer::Done),
        _ => {}
    }
    match kind {
        layout::NEW_COUNTERS => counters(body.get(layout::COUNTERS_ID..)?).map(Answer::Counters),
        layout::NEW_STATE => {
            let family = u16_at(body, at::STATE_FAMILY)?;
            let id = StateId {
                destination: address_at(body, at::STATE_DESTINATION, family)?,
                spi: Spi(array_at(body, at::STATE_SPI).map(u32::from_be_bytes)?),
            };
            let interface = u32_at(attribute(body.get(layout::STATE..)?, layout::INTERFACE)?, 0)?;
            Some(Answer::State { id, interface })
        }
        layout::NEW_POLICY => {
            let (selector, direction) = (array_at(body, 0)?, *body.get(at::POLICY_DIRECTION)?);
            let interface = u32_at(attribute(body.get(layout::POLICY..)?, layout::INTERFACE)?, 0)?;
            Some(Answer::Policy { selector, direction, interface })
        }
        layout::ACQUIRE => {
            body.get(..layout::ACQUIRE_LENGTH)?;
            let selector = body.get(at::ACQUIRE_SELECTOR..)?;
            let family = u16_at(selector, at::SELECTOR_FAMILY)?;
            Some(Answer::Event(KernelEvent::Wanted(address_at(selector, 0, family)?)))
        }
        layout::MAPPING => {
            body.get(..layout::MAPPING_LENGTH)?;
            let family = u16_at(body, at::ID_FAMILY)?;
            let address = address_at(body, at::MAPPING_SOURCE, family)?;
            let port = array_at(body, at::MAPPING_PORT).map(u16::from_be_bytes)?;
            let spi = Spi(array_at(body, at::ID_SPI).map(u32::from_be_bytes)?);
            Some(Answer::Event(KernelEvent::Moved { spi, from: SocketAddr::new(address, port) }))
        }
        _ => None,
    }
}

fn counters(attributes: &[u8]) -> Option<Counters> {
    let lifetime = attribute(attributes, layout::LIFETIME)?.get(..layout::LIFETIME_LENGTH)?;
    let sequence = match attribute(attributes, layout::REPLAY_WINDOW) {
        Some(window) => {
            let words = window.get(layout::REPLAY_WINDOW_HEADER..)?.chunks_exact(4);
            let seen = words.map(|word| u32_at(word, 0)).collect::<Option<Vec<u32>>>()?;
            Sequence::Opens { highest: u32_at(window, 8)?, seen }
        }
        None => Sequence::Seals(u32_at(attribute(attributes, layout::REPLAY)?, 0)?),
    };
    Some(Counters { bytes: u64_at(lifetime, 0)?, packets: u64_at(lifetime, 8)?, sequence })
}
