//! Zones as plain lists of records, checked and made into what hickory's catalog serves.

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA, SRV};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// Why a zone cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// Nobody is named as its server.
    #[error("the zone {0} names no server of its own")]
    NoNameServer(String),
    /// A record's name is not in the zone.
    #[error("{name} is not inside the zone {zone}")]
    Outside {
        /// The zone.
        zone: String,
        /// The record's name.
        name: Fqdn,
    },
    /// An alias has a name that has other records too, or another alias.
    #[error("{0} is an alias and cannot have any other record")]
    AliasBesideOthers(Fqdn),
}

/// What a record says of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// An address (A or AAAA). For a name below a delegation it is glue.
    Address(IpAddr),
    /// A server of the zone that begins here (NS): a delegation.
    NameServer(Fqdn),
    /// A service (SRV) of priority and weight 0.
    Service {
        /// Its port.
        port: u16,
        /// The host that offers it.
        target: Fqdn,
    },
    /// Another name for a host (CNAME).
    Alias(Fqdn),
}

/// Everything a zone holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneRecords {
    /// The name the zone begins at; `None` for the root.
    pub apex: Option<Fqdn>,
    /// The zone's own servers, the primary one first.
    pub name_servers: Vec<Fqdn>,
    /// How long its records may be kept, in seconds.
    pub ttl_s: u32,
    /// How long the absence of a record may be believed, in seconds.
    pub negative_ttl_s: u32,
    /// The records, besides SOA and the zone's own NS records.
    pub records: Vec<(Fqdn, RecordData)>,
}

/// The real addresses and ports of a DC, for its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorRecords {
    /// The DC's own name, inside its domain.
    pub name: Fqdn,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The port of signalling and ESP.
    pub signalling_port: u16,
    /// The port of the TLS legs.
    pub tls_port: u16,
}

impl ZoneRecords {
    /// An empty zone with a TTL of five minutes, one minute for what is absent.
    pub fn new(apex: Option<Fqdn>, name_servers: Vec<Fqdn>) -> Self {
        Self { apex, name_servers, ttl_s: 300, negative_ttl_s: 60, records: Vec::new() }
    }

    /// The domain of a DC: its NS record leads to the DC, `_ntm._udp` and `_ntm-tls._udp` name its ports.
    pub fn of_domain(domain: Fqdn, coordinator: &CoordinatorRecords) -> Self {
        let service = |port| RecordData::Service { port, target: coordinator.name.clone() };
        Self::new(Some(domain), vec![coordinator.name.clone()])
            .with_host(&coordinator.name, &coordinator.addresses)
            .with_service("_ntm._udp", service(coordinator.signalling_port))
            .with_service("_ntm-tls._udp", service(coordinator.tls_port))
    }

    /// Adds `_ntm-as._udp`: the AS of this domain, and its addresses if its name is inside.
    #[must_use]
    pub fn with_account_server(self, name: &Fqdn, addresses: &[IpAddr], tls_port: u16) -> Self {
        let inside = self.holds(name);
        let zone = self.with_service("_ntm-as._udp", RecordData::Service { port: tls_port, target: name.clone() });
        if inside { zone.with_host(name, addresses) } else { zone }
    }

    /// Adds the addresses of a host.
    #[must_use]
    pub fn with_host(mut self, name: &Fqdn, addresses: &[IpAddr]) -> Self {
        self.records.extend(addresses.iter().map(|address| (name.clone(), RecordData::Address(*address))));
        self
    }

    /// Hands the zone at `child` to the server `name`, with its addresses as glue.
    #[must_use]
    pub fn with_delegation(mut self, child: &Fqdn, name: &Fqdn, addresses: &[IpAddr]) -> Self {
        self.records.push((child.clone(), RecordData::NameServer(name.clone())));
        let inside = self.holds(name);
        if inside { self.with_host(name, addresses) } else { self }
    }

    /// Adds a service at the apex. The root offers none.
    fn with_service(mut self, service: &str, data: RecordData) -> Self {
        if let Some(name) = self.apex.as_ref().and_then(|apex| apex.child(service).ok()) {
            self.records.push((name, data));
        }
        self
    }

    fn holds(&self, name: &Fqdn) -> bool {
        self.apex.as_ref().is_none_or(|apex| name.is_within(apex))
    }

    fn check(&self) -> Result<(), ZoneError> {
        let zone = || self.apex.as_ref().map_or_else(|| ".".to_owned(), Fqdn::to_string);
        if self.name_servers.is_empty() {
            return Err(ZoneError::NoNameServer(zone()));
        }
        if let Some((name, _)) = self.records.iter().find(|(name, _)| !self.holds(name)) {
            return Err(ZoneError::Outside { zone: zone(), name: name.clone() });
        }
        let aliases = self.records.iter().filter(|(_, data)| matches!(data, RecordData::Alias(_)));
        for (alias, _) in aliases {
            let at_apex = self.apex.as_ref() == Some(alias);
            if at_apex || self.records.iter().filter(|(name, _)| name == alias).count() > 1 {
                return Err(ZoneError::AliasBesideOthers(alias.clone()));
            }
        }
        Ok(())
    }
}

/// What a server answers for a name in a zone that it has handed on.
#[derive(Debug, Default)]
pub(super) struct Delegation {
    /// The NS records.
    pub(super) name_servers: Vec<Record>,
    /// The addresses of those of them that this server knows.
    pub(super) glue: Vec<Record>,
}

/// All zones of a server, ready to answer.
pub(super) struct Zones {
    /// Everything but delegations.
    pub(super) catalog: Catalog,
    apexes: BTreeSet<LowerName>,
    delegations: BTreeMap<LowerName, Delegation>,
}

impl Zones {
    /// Builds zones out of serials and records.
    pub(super) fn build<'a>(zones: impl Iterator<Item = &'a (u32, ZoneRecords)>) -> Result<Self, ZoneError> {
        let mut built = Self { catalog: Catalog::new(), apexes: BTreeSet::new(), delegations: BTreeMap::new() };
        for (serial, zone) in zones {
            zone.check()?;
            built.add(*serial, zone);
        }
        Ok(built)
    }

    fn add(&mut self, serial: u32, zone: &ZoneRecords) {
        let origin = zone.apex.as_ref().map_or_else(Name::root, dns_name);
        let mut handler: InMemoryZoneHandler =
            InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let mut put =
            |name: Name, ttl: u32, data: RData| handler.upsert_mut(Record::from_rdata(name, ttl, data), serial);
        for (index, server) in zone.name_servers.iter().map(dns_name).enumerate() {
            if index == 0 {
                put(origin.clone(), zone.ttl_s, RData::SOA(start_of_authority(serial, zone, &server)));
            }
            put(origin.clone(), zone.ttl_s, RData::NS(NS(server)));
        }
        for (name, data) in &zone.records {
            put(dns_name(name), zone.ttl_s, record_data(data));
        }
        self.note_delegations(zone);
        let origin = LowerName::from(origin);
        self.apexes.insert(origin.clone());
        let handler: Arc<dyn ZoneHandler> = Arc::new(handler);
        self.catalog.upsert(origin, vec![handler]);
    }

    fn note_delegations(&mut self, zone: &ZoneRecords) {
        for (child, data) in &zone.records {
            let RecordData::NameServer(server) = data else { continue };
            if zone.apex.as_ref() == Some(child) {
                continue;
            }
            let delegation = self.delegations.entry(LowerName::from(dns_name(child))).or_default();
            let record = |name, data| Record::from_rdata(dns_name(name), zone.ttl_s, record_data(data));
            delegation.name_servers.push(record(child, data));
            let addresses =
                zone.records.iter().filter(|(name, data)| name == server && matches!(data, RecordData::Address(_)));
            for (name, data) in addresses {
                let record = record(name, data);
                if !delegation.glue.contains(&record) {
                    delegation.glue.push(record);
                }
            }
        }
    }

    /// The delegation that a name lies in, unless this server also serves the zone below.
    pub(super) fn delegation_of(&self, name: &LowerName, asked: RecordType) -> Option<&Delegation> {
        let mut candidate = name.clone();
        while !candidate.is_root() {
            if self.apexes.contains(&candidate) {
                return None;
            }
            // The DS record of a zone is its parent's (RFC 4035 §3.1.4.1).
            let parents_own = asked == RecordType::DS && candidate == *name;
            match self.delegations.get(&candidate) {
                Some(delegation) if !parents_own => return Some(delegation),
                _ => candidate = candidate.base_name(),
            }
        }
        None
    }
}

fn start_of_authority(serial: u32, zone: &ZoneRecords, primary: &Name) -> SOA {
    // Refresh, retry and expiry are for secondary servers; there are none.
    let contact = primary.prepend_label("hostmaster").unwrap_or_else(|_| primary.clone());
    SOA::new(primary.clone(), contact, serial, 3_600, 600, 86_400, zone.negative_ttl_s)
}

fn record_data(data: &RecordData) -> RData {
    match data {
        RecordData::Address(IpAddr::V4(address)) => RData::A(A(*address)),
        RecordData::Address(IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
        RecordData::NameServer(server) => RData::NS(NS(dns_name(server))),
        RecordData::Service { port, target } => RData::SRV(SRV::new(0, 0, *port, dns_name(target))),
        RecordData::Alias(target) => RData::CNAME(CNAME(dns_name(target))),
    }
}

/// A name as DNS writes it.
fn dns_name(name: &Fqdn) -> Name {
    let mut dns =
        Name::from_labels(name.as_str().split('.').map(str::as_bytes)).expect("our names are within DNS's limits");
    dns.set_fqdn(true);
    dns
}
