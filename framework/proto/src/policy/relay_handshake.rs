//! How two ends meet at an RS.

use ntmobile_wire::message::{RelayHandshake, TunnelEnd};

/// What an end does when it is directed to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Open the leg with Hole Punching, then acknowledge the direction, then await the peer's Tunnel Request.
    PunchThenAwait,
    /// Acknowledge, then send Tunnel Request with the tunnel key; the peer's Tunnel Response completes it.
    SendKey,
    /// Acknowledge, then send Tunnel Request without a key; the RS's Tunnel Response brings the peer's.
    SendPresence,
}

/// A handshake at the RS.
pub trait RelayHandshakeStrategy: Send + Sync {
    /// Its name in scenario files.
    fn name(&self) -> &'static str;

    /// Its number in messages.
    fn kind(&self) -> RelayHandshake;

    /// What each end does.
    fn opening(&self, end: TunnelEnd) -> Opening;

    /// Whether the RS itself completes the meeting (with Tunnel Response to both) instead of forwarding.
    fn relay_answers(&self) -> bool;
}
