//! The strategies by name: explicit registration, choice, and errors that tell which names there are.

use crate::agreement::{KTmp, SealedToPublicKey};
use crate::handover::Resignal;
use crate::login::{ViaAs, ViaDc};
use crate::movement::{Event, KeepaliveFailure};
use crate::path::{AlwaysRelay, Paper};
use crate::protection::{OneKey, TwoKeys};
use crate::reachability::{TcpNs, UdpKeepalive};
use crate::relay_handshake::{Forwarded, Rendezvous};
use ntmobile_proto::policy::{
    HandoverStrategy, KeyAgreementStrategy, LoginStrategy, MovementDetection, PathPolicy, ReachabilityStrategy,
    RelayHandshakeStrategy, Strategies, TunnelProtectionStrategy,
};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// A name that no strategy of its kind is registered under.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no {kind} strategy named {name:?}; known are: {}", known.join(", "))]
pub struct UnknownStrategy {
    /// The kind that was to be chosen.
    pub kind: Kind,
    /// The name that was given.
    pub name: String,
    /// The names there are, in the order of their registration.
    pub known: Vec<&'static str>,
}

/// One list per kind, from one table.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $field:ident $register:ident $text:literal $strategy:ident $default:literal [$($builtin:expr),*],)*) => {
        /// What can be chosen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The kind's name in scenario files.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $text,)* }
            }
        }

        /// One name of each kind.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Choices {
            $($(#[$doc])* pub $field: String,)*
        }

        impl Default for Choices {
            fn default() -> Self {
                Self { $($field: $default.to_owned(),)* }
            }
        }

        impl Choices {
            /// What is chosen of this kind.
            pub fn of(&self, kind: Kind) -> &str {
                match kind { $(Kind::$kind => &self.$field,)* }
            }

            /// Chooses another strategy of this kind.
            pub fn set(&mut self, kind: Kind, name: impl Into<String>) {
                match kind { $(Kind::$kind => self.$field = name.into(),)* }
            }
        }

        /// Every strategy that can be chosen.
        #[derive(Clone)]
        pub struct Registry {
            $($field: Vec<Arc<dyn $strategy>>,)*
        }

        impl Registry {
            /// A registry with the strategies of this crate.
            pub fn builtin() -> Self {
                Self { $($field: vec![$(Arc::new($builtin)),*],)* }
            }

            /// The names of one kind, in the order of their registration.
            pub fn names(&self, kind: Kind) -> Vec<&'static str> {
                match kind { $(Kind::$kind => self.$field.iter().map(|strategy| strategy.name()).collect(),)* }
            }

            $(
                #[doc = concat!("Adds a strategy of the kind *", $text, "*; one of the same name is replaced.")]
                pub fn $register(&mut self, strategy: Arc<dyn $strategy>) -> &mut Self {
                    self.$field.retain(|known| known.name() != strategy.name());
                    self.$field.push(strategy);
                    self
                }
            )*
        }
    };
}

kinds! {
    /// How a node logs in.
    Login login register_login "login" LoginStrategy "via-as" [ViaAs, ViaDc],
    /// How a node stays reachable.
    Reachability reachability register_reachability "reachability" ReachabilityStrategy "udp-keepalive" [UdpKeepalive, TcpNs],
    /// How a node notices that it has moved.
    Movement movement register_movement "movement" MovementDetection "event" [Event, KeepaliveFailure::default()],
    /// What a node does about its tunnels when it has moved.
    Handover handover register_handover "handover" HandoverStrategy "resignal" [Resignal],
    /// Which way the DC sends a tunnel.
    Path path register_path "path" PathPolicy "paper" [Paper, AlwaysRelay],
    /// How K_mncn travels inside Tunnel Request.
    Agreement agreement register_agreement "agreement" KeyAgreementStrategy "k-tmp" [KTmp, SealedToPublicKey],
    /// How Tunnel Request is protected.
    Protection protection register_protection "protection" TunnelProtectionStrategy "two-keys" [TwoKeys, OneKey],
    /// How two ends meet at an RS.
    RelayHandshake relay_handshake register_relay_handshake "relay_handshake" RelayHandshakeStrategy "forwarded" [Forwarded, Rendezvous],
}

impl Registry {
    /// Turns names into the strategies that an entity runs with.
    pub fn choose(&self, choices: &Choices) -> Result<Strategies, UnknownStrategy> {
        let unknown = |kind| UnknownStrategy { kind, name: choices.of(kind).to_owned(), known: self.names(kind) };
        macro_rules! chosen {
            ($field:ident, $kind:ident) => {
                self.$field
                    .iter()
                    .find(|strategy| strategy.name() == choices.$field)
                    .cloned()
                    .ok_or_else(|| unknown(Kind::$kind))?
            };
        }
        Ok(Strategies {
            login: chosen!(login, Login),
            reachability: chosen!(reachability, Reachability),
            movement: chosen!(movement, Movement),
            handover: chosen!(handover, Handover),
            path: chosen!(path, Path),
            agreement: chosen!(agreement, Agreement).kind(),
            protection: chosen!(protection, Protection).kind(),
            relay_handshake: chosen!(relay_handshake, RelayHandshake).kind(),
            agreements: self.agreement.clone(),
            protections: self.protection.clone(),
            relay_handshakes: self.relay_handshake.clone(),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(Kind::ALL.iter().map(|kind| (kind.name(), self.names(*kind)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_proto::policy::{PathChoice, PathQuestion};
    use ntmobile_wire::message::{KeyAgreement, RelayHandshake, TunnelProtection};

    #[test]
    fn the_defaults_are_the_papers_choices() {
        let strategies = Registry::builtin().choose(&Choices::default()).expect("defaults are registered");
        assert_eq!(strategies.login.name(), "via-as");
        assert_eq!(strategies.reachability.name(), "udp-keepalive");
        assert_eq!(strategies.movement.name(), "event");
        assert_eq!(strategies.handover.name(), "resignal");
        assert_eq!(strategies.path.name(), "paper");
        assert_eq!(strategies.agreement, KeyAgreement::KTmp);
        assert_eq!(strategies.protection, TunnelProtection::TwoKeys);
        assert_eq!(strategies.relay_handshake, RelayHandshake::Forwarded);
    }

    #[test]
    fn every_registered_name_can_be_chosen_and_whatever_is_directed_is_at_hand() {
        let registry = Registry::builtin();
        for kind in Kind::ALL {
            for name in registry.names(*kind) {
                let mut choices = Choices::default();
                choices.set(*kind, name);
                let strategies = registry.choose(&choices).expect(name);
                for agreement in [KeyAgreement::KTmp, KeyAgreement::PublicKey] {
                    assert!(strategies.agreement_of(agreement).is_some());
                }
                for protection in [TunnelProtection::TwoKeys, TunnelProtection::OneKey] {
                    assert!(strategies.protection_of(protection).is_some());
                }
                for handshake in [RelayHandshake::Forwarded, RelayHandshake::Rendezvous] {
                    assert!(strategies.relay_handshake_of(handshake).is_some());
                }
                assert!(strategies.agreement_of(KeyAgreement::Unknown(9)).is_none());
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let choices = Choices { path: "shortest".into(), ..Choices::default() };
        let error = Registry::builtin().choose(&choices).err().expect("no such path policy");
        assert_eq!(error.known, ["paper", "always-relay"]);
        assert_eq!(error.to_string(), "there is no path strategy named \"shortest\"; known are: paper, always-relay");
    }

    #[test]
    fn a_strategy_of_ones_own_is_registered_beside_the_built_in_ones() {
        struct Never;
        impl PathPolicy for Never {
            fn name(&self) -> &'static str {
                "never"
            }
            fn choose(&self, _question: PathQuestion<'_>) -> PathChoice {
                PathChoice::Relayed { because: "never" }
            }
        }
        let mut registry = Registry::builtin();
        registry.register_path(Arc::new(Never)).register_path(Arc::new(Never));
        assert_eq!(registry.names(Kind::Path), ["paper", "always-relay", "never"]);
        let choices = Choices { path: "never".into(), ..Choices::default() };
        assert_eq!(registry.choose(&choices).expect("it is registered").path.name(), "never");
    }
}
