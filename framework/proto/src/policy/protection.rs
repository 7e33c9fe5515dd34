//! Which key seals Tunnel Request, and whether K_mncn is wrapped once more inside.

use ntmobile_wire::message::TunnelProtection;

/// The key that seals Tunnel Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterKey {
    /// K_tun, which an RS on the way holds too.
    KTun,
    /// K_tmp, which only the two ends and their DCs hold.
    KTmp,
}

/// Whether the content of Tunnel Request is wrapped in K_tmp besides the sealing of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerProtection {
    /// Wrapped in K_tmp.
    Wrapped,
    /// As it is: the message itself is already sealed with K_tmp.
    Plain,
}

/// A variant of Tunnel Request's protection.
pub trait TunnelProtectionStrategy: Send + Sync {
    /// Its name in scenario files.
    fn name(&self) -> &'static str;

    /// Its number in messages.
    fn kind(&self) -> TunnelProtection;

    /// Which key seals the message on a direct path. Through an RS it is always K_tun, since the RS must authenticate it.
    fn outer_when_direct(&self) -> OuterKey;

    /// Whether the content is wrapped on a direct path. Through an RS it always is, since the RS must not read it.
    fn inner_when_direct(&self) -> InnerProtection;
}
