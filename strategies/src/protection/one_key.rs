//! `one-key`: on a direct path one temporary key alone protects Tunnel Request ([004]).

use ntmobile_proto::policy::{InnerProtection, OuterKey, TunnelProtectionStrategy};
use ntmobile_wire::message::TunnelProtection;

/// K_tmp seals the message and nothing more is needed inside; through an RS the RS key is outside and K_tmp inside.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneKey;

impl TunnelProtectionStrategy for OneKey {
    fn name(&self) -> &'static str {
        "one-key"
    }

    fn kind(&self) -> TunnelProtection {
        TunnelProtection::OneKey
    }

    fn outer_when_direct(&self) -> OuterKey {
        OuterKey::KTmp
    }

    fn inner_when_direct(&self) -> InnerProtection {
        InnerProtection::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_tunnel_request_has_the_temporary_key_alone() {
        assert_eq!(OneKey.outer_when_direct(), OuterKey::KTmp);
        assert_eq!(OneKey.inner_when_direct(), InnerProtection::Plain);
    }
}
