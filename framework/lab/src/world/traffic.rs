//! Conversations: what applications send each other, and what is measured of it.
//!
//! Every node offers two services: an echo for datagrams, and a sink for streams. A datagram or stream says in its first
//! bytes which conversation it belongs to, so that both ends write into the same measurement.

use super::measure::Measurement;
use super::topology::Standpoint;
use crate::record::Path;
use crate::scenario::event::{Ping, Tcp, Traffic, TrafficKind, Udp};
use ntmobile_actors::library::{Node, Peer, VirtualTcpStream, VirtualUdpSocket};
use ntmobile_ports::clock::Clock;
use ntmobile_proto::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The port of the echo service.
const ECHO_PORT: u16 = 7;

/// The port of the sink: what "discard" was once called.
const SINK_PORT: u16 = 9;

/// A datagram begins with the conversation's number, its own number, and when it was sent.
const STAMP: usize = 16;

/// How long the answer to a ping is waited for.
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// The measurements of all conversations, which outlive the world. In a simulated world there is one board; on the real kernel
/// each node's process has one, and the lab puts what is on them together.
#[derive(Clone)]
pub(crate) struct Board {
    clock: Arc<dyn Clock>,
    rows: Arc<Mutex<Vec<Measurement>>>,
    /// Which rows are between two nodes, by their names in order.
    pairs: Arc<BTreeMap<(String, String), Vec<usize>>>,
}

impl Board {
    /// A row for each conversation of the scenario.
    pub(crate) fn new(clock: Arc<dyn Clock>, traffic: &[Traffic]) -> Self {
        let rows = traffic.iter().map(|traffic| {
            let kind = match traffic.kind {
                TrafficKind::Udp(_) => "udp",
                TrafficKind::Tcp(_) => "tcp",
                TrafficKind::Ping(_) => "ping",
            };
            Measurement::begin(&traffic.from, &traffic.to, kind, Instant(traffic.start.as_nanos()))
        });
        let mut pairs = BTreeMap::<_, Vec<usize>>::new();
        for (number, traffic) in traffic.iter().enumerate() {
            pairs.entry(pair(&traffic.from, &traffic.to)).or_default().push(number);
        }
        Self { clock, rows: Arc::new(Mutex::new(rows.collect())), pairs: Arc::new(pairs) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Measurement>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything measured so far, in the scenario's order.
    pub(crate) fn rows(&self) -> Vec<Measurement> {
        self.lock().clone()
    }

    /// Where the ends of a conversation are when it begins.
    pub(crate) fn between(&self, conversation: usize, mn: Standpoint, cn: Standpoint) {
        self.note(conversation, |row| row.between(mn, cn));
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn note(&self, conversation: usize, note: impl FnOnce(&mut Measurement)) {
        if let Some(row) = self.lock().get_mut(conversation) {
            note(row);
        }
    }

    /// The tunnel between two nodes goes this way now.
    pub(crate) fn path(&self, one: &str, other: &str, path: &Path) {
        for number in self.pairs.get(&pair(one, other)).into_iter().flatten() {
            self.note(*number, |row| row.path(path.clone()));
        }
    }
}

/// Two nodes, whichever of them is named first.
fn pair(one: &str, other: &str) -> (String, String) {
    (one.min(other).to_owned(), one.max(other).to_owned())
}

/// Starts the services of a node.
pub(crate) fn services(node: &Node, board: &Board) {
    if let Ok(socket) = node.bind_udp(ECHO_PORT) {
        actix::spawn(async move {
            while let Ok(received) = socket.recv_from().await {
                // An echo that cannot be sent is one that is lost.
                let _ = socket.send_to(&received.bytes, received.from);
            }
        });
    }
    if let Ok(listener) = node.listen(SINK_PORT) {
        let board = board.clone();
        actix::spawn(async move {
            while let Ok(stream) = listener.accept().await {
                actix::spawn(sink(stream, board.clone()));
            }
        });
    }
}

/// Takes in a stream: the conversation's number, how much will come, and that much.
async fn sink(mut stream: VirtualTcpStream, board: Board) {
    let (Ok(conversation), Ok(expected)) = (stream.read_u64().await, stream.read_u64().await) else { return };
    let Ok(conversation) = usize::try_from(conversation) else { return };
    let mut buffer = vec![0; 65_536];
    let mut arrived = 0;
    while arrived < expected {
        match stream.read(&mut buffer).await {
            Ok(0) => return board.note(conversation, |row| row.failed("the connection ended early")),
            Ok(count) => {
                let now = board.now();
                arrived += count as u64;
                board.note(conversation, |row| row.streamed(now, count as u64));
            }
            Err(error) => return board.note(conversation, |row| row.failed(format!("the connection broke: {error}"))),
        }
    }
    let now = board.now();
    board.note(conversation, |row| row.transferred(now));
    // Whoever sent it sees that all of it has arrived.
    let _ = stream.shutdown().await;
}

/// One conversation from its look-up to its end. `joined` is asked, when its time has come, for the node that starts it.
pub(crate) async fn converse(
    number: usize,
    traffic: Traffic,
    callee: String,
    joined: impl Future<Output = Result<Node, Arc<str>>>,
    board: Board,
) {
    board.clock.sleep_until(Instant(traffic.start.as_nanos())).await;
    let node = match joined.await {
        Ok(node) => node,
        Err(why) => return board.note(number, |row| row.failed(format!("{} {why}", traffic.from))),
    };
    let began = board.now();
    board.note(number, |row| row.started(began));
    let peer = match node.lookup(&callee).await {
        Ok(peer) => peer,
        Err(error) => return board.note(number, |row| row.failed(error)),
    };
    let path = peer.relay.as_ref().map_or(Path::Direct, |relay| Path::Relayed(relay.to_string()));
    let now = board.now();
    board.note(number, |row| {
        row.connected(now);
        row.path(path);
    });
    let mut conversation = Conversation { number: number as u64, node, peer, board };
    match traffic.kind {
        TrafficKind::Udp(udp) => conversation.datagrams(udp).await,
        TrafficKind::Tcp(tcp) => conversation.transfer(tcp).await,
        TrafficKind::Ping(ping) => conversation.pings(ping).await,
    }
}

/// The sending end of a conversation whose tunnel stands.
struct Conversation {
    number: u64,
    node: Node,
    peer: Peer,
    board: Board,
}

impl Conversation {
    fn note(&self, note: impl FnOnce(&mut Measurement)) {
        self.board.note(self.number as usize, note);
    }

    fn now(&self) -> Instant {
        self.board.now()
    }

    fn socket(&self) -> Option<Rc<VirtualUdpSocket>> {
        match self.node.bind_udp(0) {
            Ok(socket) => Some(Rc::new(socket)),
            Err(error) => {
                self.note(|row| row.failed(error));
                None
            }
        }
    }

    async fn datagrams(&mut self, udp: Udp) {
        let Some(socket) = self.socket() else { return };
        let echoes = actix::spawn(listen(Rc::clone(&socket), self.board.clone(), self.number));
        let clock = Arc::clone(&self.board.clock);
        let began = self.now();
        let until = udp.r#for.map(|span| began + span.duration());
        let mut sent = 0;
        while udp.count.is_none_or(|count| sent < count) {
            // Counted from the beginning, so that the pace does not drift.
            let due = began + udp.every.duration() * sent;
            if until.is_some_and(|until| due >= until) {
                break;
            }
            clock.sleep_until(due).await;
            self.send(&socket, sent, usize::try_from(udp.bytes.0).unwrap_or(STAMP));
            sent += 1;
        }
        clock.sleep(PING_PATIENCE).await;
        echoes.abort();
    }

    async fn pings(&mut self, ping: Ping) {
        let Some(socket) = self.socket() else { return };
        let echoes = actix::spawn(listen(Rc::clone(&socket), self.board.clone(), self.number));
        let clock = Arc::clone(&self.board.clock);
        for sent in 0..ping.count {
            self.send(&socket, sent, 64);
            clock.sleep(ping.every.duration()).await;
        }
        clock.sleep(PING_PATIENCE).await;
        echoes.abort();
    }

    fn send(&self, socket: &VirtualUdpSocket, number: u32, length: usize) {
        let now = self.now();
        let mut bytes = vec![0; length.max(STAMP)];
        bytes[..4].copy_from_slice(&(self.number as u32).to_be_bytes());
        bytes[4..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..16].copy_from_slice(&now.0.to_be_bytes());
        self.note(Measurement::sent);
        // What cannot be sent is lost, and counted as that.
        let _ = socket.send_to(&bytes, self.peer.at(ECHO_PORT));
    }

    async fn transfer(&mut self, tcp: Tcp) {
        let mut stream = match self.node.connect_to(self.peer.at(SINK_PORT)).await {
            Ok(stream) => stream,
            Err(error) => return self.note(|row| row.failed(error)),
        };
        let began = self.now();
        self.note(|row| row.transfer_began(began));
        if let Err(error) = send_all(&mut stream, self.number, tcp.bytes.0).await {
            self.note(|row| row.failed(format!("the connection broke: {error}")));
        }
    }
}

async fn send_all(stream: &mut VirtualTcpStream, conversation: u64, bytes: u64) -> std::io::Result<()> {
    stream.write_u64(conversation).await?;
    stream.write_u64(bytes).await?;
    let chunk = vec![0x5a; 16_384];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        stream.write_all(&chunk[..part]).await?;
        left -= part as u64;
    }
    stream.flush().await?;
    // The other end closes when it has all.
    let _ = stream.read(&mut [0; 1]).await?;
    stream.shutdown().await
}

/// Takes in echoes, each once.
async fn listen(socket: Rc<VirtualUdpSocket>, board: Board, conversation: u64) {
    let mut seen = BTreeSet::new();
    while let Ok(received) = socket.recv_from().await {
        let Some((number, sent)) = stamp(&received.bytes, conversation) else { continue };
        if seen.insert(number) {
            let now = board.now();
            board.note(conversation as usize, |row| row.answered(sent, now, received.bytes.len() as u64));
        }
    }
}

/// The number of a datagram of this conversation, and when it was sent.
fn stamp(bytes: &[u8], conversation: u64) -> Option<(u32, Instant)> {
    let (head, _) = bytes.split_first_chunk::<STAMP>()?;
    let number = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let sent = u64::from_be_bytes(head.get(8..16)?.try_into().ok()?);
    (u64::from(number(0)?) == conversation).then_some((number(4)?, Instant(sent)))
}
