//! Writing on a thread of its own, so that whoever writes waits for no disk.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// How much is handed over at once.
const PORTION: usize = 64 * 1_024;

/// How many portions may wait; whoever writes more waits after all.
const MOST_WAITING: usize = 256;

#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    /// Writes out everything, and answers whether all of it was written since the beginning.
    Flush(SyncSender<io::Result<()>>),
}

/// A sink whose writing happens elsewhere. What fails there is told by the next [`Write::flush`].
#[derive(Debug)]
pub(super) struct Background {
    portion: Vec<u8>,
    /// `None` only while it is dropped.
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(super) fn new(sink: Box<dyn Write + Send>) -> io::Result<Self> {
        let (orders, received) = sync_channel(MOST_WAITING);
        let thread = thread::Builder::new().name("capture".into()).spawn(move || carry_out(sink, &received))?;
        Ok(Self { portion: Vec::with_capacity(PORTION), orders: Some(orders), thread: Some(thread) })
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if sent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

fn carry_out(mut sink: Box<dyn Write + Send>, orders: &Receiver<Order>) {
    let mut failure = None;
    for order in orders {
        match order {
            Order::Write(portion) if failure.is_none() => failure = sink.write_all(&portion).err(),
            Order::Write(_) => {}
            Order::Flush(answer) => {
                let outcome = match failure.take() {
                    Some(failure) => Err(failure),
                    None => sink.flush(),
                };
                // Whoever asked may have given up.
                let _ = answer.send(outcome);
            }
        }
    }
}

impl Write for Background {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.portion.extend_from_slice(bytes);
        if self.portion.len() >= PORTION {
            let full = std::mem::replace(&mut self.portion, Vec::with_capacity(PORTION));
            self.order(Order::Write(full))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.portion);
        self.order(Order::Write(rest))?;
        let (answer, answered) = sync_channel(1);
        self.order(Order::Flush(answer))?;
        answered.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A sink that panics has written what it has written.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Takes so many octets, then fails.
    #[derive(Clone)]
    struct Limited(Arc<Mutex<Vec<u8>>>, usize);

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.lock().expect("nobody panics");
            if written.len() + bytes.len() > self.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_in_order_when_it_is_flushed() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut background = Background::new(Box::new(Limited(Arc::clone(&written), usize::MAX))).expect("a thread");
        let all: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
        for part in all.chunks(1_000) {
            background.write_all(part).expect("it is taken");
        }
        background.flush().expect("it is written");
        assert!(*written.lock().expect("nobody panics") == all);
    }

    #[test]
    fn a_full_disk_is_told_by_the_flush() {
        let sink = Limited(Arc::new(Mutex::new(Vec::new())), 100_000);
        let mut background = Background::new(Box::new(sink)).expect("a thread");
        for _ in 0..300 {
            background.write_all(&[7; 1_000]).expect("it is taken");
        }
        assert_eq!(background.flush().map_err(|failure| failure.kind()), Err(io::ErrorKind::StorageFull));
    }
}
