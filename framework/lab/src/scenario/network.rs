//! Where things attach: access networks, their links, NATs by RFC 4787, and firewalls.

use super::units::{Percent, Rate, Size, TimeSpan, ms, secs};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// `[network.home]`: an access network, connected to the core of the internet or behind another network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Network {
    /// The address families it gives out. Where none is named: IPv4 alone behind a NAT of its own, else those of the network
    /// it is behind; [`Scenario::families`](super::Scenario::families) knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<Family>,
    /// The NAT between it and what it is behind. It translates IPv4; IPv6 is routed.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "nat_or_public")]
    pub nat: Option<Nat>,
    /// The network it is behind, where that is not the core of the internet: a second NAT in a row, for instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
    /// What its border lets through besides what the NAT decides.
    #[serde(skip_serializing_if = "Firewall::is_open")]
    pub firewall: Firewall,
    /// The link between it and what it is behind.
    pub link: Link,
}

impl Default for Network {
    fn default() -> Self {
        Self { families: Vec::new(), nat: None, behind: None, firewall: Firewall::Open, link: Link::default() }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What a network's border lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firewall {
    /// Everything.
    #[default]
    Open,
    /// Answers only: nothing comes in that was not asked for.
    Stateful,
    /// No UDP at all.
    BlocksUdp,
}

impl Firewall {
    fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// A link, the same in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Link {
    /// One-way delay.
    pub delay: TimeSpan,
    /// Delay added at random, up to this much.
    #[serde(skip_serializing_if = "is_default")]
    pub jitter: TimeSpan,
    /// How often a packet is lost.
    #[serde(skip_serializing_if = "is_default")]
    pub loss: Percent,
    /// How often a packet comes twice.
    #[serde(skip_serializing_if = "is_default")]
    pub duplication: Percent,
    /// How often a packet is overtaken by those behind it.
    #[serde(skip_serializing_if = "is_default")]
    pub reordering: Percent,
    /// Bits per second each way; unlimited where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How much waits when the rate is exceeded, before packets are dropped. Means nothing without `rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Size>,
    /// The largest IP packet it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Size>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: ms(5),
            jitter: TimeSpan::ZERO,
            loss: Percent::ZERO,
            duplication: Percent::ZERO,
            reordering: Percent::ZERO,
            rate: None,
            queue: None,
            mtu: None,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// On what a mapping or a filter of a NAT depends (RFC 4787 §4.1 and §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// On the inner endpoint alone.
    EndpointIndependent,
    /// Also on the other side's address.
    AddressDependent,
    /// Also on the other side's address and port.
    AddressAndPortDependent,
}

impl Dependence {
    /// The initials that go with RFC 4787's terms, where there is no room for them.
    const fn initials(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "EI",
            Self::AddressDependent => "AD",
            Self::AddressAndPortDependent => "APD",
        }
    }
}

impl fmt::Display for Dependence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        })
    }
}

/// How a NAT chooses outer ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortAllocation {
    /// The inner port, where it is free.
    Preserving,
    /// One after another.
    Sequential,
    /// At random.
    Random,
}

/// Which packets keep a mapping alive (RFC 4787 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refresh {
    /// Those going out.
    Outbound,
    /// Those going out and coming in.
    Both,
}

/// What a NAT does with IP fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fragments {
    /// Puts the packet together first, then translates it.
    Reassemble,
    /// Drops them.
    Drop,
}

/// A NAT as RFC 4787 describes one. In a scenario `nat = "home"` names a preset, and `nat = { preset = "home", … }`
/// changes fields of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Nat {
    /// How long an outer port serves one inner endpoint.
    pub mapping: Dependence,
    /// Who may send to it.
    pub filtering: Dependence,
    /// How outer ports are chosen.
    pub ports: PortAllocation,
    /// After how long without refreshing traffic a UDP mapping is forgotten.
    pub expiry: TimeSpan,
    /// Which traffic refreshes.
    pub refresh: Refresh,
    /// Whether two hosts behind it reach each other by their outer addresses.
    pub hairpin: bool,
    /// What becomes of fragments.
    pub fragments: Fragments,
    /// How many outer IPv4 addresses it has.
    pub addresses: u8,
}

/// The names of the presets, and what each is.
pub const NAT_PRESETS: [(&str, &str); 6] = [
    ("public", "no NAT at all"),
    ("full-cone", "mapping and filtering endpoint-independent"),
    ("restricted", "mapping endpoint-independent, filtering address-dependent"),
    ("home", "mapping endpoint-independent, filtering address-and-port-dependent, ports preserved, 30 s"),
    ("symmetric", "mapping and filtering address-and-port-dependent, random ports, 30 s"),
    (
        "carrier",
        "as RFC 6888 asks of a carrier: mapping and filtering endpoint-independent, hairpin, 4 addresses, 120 s",
    ),
];

impl Nat {
    /// What most home routers do: Linux masquerading.
    pub const fn home() -> Self {
        Self {
            mapping: Dependence::EndpointIndependent,
            filtering: Dependence::AddressAndPortDependent,
            ports: PortAllocation::Preserving,
            expiry: secs(30),
            refresh: Refresh::Both,
            hairpin: false,
            fragments: Fragments::Reassemble,
            addresses: 1,
        }
    }

    /// A new outer port for every destination: no direct path between two of these.
    pub const fn symmetric() -> Self {
        Self { mapping: Dependence::AddressAndPortDependent, ports: PortAllocation::Random, ..Self::home() }
    }

    /// Carrier-grade NAT as RFC 6888 requires it.
    pub const fn carrier() -> Self {
        Self {
            filtering: Dependence::EndpointIndependent,
            ports: PortAllocation::Random,
            expiry: secs(120),
            hairpin: true,
            addresses: 4,
            ..Self::home()
        }
    }

    /// Everything that is sent to the outer port comes in.
    pub const fn full_cone() -> Self {
        Self { filtering: Dependence::EndpointIndependent, ..Self::home() }
    }

    /// What comes from an address that was sent to comes in.
    pub const fn restricted() -> Self {
        Self { filtering: Dependence::AddressDependent, ..Self::home() }
    }

    /// The preset of this name; `Some(None)` is `public`, which is no NAT.
    pub fn preset(name: &str) -> Option<Option<Self>> {
        Some(match name {
            "public" => None,
            "full-cone" => Some(Self::full_cone()),
            "restricted" => Some(Self::restricted()),
            "home" => Some(Self::home()),
            "symmetric" => Some(Self::symmetric()),
            "carrier" => Some(Self::carrier()),
            _ => return None,
        })
    }
}

impl Nat {
    /// Every field in words; in a few, as labels have room for, it is what [`fmt::Display`] writes.
    pub fn in_full(&self) -> String {
        let ports = match self.ports {
            PortAllocation::Preserving => "preserved",
            PortAllocation::Sequential => "sequential",
            PortAllocation::Random => "random",
        };
        let refresh = match self.refresh {
            Refresh::Outbound => "outgoing packets",
            Refresh::Both => "packets either way",
        };
        let hairpin = if self.hairpin { "hairpin" } else { "no hairpin" };
        let fragments = match self.fragments {
            Fragments::Reassemble => "reassembled",
            Fragments::Drop => "dropped",
        };
        let addresses =
            if self.addresses == 1 { "1 address".to_owned() } else { format!("{} addresses", self.addresses) };
        format!(
            "mapping {}, filtering {}, ports {ports}, {} after the last of {refresh}, {hairpin}, fragments {fragments}, \
             {addresses}",
            self.mapping, self.filtering, self.expiry
        )
    }
}

impl fmt::Display for Nat {
    /// In a few words, as reports and descriptions show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let presets = NAT_PRESETS.iter().filter_map(|(name, _)| Some((*name, Self::preset(name)??)));
        for (name, preset) in presets {
            if preset == *self {
                return f.write_str(name);
            }
            if (Self { expiry: self.expiry, ..preset }) == *self {
                return write!(f, "{name}, {}", self.expiry);
            }
        }
        write!(f, "{} mapping, {} filtering, {}", self.mapping.initials(), self.filtering.initials(), self.expiry)
    }
}

/// The same with every field optional, for a table in a scenario.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct NatTable {
    preset: Option<PresetName>,
    mapping: Option<Dependence>,
    filtering: Option<Dependence>,
    ports: Option<PortAllocation>,
    expiry: Option<TimeSpan>,
    refresh: Option<Refresh>,
    hairpin: Option<bool>,
    fragments: Option<Fragments>,
    addresses: Option<u8>,
}

/// A preset other than `public`, on which fields make sense.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PresetName {
    FullCone,
    Restricted,
    Home,
    Symmetric,
    Carrier,
}

impl From<NatTable> for Nat {
    fn from(table: NatTable) -> Self {
        let base = match table.preset {
            None | Some(PresetName::Home) => Self::home(),
            Some(PresetName::FullCone) => Self::full_cone(),
            Some(PresetName::Restricted) => Self::restricted(),
            Some(PresetName::Symmetric) => Self::symmetric(),
            Some(PresetName::Carrier) => Self::carrier(),
        };
        Self {
            mapping: table.mapping.unwrap_or(base.mapping),
            filtering: table.filtering.unwrap_or(base.filtering),
            ports: table.ports.unwrap_or(base.ports),
            expiry: table.expiry.unwrap_or(base.expiry),
            refresh: table.refresh.unwrap_or(base.refresh),
            hairpin: table.hairpin.unwrap_or(base.hairpin),
            fragments: table.fragments.unwrap_or(base.fragments),
            addresses: table.addresses.unwrap_or(base.addresses),
        }
    }
}

/// Reads a preset's name or a table.
fn nat_or_public<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Nat>, D::Error> {
    struct NameOrTable;

    impl<'de> Visitor<'de> for NameOrTable {
        type Value = Option<Nat>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a preset such as \"home\", or a table of a NAT's fields")
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
            const NAMES: &[&str] = &["public", "full-cone", "restricted", "home", "symmetric", "carrier"];
            Nat::preset(name).ok_or_else(|| E::unknown_variant(name, NAMES))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            NatTable::deserialize(MapAccessDeserializer::new(map)).map(|table| Some(table.into()))
        }
    }

    deserializer.deserialize_any(NameOrTable)
}
