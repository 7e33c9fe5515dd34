//! Load for a relay: ESP packets as an RS forwards them, or channel data of TURN allocations, in trains or one by one; and
//! the sink behind it.

use super::datagrams::answer;
use super::turn;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::io::{self, BufRead, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// The longest train that fits one call, and the most datagrams of it.
const LONGEST: usize = 65_507;
const MOST: usize = 64;
/// Our first port; the next tunnel has the next one.
pub(crate) const FIRST_PORT: u16 = 20_000;
/// Octets of a packet, as the relay gets it.
const OCTETS: usize = 1_200;

/// What the load is like.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Relayed {
    /// The relay.
    #[arg(long)]
    pub(crate) relay: SocketAddrV4,
    /// How many tunnels or allocations, each from a port of its own.
    #[arg(long)]
    pub(crate) tunnels: u16,
    /// Send trains by UDP_SEGMENT.
    #[arg(long)]
    pub(crate) trains: bool,
    /// The relay speaks TURN and is to send to this peer.
    #[arg(long)]
    pub(crate) turn_peer: Option<SocketAddrV4>,
}

/// A socket, and what it sends in one call.
struct Source {
    socket: UdpSocket,
    state: UdpSocketState,
    contents: Vec<u8>,
}

impl Source {
    fn new(load: Relayed, tunnel: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, FIRST_PORT + tunnel))?;
        let mut packet = vec![0; OCTETS];
        match load.turn_peer {
            Some(peer) => {
                turn::allocate(&socket, load.relay, peer)?;
                turn::fill(&mut packet);
            }
            None => {
                let spi = (0x1001 + u32::from(tunnel) * 2) << 4;
                packet[..4].copy_from_slice(&spi.to_be_bytes());
            }
        }
        let state = UdpSocketState::new((&socket).into())?;
        socket.set_nonblocking(false)?;
        let count = if load.trains { (LONGEST / OCTETS).min(MOST) } else { 1 };
        Ok(Self { socket, state, contents: packet.repeat(count) })
    }

    /// Sends once; how many datagrams.
    fn send(&self, relay: SocketAddrV4) -> usize {
        let count = self.contents.len() / OCTETS;
        let segment_size = (count > 1).then_some(OCTETS);
        let destination = SocketAddr::V4(relay);
        let transmit = Transmit { destination, ecn: None, contents: &self.contents, segment_size, src_ip: None };
        if self.state.try_send((&self.socket).into(), &transmit).is_ok() { count } else { 0 }
    }
}

/// Sends as fast as it can for as many milliseconds as each line of standard input says; answers how many it has sent.
pub(super) fn send(load: Relayed) -> io::Result<()> {
    let sources = (0..load.tunnels).map(|tunnel| Source::new(load, tunnel)).collect::<io::Result<Vec<_>>>()?;
    answer("ready")?;
    for line in io::stdin().lock().lines() {
        let milliseconds = line?.trim().parse().map_err(|_| io::ErrorKind::InvalidInput)?;
        let end = Instant::now() + Duration::from_millis(milliseconds);
        let mut turn = sources.iter().cycle();
        let mut sent = 0;
        while Instant::now() < end {
            sent += turn.next().map_or(0, |source| source.send(load.relay));
        }
        answer(&sent.to_string())?;
    }
    Ok(())
}

/// Swallows what comes, by the train where it comes so. Answers every line, and ends with standard input.
pub(super) fn sink(port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let state = UdpSocketState::new((&socket).into())?;
    socket.set_nonblocking(false)?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; LONGEST];
        loop {
            // An error is an ICMP message about something else.
            let _ = state.recv((&socket).into(), &mut [IoSliceMut::new(&mut buffer)], &mut [RecvMeta::default()]);
        }
    });
    answer("ready")?;
    io::stdin().lock().lines().try_for_each(|line| line.and_then(|_| answer("")))
}
