//! The TCP connections of an entity, one task each. A connection whose other end does not read is closed, not buffered
//! without bound; one whose machine is busy waits at the [`Door`], which pushes back to its sender.

use super::door::Door;
use super::tasks::Tasks;
use bytes::{Bytes, BytesMut};
use ntmobile_ports::net::{ByteStream, Net, TcpPort};
use ntmobile_proto::machine::{Input, StreamId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Accepted connections have this bit set in their number.
const ACCEPTED: u64 = 1 << 63;

/// So many sends may wait on one connection.
const QUEUE: usize = 64;

/// So much is read at once.
const READ: usize = 2048;

/// The other end reads too slowly, or the connection is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clogged;

/// The connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: BTreeMap<StreamId, mpsc::Sender<Bytes>>,
    accepted: u64,
}

impl Streams {
    /// Opens a connection; its task tells the door how it went.
    pub(crate) fn connect(&mut self, id: StreamId, to: SocketAddr, net: &dyn Net, door: Door, tasks: &mut Tasks) {
        let (queue, outgoing) = mpsc::channel(QUEUE);
        self.open.insert(id, queue);
        let connecting = net.connect_tcp(to);
        tasks.spawn(async move {
            match connecting.await {
                Ok(stream) => carry(stream, id, outgoing, door).await,
                Err(_) => door.outcome(Input::StreamClosed { stream: id }),
            }
        });
    }

    /// Takes in a connection that was accepted.
    pub(crate) fn accept(&mut self, stream: Box<dyn ByteStream>, door: Door, tasks: &mut Tasks) {
        let id = StreamId(ACCEPTED | self.accepted);
        self.accepted += 1;
        let (queue, outgoing) = mpsc::channel(QUEUE);
        self.open.insert(id, queue);
        tasks.spawn(carry(stream, id, outgoing, door));
    }

    /// How many connections are open.
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }

    /// Queues bytes on a connection.
    pub(crate) fn send(&mut self, id: StreamId, bytes: Bytes) -> Result<(), Clogged> {
        let Some(queue) = self.open.get(&id) else { return Ok(()) };
        queue.try_send(bytes).map_err(|_full_or_closed| Clogged)
    }

    /// Closes a connection after what is queued, and forgets it.
    pub(crate) fn close(&mut self, id: StreamId) {
        self.open.remove(&id);
    }

    /// Whether the machine still wants to hear of this input.
    pub(crate) fn admits(&mut self, input: &Input) -> bool {
        match input {
            Input::StreamOpened { stream, .. } | Input::StreamReceived { stream, .. } => self.open.contains_key(stream),
            Input::StreamClosed { stream } => self.open.remove(stream).is_some(),
            _ => true,
        }
    }
}

/// Carries one connection until either side ends it.
async fn carry(stream: Box<dyn ByteStream>, id: StreamId, mut outgoing: mpsc::Receiver<Bytes>, door: Door) {
    door.enter(Input::StreamOpened { stream: id, peer: stream.peer() }).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => door.enter(Input::StreamReceived { stream: id, bytes: buffer.split().freeze() }).await,
            }
        }
    };
    let writing = async {
        while let Some(bytes) = outgoing.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The connection ends either way; a peer that is gone already needs no farewell.
        drop(writer.shutdown().await);
    };
    tokio::select! {
        biased;
        () = reading => {}
        () = writing => {}
    }
    door.outcome(Input::StreamClosed { stream: id });
}

/// A connection was accepted.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Accepted(pub(crate) Box<dyn ByteStream>);

/// Accepts connections until the port closes.
pub(crate) async fn accept_all(port: Arc<dyn TcpPort>, mailbox: actix::Recipient<Accepted>) {
    while let Ok(stream) = port.accept().await {
        mailbox.do_send(Accepted(stream));
    }
}
