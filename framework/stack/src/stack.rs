//! The stack's handle: what its user does with it, and the one way to its state.

use crate::driver::{self, DriverSlot};
use crate::state::{Effects, State};
use crate::tcp::{TcpListener, TcpStream};
use crate::udp::UdpSocket;
use bytes::Bytes;
use futures::future::BoxFuture;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{ByteStream, Net, NetError, TcpPort, UdpPort};
use ntmobile_proto::time::Instant;
use ntmobile_wire::entropy::Entropy;
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// Where a stack's packets go. Called without any lock held, in the order of sending.
pub type Output = Arc<dyn Fn(Bytes) + Send + Sync>;

/// What a stack is made with.
#[derive(Clone, Copy, Debug)]
pub struct StackOptions {
    /// The largest packet that the carrier takes.
    pub mtu: usize,
    /// The send and the receive buffer of each connection.
    pub buffer: usize,
    /// How long the other end may leave the attempt to connect unanswered.
    pub connect_timeout: Duration,
    /// How long the other end of a connection may be silent while it owes an answer. Long by default, as on other hosts:
    /// retransmissions back off up to a minute.
    pub timeout: Duration,
    /// How many connections a listener holds that are half open or not yet accepted.
    pub backlog: usize,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            mtu: 1_500,
            buffer: 64 * 1_024,
            connect_timeout: Duration::from_secs(120),
            timeout: Duration::from_secs(900),
            backlog: 128,
        }
    }
}

/// A TCP and UDP stack. A handle: clones are the same stack.
#[derive(Clone)]
pub struct Stack {
    inner: Arc<Inner>,
}

/// What the handles of one stack share.
pub(crate) struct Inner {
    state: Mutex<State>,
    driver: Mutex<DriverSlot>,
    clock: Arc<dyn Clock>,
    output: Output,
}

impl Stack {
    /// A stack with these addresses, the preferred one of each family first. Initial sequence numbers and port numbers
    /// come from `entropy`.
    pub fn new(
        clock: Arc<dyn Clock>,
        entropy: Box<dyn Entropy + Send>,
        addresses: Vec<IpAddr>,
        options: StackOptions,
        output: Output,
    ) -> Self {
        let state = Mutex::new(State::new(options, addresses, entropy));
        Self { inner: Arc::new(Inner { state, driver: Mutex::default(), clock, output }) }
    }

    /// Takes an IP packet from the carrier. Anything may be in it.
    pub fn inject(&self, packet: Bytes) {
        self.act(|state, now, effects| state.receive(packet, now, effects));
    }

    /// Replaces the addresses. A connection from one that is gone falls silent and, unless the address comes back, times
    /// out.
    pub fn set_addresses(&self, addresses: Vec<IpAddr>) {
        self.act(|state, _, effects| state.set_addresses(addresses, effects));
    }

    /// Adds an address, as the last choice of its family.
    pub fn add_address(&self, address: IpAddr) {
        self.act(|state, _, effects| {
            let mut addresses = state.addresses.clone();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
            state.set_addresses(addresses, effects);
        });
    }

    /// Takes an address away.
    pub fn remove_address(&self, address: IpAddr) {
        self.act(|state, _, effects| {
            let addresses = state.addresses.iter().copied().filter(|known| *known != address).collect();
            state.set_addresses(addresses, effects);
        });
    }

    /// What happens to a stack whose host loses its power: every socket fails and not one packet leaves. It cannot be
    /// used again.
    pub fn power_off(&self) {
        let closed = self.act(|state, now, effects| state.power_off(now, effects));
        drop(closed);
    }

    /// Opens a UDP port on all addresses; 0 for any free one.
    pub fn bind(&self, port: u16) -> Result<UdpSocket, NetError> {
        UdpSocket::bind(self.clone(), port)
    }

    /// Opens a TCP port on all addresses; 0 for any free one. Needs a runtime around it, as [`Stack::connect`] does.
    pub fn listen(&self, port: u16) -> Result<TcpListener, NetError> {
        TcpListener::bind(self.clone(), port)
    }

    /// Opens a TCP connection. Given up by dropping the future.
    pub async fn connect(&self, to: SocketAddr) -> Result<TcpStream, NetError> {
        TcpStream::connect(self.clone(), to).await
    }

    /// Does something to the state, then, without the lock, what follows from it. Packets to an own address come back.
    pub(crate) fn act<T>(&self, action: impl FnOnce(&mut State, Instant, &mut Effects) -> T) -> T {
        self.inner.act(action)
    }

    /// Starts the task that keeps the deadlines, if it does not run.
    pub(crate) fn ensure_driver(&self) {
        let mut driver = self.inner.driver();
        if !driver.running {
            driver.running = true;
            drop(driver);
            tokio::spawn(driver::drive(Arc::downgrade(&self.inner)));
        }
    }
}

impl Inner {
    fn act<T>(&self, action: impl FnOnce(&mut State, Instant, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let mut leaving = Vec::new();
        let mut state = self.lock();
        let now = self.clock.now();
        let value = action(&mut state, now, &mut effects);
        while let Some(packet) = effects.packets.pop_front() {
            if is_for(&state.addresses, &packet) {
                state.receive(packet, now, &mut effects);
            } else {
                leaving.push(packet);
            }
        }
        let earliest = state.deadlines.first().map(|(at, _)| *at);
        drop(state);
        let driver = self.driver().changed(earliest);
        for packet in leaving {
            (self.output)(packet);
        }
        for waker in effects.wakers.into_iter().chain(driver) {
            waker.wake();
        }
        value
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn driver(&self) -> MutexGuard<'_, DriverSlot> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.lock().deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn expire(&self) {
        self.act(|state, now, effects| state.expire(now, effects));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let waker = self.driver().end();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Whether the packet's destination is one of `addresses`.
fn is_for(addresses: &[IpAddr], packet: &[u8]) -> bool {
    addresses.iter().any(|address| match address {
        IpAddr::V4(address) => packet[0] >> 4 == 4 && packet[16..20] == address.octets(),
        IpAddr::V6(address) => packet[0] >> 4 == 6 && packet[24..40] == address.octets(),
    })
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl Net for Stack {
    fn bind_udp(&self, port: u16) -> Result<Arc<dyn UdpPort>, NetError> {
        Ok(Arc::new(self.bind(port)?))
    }

    fn listen_tcp(&self, port: u16) -> Result<Box<dyn TcpPort>, NetError> {
        Ok(Box::new(self.listen(port)?))
    }

    fn connect_tcp(&self, to: SocketAddr) -> BoxFuture<'static, Result<Box<dyn ByteStream>, NetError>> {
        let stack = self.clone();
        Box::pin(async move { Ok(Box::new(stack.connect(to).await?) as Box<dyn ByteStream>) })
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.inner.lock().addresses.clone()
    }

    fn address_change(&self, seen: u64) -> BoxFuture<'static, u64> {
        let stack = self.clone();
        Box::pin(poll_fn(move |context| {
            stack.act(|state, _, _| {
                if state.address_changes > seen {
                    return Poll::Ready(state.address_changes);
                }
                if !state.watchers.iter().any(|known| known.will_wake(context.waker())) {
                    state.watchers.push(context.waker().clone());
                }
                Poll::Pending
            })
        }))
    }
}
