//! NATs as RFC 4787 describes them (with RFC 5382 for TCP and RFC 5508 for ICMP errors), each a record of plain values.

mod ports;
mod table;
mod translate;

pub use super::session::Refresh;

use super::firewall::{FirewallTable, SessionLimits};
use super::session::Timers;
use std::time::Duration;
use table::NatTable;
use thiserror::Error;

/// On what a mapping or a filter depends (RFC 4787 §4.1 and §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependence {
    /// On the inner endpoint alone.
    EndpointIndependent,
    /// Also on the other side's address.
    AddressDependent,
    /// Also on the other side's address and port.
    AddressAndPortDependent,
}

impl Dependence {
    /// All three.
    pub const ALL: [Self; 3] = [Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];
}

/// How outer ports are chosen (RFC 4787 §4.2). No choice ever gives one port to two mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortAllocation {
    /// The inner port where it is free, else one at random.
    Preserving,
    /// One after another.
    Sequential,
    /// At random.
    Random,
}

/// Which outer address a host behind a NAT with several gets (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pooling {
    /// Always the same one, as long as it has a mapping.
    Paired,
    /// Any, for each mapping anew.
    Arbitrary,
}

/// What becomes of packets from behind the NAT to one of its own outer endpoints (RFC 4787 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hairpin {
    /// They are dropped.
    Off,
    /// They come back in, from the sender's outer endpoint.
    ExternalSource,
    /// They come back in, from the sender's inner endpoint; what RFC 4787 forbids (REQ-9).
    InternalSource,
}

/// What a middlebox does with fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fragments {
    /// It makes the packet whole, in whatever order they come, and cuts it again where the next link asks for that.
    Reassemble,
    /// It drops them.
    Drop,
}

/// What a NAT does with IPv6, which it never translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ipv6Passage {
    /// It passes, as through a router.
    Routed,
    /// It passes when the inside began, as through a stateful firewall (RFC 6092).
    Firewalled,
    /// It does not pass.
    Blocked,
}

/// A NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatRecord {
    /// Which packets of an inner endpoint share an outer endpoint. Default endpoint-independent.
    pub mapping: Dependence,
    /// Who may send to an outer endpoint. Default address- and port-dependent.
    pub filtering: Dependence,
    /// How outer ports are chosen. Default preserving.
    pub ports: PortAllocation,
    /// The first and the last outer port. Inner ports below 1,024 get outer ones from 1 to 1,023 (REQ-3). Default 1,024
    /// to 65,535.
    pub port_range: (u16, u16),
    /// Whether an even inner port gets an even outer one, and an odd one an odd one (REQ-4). Default yes.
    pub port_parity: bool,
    /// How long a UDP mapping outlives the last packet that refreshed it. Default 30 s; RFC 4787 asks for 120 (REQ-5).
    pub expiry: Duration,
    /// Which packets refresh a UDP mapping. Default both directions.
    pub refresh: Refresh,
    /// How long the mapping of an open TCP connection outlives its last segment. Default 7,440 s (RFC 5382 REQ-5).
    pub tcp_established: Duration,
    /// The same while the connection opens or closes. Default 240 s (RFC 5382 REQ-5).
    pub tcp_transitory: Duration,
    /// What becomes of packets to the NAT's own outer endpoints from behind it. Default off.
    pub hairpin: Hairpin,
    /// What becomes of fragments. Default reassemble.
    pub fragments: Fragments,
    /// How many outer IPv4 addresses it asks for where it is attached. Default 1.
    pub addresses: u8,
    /// Which of them a host gets. Default paired.
    pub pooling: Pooling,
    /// How many mappings it keeps. Default 65,536.
    pub max_mappings: usize,
    /// How many of them for one inner address (RFC 6888 REQ-4). Default 65,536.
    pub max_mappings_per_host: usize,
    /// How many outside endpoints one mapping remembers. Default 4,096.
    pub max_sessions_per_mapping: usize,
    /// What becomes of IPv6. Default routed.
    pub ipv6: Ipv6Passage,
}

impl Default for NatRecord {
    fn default() -> Self {
        Self {
            mapping: Dependence::EndpointIndependent,
            filtering: Dependence::AddressAndPortDependent,
            ports: PortAllocation::Preserving,
            port_range: (1_024, 65_535),
            port_parity: true,
            expiry: Duration::from_secs(30),
            refresh: Refresh::Both,
            tcp_established: Duration::from_secs(7_440),
            tcp_transitory: Duration::from_secs(240),
            hairpin: Hairpin::Off,
            fragments: Fragments::Reassemble,
            addresses: 1,
            pooling: Pooling::Paired,
            max_mappings: 65_536,
            max_mappings_per_host: 65_536,
            max_sessions_per_mapping: 4_096,
            ipv6: Ipv6Passage::Routed,
        }
    }
}

/// Why a NAT's record is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NatRecordError {
    /// Mappings would be gone as soon as they are made.
    #[error("a NAT's mappings must last longer than no time")]
    Expiry,
    /// No outer address.
    #[error("a NAT needs at least one outer address")]
    Addresses,
    /// No outer port.
    #[error("a NAT's port range begins at 1 or above and does not end before it begins")]
    PortRange,
    /// A table without a place.
    #[error("a NAT keeps at least one mapping for at least one host with at least one session")]
    Limits,
}

impl NatRecord {
    /// Whether it makes sense.
    pub fn check(&self) -> Result<(), NatRecordError> {
        if [self.expiry, self.tcp_established, self.tcp_transitory].contains(&Duration::ZERO) {
            return Err(NatRecordError::Expiry);
        }
        if self.addresses == 0 {
            return Err(NatRecordError::Addresses);
        }
        if self.port_range.0 == 0 || self.port_range.1 < self.port_range.0 {
            return Err(NatRecordError::PortRange);
        }
        if [self.max_mappings, self.max_mappings_per_host, self.max_sessions_per_mapping].contains(&0) {
            return Err(NatRecordError::Limits);
        }
        Ok(())
    }

    fn timers(&self) -> Timers {
        Timers {
            udp: self.expiry,
            refresh: self.refresh,
            tcp_established: self.tcp_established,
            tcp_transitory: self.tcp_transitory,
        }
    }
}

/// A NAT with what it remembers.
#[derive(Debug)]
pub(super) struct Nat {
    pub(super) record: NatRecord,
    pub(super) table: NatTable,
    /// The conversations over IPv6, when it is firewalled.
    ipv6: FirewallTable,
}

impl Nat {
    pub(super) fn new(record: NatRecord, chance: super::chance::Chance) -> Self {
        let limits = SessionLimits { timers: record.timers(), most: record.max_mappings };
        Self { record, table: NatTable::new(record, chance), ipv6: FirewallTable::new(limits) }
    }

    /// Forgets everything, as when it is switched off.
    pub(super) fn forget(&mut self) {
        self.table.forget();
        self.ipv6.forget();
    }
}
