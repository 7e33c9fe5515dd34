//! A typed refusal, in place of any answer.

use crate::codec::{numbered, positional};
use crate::identifier::Negotiation;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalCode {
    /// No such name.
    NoSuchName,
    /// The credentials are wrong, or the account does not exist.
    WrongCredentials,
    /// The peer is registered but could not be woken.
    PeerAsleep,
    /// The peer has never registered, or its registration ran out.
    PeerNotRegistered,
    /// A relay is needed and none is to be had.
    NoRelay,
    /// The key has expired.
    ExpiredKey,
    /// The SPI is in use: draw again.
    SpiInUse,
    /// The other end's negotiation goes first; wait for its tunnel.
    Superseded,
    /// A server that is needed did not answer.
    ServerUnreachable,
    /// The peer's or a server's store failed.
    StorageFailed,
    /// The sender may not ask this.
    NotAllowed,
    /// The server is full; try again later.
    Overloaded,
    /// The message is understood but something in it is not supported.
    Unsupported,
    /// The sender is not registered, or not any more: it is to register first.
    NotRegistered,
    /// A code this version does not know.
    Unknown(u8),
}

numbered!(RefusalCode { 1 NoSuchName, 2 WrongCredentials, 3 PeerAsleep, 4 PeerNotRegistered, 5 NoRelay, 6 ExpiredKey, 7 SpiInUse, 8 Superseded, 9 ServerUnreachable, 10 StorageFailed, 11 NotAllowed, 12 Overloaded, 13 Unsupported, 14 NotRegistered });

/// A typed refusal in place of an answer, under the key of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// For people, at most 120 bytes.
    pub detail: String,
    /// The negotiation it ends, where it belongs to one.
    pub negotiation: Option<Negotiation>,
}

positional!(Refusal { code, detail, negotiation });
