//! A stream between two nodes that link NTMobile in: the whole of the `library` model, on real sockets.

use super::datagrams::answer;
use super::lines::{Count, requests, swallow};
use ntmobile_host::node;
use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

const PORT: u16 = 7_004;
/// Octets written at a time.
const PIECE: usize = 64 << 10;

/// Swallows streams, or sends to a peer.
pub(super) fn run(file: &Path, peer: Option<&str>) -> io::Result<()> {
    let done: Result<(), Box<dyn Error>> = node::run(async {
        match peer {
            None => serve(file).await,
            Some(peer) => send(file, peer).await,
        }
    });
    done.map_err(|error| io::Error::other(error.to_string()))
}

async fn serve(file: &Path) -> Result<(), Box<dyn Error>> {
    let node = node::join(file).await?;
    let listener = node.listen(PORT)?;
    let count = Count::answered();
    answer("ready")?;
    loop {
        let stream = listener.accept().await?;
        tokio::task::spawn_local(swallow(stream, count.clone()));
    }
}

async fn send(file: &Path, peer: &str) -> Result<(), Box<dyn Error>> {
    let node = node::join(file).await?;
    let found = node.lookup(peer).await?;
    let mut requests = requests();
    answer(found.relay.as_ref().map_or("direct", |relay| relay.as_str()))?;
    let piece = vec![0; PIECE];
    while let Some(milliseconds) = requests.recv().await {
        let mut stream = node.connect_to(found.at(PORT)).await?;
        let end = Instant::now() + Duration::from_millis(milliseconds);
        while let Ok(written) = timeout_at(end, stream.write_all(&piece)).await {
            written?;
        }
        // Dropped with what is not sent: only what the other end counted in time is of interest.
        drop(stream);
        answer("sent")?;
    }
    Ok(())
}
