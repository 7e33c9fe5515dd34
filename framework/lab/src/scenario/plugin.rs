//! The kinds of plugin a scenario chooses from, their names, and which choice counts where.
//!
//! A choice is looked up from the most particular place to the most general: at the node or server, at its domain, in
//! `[plugins]`, and then the default of the kind. A kind can only be chosen where the choice has an effect: what the
//! initiating node asks for at nodes, what the DC decides at domains.

/// A kind of plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// How a node proves who it is.
    Auth,
    /// Who makes K_ntmdc and checks the login.
    Login,
    /// How a node's DC reaches it while it is idle.
    Reachability,
    /// What happens to tunnels when the node moves.
    Handover,
    /// How a node notices that it has moved.
    Movement,
    /// How K_mncn comes to both ends.
    Agreement,
    /// How Tunnel Request is protected.
    Protection,
    /// The cipher of application packets.
    Suite,
    /// How the DC decides between a direct path and a relay.
    Path,
    /// How two ends meet at an RS.
    RelayHandshake,
    /// Where a server keeps what it must not forget.
    Storage,
}

/// One name of a kind, with a line about what it does.
pub type Named = (&'static str, &'static str);

impl Kind {
    /// Every kind, in the order in which they are described.
    pub const ALL: [Self; 11] = [
        Self::Auth,
        Self::Login,
        Self::Reachability,
        Self::Movement,
        Self::Handover,
        Self::Agreement,
        Self::Protection,
        Self::Suite,
        Self::Path,
        Self::RelayHandshake,
        Self::Storage,
    ];

    /// The key that chooses it in a scenario.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Login => "login",
            Self::Reachability => "reachability",
            Self::Handover => "handover",
            Self::Movement => "movement",
            Self::Agreement => "agreement",
            Self::Protection => "protection",
            Self::Suite => "suite",
            Self::Path => "path",
            Self::RelayHandshake => "relay-handshake",
            Self::Storage => "storage",
        }
    }

    /// What one of this kind is called in an error message.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Auth | Self::Storage => "plugin",
            Self::Suite => "cipher suite",
            _ => "strategy",
        }
    }

    /// Every name of this kind; the first is the default.
    pub const fn known(self) -> &'static [Named] {
        match self {
            Self::Auth => &[
                ("password", "mail address and password, argon2id at the AS"),
                ("public-key", "TLS client certificate"),
            ],
            Self::Login => &[
                ("via-as", "the AS makes K_ntmdc and hands it to the DC"),
                ("via-dc", "the DC makes K_ntmdc and asks the AS only when it must"),
            ],
            Self::Reachability => &[
                ("udp-keepalive", "a datagram to the DC every 20 s"),
                ("tcp-ns", "a long-lived TCP connection to a Notification Server"),
            ],
            Self::Handover => &[("resignal", "register again, then build every tunnel again")],
            Self::Movement => &[
                ("event", "the host says that its addresses have changed"),
                ("keepalive-failure", "keepalives that stay unanswered"),
            ],
            Self::Agreement => {
                &[("k-tmp", "K_mncn wrapped in K_tmp"), ("public-key", "K_mncn sealed to the peer's public key")]
            }
            Self::Protection => &[
                ("two-keys", "K_tun outside, K_tmp inside, always"),
                ("one-key", "direct: one temporary key; relayed: the RS key outside"),
            ],
            Self::Suite => &[
                ("aes-128-gcm", "AES-128-GCM (RFC 4106); Wireshark decrypts the capture"),
                ("chacha20-poly1305", "ChaCha20-Poly1305 (RFC 7634)"),
            ],
            Self::Path => &[
                ("paper", "direct when one end is reachable or both share a NAT, else through an RS"),
                ("always-relay", "through an RS, always"),
            ],
            Self::RelayHandshake => &[
                ("forwarded", "CN opens its leg, then Tunnel Request is forwarded as it is"),
                ("rendezvous", "both ends send Tunnel Request to the RS, which hands the contents over"),
            ],
            Self::Storage => &[("memory", "forgotten at the end of the run"), ("sled", "an embedded database on disk")],
        }
    }

    /// The name that counts when nothing is chosen.
    pub const fn default_name(self) -> &'static str {
        self.known()[0].0
    }

    /// Whether it takes effect at nodes; the others do at servers.
    pub const fn is_of_nodes(self) -> bool {
        !matches!(self, Self::Path | Self::RelayHandshake | Self::Storage)
    }
}

/// Declares a table of a scenario in which plugins are chosen beside its other keys. Serde's `flatten` would do, but
/// loses where an error is and what is known there.
macro_rules! choosing {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }
        chooses { $($choice:ident $kind:ident,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            $(
                #[doc = concat!("Choice of a plugin: [`Kind::", stringify!($kind), "`](crate::scenario::plugin::Kind).")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $choice: Option<String>,
            )*
        }

        impl $name {
            /// The name chosen here for this kind, if one is.
            pub fn choice(&self, kind: $crate::scenario::plugin::Kind) -> Option<&str> {
                match kind {
                    $($crate::scenario::plugin::Kind::$kind => self.$choice.as_deref(),)*
                    #[allow(unreachable_patterns, reason = "one table offers every kind, the others some")]
                    _ => None,
                }
            }

            $(
                #[doc = concat!("Chooses the [`Kind::", stringify!($kind), "`](crate::scenario::plugin::Kind).")]
                pub fn $choice(mut self, name: impl Into<String>) -> Self {
                    self.$choice = Some(name.into());
                    self
                }
            )*

            /// Every choice that is made here.
            pub fn choices(&self) -> impl Iterator<Item = ($crate::scenario::plugin::Kind, &str)> {
                $crate::scenario::plugin::Kind::ALL.into_iter().filter_map(|kind| Some((kind, self.choice(kind)?)))
            }
        }
    };
}
pub(super) use choosing;

choosing! {
    /// `[plugins]`: what counts where nothing more particular is chosen.
    pub struct Plugins {}
    chooses {
        auth Auth,
        login Login,
        reachability Reachability,
        movement Movement,
        handover Handover,
        agreement Agreement,
        protection Protection,
        suite Suite,
        path Path,
        relay_handshake RelayHandshake,
        storage Storage,
    }
}

#[cfg(test)]
#[path = "plugin_tests.rs"]
mod tests;
