//! A name server as an entity: a DC's, for its domain, and in the simulation those of the root and the top-level domains.

mod streams;

use crate::dns::{AuthoritativeDns, Transport, ZoneRecords};
use crate::host::Host;
use crate::server::{DNS_PORT, StartError};
use bytes::Bytes;
use ntmobile_ports::net::{NetError, UdpPort};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// After this many queries in a row other tasks have their turn.
const TURN: u32 = 64;

/// How long to leave a port alone that reports an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// A running name server; it stops when this is dropped.
pub struct NameServer {
    dns: Arc<AuthoritativeDns>,
    tasks: [JoinHandle<()>; 2],
    ended: watch::Receiver<bool>,
}

impl NameServer {
    /// Serves these zones on the DNS port, over UDP and TCP, under this name in counts.
    ///
    /// # Panics
    /// When called outside an actix system.
    pub fn start(name: &str, zones: Vec<ZoneRecords>, host: &Host) -> Result<Self, StartError> {
        let dns = Arc::new(AuthoritativeDns::new(zones)?);
        let datagrams = host.net().bind_udp(DNS_PORT).map_err(StartError::Dns)?;
        let connections = host.net().listen_tcp(DNS_PORT).map_err(StartError::Dns)?;
        let service = Service { name: name.into(), dns: Arc::clone(&dns), host: host.clone() };
        let (end, ended) = watch::channel(false);
        let end = Arc::new(end);
        let tasks = [
            spawn_until(Arc::clone(&end), service.clone().datagrams(datagrams)),
            spawn_until(end, streams::serve(service, connections)),
        ];
        Ok(Self { dns, tasks, ended })
    }

    /// Waits until it answers no more on one of its ports, which has been closed, or by a panic.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut ended = self.ended.clone();
        async move {
            // Whoever would say so is gone when nothing answers any more.
            let _said_or_gone = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Its zones, which may be replaced while it runs.
    pub fn dns(&self) -> &AuthoritativeDns {
        &self.dns
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Says that a task has ended, however that came.
struct End(Arc<watch::Sender<bool>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

fn spawn_until(end: Arc<watch::Sender<bool>>, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    let end = End(end);
    actix::spawn(async move {
        let _end = end;
        task.await;
    })
}

/// What answers, whichever way the queries come.
#[derive(Clone)]
struct Service {
    name: Arc<str>,
    dns: Arc<AuthoritativeDns>,
    host: Host,
}

impl Service {
    async fn datagrams(self, port: Arc<dyn UdpPort>) {
        let mut in_a_row = 0;
        loop {
            match port.receive().await {
                Ok(received) => {
                    let answer = self.answer(received.from, &received.bytes, Transport::Udp).await;
                    if answer.is_some_and(|answer| port.send(received.from, answer).is_err()) {
                        self.count("dns.unsent");
                    }
                }
                Err(NetError::Closed) => return,
                Err(_) => self.pause().await,
            }
            in_a_row += 1;
            if in_a_row == TURN {
                in_a_row = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    async fn answer(&self, from: SocketAddr, query: &[u8], transport: Transport) -> Option<Bytes> {
        let answer = self.dns.answer(from, query, transport).await;
        self.count(if answer.is_some() { "dns.answered" } else { "dns.unanswered" });
        answer
    }

    /// A port is out of order.
    async fn pause(&self) {
        self.count("dns.socket_error");
        self.host.clock().sleep(PAUSE_AFTER_ERROR).await;
    }

    fn count(&self, name: &'static str) {
        self.host.recorder().count(&self.name, name, 1);
    }
}
