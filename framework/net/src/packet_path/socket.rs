//! A UDP socket that datagrams cross by the train: one system call sends or receives dozens (UDP_SEGMENT, UDP_GRO).

use crate::net::NetOptions;
use crate::socket::{self, BindFailure};
use crate::udp::message::{self, Outgoing};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The most octets of a train: what one IPv4 packet carries of UDP.
pub(super) const LONGEST_TRAIN: usize = 65_507;

/// The most datagrams of a train that every kernel takes.
pub(super) const MOST_DATAGRAMS: usize = 64;

/// Room for the control messages that are asked for: two of address information, one of train length.
const CONTROL: usize = 128;

/// Aligned as control messages must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// The socket.
#[derive(Debug)]
pub(super) struct TrainSocket {
    socket: Socket,
    address: IpAddr,
    families: Families,
}

/// Whose addresses a socket sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    V4,
    V6,
    /// IPv4 addresses are written as IPv6 ones.
    Both,
}

/// What one call has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceivedTrain {
    pub(super) from: SocketAddr,
    /// Which of our addresses it came to.
    pub(super) to: IpAddr,
    /// Octets in all.
    pub(super) length: usize,
    /// Octets of each datagram but the last.
    pub(super) stride: usize,
}

impl TrainSocket {
    /// Opens a socket at an address, or at every address of both families where none is given; beside others at the same port
    /// if it is shared. The kernel gives all datagrams of one sender to the same of them.
    pub(super) fn bind(
        options: &NetOptions,
        address: Option<IpAddr>,
        port: u16,
        is_shared: bool,
    ) -> Result<Self, BindFailure> {
        let families = match address {
            None => Families::Both,
            Some(IpAddr::V4(_)) => Families::V4,
            Some(IpAddr::V6(_)) => Families::V6,
        };
        let bind = |address: IpAddr, families| Self::bind_to(options, (address, port).into(), families, is_shared);
        match bind(address.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), families) {
            // A host without one family has the other.
            Err(BindFailure::NoSuchFamily(_)) if address.is_none() => bind(Ipv4Addr::UNSPECIFIED.into(), Families::V4),
            bound => bound,
        }
    }

    fn bind_to(
        options: &NetOptions,
        address: SocketAddr,
        families: Families,
        is_shared: bool,
    ) -> Result<Self, BindFailure> {
        let socket = socket::open(options, address.ip(), Type::DGRAM, Protocol::UDP)?;
        let set_up = || -> io::Result<()> {
            if families != Families::V4 {
                socket.set_only_v6(families == Families::V6)?;
                socket::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            }
            if families != Families::V6 {
                socket::set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            }
            socket.set_reuse_port(is_shared)?;
            socket::set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1)?;
            socket::set_buffers(&socket, options.buffer);
            socket.bind(&address.into())
        };
        set_up().map_err(|error| BindFailure::new(address, &error))?;
        Ok(Self { socket, address: address.ip(), families })
    }

    /// The port.
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.as_socket().map_or(0, |address| address.port()))
    }

    /// How many octets the kernel keeps for us until we take them.
    pub(super) fn buffer(&self) -> usize {
        // It tells twice as much as it counts.
        self.socket.recv_buffer_size().map_or(0, |size| size / 2)
    }

    /// Whether datagrams to `to` can leave here.
    pub(super) fn reaches(&self, to: IpAddr) -> bool {
        match self.families {
            Families::V4 => to.is_ipv4(),
            Families::V6 => to.is_ipv6(),
            Families::Both => true,
        }
    }

    /// The address that it is bound to.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// An address as this socket writes it.
    fn written(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) if self.families == Families::Both => address.to_ipv6_mapped().into(),
            _ => address,
        }
    }

    /// Sends one datagram, from one of our addresses if it is said. Where the path is known to be too narrow for it, the kernel
    /// fragments the outer packet.
    pub(super) fn send(&self, from: Option<IpAddr>, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.hand_over(from, to, datagram, None)
    }

    /// Sends a train of datagrams of `stride` octets each, the last one perhaps shorter.
    pub(super) fn send_train(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
        train: &[u8],
        stride: usize,
    ) -> io::Result<()> {
        self.hand_over(from, to, train, u16::try_from(stride).ok())
    }

    /// Waits while the socket is full, so that applications feel it; but not for ever.
    fn hand_over(&self, from: Option<IpAddr>, to: SocketAddr, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
        let to = SocketAddr::new(self.written(to.ip()), to.port());
        let outgoing = Outgoing { to, from: from.map(|from| self.written(from)), bytes, segment };
        for _ in 0..10 {
            match message::send(self.as_fd(), &outgoing) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => super::wake::wait_for_room(self.as_fd())?,
                result => return result,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Receives a train into `buffer`.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<ReceivedTrain> {
        let mut control = Control([0; CONTROL]);
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut flags = 0;
        let mut length = 0;
        let mut stride = 0;
        let mut to = None;
        // SAFETY: the message's parts all live through the call, which writes no more than the lengths given; the storage that
        // `try_init` hands out takes any address.
        let ((), from) = unsafe {
            SockAddr::try_init(|storage, name_length| {
                let mut message: libc::msghdr = std::mem::zeroed();
                message.msg_name = storage.cast();
                message.msg_namelen = *name_length;
                message.msg_iov = &raw mut part;
                message.msg_iovlen = 1;
                message.msg_control = control.0.as_mut_ptr().cast();
                message.msg_controllen = CONTROL;
                let received = libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0);
                length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
                *name_length = message.msg_namelen;
                flags = message.msg_flags;
                read_control(&message, &mut stride, &mut to);
                Ok(())
            })
        }?;
        if flags & libc::MSG_TRUNC != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let from = from.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let to = to.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(ReceivedTrain { from, to, length, stride: if stride == 0 { length.max(1) } else { stride } })
    }
}

impl AsFd for TrainSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes the length of datagrams and our own address from the control messages.
///
/// # Safety
/// `message` is as a successful `recvmsg` has left it.
unsafe fn read_control(message: &libc::msghdr, stride: &mut usize, to: &mut Option<IpAddr>) {
    // SAFETY: the kernel has written whole control messages within the buffer, and the macros stay within it. All pointers are made
    // from the message's own, which is to the whole buffer. Each datum is read as what its kind is, at whatever alignment.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        while !next.is_null() {
            let data = libc::CMSG_DATA(next);
            match ((*next).cmsg_level, (*next).cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    *stride = data.cast::<libc::c_int>().read_unaligned() as usize;
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    *to = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    *to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(message, next);
        }
    }
}

/// What the kernel believes of the path to `to`: the largest IP packet that it carries in one piece.
pub(super) fn path_mtu(to: SocketAddr) -> io::Result<usize> {
    let (domain, level, name) = match to {
        SocketAddr::V4(_) => (Domain::IPV4, libc::IPPROTO_IP, libc::IP_MTU),
        SocketAddr::V6(_) => (Domain::IPV6, libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    socket.connect(&to.into())?;
    let (mut mtu, mut length): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the value is an int, and its length is given.
    let got = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut mtu).cast(), &raw mut length) };
    if got == 0 { Ok(usize::try_from(mtu).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}
