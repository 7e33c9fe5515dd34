//! The ceiling that the packet path is measured against: super-packets between a TUN device and a UDP port, cut where they lie
//! and not looked at. No tunnel, no key, no checksum; one lost datagram spoils a whole super-packet.
//!
//! `bare_forwarder NAME MTU PORT PEER`, at both ends; addresses are given to the device by `ip address`.

use ntmobile_net::packet_path::largest_super_packet;
use ntmobile_net::tun::{Queue, Tun, TunSettings};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

fn wait(descriptor: &impl AsFd) {
    let mut entry = libc::pollfd { fd: descriptor.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the entry lives through the call.
    unsafe { libc::poll(&raw mut entry, 1, -1) };
}

fn outward(queue: &Queue, socket: &UdpSocket, state: &UdpSocketState, peer: SocketAddr, cut: usize) -> io::Result<()> {
    let mut buffer = vec![0; 65_545];
    loop {
        match queue.read(&mut buffer) {
            Ok(length) => {
                let contents = &buffer[..length];
                let segment_size = (length > cut).then_some(cut);
                let transmit = Transmit { destination: peer, ecn: None, contents, segment_size, src_ip: None };
                // What the network does not take is lost, as on any wire.
                let _ = state.try_send(socket.into(), &transmit);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(queue),
            Err(error) => return Err(error),
        }
    }
}

fn inward(queue: &Queue, socket: &UdpSocket, state: &UdpSocketState) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let mut meta = [RecvMeta::default()];
        match state.recv(socket.into(), &mut [IoSliceMut::new(&mut buffer)], &mut meta) {
            Ok(_) => {
                let _ = queue.write(&[IoSlice::new(&buffer[..10]), IoSlice::new(&buffer[10..meta[0].len])]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(socket),
            Err(error) => return Err(error),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, mtu, port, peer] = arguments.as_slice() else {
        return Err("usage: bare_forwarder NAME MTU PORT PEER".into());
    };
    let (mtu, peer): (u16, SocketAddr) = (mtu.parse()?, peer.parse()?);
    let largest = largest_super_packet(mtu);
    let device = Tun::create(&TunSettings { name: name.clone(), mtu, queues: 1, largest })?;
    let socket = UdpSocket::bind(("0.0.0.0", port.parse()?))?;
    let state = UdpSocketState::new((&socket).into())?;
    state.set_recv_buffer_size((&socket).into(), 4 << 20)?;
    let queues = device.into_queues();
    let cut = usize::from(mtu) + 40;
    std::thread::scope(|scope| {
        let inward = scope.spawn(|| inward(&queues[0], &socket, &state));
        outward(&queues[0], &socket, &state, peer, cut)?;
        inward.join().map_err(|_| "a thread panicked")??;
        Ok(())
    })
}
