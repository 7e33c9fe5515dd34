//! What goes up from the packet path to signalling: few things, through bounded channels that count what did not fit.

use super::Shared;
use bytes::Bytes;
use ntmobile_ports::net::{NetError, Received, UdpPort};
use ntmobile_proto::machine::PacketNotice;
use ntmobile_wire::identifier::Spi;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// What signalling should know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A tunnel has something to say.
    Notice(PacketNotice),
    /// A message of the peer's signalling came through a tunnel.
    Control {
        /// The tunnel: the SPI towards us that it was installed with.
        tunnel: Spi,
        /// The message, in its frame.
        bytes: Bytes,
    },
    /// An application's packet is for somebody in this process ([`PacketPath::set_aside`](super::PacketPath::set_aside)).
    Aside(Bytes),
    /// An application's packet found no tunnel.
    NoTunnel {
        /// Where it was to go.
        destination: IpAddr,
        /// The packet, which may be sent when there is a tunnel; none if it was a super-packet.
        packet: Option<Bytes>,
    },
    /// The kernel has an application's packet to this address and no tunnel for it; it does not keep it.
    Wanted {
        /// Where it was to go.
        destination: IpAddr,
    },
}

/// The signalling half of the path's port: the sockets are the packet path's, what is not ESP comes through here.
pub(super) struct SignallingPort {
    pub(super) shared: Arc<Shared>,
    pub(super) received: Mutex<mpsc::Receiver<Received>>,
}

impl fmt::Debug for SignallingPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignallingPort({})", self.shared.port.number())
    }
}

impl UdpPort for SignallingPort {
    fn port(&self) -> u16 {
        self.shared.port.number()
    }

    fn send(&self, to: SocketAddr, bytes: Bytes) -> Result<(), NetError> {
        self.shared.port.lane(0).send(to, &bytes).map_err(|error| match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => NetError::Unreachable(to),
            _ => NetError::Other(error.to_string()),
        })
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Received, NetError>> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.poll_recv(context).map(|received| received.ok_or(NetError::Closed))
    }
}
