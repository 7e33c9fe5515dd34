//! What comes in on the signalling port: signalling goes to the machine, ESP to the packet path and never through the
//! mailbox, keepalives nowhere.

use super::door::Door;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{NetError, Received, UdpPort};
use ntmobile_proto::machine::Input;
use ntmobile_proto::time::Instant;
use ntmobile_telemetry::Recorder;
use ntmobile_wire::datagram::{Datagram, classify};
use std::sync::Arc;
use std::time::Duration;

/// After this many datagrams in a row other tasks have their turn.
const TURN: u32 = 64;

/// How long to leave a port alone that reports an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// Where datagrams that are not signalling go: a node's tunnels or an RS's relay table. Called by the receive task itself.
pub trait PacketPath: Send + Sync {
    /// A life of the machine begins; what is for it goes up there from now on.
    fn attach(&self, up: Upward);

    /// Takes an ESP datagram.
    fn receive(&self, now: Instant, received: Received, port: &dyn UdpPort);
}

/// The way from the packet path up to the machine, for events only: control inside a tunnel, notices.
#[derive(Clone)]
pub struct Upward {
    door: Door,
}

impl Upward {
    pub(super) fn new(door: Door) -> Self {
        Self { door }
    }

    /// Tells the machine; `false` if too much waits already and it was dropped.
    pub fn tell(&self, input: Input) -> bool {
        self.door.try_enter(input).is_ok()
    }
}

/// The receive task of one signalling port.
pub(crate) struct Reception {
    pub(crate) entity: Arc<str>,
    pub(crate) port: Arc<dyn UdpPort>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: Recorder,
    pub(crate) path: Option<Arc<dyn PacketPath>>,
    pub(crate) door: Door,
}

impl Reception {
    /// Receives until the socket closes.
    pub(crate) async fn run(self) {
        let mut in_a_row = 0;
        loop {
            match self.port.receive().await {
                Ok(received) => self.take(received),
                Err(NetError::Closed) => return,
                Err(_) => {
                    self.count("signalling.socket_error");
                    self.clock.sleep(PAUSE_AFTER_ERROR).await;
                }
            }
            in_a_row += 1;
            if in_a_row == TURN {
                in_a_row = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    fn take(&self, received: Received) {
        match classify(&received.bytes) {
            Datagram::Keepalive => {}
            Datagram::Signalling => {
                let input = Input::Datagram { from: received.from, bytes: received.bytes };
                if self.door.try_enter(input).is_err() {
                    self.count("signalling.overload");
                }
            }
            Datagram::Esp(_) => match &self.path {
                Some(path) => path.receive(self.clock.now(), received, &*self.port),
                None => self.count("esp.unexpected"),
            },
            Datagram::Malformed => self.count("datagram.malformed"),
        }
    }

    fn count(&self, name: &'static str) {
        self.recorder.count(&self.entity, name, 1);
    }
}
