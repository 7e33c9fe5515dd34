//! Datagrams at a steady rate, one system call each as most applications send them, and their counting at the other end.

use super::Flows;
use socket2::{Domain, Socket, Type};
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the sender sleeps when it is ahead; a busy sender would take a processor away from what is measured.
const PAUSE: Duration = Duration::from_micros(50);
/// A sender that has fallen behind by more than this does not make up for it: a burst would measure queues.
const FORGIVEN: Duration = Duration::from_millis(1);
/// So many are always sent together when they are due.
const BURST: u64 = 32;
/// What is not taken for so long counts as lost: a tool that has stopped must not stop us.
const STALLED: Duration = Duration::from_millis(100);
/// What the kernel keeps for the receiver.
const BUFFER: usize = 4 << 20;

/// Reads lines "RATE MILLISECONDS" and answers each with how many datagrams it has sent in how many microseconds.
pub(super) fn send(flows: Flows) -> io::Result<()> {
    let connected = |(from, to): (SocketAddrV4, SocketAddrV4)| {
        let socket = UdpSocket::bind(from)?;
        socket.connect(to)?;
        socket.set_write_timeout(Some(STALLED))?;
        Ok(socket)
    };
    let sockets = flows.ends().map(connected).collect::<io::Result<Vec<_>>>()?;
    let payload = vec![0x5a; flows.octets];
    answer("ready")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ').map(str::parse);
        let (Some(Ok(rate)), Some(Ok(milliseconds))) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (sent, took) = trial(&sockets, &payload, rate, Duration::from_millis(milliseconds));
        answer(&format!("{sent} {}", took.as_micros()))?;
    }
    Ok(())
}

fn trial(sockets: &[UdpSocket], payload: &[u8], rate: u64, duration: Duration) -> (u64, Duration) {
    let began = Instant::now();
    let (mut sent, mut forgiven) = (0, 0);
    let patience = (FORGIVEN.as_secs_f64() * rate as f64) as u64 + BURST;
    loop {
        let elapsed = began.elapsed();
        if elapsed >= duration {
            return (sent, elapsed);
        }
        let due = (elapsed.as_secs_f64() * rate as f64) as u64;
        forgiven = forgiven.max(due.saturating_sub(sent + patience));
        let due = due - forgiven;
        if sent >= due {
            sleep(PAUSE);
            continue;
        }
        let burst = sent..due.min(sent + BURST);
        for number in burst {
            let socket = &sockets[number as usize % sockets.len()];
            // What the kernel does not take is lost, like what it loses later.
            let _ = socket.send(payload);
            sent += 1;
        }
    }
}

/// Counts, and answers each line with how many have come since the start.
pub(super) fn receive(port: u16) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    let socket = UdpSocket::from(socket);
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        loop {
            // An error is an ICMP message about something else.
            if socket.recv(&mut buffer).is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
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

/// Says a line at once.
pub(super) fn answer(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_keeps_the_rate_that_it_is_given() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        sender.connect(receiver.local_addr().expect("it is bound")).expect("the loopback is there");
        let (sent, took) = trial(&[sender], &[1; 64], 2_000, Duration::from_millis(50));
        assert!(took >= Duration::from_millis(50));
        assert!(sent <= (took.as_secs_f64() * 2_000.0) as u64 + BURST, "{sent} in {took:?}");
        assert!(sent > 0);
    }
}
