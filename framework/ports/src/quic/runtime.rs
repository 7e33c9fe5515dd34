//! quinn's runtime on our ports: its timers wait on the clock, its socket is a UDP port.

use super::strangers::Strangers;
use crate::clock::Clock;
use crate::net::{NetError, UdpPort};
use bytes::Bytes;
use futures::future::BoxFuture;
use ntmobile_proto::time::Instant;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller};
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;

/// The standard library's name for our origin of time. Its value is this process's secret: only differences to it are
/// ever formed, so it decides nothing.
fn origin() -> std::time::Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(std::time::Instant::now)
}

/// The one conversion from our time to that of the standard library, in which quinn counts.
fn to_std(at: Instant) -> std::time::Instant {
    origin() + Duration::from_nanos(at.0)
}

fn from_std(at: std::time::Instant) -> Instant {
    Instant::ORIGIN + at.saturating_duration_since(origin())
}

/// Time from the clock, tasks of the runtime that is around.
pub(super) struct ClockRuntime {
    clock: Arc<dyn Clock>,
}

impl ClockRuntime {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Runtime for ClockRuntime {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        let at = from_std(at);
        Box::pin(ClockTimer { clock: self.clock.clone(), at, armed: at, sleep: self.clock.sleep_until(at) })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(future);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::other("sockets come from the network port"))
    }

    fn now(&self) -> std::time::Instant {
        to_std(self.clock.now())
    }
}

impl fmt::Debug for ClockRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockRuntime")
    }
}

/// A timer that is put off at nearly every packet. It sleeps on to the time it was armed for and looks then, which costs
/// less than a new sleep each time.
struct ClockTimer {
    clock: Arc<dyn Clock>,
    at: Instant,
    armed: Instant,
    sleep: BoxFuture<'static, ()>,
}

impl AsyncTimer for ClockTimer {
    fn reset(mut self: Pin<&mut Self>, at: std::time::Instant) {
        self.at = from_std(at);
        if self.at < self.armed {
            self.armed = self.at;
            self.sleep = self.clock.sleep_until(self.at);
        }
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.clock.now() >= self.at {
                return Poll::Ready(());
            }
            ready!(self.sleep.as_mut().poll(context));
            self.armed = self.at;
            self.sleep = self.clock.sleep_until(self.at);
        }
    }
}

impl fmt::Debug for ClockTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClockTimer({:?})", self.at)
    }
}

/// A UDP port as quinn sees it: one IPv6 socket, on which IPv4 addresses appear mapped (RFC 4291 §2.5.5.2).
#[derive(Debug)]
pub(super) struct Socket {
    udp: Arc<dyn UdpPort>,
    /// Where datagrams could not even leave for, so that an attempt to connect need not wait for silence.
    unreachable: Mutex<BTreeSet<SocketAddr>>,
    changed: Notify,
    strangers: Strangers,
}

/// More destinations than this are not remembered.
const MOST_UNREACHABLE: usize = 64;

impl Socket {
    pub(super) fn new(udp: Arc<dyn UdpPort>) -> Self {
        Self { udp, unreachable: Mutex::default(), changed: Notify::new(), strangers: Strangers::default() }
    }

    /// Whose datagrams belong to no connection.
    pub(super) fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Completes when a datagram to `to` could not leave.
    pub(super) async fn unreachable(&self, to: SocketAddr) {
        loop {
            let changed = self.changed.notified();
            if self.unreachable.lock().unwrap_or_else(PoisonError::into_inner).contains(&to) {
                return;
            }
            changed.await;
        }
    }

    /// What is known of `to` is old.
    pub(super) fn try_again(&self, to: SocketAddr) {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner).remove(&to);
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let to = SocketAddr::new(transmit.destination.ip().to_canonical(), transmit.destination.port());
        self.strangers.sent(to, transmit.contents);
        match self.udp.send(to, Bytes::copy_from_slice(transmit.contents)) {
            Err(NetError::Closed) => return Err(io::ErrorKind::NotConnected.into()),
            Err(NetError::Unreachable(_)) => {
                let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
                if unreachable.len() < MOST_UNREACHABLE && unreachable.insert(to) {
                    self.changed.notify_waiters();
                }
            }
            // Whatever else is wrong with the way loses the datagram, as the way itself might have: quinn would give the
            // connection up, though the way may be back before the next datagram.
            Ok(()) | Err(_) => {}
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let received = match self.udp.poll_receive(context) {
                Poll::Ready(Ok(received)) => received,
                Poll::Ready(Err(error)) if count == 0 => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            };
            self.strangers.received(received.from, &received.bytes);
            // A datagram that does not fit is none of QUIC's: cut, it fails its authentication.
            let length = received.bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&received.bytes[..length]);
            *meta = RecvMeta { addr: mapped(received.from), len: length, stride: length, ecn: None, dst_ip: None };
            count += 1;
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.udp.port()))
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => address,
    }
}

/// A UDP port never makes its sender wait.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
