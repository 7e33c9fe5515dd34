//! `two-keys`: K_tun outside and K_tmp inside, on every path ([003]).

use ntmobile_proto::policy::{InnerProtection, OuterKey, TunnelProtectionStrategy};
use ntmobile_wire::message::TunnelProtection;

/// The same protection with and without an RS, so that a node need not know which it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct TwoKeys;

impl TunnelProtectionStrategy for TwoKeys {
    fn name(&self) -> &'static str {
        "two-keys"
    }

    fn kind(&self) -> TunnelProtection {
        TunnelProtection::TwoKeys
    }

    fn outer_when_direct(&self) -> OuterKey {
        OuterKey::KTun
    }

    fn inner_when_direct(&self) -> InnerProtection {
        InnerProtection::Wrapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_tunnel_request_has_both_keys() {
        assert_eq!(TwoKeys.outer_when_direct(), OuterKey::KTun);
        assert_eq!(TwoKeys.inner_when_direct(), InnerProtection::Wrapped);
    }
}
