//! Signalling's own socket inside the tunnels: the control port of our virtual IPv6 address, on the virtual interface alone.

use bytes::Bytes;
use ntmobile_proto::packet::CONTROL_PORT;
use ntmobile_wire::frame::Frame;
use ntmobile_wire::message::Message;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

/// The longest message is a frame in one packet.
const LONGEST: usize = 2_048;
/// The headers of IPv6 and UDP around it.
const HEADERS: usize = 48;
/// So many messages are taken at a time.
const TURN: usize = 64;

/// How long the packet with this message is.
pub(super) fn packet_length(message: &[u8]) -> u64 {
    (HEADERS + message.len()) as u64
}

/// Whether a message says something about the tunnel that it has come by; a probe asks whether anybody is there.
pub(super) fn is_about_a_tunnel(message: &[u8]) -> bool {
    Frame::decode(message).is_ok_and(|frame| !matches!(frame.message, Message::TunnelProbe(_)))
}

/// Whether a message offers a new key.
pub(super) fn asks_for_key(message: &[u8]) -> bool {
    Frame::decode(message).is_ok_and(|frame| matches!(frame.message, Message::RekeyRequest(_)))
}

/// The socket.
#[derive(Debug)]
pub(super) struct ControlSocket {
    socket: UdpSocket,
    address: Ipv6Addr,
}

impl ControlSocket {
    /// Opens it; the interface need not have the address yet. Nothing from other interfaces comes to it, whatever address it
    /// claims.
    pub(super) fn open(address: Ipv6Addr, interface: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.bind(&SocketAddr::from((address, CONTROL_PORT)).into())?;
        Ok(Self { socket: socket.into(), address })
    }

    pub(super) fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Something to wait by that outlives the socket's replacement.
    pub(super) fn watched(&self) -> Option<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned().ok()
    }

    pub(super) fn send(&self, to: SocketAddr, message: &[u8]) -> io::Result<()> {
        self.socket.send_to(message, to).map(drop)
    }

    /// What has come, from the control ports of peers.
    pub(super) fn receive_all(&self) -> Vec<(IpAddr, Bytes)> {
        let mut received = Vec::new();
        let mut buffer = [0; LONGEST];
        while received.len() < TURN {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => received.push((from.ip(), Bytes::copy_from_slice(&buffer[..length]))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error about something sent before says nothing about the next; it is told once.
                Err(_) => {}
            }
        }
        received
    }
}
