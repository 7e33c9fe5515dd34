//! `forwarded`: CN opens its leg by Hole Punching; Tunnel Request and Response pass the RS as they are ([003] figure 7).

use ntmobile_proto::policy::{Opening, RelayHandshakeStrategy};
use ntmobile_wire::message::{RelayHandshake, TunnelEnd};

/// Only MN's key crosses the RS, and CN's answer is sealed with K_mncn: a round trip proves the tunnel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forwarded;

impl RelayHandshakeStrategy for Forwarded {
    fn name(&self) -> &'static str {
        "forwarded"
    }

    fn kind(&self) -> RelayHandshake {
        RelayHandshake::Forwarded
    }

    fn opening(&self, end: TunnelEnd) -> Opening {
        match end {
            TunnelEnd::Mn => Opening::SendKey,
            TunnelEnd::Cn | TunnelEnd::Unknown(_) => Opening::PunchThenAwait,
        }
    }

    fn relay_answers(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cn_opens_its_leg_and_mn_sends_the_key() {
        assert_eq!(Forwarded.opening(TunnelEnd::Cn), Opening::PunchThenAwait);
        assert_eq!(Forwarded.opening(TunnelEnd::Mn), Opening::SendKey);
        assert!(!Forwarded.relay_answers());
    }
}
