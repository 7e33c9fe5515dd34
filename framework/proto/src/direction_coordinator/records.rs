//! What a DC stores: K_ntmdc, allotted addresses and server keys, each record with its own version octet.

use crate::machine::Write;
use crate::time::{Instant, UnixTime};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ntmobile_wire::identifier::KeyId;
use ntmobile_wire::key::{NamedKey, Secret};
use std::time::Duration;

/// Nodes' keys: `fqdn 0 application` → key.
pub(crate) const NODE_KEYS: &str = "node-key";
/// Allotted places in the virtual prefixes: `fqdn` → index.
pub(crate) const ADDRESSES: &str = "address";
/// Keys shared with other servers: `purpose name` → key.
pub(crate) const SERVER_KEYS: &str = "server-key";

const VERSION: u8 = 1;

/// A key and its end on the wall clock.
pub(crate) fn key_write(table: &'static str, name: Bytes, key: &NamedKey, ends: UnixTime) -> Write {
    let mut value = BytesMut::with_capacity(49);
    value.put_u8(VERSION);
    value.put_u64(key.id.0);
    value.put_slice(key.secret.expose());
    value.put_u64(ends.0);
    Write { table, key: name, value: Some(value.freeze()) }
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
