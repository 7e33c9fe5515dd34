//! `rendezvous`: both ends send Tunnel Request to the RS, which hands each content to the other ([004] figure 3).

use ntmobile_proto::policy::{Opening, RelayHandshakeStrategy};
use ntmobile_wire::message::{RelayHandshake, TunnelEnd};

/// Neither end waits for the other's leg; the first authenticated data packet proves the tunnel key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rendezvous;

impl RelayHandshakeStrategy for Rendezvous {
    fn name(&self) -> &'static str {
        "rendezvous"
    }

    fn kind(&self) -> RelayHandshake {
        RelayHandshake::Rendezvous
    }

    fn opening(&self, end: TunnelEnd) -> Opening {
        match end {
            TunnelEnd::Mn => Opening::SendKey,
            TunnelEnd::Cn | TunnelEnd::Unknown(_) => Opening::SendPresence,
        }
    }

    fn relay_answers(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_send_and_only_mn_brings_a_key() {
        assert_eq!(Rendezvous.opening(TunnelEnd::Mn), Opening::SendKey);
        assert_eq!(Rendezvous.opening(TunnelEnd::Cn), Opening::SendPresence);
        assert!(Rendezvous.relay_answers());
    }
}
