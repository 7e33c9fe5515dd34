//! Scripted DNS servers behind links of one constant delay, and a driver that runs a resolver against them.

use crate::machine::{Lookup, LookupFailure, ServerAddresses};
use crate::resolver::{Families, Found, LookupId, QueryId, Resolver, Transport, Wanted};
use crate::time::Instant;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record};
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// From a query's departure to its answer's arrival.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(20);

/// A generator for tests: xorshift.
pub(super) struct Chance(pub(super) u64);

impl Entropy for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = (self.0 >> 32) as u8;
        }
    }
}

pub(super) fn fqdn(text: &str) -> Fqdn {
    Fqdn::parse(text).expect("a name")
}

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// Reads `owner type data…`, all names absolute.
pub(super) fn record(text: &str) -> Record {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let number = |index: usize| fields[index].parse().expect("a number");
    let data = match fields[1] {
        "A" => RData::A(A(fields[2].parse().expect("an address"))),
        "AAAA" => RData::AAAA(AAAA(fields[2].parse().expect("an address"))),
        "NS" => RData::NS(NS(name(fields[2]))),
        "CNAME" => RData::CNAME(CNAME(name(fields[2]))),
        "SRV" => RData::SRV(SRV::new(number(2), number(3), number(4), name(fields[5]))),
        "SOA" => RData::SOA(SOA::new(name("ns."), name("who."), 1, 1, 1, 1, 60)),
        other => panic!("no such type: {other}"),
    };
    Record::from_rdata(name(fields[0]), 300, data)
}

/// A reply, or silence.
type Script = Box<dyn Fn(&Message) -> Option<Vec<u8>>>;

/// The servers, the resolver and the time.
pub(super) struct World {
    pub(super) resolver: Resolver,
    pub(super) now: Instant,
    pub(super) chance: Chance,
    pub(super) queries: usize,
    pub(super) asked: Vec<(SocketAddr, String)>,
    /// Of 256 datagrams, how many are lost.
    pub(super) loss: u8,
    /// How many queries went over TCP.
    pub(super) streams: usize,
    /// Whether servers take connections.
    pub(super) takes_streams: bool,
    servers: BTreeMap<SocketAddr, Script>,
    flying: BTreeMap<(Instant, u64), Flying>,
    count: u64,
}

/// An answer on its way.
struct Flying {
    from: SocketAddr,
    /// The query that it answers, where that went over TCP.
    stream: Option<QueryId>,
    /// What it says; nothing where no connection is to be had.
    bytes: Option<Vec<u8>>,
}

/// An honest authoritative server of one zone.
pub(super) fn honest(apex: &str, records: &[&str]) -> Script {
    let apex = name(apex);
    let records: Vec<Record> = records.iter().map(|text| record(text)).collect();
    Box::new(move |query| Some(answer(&apex, &records, query).to_vec().expect("an answer")))
}

fn answer(apex: &Name, records: &[Record], query: &Message) -> Message {
    let asked = &query.queries[0];
    let mut message = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    message.add_query(asked.clone());
    let cut = records.iter().find(|record| {
        matches!(record.data, RData::NS(_)) && record.name != *apex && record.name.zone_of(asked.name())
    });
    let mut hosts = BTreeSet::new();
    if let Some(cut) = cut {
        for record in records.iter().filter(|record| record.name == cut.name) {
            if let RData::NS(target) = &record.data {
                hosts.insert(target.0.clone());
                message.add_authority(record.clone());
            }
        }
    } else {
        message.metadata.authoritative = true;
        let of_name: Vec<&Record> = records.iter().filter(|record| record.name == *asked.name()).collect();
        for record in &of_name {
            if record.record_type() == asked.query_type() || matches!(record.data, RData::CNAME(_)) {
                if let RData::SRV(srv) = &record.data {
                    hosts.insert(srv.target.clone());
                }
                message.add_answer((*record).clone());
            }
        }
        if message.answers.is_empty() {
            message.add_authority(Record::from_rdata(apex.clone(), 300, record("x. SOA").data));
            if of_name.is_empty() {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
        }
    }
    for record in records.iter().filter(|record| hosts.contains(&record.name)) {
        if matches!(record.data, RData::A(_) | RData::AAAA(_)) {
            message.add_additional(record.clone());
        }
    }
    message
}

impl World {
    pub(super) fn new(root_hints: &[&str], families: Families) -> Self {
        let root_hints = root_hints.iter().map(|ip| address(ip)).collect();
        Self {
            resolver: Resolver::new(root_hints, families),
            now: Instant::ORIGIN,
            chance: Chance(0x9E37_79B9_7F4A_7C15),
            queries: 0,
            asked: Vec::new(),
            loss: 0,
            streams: 0,
            takes_streams: true,
            servers: BTreeMap::new(),
            flying: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn serve(&mut self, ip: &str, script: Script) {
        self.servers.insert(address(ip), script);
    }

    pub(super) fn silence(&mut self, ip: &str) {
        self.servers.remove(&address(ip));
    }

    pub(super) fn dc(&mut self, node: &str) -> Result<ServerAddresses, LookupFailure> {
        match self.look_up(Wanted::Server(Lookup::DirectionCoordinator(fqdn(node))))? {
            Found::Server(server) => Ok(server),
            other => panic!("a server was wanted, not {other:?}"),
        }
    }

    /// Runs one look-up to its end.
    pub(super) fn look_up(&mut self, wanted: Wanted) -> Result<Found, LookupFailure> {
        let id = self.resolver.start(self.now, &mut self.chance, wanted);
        self.run(id)
    }

    /// Runs until this look-up is at its end.
    pub(super) fn run(&mut self, id: LookupId) -> Result<Found, LookupFailure> {
        loop {
            self.transmit();
            if let Some((finished, result)) = self.resolver.poll_finished() {
                if finished == id {
                    return result;
                }
                continue;
            }
            self.step();
        }
    }

    /// Runs one look-up and counts its sequential round trips.
    pub(super) fn round_trips<T>(&mut self, look_up: impl FnOnce(&mut Self) -> T) -> (T, u64) {
        let start = self.now;
        let result = look_up(self);
        let took = self.now.since(start).as_nanos();
        assert_eq!(took % ROUND_TRIP.as_nanos(), 0, "something waited for a timer");
        (result, (took / ROUND_TRIP.as_nanos()) as u64)
    }

    pub(super) fn deliver(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        self.resolver.handle_response(self.now, &mut self.chance, from, bytes)
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.resolver.poll_transmit() {
            self.queries += 1;
            assert!(self.queries < 1_000, "the resolver floods");
            let query = Message::from_vec(&transmit.bytes).expect("a sound query");
            let asked = &query.queries[0];
            self.asked.push((transmit.to, format!("{} {}", asked.query_type(), asked.name())));
            let stream = (transmit.transport == Transport::Tcp).then_some(transmit.query);
            self.streams += usize::from(stream.is_some());
            let [query_fate, answer_fate] = draw(&mut self.chance);
            if stream.is_none() && (query_fate < self.loss || answer_fate < self.loss) {
                continue;
            }
            let mut bytes = self.servers.get(&transmit.to).and_then(|script| script(&query));
            if stream.is_some() && !self.takes_streams {
                bytes = None;
            }
            if bytes.is_some() || stream.is_some() {
                self.count += 1;
                let flying = Flying { from: transmit.to, stream, bytes };
                self.flying.insert((self.now + ROUND_TRIP, self.count), flying);
            }
        }
    }

    /// The next thing happens: an answer arrives or a timer ends.
    fn step(&mut self) {
        let timer = self.resolver.deadline();
        let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
        match (arrival, timer) {
            (Some(arrival), timer) if timer.is_none_or(|timer| arrival <= timer) => {
                self.now = arrival;
                let (_, Flying { from, stream, bytes }) = self.flying.pop_first().expect("it was there");
                match (stream, bytes) {
                    (Some(query), bytes) => {
                        let (now, chance) = (self.now, &mut self.chance);
                        self.resolver.handle_stream(now, chance, (query, from), bytes.as_deref());
                    }
                    (None, Some(bytes)) => drop(self.deliver(from, &bytes)),
                    (None, None) => {}
                }
            }
            (_, Some(timer)) => {
                self.now = timer;
                self.resolver.expire(self.now, &mut self.chance);
            }
            (_, None) => panic!("nothing will ever happen"),
        }
    }
}

pub(super) fn address(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), 53)
}

/// The host can send to both families.
pub(super) const BOTH: Families = Families { v4: true, v6: true };
/// The host has IPv4 alone.
pub(super) const V4: Families = Families { v4: true, v6: false };

/// Root, the top-level domain `example`, and two dual-stack DCs in domains of their own.
pub(super) fn two_domains(families: Families) -> World {
    let mut world = World::new(&["198.41.0.4"], families);
    let tld = ["example. NS ns.example.", "ns.example. A 192.0.2.1"];
    world.serve("198.41.0.4", honest(".", &tld));
    world.serve(
        "192.0.2.1",
        honest(
            "example.",
            &[
                "u1.example. NS dc.u1.example.",
                "dc.u1.example. A 192.0.2.11",
                "dc.u1.example. AAAA 2001:db8::11",
                "u2.example. NS dc.u2.example.",
                "dc.u2.example. A 192.0.2.12",
                "dc.u2.example. AAAA 2001:db8::12",
            ],
        ),
    );
    for (domain, ip) in [("u1.example.", "192.0.2.11"), ("u2.example.", "192.0.2.12")] {
        let last = &ip[ip.len() - 2..];
        let records = [
            format!("{domain} NS dc.{domain}"),
            format!("dc.{domain} A {ip}"),
            format!("dc.{domain} AAAA 2001:db8::{last}"),
            format!("_ntm._udp.{domain} SRV 0 0 4510 dc.{domain}"),
            format!("_ntm-tls._udp.{domain} SRV 0 0 4443 dc.{domain}"),
            format!("_ntm-as._udp.{domain} SRV 0 0 4433 as.{domain}"),
            format!("as.{domain} A 192.0.2.99"),
        ];
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        world.serve(ip, honest(domain, &records));
        world.serve(&format!("2001:db8::{last}"), honest(domain, &records));
    }
    world
}
