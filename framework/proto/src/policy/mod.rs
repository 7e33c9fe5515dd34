//! The decisions that experiments vary, as small synchronous traits: a pure function of what is known → what to do next, and
//! a name. The named plugins are in the `strategies` crate, one file each; a [`Strategies`] is the set that an entity runs with.

mod agreement;
mod handover;
mod login;
mod movement;
mod path;
mod protection;
mod reachability;
mod relay_handshake;

pub use agreement::{AgreementError, AgreementMaterial, KeyAgreementStrategy};
pub use handover::{HandoverStep, HandoverStrategy};
pub use login::{LoginKnowledge, LoginStep, LoginStrategy};
pub use movement::{MovementDetection, Observation};
pub use path::{PathChoice, PathPolicy, PathQuestion};
pub use protection::{InnerProtection, OuterKey, TunnelProtectionStrategy};
pub use reachability::{Maintenance, ReachabilityStrategy};
pub use relay_handshake::{Opening, RelayHandshakeStrategy};

use ntmobile_wire::message::{KeyAgreement, RelayHandshake, TunnelProtection};
use std::sync::Arc;

/// What a node or a DC decides by. What an entity *starts* follows the single choices; what it is *directed* to do follows
/// the variant that the directing message names, so every variant is at hand.
#[derive(Clone)]
pub struct Strategies {
    /// How a node logs in.
    pub login: Arc<dyn LoginStrategy>,
    /// How a node stays reachable.
    pub reachability: Arc<dyn ReachabilityStrategy>,
    /// How a node notices that it has moved.
    pub movement: Arc<dyn MovementDetection>,
    /// What a node does about its tunnels when it has moved.
    pub handover: Arc<dyn HandoverStrategy>,
    /// Which way the DC sends a tunnel.
    pub path: Arc<dyn PathPolicy>,
    /// The agreement that a node asks for.
    pub agreement: KeyAgreement,
    /// The protection that a node asks for.
    pub protection: TunnelProtection,
    /// The relay handshake that a DC directs.
    pub relay_handshake: RelayHandshake,
    /// Every key agreement that can be directed.
    pub agreements: Vec<Arc<dyn KeyAgreementStrategy>>,
    /// Every protection that can be directed.
    pub protections: Vec<Arc<dyn TunnelProtectionStrategy>>,
    /// Every relay handshake that can be directed.
    pub relay_handshakes: Vec<Arc<dyn RelayHandshakeStrategy>>,
}

impl Strategies {
    /// The agreement that a message names, if it is known here.
    pub fn agreement_of(&self, kind: KeyAgreement) -> Option<&dyn KeyAgreementStrategy> {
        self.agreements.iter().find(|strategy| strategy.kind() == kind).map(Arc::as_ref)
    }

    /// The protection that a message names, if it is known here.
    pub fn protection_of(&self, kind: TunnelProtection) -> Option<&dyn TunnelProtectionStrategy> {
        self.protections.iter().find(|strategy| strategy.kind() == kind).map(Arc::as_ref)
    }

    /// The relay handshake that a message names, if it is known here.
    pub fn relay_handshake_of(&self, kind: RelayHandshake) -> Option<&dyn RelayHandshakeStrategy> {
        self.relay_handshakes.iter().find(|strategy| strategy.kind() == kind).map(Arc::as_ref)
    }
}
