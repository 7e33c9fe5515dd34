//! The host's own name servers: asked as the program asked, answered as they answer.

use crate::entropy::SystemEntropy;
use bytes::Bytes;
use ntmobile_ports::net::{ByteStream, Net, NetError};
use ntmobile_wire::entropy::Entropy;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How long a server has for its answer before the next is asked.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How often all of them are asked.
const ROUNDS: usize = 2;
/// What a query and its answer have in common at the beginning is their identifier.
const IDENTIFIER: usize = 2;
/// A header is so long; the question follows.
const HEADER: usize = 12;

/// Whom to ask.
pub(super) struct Upstream {
    net: Arc<dyn Net>,
    servers: RwLock<Vec<SocketAddr>>,
    /// The one that answered last is asked first.
    preferred: Mutex<Option<SocketAddr>>,
}

impl Upstream {
    pub(super) fn new(net: Arc<dyn Net>, servers: Vec<SocketAddr>) -> Self {
        Self { net, servers: RwLock::new(servers), preferred: Mutex::default() }
    }

    /// Asks these from now on.
    pub(super) fn set(&self, servers: Vec<SocketAddr>) {
        *self.servers.write().unwrap_or_else(PoisonError::into_inner) = servers;
    }

    /// The answer that somebody gives to a datagram.
    pub(super) async fn datagram(&self, query: &[u8]) -> Option<Bytes> {
        for _ in 0..ROUNDS {
            for server in self.in_turn() {
                if let Ok(Some(answer)) = timeout(PATIENCE, self.ask(server, query)).await {
                    self.prefer(server);
                    return Some(answer);
                }
            }
        }
        None
    }

    /// The answer that somebody gives on a stream.
    pub(super) async fn stream(&self, query: &[u8]) -> Option<Bytes> {
        for server in self.in_turn() {
            if let Ok(Ok(answer)) = timeout(2 * PATIENCE, self.ask_on_stream(server, query)).await {
                self.prefer(server);
                return Some(answer);
            }
        }
        None
    }

    fn in_turn(&self) -> Vec<SocketAddr> {
        let mut servers = self.servers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let preferred = *self.preferred.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = servers.iter().position(|server| Some(*server) == preferred) {
            servers.rotate_left(position);
        }
        servers
    }

    fn prefer(&self, server: SocketAddr) {
        *self.preferred.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Asks one server, from a port and under an identifier that nobody can guess.
    async fn ask(&self, server: SocketAddr, query: &[u8]) -> Option<Bytes> {
        let port = self.net.bind_udp(0).ok()?;
        let (theirs, rest) = query.split_first_chunk::<IDENTIFIER>()?;
        let ours: [u8; IDENTIFIER] = SystemEntropy.array();
        port.send(server, [&ours, rest].concat().into()).ok()?;
        loop {
            let received = port.receive().await.ok()?;
            let answer = received.bytes;
            let is_sound = answer.len() >= HEADER && received.from == server;
            if is_sound && answer[..IDENTIFIER] == ours && repeats(&answer, query) {
                return Some([theirs, &answer[IDENTIFIER..]].concat().into());
            }
        }
    }

    async fn ask_on_stream(&self, server: SocketAddr, query: &[u8]) -> Result<Bytes, NetError> {
        let mut stream = self.net.connect_tcp(server).await?;
        write_message(&mut *stream, query).await.ok_or(NetError::Closed)?;
        read_message(&mut *stream).await.ok_or(NetError::Closed)
    }
}

/// Whether an answer repeats the question, byte for byte but for the case of letters. A refusal may leave it out.
fn repeats(answer: &[u8], query: &[u8]) -> bool {
    if answer[4..6] == [0, 0] {
        return true;
    }
    let Some(question) = question(query) else { return false };
    answer.get(HEADER..HEADER + question.len()).is_some_and(|repeated| repeated.eq_ignore_ascii_case(question))
}

/// The first question of a query: its name, type and class.
fn question(query: &[u8]) -> Option<&[u8]> {
    let mut at = HEADER;
    loop {
        match *query.get(at)? {
            0 => break,
            length @ 1..=63 => at += 1 + usize::from(length),
            // A query has nothing before its first name that a pointer could point to.
            _ => return None,
        }
    }
    query.get(HEADER..at + 5)
}

/// Reads a message with its length in front; `None` when the stream ends.
pub(super) async fn read_message(stream: &mut dyn ByteStream) -> Option<Bytes> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await.ok()?;
    Some(message.into())
}

/// Writes a message with its length in front; `None` when the stream has ended.
pub(super) async fn write_message(stream: &mut dyn ByteStream, message: &[u8]) -> Option<()> {
    let length = u16::try_from(message.len()).ok()?;
    // In one piece: some servers take the length alone for a broken message.
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await.ok()?;
    stream.flush().await.ok()
}
