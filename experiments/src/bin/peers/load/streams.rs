//! Many TCP connections at once, each sending what it can, and the end that swallows it.

use super::Flows;
use super::datagrams::answer;
use socket2::{Domain, Socket, Type};
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

/// Opens every connection and writes to all of them for as many milliseconds as each line of standard input says; answers when all
/// are open and again when that is over.
pub(super) fn send(flows: Flows) -> io::Result<()> {
    answer("ready")?;
    for line in io::stdin().lock().lines() {
        let milliseconds = line?.trim().parse().map_err(|_| io::ErrorKind::InvalidInput)?;
        let streams = flows.ends().map(open).collect::<io::Result<Vec<_>>>()?;
        answer("open")?;
        let end = Instant::now() + Duration::from_millis(milliseconds);
        let threads = streams.into_iter().map(|stream| small_thread(move || write(stream, end)));
        for thread in threads.collect::<io::Result<Vec<_>>>()? {
            // A writer has nothing to panic about.
            let _ = thread.join();
        }
        answer("sent")?;
    }
    Ok(())
}

fn open((from, to): (SocketAddrV4, SocketAddrV4)) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

fn write(mut stream: TcpStream, end: Instant) {
    let piece = vec![0; PIECE];
    while Instant::now() < end && stream.write(&piece).is_ok() {}
    // The other end may have gone first.
    let _ = stream.shutdown(Shutdown::Both);
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
