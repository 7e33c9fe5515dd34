//! An ideal network for tests of this crate: every host hears every other at once, and nothing is lost.

use bytes::Bytes;
use futures::future::BoxFuture;
use ntmobile_ports::net::{ByteStream, Net, NetError, Received, TcpPort, UdpPort};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::{mpsc, watch};

#[derive(Default)]
struct Queue {
    datagrams: VecDeque<Received>,
    waker: Option<Waker>,
}

type Incoming = mpsc::UnboundedSender<Box<dyn ByteStream>>;

/// What connects the hosts.
#[derive(Clone, Default)]
pub(crate) struct Switch {
    udp: Arc<Mutex<BTreeMap<SocketAddr, Weak<Mutex<Queue>>>>>,
    tcp: Arc<Mutex<BTreeMap<SocketAddr, Incoming>>>,
}

impl Switch {
    pub(crate) fn host(&self, address: &str) -> Arc<SwitchedNet> {
        let address = address.parse().expect("a test knows its addresses");
        Arc::new(SwitchedNet { switch: self.clone(), addresses: watch::Sender::new((0, vec![address])) })
    }
}

/// The network of one host.
pub(crate) struct SwitchedNet {
    switch: Switch,
    addresses: watch::Sender<(u64, Vec<IpAddr>)>,
}

impl SwitchedNet {
    fn address(&self) -> IpAddr {
        self.addresses.borrow().1[0]
    }

    /// Gives the host further addresses, or the same again.
    pub(crate) fn set_addresses(&self, addresses: Vec<IpAddr>) {
        self.addresses.send_modify(|(count, now)| {
            *count += 1;
            *now = addresses;
        });
    }
}

impl Net for SwitchedNet {
    fn bind_udp(&self, port: u16) -> Result<Arc<dyn UdpPort>, NetError> {
        let mut ports = self.switch.udp.lock().unwrap();
        let free = |port: &u16| {
            ports.get(&SocketAddr::new(self.address(), *port)).is_none_or(|queue| queue.strong_count() == 0)
        };
        let port = if port == 0 { (49_152..).find(free).unwrap() } else { port };
        if !free(&port) {
            return Err(NetError::PortInUse(port));
        }
        let local = SocketAddr::new(self.address(), port);
        let queue = Arc::default();
        ports.insert(local, Arc::downgrade(&queue));
        Ok(Arc::new(Port { local, queue, switch: self.switch.clone() }))
    }

    fn listen_tcp(&self, port: u16) -> Result<Box<dyn TcpPort>, NetError> {
        let (sender, incoming) = mpsc::unbounded_channel();
        self.switch.tcp.lock().unwrap().insert(SocketAddr::new(self.address(), port), sender);
        Ok(Box::new(Listener { port, incoming: tokio::sync::Mutex::new(incoming) }))
    }

    fn connect_tcp(&self, to: SocketAddr) -> BoxFuture<'static, Result<Box<dyn ByteStream>, NetError>> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let local = SocketAddr::new(self.address(), 40_000);
        let far: Box<dyn ByteStream> = Box::new(Stream { inner: far, local: to, peer: local });
        let accepted = self.switch.tcp.lock().unwrap().get(&to).is_some_and(|port| port.send(far).is_ok());
        Box::pin(async move {
            if !accepted {
                return Err(NetError::Refused(to));
            }
            let near: Box<dyn ByteStream> = Box::new(Stream { inner: near, local, peer: to });
            Ok(near)
        })
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.borrow().1.clone()
    }

    fn address_change(&self, seen: u64) -> BoxFuture<'static, u64> {
        let mut addresses = self.addresses.subscribe();
        Box::pin(async move {
            let count = addresses.wait_for(|(count, _)| *count > seen).await.map(|now| now.0);
            match count {
                Ok(count) => count,
                Err(_host_gone) => std::future::pending().await,
            }
        })
    }
}

struct Port {
    local: SocketAddr,
    queue: Arc<Mutex<Queue>>,
    switch: Switch,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({})", self.local)
    }
}

impl UdpPort for Port {
    fn port(&self) -> u16 {
        self.local.port()
    }

    fn send(&self, to: SocketAddr, bytes: Bytes) -> Result<(), NetError> {
        let ports = self.switch.udp.lock().unwrap();
        let queue = ports.get(&to).and_then(Weak::upgrade).ok_or(NetError::Unreachable(to))?;
        let mut queue = queue.lock().unwrap();
        queue.datagrams.push_back(Received { from: self.local, to: to.ip(), bytes });
        if let Some(reader) = queue.waker.take() {
            reader.wake();
        }
        Ok(())
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Received, NetError>> {
        let mut queue = self.queue.lock().unwrap();
        match queue.datagrams.pop_front() {
            Some(received) => Poll::Ready(Ok(received)),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

struct Listener {
    port: u16,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Box<dyn ByteStream>>>,
}

impl TcpPort for Listener {
    fn port(&self) -> u16 {
        self.port
    }

    fn accept(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>, NetError>> {
        Box::pin(async { self.incoming.lock().await.recv().await.ok_or(NetError::Closed) })
    }
}

struct Stream {
    inner: DuplexStream,
    local: SocketAddr,
    peer: SocketAddr,
}

impl ByteStream for Stream {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn local(&self) -> SocketAddr {
        self.local
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
