//! DNS over TCP (RFC 7766): messages behind two bytes of length, several on a connection, answered in their order.
//!
//! Connections are bounded in number, also for each address, and in the time that they may be idle; queries in length.

use super::Service;
use crate::dns::{LARGEST_QUERY, Transport};
use bytes::{BufMut, BytesMut};
use ntmobile_ports::net::{ByteStream, NetError, TcpPort};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// How many connections are held.
const MOST_CONNECTIONS: usize = 256;
/// How many of them one address may hold.
const MOST_OF_ONE: usize = 8;
/// How long a connection may be without a query, and a client may take to send one or to take in an answer.
const IDLE: Duration = Duration::from_secs(10);

/// Accepts connections until the port closes. They end with this task.
pub(super) async fn serve(service: Service, port: Box<dyn TcpPort>) {
    let places = Arc::new(Places::default());
    let mut connections = JoinSet::new();
    loop {
        match port.accept().await {
            Ok(stream) => {
                while connections.try_join_next().is_some() {}
                match places.take(stream.peer().ip()) {
                    Some(place) => drop(connections.spawn_local(converse(service.clone(), stream, place))),
                    None => service.count("dns.connection_refused"),
                }
            }
            Err(NetError::Closed) => return,
            Err(_) => service.pause().await,
        }
    }
}

/// Answers what comes on one connection, until either side has had enough.
async fn converse(service: Service, mut stream: Box<dyn ByteStream>, _place: Place) {
    let from = stream.peer();
    loop {
        let query = tokio::select! {
            biased;
            query = receive(&mut *stream) => query,
            () = service.host.clock().sleep(IDLE) => break,
        };
        let Ok(query) = query else { break };
        let Some(answer) = service.answer(from, &query, Transport::Tcp).await else { break };
        let mut framed = BytesMut::with_capacity(2 + answer.len());
        framed.put_u16(u16::try_from(answer.len()).expect("a DNS message is no longer than its length can say"));
        framed.put_slice(&answer);
        let sent = tokio::select! {
            biased;
            sent = stream.write_all(&framed) => sent.is_ok(),
            () = service.host.clock().sleep(IDLE) => false,
        };
        if !sent {
            break;
        }
    }
    // Whoever is gone already needs no farewell.
    drop(stream.shutdown().await);
}

/// The next query. What is too long to be one ends the connection: nothing after it could be found.
async fn receive(stream: &mut dyn ByteStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > LARGEST_QUERY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut query = vec![0; length];
    stream.read_exact(&mut query).await?;
    Ok(query)
}

/// How many connections each address holds.
#[derive(Debug, Default)]
struct Places {
    held: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Places {
    /// A place for a connection of this address, if there is one.
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(&address).copied().unwrap_or_default();
        if own >= MOST_OF_ONE || held.values().sum::<usize>() >= MOST_CONNECTIONS {
            return None;
        }
        held.insert(address, own + 1);
        Some(Place { places: Arc::clone(self), address })
    }
}

/// A connection's place; free again when this is dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.address) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(held.remove(&self.address)),
        }
    }
}
