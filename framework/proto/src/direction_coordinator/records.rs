//! What a DC stores: K_ntmdc, what the AS vouches for, registrations, allotted addresses and server keys, each record with its
//! own version octet.

use super::nodes::Registration;
use crate::endpoint::Peer;
use crate::machine::{Record, Write};
use crate::time::{Instant, UnixTime};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Session, Transaction};
use ntmobile_wire::key::{NamedKey, Secret, secret_bytes};
use ntmobile_wire::message::{
    AuthenticationResponse, Message, NodeInformation, NodeInformationResponse, RegistrationResponse,
};
use ntmobile_wire::name::Fqdn;
use std::time::Duration;

/// Nodes' keys: `fqdn application key-id` → key.
pub(crate) const NODE_KEYS: &str = "node-key";
/// What the AS said of a node at its last login here: `fqdn application` → Authentication Response.
pub(crate) const VOUCHERS: &str = "node-voucher";
/// Where nodes are: `fqdn application` → registration.
pub(crate) const REGISTRATIONS: &str = "registration";
/// Allotted places in the virtual prefixes: `fqdn` → index.
pub(crate) const ADDRESSES: &str = "address";
/// Keys shared with other servers: `purpose name side` → key.
pub(crate) const SERVER_KEYS: &str = "server-key";

/// All of them, in the order in which they are put back: what another record builds on comes first.
pub(crate) const TABLES: [&str; 5] = [ADDRESSES, NODE_KEYS, VOUCHERS, REGISTRATIONS, SERVER_KEYS];

const VERSION: u8 = 1;

/// A key and its end on the wall clock.
pub(crate) fn key_write(table: &'static str, name: Bytes, key: &NamedKey, ends: UnixTime) -> Write {
    let mut value = Vec::with_capacity(49);
    value.put_u8(VERSION);
    value.put_u64(key.id.0);
    value.put_slice(key.secret.expose());
    value.put_u64(ends.0);
    Write { table, key: name, value: Some(secret_bytes(value)) }
}

/// The key of a record and when it ends; `None` where the record is not sound or the key has expired.
pub(crate) fn read_key(mut value: &[u8], now: Instant, wall: UnixTime) -> Option<(NamedKey, Instant)> {
    if value.len() != 49 || value.get_u8() != VERSION {
        return None;
    }
    let id = KeyId(value.get_u64());
    let mut secret = [0; 32];
    value.copy_to_slice(&mut secret);
    let left = value.get_u64().checked_sub(wall.0).filter(|left| *left > 0)?;
    Some((NamedKey { id, secret: Secret::from_bytes(secret) }, now + Duration::from_secs(left)))
}

/// What a record of one application is called.
pub(super) fn application_name(peer: &Peer) -> Bytes {
    Bytes::from(format!("{} {}", peer.name, peer.application.0))
}

/// What a record of one key of an application is called.
pub(super) fn node_key_name(peer: &Peer, key: KeyId) -> Bytes {
    Bytes::from(format!("{} {} {:016x}", peer.name, peer.application.0, key.0))
}

/// The record of a K_ntmdc that is made now.
pub(super) fn node_key_write(wall: UnixTime, peer: &Peer, key: &NamedKey, lifetime: Duration) -> Write {
    let ends = UnixTime(wall.0.saturating_add(lifetime.as_secs()));
    key_write(NODE_KEYS, node_key_name(peer, key.id), key, ends)
}

/// The application that a record is called by; what follows the first two words is not looked at.
pub(super) fn read_application(name: &str) -> Option<Peer> {
    let mut words = name.split(' ');
    let (name, application) = (words.next()?, words.next()?);
    Some(Peer { name: Fqdn::parse(name).ok()?, application: ApplicationId(application.parse().ok()?) })
}

/// The deletion of a record that was read.
pub(super) fn deletion_of(record: &Record) -> Option<Write> {
    let table = TABLES.into_iter().find(|table| *table == record.table)?;
    Some(Write { table, key: record.key.clone(), value: None })
}

/// What the AS said of a node.
pub(super) fn voucher_write(peer: &Peer, response: &AuthenticationResponse) -> Write {
    let value = [&[VERSION], &*frame(response.clone())].concat();
    Write { table: VOUCHERS, key: application_name(peer), value: Some(value.into()) }
}

/// Reads what the AS said.
pub(super) fn read_voucher(value: &[u8]) -> Option<AuthenticationResponse> {
    let (VERSION, frame) = value.split_first().map(|(version, frame)| (*version, frame))? else { return None };
    match Frame::decode(frame).ok()?.message {
        Message::AuthenticationResponse(response) => Some(response),
        _ => None,
    }
}

/// A registration, as it was granted.
#[derive(Debug)]
pub(super) struct StoredRegistration {
    /// The key that it came under.
    pub(super) key: KeyId,
    /// Where the node is. It holds as long as whoever puts it back says.
    pub(super) registration: Registration,
    /// What the node was told.
    pub(super) granted: RegistrationResponse,
    /// When K_ntmns ends, if there is one.
    pub(super) notification_ends: UnixTime,
}

/// A registration: the key (8 octets), the epoch (4), the end of K_ntmns (8), where the node is (*Node Information Response*,
/// behind its length in 2 octets), and what it was told (*Registration Response*).
pub(super) fn registration_write(
    peer: &Peer,
    (key, registration): (KeyId, &Registration),
    granted: &RegistrationResponse,
    notification_ends: UnixTime,
) -> Write {
    let node = NodeInformation {
        node: peer.name.clone(),
        application: peer.application,
        legs: registration.legs.clone(),
        real: registration.real.clone(),
        reachability: registration.reachability,
        addresses: granted.addresses,
        session: registration.session,
    };
    let node = frame(NodeInformationResponse { node });
    let granted = frame(granted.clone());
    let mut value = Vec::with_capacity(23 + node.len() + granted.len());
    value.put_u8(VERSION);
    value.put_u64(key.0);
    value.put_u32(registration.epoch);
    value.put_u64(notification_ends.0);
    value.put_u16(u16::try_from(node.len()).expect("a message fits one datagram"));
    value.put_slice(&node);
    value.put_slice(&granted);
    Write { table: REGISTRATIONS, key: application_name(peer), value: Some(secret_bytes(value)) }
}

/// Reads a registration; `until` is how long it is to hold.
pub(super) fn read_registration(
    mut value: &[u8],
    until: impl FnOnce(&NodeInformation) -> Instant,
) -> Option<StoredRegistration> {
    if value.len() < 23 || value.get_u8() != VERSION {
        return None;
    }
    let (key, epoch, notification_ends) = (KeyId(value.get_u64()), value.get_u32(), UnixTime(value.get_u64()));
    let length = usize::from(value.get_u16());
    let (node, granted) = value.split_at_checked(length)?;
    let Message::NodeInformationResponse(NodeInformationResponse { node }) = Frame::decode(node).ok()?.message else {
        return None;
    };
    let Message::RegistrationResponse(granted) = Frame::decode(granted).ok()?.message else { return None };
    let until = until(&node);
    let NodeInformation { legs, real, reachability, session, .. } = node;
    let registration = Registration { legs, real, reachability, epoch, session, until };
    Some(StoredRegistration { key, registration, granted, notification_ends })
}

fn frame(message: impl Into<Message>) -> Bytes {
    Frame { transaction: Transaction(0), session: Session(0), message: message.into(), trace: None }.encode()
}

/// An allotted place.
pub(crate) fn address_write(node: &str, index: u32) -> Write {
    let mut value = BytesMut::with_capacity(5);
    value.put_u8(VERSION);
    value.put_u32(index);
    Write { table: ADDRESSES, key: Bytes::copy_from_slice(node.as_bytes()), value: Some(value.freeze()) }
}

/// Reads an allotted place.
pub(crate) fn read_address(mut value: &[u8]) -> Option<u32> {
    (value.len() == 5 && value.get_u8() == VERSION).then(|| value.get_u32())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_wire::address::{Leg, VirtualAddresses};
    use ntmobile_wire::message::Reachability;
    use proptest::prelude::*;

    fn stored() -> (Peer, Registration, Write) {
        let peer = Peer { name: Fqdn::parse("alice.u1.example").expect("a name"), application: ApplicationId(7) };
        let outer = "198.51.100.1:40000".parse().expect("an address");
        let registration = Registration {
            legs: vec![Leg { real: "10.0.0.2:4500".parse().expect("an address"), outer }],
            real: vec!["10.0.0.2:4500".parse().expect("an address")],
            reachability: Reachability::TcpNs,
            epoch: 3,
            session: Session(9),
            until: Instant::ORIGIN,
        };
        let granted = RegistrationResponse {
            addresses: VirtualAddresses {
                v4: "100.64.0.9".parse().expect("an address"),
                v6: "fd00::9".parse().expect("an address"),
            },
            outer,
            lifetime_s: 7_200,
            keepalive_s: 0,
            notification: None,
            prefix_lengths: (20, 64),
        };
        let write = registration_write(&peer, (KeyId(5), &registration), &granted, UnixTime(77));
        (peer, registration, write)
    }

    #[test]
    fn a_registration_is_read_as_it_was_written() {
        let (peer, registration, write) = stored();
        let name = std::str::from_utf8(&write.key).expect("a name");
        assert_eq!(read_application(name), Some(peer));
        let read = read_registration(&write.value.expect("a value"), |_| Instant(1)).expect("it was just written");
        assert_eq!((read.key, read.notification_ends, read.registration.until), (KeyId(5), UnixTime(77), Instant(1)));
        assert_eq!(read.registration.legs, registration.legs);
        assert_eq!((read.registration.epoch, read.registration.session), (3, Session(9)));
        assert_eq!(read.granted.lifetime_s, 7_200);
    }

    proptest! {
        #[test]
        fn a_damaged_registration_is_refused_or_read_but_never_panics(cut in 0usize..300, at in 0usize..300, xor in 1u8..) {
            let mut value = stored().2.value.expect("a value").to_vec();
            let at = at % value.len();
            value[at] ^= xor;
            value.truncate(cut);
            let _ = read_registration(&value, |_| Instant::ORIGIN);
        }
    }
}
