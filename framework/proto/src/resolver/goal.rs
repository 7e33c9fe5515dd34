//! What a look-up still needs: a function of what is known, evaluated anew whenever more is.

use super::cache::{Cache, Data, Kind, Question, Service};
use super::{Families, Found, Wanted};
use crate::machine::{Lookup, LookupFailure, ServerAddresses};
use crate::time::Instant;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::name::Fqdn;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// The SRV service of signalling and ESP.
const SIGNALLING_SERVICE: &str = "_ntm._udp";
/// The SRV service of the TLS legs.
const TLS_SERVICE: &str = "_ntm-tls._udp";
/// The SRV service of a domain's AS.
const ACCOUNT_SERVICE: &str = "_ntm-as._udp";
/// The port of signalling and ESP where DNS names none.
const SIGNALLING_PORT: u16 = 4500;
/// The port of the TLS legs where DNS names none.
const TLS_PORT: u16 = 4433;
/// Longer chains of aliases are not followed.
const LONGEST_ALIAS_CHAIN: usize = 8;

/// How far a look-up is.
pub(super) enum Progress {
    /// It has its result.
    Done(Result<Found, LookupFailure>),
    /// It waits for at least one of these.
    Needs(BTreeSet<Question>),
}

/// What one look-up knows: the cache, and which of its questions found no answer.
pub(super) struct View<'a> {
    /// What all look-ups know.
    pub(super) cache: &'a Cache,
    /// Now.
    pub(super) now: Instant,
    /// What the host can send to.
    pub(super) families: Families,
    /// The questions of this look-up that failed.
    pub(super) failed: &'a BTreeMap<Question, LookupFailure>,
}

/// A result, or `None` while questions are open.
type Open<T> = Option<Result<T, LookupFailure>>;

/// Evaluates a look-up.
pub(super) fn evaluate(view: &View<'_>, wanted: &Wanted) -> Progress {
    let mut asking = Asking { view, needs: BTreeSet::new() };
    let result = match wanted {
        Wanted::Server(Lookup::DirectionCoordinator(name)) => asking.direction_coordinator(name).map(server),
        Wanted::Server(Lookup::AccountServer(domain)) => asking.account_server(domain).map(server),
        Wanted::Host(name) => asking.host(name).map(|result| result.map(Found::Host)),
    };
    result.map_or(Progress::Needs(asking.needs), Progress::Done)
}

fn server(result: Result<ServerAddresses, LookupFailure>) -> Result<Found, LookupFailure> {
    result.map(Found::Server)
}

struct Asking<'a> {
    view: &'a View<'a>,
    needs: BTreeSet<Question>,
}

impl<'a> Asking<'a> {
    /// What is known of a question, without asking it.
    fn peek(&self, question: &Question) -> Open<&'a Data> {
        match self.view.failed.get(question) {
            Some(failure) => Some(Err(*failure)),
            None => self.view.cache.get(self.view.now, question).map(Ok),
        }
    }

    /// What is known of a question; if nothing is, it is asked.
    fn ask(&mut self, question: Question) -> Open<&'a Data> {
        let known = self.peek(&question);
        if known.is_none() {
            self.needs.insert(question);
        }
        known
    }

    /// The DC responsible for `name`; how the zone is settled is told in the module's documentation.
    fn direction_coordinator(&mut self, name: &Fqdn) -> Open<ServerAddresses> {
        let walk = Question::new(name.clone(), Kind::Ns);
        let Some(zone) = self.view.cache.enclosing_zones(self.view.now, name).next() else {
            // The root delegates nothing that encloses the name.
            return Some(self.ask(walk)?.and(Err(LookupFailure::NoSuchName)));
        };
        if zone == *name {
            return self.zone_server(&zone);
        }
        let service = match service(&zone, SIGNALLING_SERVICE) {
            Ok(service) => service,
            Err(failure) => return Some(Err(failure)),
        };
        let directly_below = name.parent().as_ref() == Some(&zone);
        let published = self.peek(&service);
        match published {
            Some(Ok(Data::Services(_))) if directly_below => return self.zone_server(&zone),
            Some(Err(failure)) if may_be_a_domain(&zone) => return Some(Err(failure)),
            _ => {}
        }
        if may_be_a_domain(&zone) {
            // Asked beforehand: most likely it is the zone, and then all this is wanted next.
            self.zone_server(&zone);
            if directly_below && published.is_none() {
                return None;
            }
        }
        match self.ask(walk)? {
            Ok(_) => self.zone_server(&zone),
            Err(failure) => Some(Err(failure)),
        }
    }

    /// The DC of a zone that is known to be one.
    fn zone_server(&mut self, zone: &Fqdn) -> Open<ServerAddresses> {
        let name_servers = self.view.cache.name_servers(self.view.now, zone).unwrap_or_default();
        let (signalling, tls) = match (service(zone, SIGNALLING_SERVICE), service(zone, TLS_SERVICE)) {
            (Ok(signalling), Ok(tls)) => (signalling, tls),
            (Err(failure), _) | (_, Err(failure)) => return Some(Err(failure)),
        };
        let signalling = self.ask(signalling);
        if may_be_a_domain(zone) {
            // All that is likely to be needed is asked at once. The DC is most likely its zone's name server.
            self.ask(tls.clone());
            if let Some(likely) = name_servers.first() {
                self.addresses(likely);
            }
        }
        let chosen = match signalling? {
            Ok(Data::Services(services)) => best(services),
            Ok(_) => None,
            Err(failure) => return Some(Err(failure)),
        };
        let tls = match self.ask(tls) {
            Some(Ok(Data::Services(services))) => Some(Ok(&services[..])),
            Some(Ok(_)) => Some(Ok(&[][..])),
            Some(Err(failure)) => Some(Err(failure)),
            None => None,
        };
        let (name, port, addresses) = match chosen {
            Some(Service { target: None, .. }) => return Some(Err(LookupFailure::NoSuchName)),
            Some(Service { target: Some(target), port, .. }) => {
                let addresses = self.addresses(target);
                (target, *port, addresses?)
            }
            None if may_be_a_domain(zone) => {
                let (target, addresses) = self.first_reachable(name_servers)?;
                (target, SIGNALLING_PORT, addresses)
            }
            None => return Some(Err(LookupFailure::NoSuchName)),
        };
        let tls = match tls? {
            Ok(services) => services,
            Err(failure) => return Some(Err(failure)),
        };
        let tls_port = tls.iter().filter(|tls| tls.target.as_ref() == Some(name)).min_by_key(preference);
        let tls_port = tls_port.map_or(TLS_PORT, |service| service.port);
        Some(addresses.map(|addresses| ServerAddresses {
            name: name.clone(),
            signalling: addresses.with_port(port),
            tls: addresses.with_port(tls_port),
        }))
    }

    /// The first of a zone's name servers that has an address.
    fn first_reachable<'n>(
        &mut self,
        name_servers: &'n [Fqdn],
    ) -> Option<(&'n Fqdn, Result<Addresses, LookupFailure>)> {
        let mut last = None;
        for name in name_servers {
            let addresses = self.addresses(name)?;
            let found = addresses.is_ok();
            last = Some((name, addresses));
            if found {
                break;
            }
        }
        last
    }

    /// The AS of a domain.
    fn account_server(&mut self, domain: &Fqdn) -> Open<ServerAddresses> {
        let service = match service(domain, ACCOUNT_SERVICE) {
            Ok(service) => service,
            Err(failure) => return Some(Err(failure)),
        };
        let chosen = match self.ask(service)? {
            Ok(Data::Services(services)) => best(services),
            Ok(_) => None,
            Err(failure) => return Some(Err(failure)),
        };
        let Some(chosen) = chosen else { return Some(Err(LookupFailure::NoSuchName)) };
        let Some(name) = &chosen.target else { return Some(Err(LookupFailure::NoSuchName)) };
        // A server that adds its host's addresses to the answer adds all of them: another round trip, to hear that there is
        // none of the other family, is saved.
        let came_along = self.known_addresses(name);
        let addresses =
            if came_along.reachable_by(self.view.families) { Ok(came_along) } else { self.addresses(name)? };
        Some(addresses.map(|addresses| ServerAddresses {
            name: name.clone(),
            signalling: addresses.with_port(SIGNALLING_PORT),
            tls: addresses.with_port(chosen.port),
        }))
    }

    /// The addresses of a server. Those of the families that the host has are waited for; those of the other are taken
    /// when they are known anyhow. An alias is refused: the target of an NS or SRV record must not be one (RFC 2181 §10.3).
    fn addresses(&mut self, name: &Fqdn) -> Open<Addresses> {
        let mut found = Addresses::default();
        let mut open = false;
        let mut failure = LookupFailure::NoSuchName;
        for (kind, own) in [(Kind::A, self.view.families.v4), (Kind::Aaaa, self.view.families.v6)] {
            let question = Question::new(name.clone(), kind);
            match if own { self.ask(question) } else { self.peek(&question) } {
                Some(Ok(Data::V4(addresses))) => found.v4 = addresses.first().copied(),
                Some(Ok(Data::V6(addresses))) => found.v6 = addresses.first().copied(),
                Some(Ok(Data::Alias(_))) => return Some(Err(LookupFailure::Broken)),
                Some(Ok(_)) => {}
                Some(Err(reason)) if own => failure = reason,
                Some(Err(_)) => {}
                None => open |= own,
            }
        }
        if open {
            return None;
        }
        Some(if found == Addresses::default() { Err(failure) } else { Ok(found) })
    }

    /// The addresses of a server that are known without asking.
    fn known_addresses(&self, name: &Fqdn) -> Addresses {
        let mut known = Addresses::default();
        for kind in [Kind::A, Kind::Aaaa] {
            match self.peek(&Question::new(name.clone(), kind)) {
                Some(Ok(Data::V4(addresses))) => known.v4 = addresses.first().copied(),
                Some(Ok(Data::V6(addresses))) => known.v6 = addresses.first().copied(),
                _ => {}
            }
        }
        known
    }

    /// All addresses of a plain host; aliases are followed.
    fn host(&mut self, name: &Fqdn) -> Open<Vec<IpAddr>> {
        let mut found = Vec::new();
        let mut open = false;
        let mut failure = LookupFailure::NoSuchName;
        for (kind, own) in [(Kind::A, self.view.families.v4), (Kind::Aaaa, self.view.families.v6)] {
            match own.then(|| self.host_family(name, kind)) {
                Some(Some(Ok(addresses))) => found.extend(addresses),
                Some(Some(Err(reason))) => failure = reason,
                Some(None) => open = true,
                None => {}
            }
        }
        if open {
            return None;
        }
        Some(if found.is_empty() { Err(failure) } else { Ok(found) })
    }

    fn host_family(&mut self, name: &Fqdn, kind: Kind) -> Open<Vec<IpAddr>> {
        let mut name = name.clone();
        for _ in 0..LONGEST_ALIAS_CHAIN {
            match self.ask(Question::new(name, kind))? {
                Ok(Data::V4(addresses)) => return Some(Ok(addresses.iter().copied().map(IpAddr::V4).collect())),
                Ok(Data::V6(addresses)) => return Some(Ok(addresses.iter().copied().map(IpAddr::V6).collect())),
                Ok(Data::Alias(target)) => name = target.clone(),
                Ok(_) => return Some(Ok(Vec::new())),
                Err(failure) => return Some(Err(failure)),
            }
        }
        Some(Err(LookupFailure::Broken))
    }
}

/// One address of each family.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Addresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Addresses {
    fn reachable_by(self, families: Families) -> bool {
        (self.v4.is_some() && families.v4) || (self.v6.is_some() && families.v6)
    }

    fn with_port(self, port: u16) -> DualStack {
        DualStack {
            v4: self.v4.map(|address| SocketAddrV4::new(address, port)),
            v6: self.v6.map(|address| SocketAddrV6::new(address, port, 0, 0)),
        }
    }
}

/// A top-level domain is a registry's: it counts as a DC's only where it says so by an SRV record.
fn may_be_a_domain(zone: &Fqdn) -> bool {
    zone.parent().is_some()
}

fn service(domain: &Fqdn, service: &str) -> Result<Question, LookupFailure> {
    // A domain so long that the service's name does not fit cannot publish one.
    let name = domain.child(service).map_err(|_| LookupFailure::NoSuchName)?;
    Ok(Question::new(name, Kind::Srv))
}

fn preference(service: &&Service) -> (u16, Reverse<u16>) {
    (service.priority, Reverse(service.weight))
}

/// The service to use: the lowest priority, then the greatest weight, then the first by name. Not drawn by weight: a
/// domain has one DC.
fn best(services: &[Service]) -> Option<&Service> {
    services.iter().min_by_key(preference)
}
