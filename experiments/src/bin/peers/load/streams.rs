//! Many TCP connections at once, each sending what it can, and the end that swallows it.

use super::Flows;
use super::datagrams::answer;
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Octets written or read at a time.
const PIECE: usize = 64 << 10;
/// A thread for each connection needs little.
const STACK: usize = 128 << 10;

/// Opens every connection, then writes to all of them.
pub(super) fn send(flows: Flows, seconds: u64) -> io::Result<()> {
    let opened = |(from, to): (SocketAddrV4, SocketAddrV4)| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&from.into())?;
        socket.connect(&to.into())?;
        Ok(TcpStream::from(socket))
    };
    let streams = flows.ends().map(opened).collect::<io::Result<Vec<_>>>()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    answer("ready")?;
    let write = move |mut stream: TcpStream| {
        let piece = vec![0; PIECE];
        while Instant::now() < end && stream.write(&piece).is_ok() {}
        // The other end may have gone first.
        let _ = stream.shutdown(Shutdown::Both);
    };
    let threads = streams.into_iter().map(|stream| small_thread(move || write(stream)));
    for thread in threads.collect::<io::Result<Vec<_>>>()? {
        // A writer has nothing to panic about.
        let _ = thread.join();
    }
    Ok(())
}

/// Takes every connection, and answers each line with how many octets have come since the start.
pub(super) fn swallow(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            let read = small_thread(move || swallow_one(stream, &counted));
            if read.is_err() {
                return;
            }
        }
    });
    answer("ready")?;
    for line in io::stdin().lock().lines() {
        line?;
        answer(&count.load(Ordering::Relaxed).to_string())?;
    }
    Ok(())
}

fn swallow_one(mut stream: TcpStream, count: &AtomicU64) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}

fn small_thread(run: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().stack_size(STACK).spawn(run)
}
