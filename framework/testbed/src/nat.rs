//! The kinds of NAT that nftables can be, as its rules.

/// How a NAT maps and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// As nftables' masquerading is: a mapping for each inner endpoint, its port kept; only those who have been sent to may
    /// send back.
    Masquerade,
    /// A new port for each that is sent to (symmetric).
    Random,
    /// A mapping for each inner endpoint, through which everybody may send (full cone).
    FullCone,
}

impl Nat {
    /// The rules of a NAT whose interfaces are `wan` and `lan`. They take the place of those that were there.
    pub fn rules(self) -> String {
        let masquerade = if self == Self::Random { "masquerade random" } else { "masquerade" };
        let open = if self == Self::FullCone { FULL_CONE } else { "" };
        // Unsolicited packets are dropped, not refused: an early probe must not take the port.
        format!(
            "flush ruleset
            table ip nat {{
                chain post {{ type nat hook postrouting priority srcnat
                    oifname \"wan\" {masquerade}
                }}
            }}
            table inet filter {{
                chain input {{ type filter hook input priority filter
                    iifname \"wan\" ct state established,related accept
                    iifname \"wan\" drop
                }}
                chain forward {{ type filter hook forward priority filter; policy drop;
                    iifname \"lan\" accept
                    ct state established,related accept
                    ct status dnat accept
                }}
            }}
            {open}"
        )
    }
}

/// Whoever is sent from is remembered by port, and everybody may send there.
const FULL_CONE: &str = "table ip open {
                map mappings {
                    type inet_service : ipv4_addr . inet_service
                    flags timeout,dynamic
                    timeout 60s
                }
                chain out { type filter hook forward priority 10
                    iifname \"lan\" meta l4proto udp update @mappings { udp sport : ip saddr . udp sport }
                }
                chain pre { type nat hook prerouting priority dstnat
                    iifname \"wan\" meta l4proto udp dnat ip addr . port to udp dport map @mappings
                }
            }
            ";
