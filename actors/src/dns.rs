//! The authoritative DNS server: a DC is its domain's, and the simulation's root and top-level domains use the same.
//!
//! It has no socket: [`AuthoritativeDns::answer`] turns a query into its answer, whoever carries the two. Hickory's catalog
//! answers; delegations are answered here, since hickory's in-memory zones claim authority over what they delegate and leave
//! the glue out, and without glue a look-up of a DC would cost further round trips.
//!
//! **Invariant:** the answer depends on the query and the zones alone: no clock, no chance, no map's order.

mod zone;

#[cfg(test)]
mod tests;

pub use ntmobile_proto::resolver::Transport;
pub use zone::{CoordinatorRecords, RecordData, ZoneError, ZoneRecords};

use async_trait::async_trait;
use bytes::Bytes;
use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use hickory_server::net::NetError;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder};
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use zone::Zones;

/// The largest answer over UDP, however much the asker would take: what passes unfragmented on any path, and what keeps the
/// server from being much of an amplifier.
const LARGEST_DATAGRAM: u16 = 1_232;
/// A query is a header, a name and an OPT record; longer ones are not worth decoding.
pub(crate) const LARGEST_QUERY: usize = 1_024;

/// The zones of one server.
pub struct AuthoritativeDns {
    zones: RwLock<Arc<Zones>>,
    contents: Mutex<Contents>,
}

/// Each zone with its serial, by its apex.
type Contents = BTreeMap<Option<Fqdn>, (u32, ZoneRecords)>;

impl AuthoritativeDns {
    /// Serves these zones, each with serial 1.
    pub fn new(zones: Vec<ZoneRecords>) -> Result<Self, ZoneError> {
        let contents: Contents = zones.into_iter().map(|zone| (zone.apex.clone(), (1, zone))).collect();
        let built = Zones::build(contents.values())?;
        Ok(Self { zones: RwLock::new(Arc::new(built)), contents: Mutex::new(contents) })
    }

    /// Puts a zone in the place of the one with the same apex, or adds it. The serial of a zone that was there increases. If
    /// the new zone is refused the old one stays.
    pub fn replace(&self, zone: ZoneRecords) -> Result<(), ZoneError> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = contents.clone();
        let serial = next.get(&zone.apex).map_or(1, |(serial, _)| serial.wrapping_add(1));
        next.insert(zone.apex.clone(), (serial, zone));
        let built = Arc::new(Zones::build(next.values())?);
        *contents = next;
        *self.zones.write().unwrap_or_else(PoisonError::into_inner) = built;
        Ok(())
    }

    /// The answer to a query that came by this transport, which decides how long the answer may be; `None` for what must not be answered: responses (two servers would never stop talking) and
    /// what is too short to say whose it is.
    pub async fn answer(&self, from: SocketAddr, query: &[u8], transport: Transport) -> Option<Bytes> {
        let header = Header::read(&mut BinDecoder::new(query)).ok()?;
        if header.metadata.message_type != MessageType::Query {
            return None;
        }
        // The decoder would make room for as many questions as the header claims.
        if header.counts.queries != 1 || query.len() > LARGEST_QUERY {
            return refusal(&header.metadata, ResponseCode::FormErr);
        }
        let protocol = match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        let Ok(request) = Request::from_bytes(query.to_vec(), from, protocol) else {
            return refusal(&header.metadata, ResponseCode::FormErr);
        };
        let Some(question) = request.queries.queries().first() else {
            return refusal(&header.metadata, ResponseCode::FormErr);
        };
        if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
            return refusal(&header.metadata, ResponseCode::Refused);
        }
        let zones = Arc::clone(&self.zones.read().unwrap_or_else(PoisonError::into_inner));
        let mut caught = Caught { longest: longest(transport, request.edns.as_ref()), answer: Arc::default() };
        let delegation = zones.delegation_of(question.name(), question.query_type()).filter(|_| is_plain(&request));
        if let Some(delegation) = delegation {
            let edns = request.edns.as_ref().map(|_| Edns::new());
            let metadata = Metadata::response_from_request(&request.metadata);
            let response = MessageResponseBuilder::new(&request.queries, edns.as_ref()).build(
                metadata,
                [],
                &delegation.name_servers,
                [],
                &delegation.glue,
            );
            let _told_by_what_is_caught = caught.send_response(response).await;
        } else {
            zones.catalog.handle_request::<_, NoTime>(&request, caught.clone()).await;
        }
        let answer = caught.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.or_else(|| refusal(&header.metadata, ResponseCode::ServFail))
    }
}

/// Whether this is an ordinary query, of the version of EDNS that everybody speaks.
fn is_plain(request: &Request) -> bool {
    request.metadata.op_code == OpCode::Query && request.edns.as_ref().is_none_or(|edns| edns.version() == 0)
}

/// How long the answer may be (RFC 1035 §4.2.1, RFC 6891 §6.2.3).
fn longest(transport: Transport, edns: Option<&Edns>) -> u16 {
    match transport {
        Transport::Udp => edns.map_or(512, |edns| edns.max_payload().clamp(512, LARGEST_DATAGRAM)),
        Transport::Tcp => u16::MAX,
    }
}

/// An answer of a header alone.
fn refusal(asked: &Metadata, why: ResponseCode) -> Option<Bytes> {
    let mut metadata = Metadata::response_from_request(asked);
    metadata.response_code = why;
    let mut bytes = Vec::new();
    let header = Header { metadata, counts: HeaderCounts::default() };
    header.emit(&mut BinEncoder::new(&mut bytes)).ok()?;
    Some(Bytes::from(bytes))
}

/// Where hickory puts its answer instead of on a socket.
#[derive(Clone)]
struct Caught {
    longest: u16,
    answer: Arc<Mutex<Option<Bytes>>>,
}

#[async_trait]
impl ResponseHandler for Caught {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(self.longest);
        let info = response.destructive_emit(&mut encoder)?;
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Bytes::from(bytes));
        Ok(info)
    }
}

/// Hickory asks for a clock to check signatures of dynamic updates and transfers; ours takes neither, and sees none.
struct NoTime;

#[async_trait]
impl Time for NoTime {
    async fn delay_for(_: Duration) {}

    async fn timeout<F: 'static + Future + Send>(_: Duration, future: F) -> Result<F::Output, io::Error> {
        Ok(future.await)
    }

    fn current_time() -> u64 {
        0
    }
}
