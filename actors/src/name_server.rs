//! A name server as an entity: a DC's, for its domain, and in the simulation those of the root and the top-level domains.

use crate::dns::{AuthoritativeDns, Transport, ZoneRecords};
use crate::host::Host;
use crate::server::{DNS_PORT, StartError};
use ntmobile_ports::net::{NetError, UdpPort};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// After this many queries in a row other tasks have their turn.
const TURN: u32 = 64;

/// How long to leave a port alone that reports an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// A running name server; it stops when this is dropped.
pub struct NameServer {
    dns: Arc<AuthoritativeDns>,
    task: JoinHandle<()>,
}

impl NameServer {
    /// Serves these zones on the DNS port, under this name in counts.
    ///
    /// # Panics
    /// When called outside an actix system.
    pub fn start(name: &str, zones: Vec<ZoneRecords>, host: &Host) -> Result<Self, StartError> {
        let dns = Arc::new(AuthoritativeDns::new(zones)?);
        let port = host.net().bind_udp(DNS_PORT).map_err(StartError::Dns)?;
        let service = Service { name: name.into(), dns: Arc::clone(&dns), port, host: host.clone() };
        Ok(Self { dns, task: actix::spawn(service.run()) })
    }

    /// Its zones, which may be replaced while it runs.
    pub fn dns(&self) -> &AuthoritativeDns {
        &self.dns
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Service {
    name: Arc<str>,
    dns: Arc<AuthoritativeDns>,
    port: Arc<dyn UdpPort>,
    host: Host,
}

impl Service {
    async fn run(self) {
        let mut in_a_row = 0;
        loop {
            match self.port.receive().await {
                Ok(received) => {
                    let answer = self.dns.answer(received.from, &received.bytes, Transport::Udp).await;
                    let sent = answer.is_some_and(|answer| self.port.send(received.from, answer).is_ok());
                    self.count(if sent { "dns.answered" } else { "dns.unanswered" });
                }
                Err(NetError::Closed) => return,
                Err(_) => {
                    self.count("dns.socket_error");
                    self.host.clock().sleep(PAUSE_AFTER_ERROR).await;
                }
            }
            in_a_row += 1;
            if in_a_row == TURN {
                in_a_row = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    fn count(&self, name: &'static str) {
        self.host.recorder().count(&self.name, name, 1);
    }
}
