//! Queries of the host's programs, read as far as they concern the network, and answers to them.

use super::Owner;
use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::name::Fqdn;
use std::net::IpAddr;
use std::time::Duration;

/// Longer queries are not worth decoding.
const LONGEST: usize = 4_096;
/// How long programs may keep that a virtual address is somebody's: as long as the conversation that made it known.
const OWNER_LIFETIME: u32 = 60;

/// A query, as far as it concerns us.
#[derive(Debug)]
pub(super) enum Asked {
    /// A record of a name that might be a node's.
    Name { name: Fqdn, question: Question },
    /// Who has an address.
    Address { address: IpAddr, question: Question },
    /// Somebody else's.
    Elsewhere,
    /// Not a query that could be answered; this says so.
    Unsound(Option<Vec<u8>>),
}

/// What an answer repeats of its query.
#[derive(Debug)]
pub(super) struct Question {
    id: u16,
    recursion_desired: bool,
    edns: bool,
    query: Query,
}

/// Reads a query.
pub(super) fn read(bytes: &[u8]) -> Asked {
    let Ok(header) = Header::read(&mut BinDecoder::new(bytes)) else { return Asked::Unsound(None) };
    // Two servers that answered each other's answers would never stop talking.
    if header.metadata.message_type != MessageType::Query {
        return Asked::Unsound(None);
    }
    let refused = |why| {
        let refusal = Message::error_msg(header.metadata.id, header.metadata.op_code, why);
        Asked::Unsound(refusal.to_vec().ok())
    };
    // The decoder would make room for as many questions as the header claims.
    if header.counts.queries != 1 || bytes.len() > LONGEST {
        return refused(ResponseCode::FormErr);
    }
    let Ok(message) = Message::from_vec(bytes) else { return refused(ResponseCode::FormErr) };
    let Some(query) = message.queries.first() else { return refused(ResponseCode::FormErr) };
    if message.metadata.op_code != OpCode::Query || query.query_class() != DNSClass::IN {
        return Asked::Elsewhere;
    }
    let question = Question {
        id: message.metadata.id,
        recursion_desired: message.metadata.recursion_desired,
        edns: message.edns.is_some(),
        query: query.clone(),
    };
    match query.query_type() {
        RecordType::A | RecordType::AAAA | RecordType::HTTPS | RecordType::SVCB => {
            match Fqdn::parse(&query.name().to_ascii()) {
                Ok(name) => Asked::Name { name, question },
                // A name that no node can have.
                Err(_) => Asked::Elsewhere,
            }
        }
        RecordType::PTR => match query.name().parse_arpa_name() {
            Ok(network) if network.prefix_len() == network.max_prefix_len() => {
                Asked::Address { address: network.addr(), question }
            }
            _ => Asked::Elsewhere,
        },
        _ => Asked::Elsewhere,
    }
}

impl Question {
    /// The answer for a node. What is asked besides its addresses it does not have.
    pub(super) fn node(&self, addresses: VirtualAddresses, lifetime: Duration) -> Option<Vec<u8>> {
        let data = match self.query.query_type() {
            RecordType::A => Some(RData::A(A(addresses.v4))),
            RecordType::AAAA => Some(RData::AAAA(AAAA(addresses.v6))),
            _ => None,
        };
        let lifetime = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        self.answer(ResponseCode::NoError, data.map(|data| (lifetime, data)))
    }

    /// The answer about an address of the network's; `None` if it is none.
    pub(super) fn owner(&self, owner: &Owner) -> Option<Vec<u8>> {
        match owner {
            Owner::Node(name) => {
                let name = Name::from_ascii(format!("{name}.")).ok()?;
                self.answer(ResponseCode::NoError, Some((OWNER_LIFETIME, RData::PTR(PTR(name)))))
            }
            Owner::Nobody => self.answer(ResponseCode::NXDomain, None),
            Owner::Elsewhere => None,
        }
    }

    /// The answer that there is none now.
    pub(super) fn failure(&self) -> Option<Vec<u8>> {
        self.answer(ResponseCode::ServFail, None)
    }

    fn answer(&self, code: ResponseCode, record: Option<(u32, RData)>) -> Option<Vec<u8>> {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.add_query(self.query.clone());
        if let Some((lifetime, data)) = record {
            message.add_answer(Record::from_rdata(self.query.name().clone(), lifetime, data));
        }
        if self.edns {
            message.set_edns(Edns::new());
        }
        message.to_vec().ok()
    }
}

/// The answer of nobody to a query that nobody has answered.
pub(super) fn unanswered(query: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_vec(query).ok()?;
    let mut answer = Message::response(message.metadata.id, message.metadata.op_code);
    answer.metadata.response_code = ResponseCode::ServFail;
    answer.metadata.recursion_desired = message.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(message.queries);
    answer.to_vec().ok()
}
