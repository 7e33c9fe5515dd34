//! As much of TURN's client (RFC 8656) as a relay wants before it relays: an allocation, and a channel to one peer.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

const MAGIC: u32 = 0x2112_a442;
const ALLOCATE: u16 = 0x0003;
const CHANNEL_BIND: u16 = 0x0009;
/// What is added to a request's type in the answer that grants it.
const SUCCESS: u16 = 0x0100;
const CHANNEL: u16 = 0x4000;
const CHANNEL_NUMBER: u16 = 0x000c;
const PEER_ADDRESS: u16 = 0x0012;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const UDP: u8 = 17;
const PATIENCE: Duration = Duration::from_secs(2);

/// Gets an allocation for this socket and binds its channel to the peer. The server asks for no credentials.
pub(super) fn allocate(socket: &UdpSocket, server: SocketAddrV4, peer: SocketAddrV4) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    ask(socket, server, &request(ALLOCATE, &[(REQUESTED_TRANSPORT, &[UDP, 0, 0, 0])]))?;
    let [high, low] = CHANNEL.to_be_bytes();
    let address = peer_address(peer);
    ask(socket, server, &request(CHANNEL_BIND, &[(CHANNEL_NUMBER, &[high, low, 0, 0]), (PEER_ADDRESS, &address)]))
}

/// Makes a packet channel data of its own length.
pub(super) fn fill(packet: &mut [u8]) {
    let data = packet.len().saturating_sub(4) as u16;
    packet[..2].copy_from_slice(&CHANNEL.to_be_bytes());
    packet[2..4].copy_from_slice(&data.to_be_bytes());
}

/// A request with attributes whose lengths are multiples of four.
fn request(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let length: usize = attributes.iter().map(|(_, value)| 4 + value.len()).sum();
    let mut message = Vec::new();
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(length as u16).to_be_bytes());
    message.extend_from_slice(&MAGIC.to_be_bytes());
    // Its number: one request at a time is under way on a socket.
    message.extend_from_slice(&[kind as u8; 12]);
    for (kind, value) in attributes {
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&(value.len() as u16).to_be_bytes());
        message.extend_from_slice(value);
    }
    message
}

/// An address as attributes carry it, exclusive-ored with the magic number.
fn peer_address(peer: SocketAddrV4) -> [u8; 8] {
    let [port_high, port_low] = (peer.port() ^ (MAGIC >> 16) as u16).to_be_bytes();
    let [a, b, c, d] = (u32::from(*peer.ip()) ^ MAGIC).to_be_bytes();
    [0, 1, port_high, port_low, a, b, c, d]
}

fn ask(socket: &UdpSocket, server: SocketAddrV4, request: &[u8]) -> io::Result<()> {
    socket.send_to(request, server)?;
    let mut answer = [0; 1_500];
    let length = socket.recv(&mut answer)?;
    let kind = u16::from_be_bytes([request[0], request[1]]) | SUCCESS;
    let is_granted = length >= 20 && answer[..2] == kind.to_be_bytes() && answer[4..20] == request[4..20];
    if is_granted { Ok(()) } else { Err(io::Error::other("the TURN server refuses")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_the_standard_writes_it() {
        let message = request(ALLOCATE, &[(REQUESTED_TRANSPORT, &[UDP, 0, 0, 0])]);
        assert_eq!(message[..8], [0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(message[20..], [0, 0x19, 0, 4, 17, 0, 0, 0]);
        let address = peer_address(SocketAddrV4::new([192, 0, 2, 1].into(), 0x2112));
        assert_eq!(address, [0, 1, 0, 0, 0xe1, 0x12, 0xa6, 0x43]);
        let mut packet = [9; 8];
        fill(&mut packet);
        assert_eq!(packet, [0x40, 0, 0, 4, 9, 9, 9, 9]);
    }
}
