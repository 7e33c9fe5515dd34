//! Standard input and output beside an asynchronous program, and the counting of what it swallows.

use super::datagrams::answer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// Octets read at a time.
const PIECE: usize = 64 << 10;

/// How many octets have come.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Arc<AtomicU64>);

impl Count {
    /// One that is told at each line of standard input, by a thread of its own; the process ends with standard input.
    pub(super) fn answered() -> Self {
        let count = Self::default();
        let told = count.clone();
        std::thread::spawn(move || {
            let answered = |_| answer(&told.0.load(Ordering::Relaxed).to_string()).ok();
            std::io::stdin().lines().map_while(Result::ok).map_while(answered).for_each(drop);
            std::process::exit(0);
        });
        count
    }

    /// More have come.
    pub(super) fn add(&self, octets: usize) {
        self.0.fetch_add(octets as u64, Ordering::Relaxed);
    }
}

/// The numbers on the lines of standard input, read by a thread of its own: it cannot be waited for otherwise.
pub(super) fn requests() -> mpsc::UnboundedReceiver<u64> {
    let (sender, requests) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let numbers = std::io::stdin().lines().map_while(Result::ok).map_while(|line| line.trim().parse().ok());
        numbers.map_while(|number| sender.send(number).ok()).for_each(drop);
    });
    requests
}

/// Reads a stream to its end, however that comes.
pub(super) async fn swallow(mut stream: impl AsyncRead + Unpin, count: Count) {
    let mut piece = vec![0; PIECE];
    while let Ok(octets @ 1..) = stream.read(&mut piece).await {
        count.add(octets);
    }
}
