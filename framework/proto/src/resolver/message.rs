//! DNS messages as the resolver needs them: writing a query, reading an answer as facts that its sender may teach.
//!
//! A server may only speak for names inside the zone it was asked as a server of (its bailiwick). Whatever else an answer
//! holds is not read, so nobody can plant an address for a name that is not theirs.

use super::Transport;
use super::cache::{Data, Fact, Kind, Question, Rank, Service};
use bytes::Bytes;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeSet;
use std::time::Duration;

/// The largest datagram that a query invites: what passes unfragmented on any path (the DNS flag day's figure).
pub(super) const UDP_PAYLOAD: u16 = 1_232;
/// Longer answers on a stream are not read; nothing that we ask for has so many records.
pub(super) const LONGEST_STREAMED: usize = 16_384;
/// More records of one set, or more name servers of a zone, than this are not read.
const LARGEST_SET: usize = 16;

/// Why a datagram does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It does not answer the query: a stray, or forged.
    Stray,
    /// The server that was asked sent it, but it cannot or will not help.
    Useless,
    /// The answer did not fit a datagram; over TCP it does.
    Cut,
}

/// Writes the query.
pub(super) fn write_query(id: u16, question: &Question) -> Bytes {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(dns_name(&question.name), record_type(question.kind)));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    Bytes::from(message.to_vec().expect("a question of one sound name fits a datagram"))
}

/// The identifier in a message that may be one.
pub(super) fn identifier(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|id| u16::from_be_bytes(*id))
}

/// Reads the answer to `question` (asked under `id`) of a server of `zone`; `None` is the root.
///
/// What is returned either answers the question or delegates a deeper zone that encloses its name.
pub(super) fn read_answer(
    (bytes, transport): (&[u8], Transport),
    id: u16,
    question: &Question,
    zone: Option<&Fqdn>,
) -> Result<Vec<Fact>, Unread> {
    let longest = if transport == Transport::Udp { usize::from(UDP_PAYLOAD) } else { LONGEST_STREAMED };
    // The number of questions comes first: the decoder would make room for as many as the header claims.
    if bytes.len() > longest || bytes.get(4..6) != Some(&[0, 1]) {
        return Err(Unread::Useless);
    }
    let message = Message::from_vec(bytes).map_err(|_| Unread::Useless)?;
    let asked = matches!(&message.queries[..], [query] if fqdn(query.name()).as_ref() == Some(&question.name)
        && query.query_type() == record_type(question.kind)
        && query.query_class() == DNSClass::IN);
    if message.metadata.id != id || message.metadata.message_type != MessageType::Response || !asked {
        return Err(Unread::Stray);
    }
    let known = matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    if !known || message.metadata.op_code != OpCode::Query {
        return Err(Unread::Useless);
    }
    if message.metadata.truncation {
        return Err(if transport == Transport::Udp { Unread::Cut } else { Unread::Useless });
    }
    let sections = Sections {
        answers: owned(&message.answers),
        authorities: owned(&message.authorities),
        additionals: owned(&message.additionals),
    };
    if message.metadata.authoritative {
        Ok(authoritative(&sections, question, zone))
    } else {
        referral(&sections, question, zone).ok_or(Unread::Useless)
    }
}

/// A record with the name it belongs to.
type Owned<'a> = (Fqdn, &'a Record);

/// The records of a message that are the internet's and belong to names that hosts can bear.
struct Sections<'a> {
    answers: Vec<Owned<'a>>,
    authorities: Vec<Owned<'a>>,
    additionals: Vec<Owned<'a>>,
}

fn owned(records: &[Record]) -> Vec<Owned<'_>> {
    let own = records.iter().filter(|record| record.dns_class == DNSClass::IN);
    own.filter_map(|record| Some((fqdn(&record.name)?, record))).collect()
}

/// Reads an authoritative answer: the records, an alias, or their absence.
fn authoritative(message: &Sections<'_>, question: &Question, zone: Option<&Fqdn>) -> Vec<Fact> {
    let (found, ttl) = record_set(&message.answers, question);
    if let Some(data) = found {
        let mut facts = addresses(&message.additionals, &targets(&data), zone, Rank::Additional);
        facts.push(Fact { question: question.clone(), data, ttl, rank: Rank::Answer });
        return facts;
    }
    let alias = message.answers.iter().find_map(|(owner, record)| match &record.data {
        RData::CNAME(target) if *owner == question.name => fqdn(&target.0).map(|target| (target, record.ttl)),
        _ => None,
    });
    if let Some((target, ttl)) = alias {
        let mut facts = addresses(&message.answers, &BTreeSet::from([target.clone()]), zone, Rank::Additional);
        let data = Data::Alias(target);
        facts.push(Fact { question: question.clone(), data, ttl: seconds(ttl), rank: Rank::Answer });
        return facts;
    }
    // A delegation for the very name asked for, by a server that also claims authority, is still a delegation.
    if let Some(facts) = referral(message, question, zone) {
        return facts;
    }
    // RFC 2308 §5: the zone's SOA says for how long.
    let ttl = message.authorities.iter().find_map(|(apex, record)| match &record.data {
        RData::SOA(soa) if question.name.is_within(apex) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    let ttl = seconds(ttl.unwrap_or(0));
    vec![Fact { question: question.clone(), data: Data::Absent, ttl, rank: Rank::Answer }]
}

/// Reads a delegation: it must lead down, towards the name.
fn referral(message: &Sections<'_>, question: &Question, zone: Option<&Fqdn>) -> Option<Vec<Fact>> {
    let cut = message.authorities.iter().find(|(apex, record)| {
        let deeper = is_within(apex, zone) && zone != Some(apex) && question.name.is_within(apex);
        deeper && matches!(record.data, RData::NS(_))
    });
    let delegation = Question::new(cut?.0.clone(), Kind::Ns);
    let (data, ttl) = record_set(&message.authorities, &delegation);
    let data = data?;
    let mut facts = addresses(&message.additionals, &targets(&data), zone, Rank::Glue);
    facts.push(Fact { question: delegation, data, ttl, rank: Rank::Answer });
    Some(facts)
}

/// The set of records in `records` that answers `question`, and the shortest of their TTLs.
fn record_set(records: &[Owned<'_>], question: &Question) -> (Option<Data>, Duration) {
    let right =
        |(owner, record): &&Owned<'_>| *owner == question.name && record.record_type() == record_type(question.kind);
    let own = || records.iter().filter(right).take(LARGEST_SET).map(|(_, record)| record);
    let ttl = own().map(|record| record.ttl).min().unwrap_or(0);
    let data = match question.kind {
        Kind::Ns => set(own().filter_map(|record| match &record.data {
            RData::NS(target) => fqdn(&target.0),
            _ => None,
        }))
        .map(Data::Names),
        Kind::A => set(own().filter_map(|record| match record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        }))
        .map(Data::V4),
        Kind::Aaaa => set(own().filter_map(|record| match record.data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        }))
        .map(Data::V6),
        Kind::Srv => set(own().filter_map(|record| match &record.data {
            RData::SRV(srv) => {
                Some(Service { priority: srv.priority, weight: srv.weight, port: srv.port, target: fqdn(&srv.target) })
            }
            _ => None,
        }))
        .map(Data::Services),
    };
    (data, seconds(ttl))
}

/// Sorted, without repetition; `None` when there is nothing.
fn set<T: Ord>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: BTreeSet<T> = items.collect();
    (!items.is_empty()).then(|| items.into_iter().collect())
}

/// The hosts whose addresses a server may add to an answer.
fn targets(data: &Data) -> BTreeSet<Fqdn> {
    match data {
        Data::Names(names) => names.iter().cloned().collect(),
        Data::Services(services) => services.iter().filter_map(|service| service.target.clone()).collect(),
        Data::Absent | Data::Alias(_) | Data::V4(_) | Data::V6(_) => BTreeSet::new(),
    }
}

/// The addresses of `hosts` in `records`, as far as the sender may speak for them.
fn addresses(records: &[Owned<'_>], hosts: &BTreeSet<Fqdn>, zone: Option<&Fqdn>, rank: Rank) -> Vec<Fact> {
    let mut facts = Vec::new();
    for host in hosts.iter().filter(|host| is_within(host, zone)) {
        for kind in [Kind::A, Kind::Aaaa] {
            let question = Question::new(host.clone(), kind);
            if let (Some(data), ttl) = record_set(records, &question) {
                facts.push(Fact { question, data, ttl, rank });
            }
        }
    }
    facts
}

/// Whether a server of `zone` may speak for `name`; the root (`None`) may for all.
fn is_within(name: &Fqdn, zone: Option<&Fqdn>) -> bool {
    zone.is_none_or(|zone| name.is_within(zone))
}

fn seconds(ttl: u32) -> Duration {
    // RFC 2181 §8: a TTL with the top bit set counts as zero.
    Duration::from_secs(if ttl > i32::MAX as u32 { 0 } else { u64::from(ttl) })
}

/// The type's number on the wire.
fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::Ns => RecordType::NS,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Srv => RecordType::SRV,
    }
}

/// A name as DNS writes it.
fn dns_name(name: &Fqdn) -> Name {
    let mut dns =
        Name::from_labels(name.as_str().split('.').map(str::as_bytes)).expect("our names are within DNS's limits");
    dns.set_fqdn(true);
    dns
}

/// A name of DNS as ours; `None` for the root and for names that no host bears.
fn fqdn(name: &Name) -> Option<Fqdn> {
    let mut text = String::new();
    for label in name.iter() {
        if label.contains(&b'.') {
            return None;
        }
        text.push_str(std::str::from_utf8(label).ok()?);
        text.push('.');
    }
    Fqdn::parse(&text).ok()
}
