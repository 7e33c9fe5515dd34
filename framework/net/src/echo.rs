//! Round trips to a node, as `ping` measures them: ICMPv6 echo to its virtual address, which goes through the tunnel like
//! every application's packet.

use crate::entropy::SystemEntropy;
use ntmobile_wire::entropy::Entropy;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, Read};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Types of ICMPv6 message (RFC 4443).
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
/// What a request carries besides, so that its reply is known by it: the kernel chooses the identifier of some sockets.
const TOKEN: usize = 16;
/// Room for what may come.
const LONGEST: usize = 1_500;

/// Echo requests to one address.
#[derive(Debug)]
pub struct Echo {
    socket: Socket,
    token: [u8; TOKEN],
}

impl Echo {
    /// Opens a socket towards this address: one that anybody may have where the host allows it (`net.ipv4.ping_group_range`),
    /// else one that needs root or CAP_NET_RAW.
    pub fn to(address: Ipv6Addr) -> io::Result<Self> {
        let open = |kind| Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6));
        let socket = open(Type::DGRAM).or_else(|_| open(Type::RAW))?;
        socket.connect(&SockAddr::from(SocketAddr::new(address.into(), 0)))?;
        Ok(Self { socket, token: SystemEntropy.array() })
    }

    /// Sends a request and waits for its reply; how long it took, or `None` if it did not come in time.
    pub fn round_trip(&self, sequence: u16, patience: Duration) -> io::Result<Option<Duration>> {
        // The kernel puts the checksum in.
        let mut request = vec![ECHO_REQUEST, 0, 0, 0];
        request.extend_from_slice(&self.token[..2]);
        request.extend_from_slice(&sequence.to_be_bytes());
        request.extend_from_slice(&self.token);
        let sent = Instant::now();
        self.socket.send(&request)?;
        let mut buffer = [0; LONGEST];
        loop {
            let Some(left) = patience.checked_sub(sent.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(None);
            };
            self.socket.set_read_timeout(Some(left))?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) if self.answers(&buffer[..length], sequence) => return Ok(Some(sent.elapsed())),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn answers(&self, message: &[u8], sequence: u16) -> bool {
        message.len() == HEADER + TOKEN
            && message[0] == ECHO_REPLY
            && message[6..HEADER] == sequence.to_be_bytes()
            && message[HEADER..] == self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reply_to_the_request_counts() {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("a socket");
        let echo = Echo { socket, token: [7; TOKEN] };
        let reply = |kind: u8, sequence: u16, token: u8| {
            let mut message = vec![kind, 0, 1, 2, 9, 9];
            message.extend_from_slice(&sequence.to_be_bytes());
            message.extend_from_slice(&[token; TOKEN]);
            message
        };
        assert!(echo.answers(&reply(ECHO_REPLY, 3, 7), 3));
        assert!(!echo.answers(&reply(ECHO_REQUEST, 3, 7), 3), "our own request, on the loopback interface");
        assert!(!echo.answers(&reply(ECHO_REPLY, 2, 7), 3), "a late one");
        assert!(!echo.answers(&reply(ECHO_REPLY, 3, 8), 3), "another program's");
        for length in 0..HEADER + TOKEN {
            assert!(!echo.answers(&reply(ECHO_REPLY, 3, 7)[..length], 3));
        }
    }
}
