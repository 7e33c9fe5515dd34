//! NATs by the kernel: which of them its nftables do exactly, and the rules for each.

use crate::scenario::network::{Dependence, Fragments, Nat, PortAllocation, Refresh};
use ntmobile_sim::network::Prefix;
use std::fmt;
use std::time::Duration;

/// A NAT that the kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Its kind.
    pub kind: TranslationKind,
    /// How long a mapping lasts.
    pub expiry: Duration,
}

/// The kinds of NAT that rules for nftables make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranslationKind {
    /// Masquerading: mapping endpoint-independent with the port kept, filtering address-and-port-dependent.
    Masquerade,
    /// Masquerading with random ports: mapping and filtering address-and-port-dependent.
    Random,
    /// Mapping and filtering endpoint-independent.
    FullCone,
    /// The same, and hosts inside reach each other by their outer addresses.
    FullConeHairpin,
    /// Mapping endpoint-independent, filtering address-dependent.
    Restricted,
}

impl fmt::Display for TranslationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Masquerade => "masquerade",
            Self::Random => "masquerade random",
            Self::FullCone => "full cone",
            Self::FullConeHairpin => "full cone with hairpin",
            Self::Restricted => "restricted cone",
        })
    }
}

impl Translation {
    /// The kernel's NAT that does exactly what is wanted; `None` where none does.
    pub fn exactly(nat: &Nat) -> Option<Self> {
        use Dependence::{AddressAndPortDependent as Apd, AddressDependent as Ad, EndpointIndependent as Ei};
        let as_the_kernel =
            nat.addresses == 1 && nat.refresh == Refresh::Both && nat.fragments == Fragments::Reassemble;
        let kind = match (nat.mapping, nat.filtering, nat.ports, nat.hairpin) {
            _ if !as_the_kernel => return None,
            (Ei, Apd, PortAllocation::Preserving, false) => TranslationKind::Masquerade,
            (Apd, Apd, PortAllocation::Random, false) => TranslationKind::Random,
            (Ei, Ei, PortAllocation::Preserving, false) => TranslationKind::FullCone,
            (Ei, Ei, PortAllocation::Preserving, true) => TranslationKind::FullConeHairpin,
            (Ei, Ad, PortAllocation::Preserving, false) => TranslationKind::Restricted,
            _ => return None,
        };
        Some(Self { kind, expiry: nat.expiry.duration() })
    }

    /// The kernel's own timers, as `sysctl` takes them.
    pub fn timers(&self) -> [String; 2] {
        let seconds = self.expiry.as_secs().max(1);
        ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"]
            .map(|timer| format!("net.netfilter.{timer}={seconds}"))
    }

    /// The rules for nftables, of a router with interfaces `lan` and `wan` and this outer address.
    pub fn rules(&self, outer: std::net::Ipv4Addr, inside: Prefix) -> String {
        let masquerade = if self.kind == TranslationKind::Random { "masquerade random" } else { "masquerade" };
        // Whatever comes to the router itself unasked is dropped without a word: were it answered or tracked, an early probe
        // would take the port that the inside is about to use.
        let mut rules = format!(
            "flush ruleset
table ip nat {{
  chain post {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {inside} oifname \"wan\" {masquerade}
  }}
}}
table inet border {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname \"wan\" ct state established,related accept
    iifname \"wan\" icmp type echo-request accept
    iifname \"wan\" drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    iifname \"lan\" accept
    ct state established,related accept
    ct status dnat accept
  }}
}}
"
        );
        if !matches!(self.kind, TranslationKind::Masquerade | TranslationKind::Random) {
            rules.push_str(&self.cone(outer));
        }
        rules
    }

    /// What makes the filter independent of who sends: each inner port is remembered, and led to from outside.
    fn cone(&self, outer: std::net::Ipv4Addr) -> String {
        let seconds = self.expiry.as_secs().max(1);
        let (mut only_known, mut hairpin_in, mut hairpin_out) = (String::new(), String::new(), String::new());
        if self.kind == TranslationKind::Restricted {
            only_known = "    iifname \"wan\" meta l4proto udp ip saddr != @seen return\n".to_owned();
        }
        if self.kind == TranslationKind::FullConeHairpin {
            hairpin_in = format!(
                "    iifname \"lan\" ip daddr {outer} meta l4proto udp dnat ip addr . port to udp dport map @inner\n"
            );
            hairpin_out = format!("    iifname \"lan\" oifname \"lan\" ct status dnat snat to {outer}\n");
        }
        format!(
            "table ip cone {{
  map inner {{
    type inet_service : ipv4_addr . inet_service
    flags timeout,dynamic
    timeout {seconds}s
  }}
  set seen {{
    type ipv4_addr
    flags timeout,dynamic
    timeout {seconds}s
  }}
  chain out {{
    type filter hook forward priority 10; policy accept;
    iifname \"lan\" meta l4proto udp update @inner {{ udp sport : ip saddr . udp sport }}
    iifname \"lan\" oifname \"wan\" meta l4proto udp update @seen {{ ip daddr }}
  }}
  chain pre {{
    type nat hook prerouting priority dstnat; policy accept;
{only_known}    iifname \"wan\" meta l4proto udp dnat ip addr . port to udp dport map @inner
{hairpin_in}  }}
  chain post {{
    type nat hook postrouting priority srcnat; policy accept;
{hairpin_out}  }}
}}
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::units::secs;

    fn kind(nat: Nat) -> Option<TranslationKind> {
        Translation::exactly(&nat).map(|translation| translation.kind)
    }

    #[test]
    fn the_kernel_does_the_presets_that_it_can_and_no_other() {
        assert_eq!(kind(Nat::home()), Some(TranslationKind::Masquerade));
        assert_eq!(kind(Nat::symmetric()), Some(TranslationKind::Random));
        assert_eq!(kind(Nat::full_cone()), Some(TranslationKind::FullCone));
        assert_eq!(kind(Nat { hairpin: true, ..Nat::full_cone() }), Some(TranslationKind::FullConeHairpin));
        assert_eq!(kind(Nat::restricted()), Some(TranslationKind::Restricted));
        assert_eq!(kind(Nat::carrier()), None, "four addresses and random ports");
        assert_eq!(kind(Nat { refresh: Refresh::Outbound, ..Nat::home() }), None, "any packet refreshes the kernel's");
        assert_eq!(kind(Nat { fragments: Fragments::Drop, ..Nat::home() }), None, "the kernel puts them together");
        assert_eq!(kind(Nat { hairpin: true, ..Nat::home() }), None);
    }

    #[test]
    fn mappings_last_as_long_as_the_scenario_says() {
        let translation = Translation::exactly(&Nat { expiry: secs(45), ..Nat::restricted() }).expect("the kernel can");
        assert!(translation.timers().iter().all(|timer| timer.ends_with("=45")), "{:?}", translation.timers());
        let inside = "10.0.0.0/24".parse().expect("a prefix");
        let rules = translation.rules("198.18.0.9".parse().expect("an address"), inside);
        assert!(rules.contains("timeout 45s") && rules.contains("ip saddr != @seen return"), "{rules}");
    }
}
