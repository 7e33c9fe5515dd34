//! What the resolver knows: record sets and their absence, each with its end in time, in bounded memory.

use crate::time::Instant;
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The types of record that the resolver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Name servers: a zone begins here.
    Ns,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services.
    Srv,
}

/// One thing to ask: the key of everything known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    /// Of what name.
    pub(super) name: Fqdn,
    /// Records of what type.
    pub(super) kind: Kind,
}

impl Question {
    /// Asks for the `kind` of `name`.
    pub(super) fn new(name: Fqdn, kind: Kind) -> Self {
        Self { name, kind }
    }
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    /// Lower is better.
    pub(super) priority: u16,
    /// Higher is better.
    pub(super) weight: u16,
    /// The port.
    pub(super) port: u16,
    /// The server, or `None` where the domain says that it does not offer the service.
    pub(super) target: Option<Fqdn>,
}

/// The answer to a question. Sets are sorted and without repetition, so that what follows does not depend on the order
/// in which a server lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// There is no such record, or no such name.
    Absent,
    /// The name is an alias for another.
    Alias(Fqdn),
    /// Name servers.
    Names(Vec<Fqdn>),
    /// IPv4 addresses.
    V4(Vec<Ipv4Addr>),
    /// IPv6 addresses.
    V6(Vec<Ipv6Addr>),
    /// Services.
    Services(Vec<Service>),
}

/// How far a piece of knowledge is to be trusted (RFC 2181 §5.4.1): a better one is not replaced by a worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Addresses that came along with a delegation.
    Glue,
    /// Addresses that came along with an authoritative answer.
    Additional,
    /// An authoritative answer, or a delegation.
    Answer,
}

/// One piece of knowledge, as a message teaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// What it answers.
    pub(super) question: Question,
    /// The answer.
    pub(super) data: Data,
    /// How long the zone's owner lets it be kept.
    pub(super) ttl: Duration,
    /// How good it is.
    pub(super) rank: Rank,
}

/// Nothing is forgotten sooner, whatever its TTL: longer than a whole look-up may take, so that what was learnt at its
/// start still holds at its end.
pub(super) const SHORTEST_TTL: Duration = Duration::from_secs(20);
/// Nothing that exists is kept longer.
const LONGEST_TTL: Duration = Duration::from_secs(86_400);
/// Nothing that does not exist is kept longer (RFC 2308 §5 advises one to three hours).
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
struct Entry {
    data: Data,
    rank: Rank,
    expires: Instant,
    age: u64,
}

/// Everything known, up to a number of entries. When it is full, what was learnt longest ago goes: not what ends first, or
/// somebody who fills the cache with long-lived entries could have every fresh answer forgotten at once.
#[derive(Debug)]
pub(super) struct Cache {
    entries: BTreeMap<Question, Entry>,
    by_age: BTreeMap<u64, Question>,
    learnt: u64,
    capacity: usize,
}

impl Cache {
    /// Holds at most `capacity` entries.
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: BTreeMap::new(), by_age: BTreeMap::new(), learnt: 0, capacity }
    }

    /// Learns a fact, unless a better one still holds.
    pub(super) fn learn(&mut self, now: Instant, fact: Fact) {
        let longest = if fact.data == Data::Absent { LONGEST_NEGATIVE_TTL } else { LONGEST_TTL };
        let expires = now + fact.ttl.clamp(SHORTEST_TTL, longest);
        if let Some(old) = self.entries.get(&fact.question) {
            if old.expires > now && old.rank > fact.rank {
                return;
            }
            self.by_age.remove(&old.age);
        }
        self.learnt += 1;
        self.by_age.insert(self.learnt, fact.question.clone());
        self.entries.insert(fact.question, Entry { data: fact.data, rank: fact.rank, expires, age: self.learnt });
        while self.entries.len() > self.capacity {
            let Some((_, question)) = self.by_age.pop_first() else { break };
            self.entries.remove(&question);
        }
    }

    /// The answer to a question, if it is known and still holds.
    pub(super) fn get(&self, now: Instant, question: &Question) -> Option<&Data> {
        self.entries.get(question).filter(|entry| entry.expires > now).map(|entry| &entry.data)
    }

    /// The name servers of `zone`, if it is known to be one.
    pub(super) fn name_servers(&self, now: Instant, zone: &Fqdn) -> Option<&[Fqdn]> {
        match self.get(now, &Question::new(zone.clone(), Kind::Ns)) {
            Some(Data::Names(servers)) => Some(servers),
            _ => None,
        }
    }

    /// The known zones that enclose `name`, the deepest first; the root, always known, is left out.
    pub(super) fn enclosing_zones(&self, now: Instant, name: &Fqdn) -> impl Iterator<Item = Fqdn> {
        std::iter::successors(Some(name.clone()), Fqdn::parent)
            .filter(move |candidate| self.name_servers(now, candidate).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(text: &str) -> Question {
        Question::new(Fqdn::parse(text).expect("a name"), Kind::A)
    }

    fn fact(text: &str, last: u8, ttl: u64, rank: Rank) -> Fact {
        let data = Data::V4(vec![Ipv4Addr::new(192, 0, 2, last)]);
        Fact { question: question(text), data, ttl: Duration::from_secs(ttl), rank }
    }

    #[test]
    fn an_entry_ends_with_its_ttl() {
        let mut cache = Cache::new(10);
        cache.learn(Instant::ORIGIN, fact("a.example", 1, 60, Rank::Answer));
        let end = Instant::ORIGIN + Duration::from_secs(60);
        assert!(cache.get(Instant(end.0 - 1), &question("a.example")).is_some());
        assert_eq!(cache.get(end, &question("a.example")), None);
    }

    #[test]
    fn glue_does_not_replace_an_answer_but_an_answer_replaces_glue() {
        let mut cache = Cache::new(10);
        cache.learn(Instant::ORIGIN, fact("a.example", 1, 60, Rank::Glue));
        cache.learn(Instant::ORIGIN, fact("a.example", 2, 60, Rank::Answer));
        cache.learn(Instant::ORIGIN, fact("a.example", 3, 60, Rank::Glue));
        let known = cache.get(Instant::ORIGIN, &question("a.example"));
        assert_eq!(known, Some(&Data::V4(vec![Ipv4Addr::new(192, 0, 2, 2)])));
        // Once the answer has ended, glue will do again.
        let later = Instant::ORIGIN + Duration::from_secs(61);
        cache.learn(later, fact("a.example", 3, 60, Rank::Glue));
        assert_eq!(cache.get(later, &question("a.example")), Some(&Data::V4(vec![Ipv4Addr::new(192, 0, 2, 3)])));
    }

    #[test]
    fn memory_is_bounded_and_what_was_learnt_longest_ago_goes() {
        let mut cache = Cache::new(2);
        cache.learn(Instant::ORIGIN, fact("a.example", 1, 500, Rank::Answer));
        cache.learn(Instant::ORIGIN, fact("b.example", 1, 100, Rank::Answer));
        cache.learn(Instant::ORIGIN, fact("a.example", 1, 500, Rank::Answer));
        cache.learn(Instant::ORIGIN, fact("c.example", 1, 300, Rank::Answer));
        assert_eq!((cache.entries.len(), cache.by_age.len()), (2, 2));
        assert_eq!(cache.get(Instant::ORIGIN, &question("b.example")), None);
        assert!(cache.get(Instant::ORIGIN, &question("a.example")).is_some());
    }

    #[test]
    fn ttls_are_held_between_their_bounds() {
        let mut cache = Cache::new(10);
        cache.learn(Instant::ORIGIN, fact("short.example", 1, 0, Rank::Answer));
        cache.learn(Instant::ORIGIN, fact("long.example", 1, 10_000_000, Rank::Answer));
        let absent = Fact { data: Data::Absent, ..fact("none.example", 1, 10_000_000, Rank::Answer) };
        cache.learn(Instant::ORIGIN, absent);
        let at = |duration: Duration| Instant(Instant::ORIGIN.0 + duration.as_nanos() as u64 - 1);
        assert!(cache.get(at(SHORTEST_TTL), &question("short.example")).is_some());
        assert!(cache.get(at(LONGEST_TTL), &question("long.example")).is_some());
        assert!(cache.get(Instant::ORIGIN + LONGEST_TTL, &question("long.example")).is_none());
        assert!(cache.get(Instant::ORIGIN + LONGEST_NEGATIVE_TTL, &question("none.example")).is_none());
    }
}
