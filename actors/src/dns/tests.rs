//! The server alone, and the resolver against a whole hierarchy of them.

mod answering;
mod hierarchy;
mod input;

use super::{AuthoritativeDns, CoordinatorRecords, Transport, ZoneRecords};
use bytes::Bytes;
use futures::FutureExt;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use ntmobile_wire::name::Fqdn;
use std::net::{IpAddr, SocketAddr};

fn fqdn(text: &str) -> Fqdn {
    Fqdn::parse(text).expect("a name")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn domain(domain: &str, addresses: &[&str]) -> ZoneRecords {
    let domain = fqdn(domain);
    let coordinator = CoordinatorRecords {
        name: domain.child("dc").expect("a name"),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        signalling_port: 4510,
        tls_port: 4443,
    };
    ZoneRecords::of_domain(domain, &coordinator)
}

fn asker() -> SocketAddr {
    "203.0.113.5:5353".parse().expect("an address")
}

/// The server answers without ever waiting.
fn raw(server: &AuthoritativeDns, query: &[u8], transport: Transport) -> Option<Bytes> {
    server.answer(asker(), query, transport).now_or_never().expect("nothing is waited for")
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    message.set_edns(edns);
    message
}

fn ask(server: &AuthoritativeDns, query: &Message) -> Message {
    let answer = raw(server, &query.to_vec().expect("a query"), Transport::Udp).expect("an answer");
    Message::from_vec(&answer).expect("a sound answer")
}
