//! A UDP socket that datagrams cross by the train: one system call sends or receives dozens (UDP_SEGMENT, UDP_GRO).

use ntmobile_ports::net::NetError;
use socket2::{Domain, MsgHdr, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The most octets of a train: what one IPv4 packet carries of UDP.
pub(super) const LONGEST_TRAIN: usize = 65_507;

/// The most datagrams of a train that every kernel takes.
pub(super) const MOST_DATAGRAMS: usize = 64;

/// What the kernel may keep for us; trains of dozens come at once.
const BUFFER: usize = 4 << 20;

/// Room for the control messages that are asked for: two of address information, one of train length.
const CONTROL: usize = 128;

/// Aligned as control messages must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// The socket.
#[derive(Debug)]
pub(super) struct TrainSocket {
    socket: Socket,
    is_v6: bool,
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

/// Why a train was not sent.
#[derive(Debug)]
pub(super) enum TrainError {
    /// The path does not carry datagrams of this size in one piece.
    TooNarrow,
    /// The device cannot cut trains.
    NoSegmentation,
    /// Anything else: these datagrams are lost.
    Lost,
}

impl TrainSocket {
    /// Binds `count` sockets to one port, for both address families or for IPv4 where there is no other. The kernel gives
    /// all datagrams of one sender to the same socket.
    pub(super) fn bind(port: u16, count: usize) -> Result<Vec<Self>, NetError> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => NetError::PortInUse(port),
            _ => NetError::Other(error.to_string()),
        };
        // Sockets that share a port would share it with another program's too: whether there is one, the first bind tells.
        let alone = Self::bind_one(port, false).map_err(refused)?;
        if count <= 1 {
            return Ok(vec![alone]);
        }
        let port = alone.port().map_err(refused)?;
        drop(alone);
        (0..count).map(|_| Self::bind_one(port, true).map_err(refused)).collect()
    }

    fn bind_one(port: u16, shared: bool) -> io::Result<Self> {
        match Self::bind_to(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into(), shared) {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                Self::bind_to(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into(), shared)
            }
            bound => bound,
        }
    }

    fn bind_to(domain: Domain, address: SocketAddr, shared: bool) -> io::Result<Self> {
        let is_v6 = domain == Domain::IPV6;
        let socket = Socket::new(domain, Type::DGRAM.nonblocking(), None)?;
        if is_v6 {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_port(shared)?;
        let this = Self { socket, is_v6 };
        this.set(libc::SOL_UDP, libc::UDP_GRO, 1)?;
        this.set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        if is_v6 {
            this.set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
        for (forced, ordinary) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
            if this.set(libc::SOL_SOCKET, forced, BUFFER as libc::c_int).is_err() {
                this.set(libc::SOL_SOCKET, ordinary, BUFFER as libc::c_int)?;
            }
        }
        this.socket.bind(&address.into())?;
        Ok(this)
    }

    fn set(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
        // SAFETY: the value is an int, which lives through the call.
        let set = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(&value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The port.
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.as_socket().map_or(0, |address| address.port()))
    }

    /// The address as this socket's family writes it.
    fn written(&self, to: SocketAddr) -> SockAddr {
        match to {
            SocketAddr::V4(to) if self.is_v6 => SocketAddrV6::new(to.ip().to_ipv6_mapped(), to.port(), 0, 0).into(),
            _ => to.into(),
        }
    }

    /// Sends one datagram. Where the path is known to be too narrow for it, the kernel fragments the outer packet.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.until_room(|| self.socket.send_to(datagram, &self.written(to)).map(|_| ()))
    }

    /// Sends a train of datagrams of `stride` octets each, the last one perhaps shorter.
    pub(super) fn send_train(&self, to: SocketAddr, train: &[u8], stride: usize) -> Result<(), TrainError> {
        let sent = if train.len() <= stride {
            return self.send(to, train).map_err(|_| TrainError::Lost);
        } else {
            let address = self.written(to);
            let parts = [io::IoSlice::new(train)];
            let control = segment_control(stride as u16);
            let message = MsgHdr::new().with_addr(&address).with_buffers(&parts).with_control(&control);
            self.until_room(|| self.socket.sendmsg(&message, 0).map(|_| ()))
        };
        sent.map_err(|error| match error.raw_os_error() {
            Some(libc::EMSGSIZE | libc::EINVAL) => TrainError::TooNarrow,
            Some(libc::EIO | libc::EOPNOTSUPP) => TrainError::NoSegmentation,
            _ => TrainError::Lost,
        })
    }

    /// Waits while the socket is full, so that applications feel it; but not for ever.
    fn until_room(&self, mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        for _ in 0..10 {
            match send() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    super::wake::wait_for_room(self.as_fd())?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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

/// Octets of a control message's header, and of one with a 16-bit datum in it.
const CONTROL_HEADER: usize = size_of::<libc::cmsghdr>();
const SEGMENT_CONTROL: usize = CONTROL_HEADER + size_of::<usize>();

/// The control message that cuts a train: length (of the platform's word), level, type, datum.
fn segment_control(stride: u16) -> [u8; SEGMENT_CONTROL] {
    let mut control = [0; SEGMENT_CONTROL];
    let length = CONTROL_HEADER + size_of::<u16>();
    let level = size_of::<usize>();
    control[..level].copy_from_slice(&length.to_ne_bytes());
    control[level..level + 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    control[level + 4..level + 8].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    control[CONTROL_HEADER..CONTROL_HEADER + 2].copy_from_slice(&stride.to_ne_bytes());
    control
}

/// Takes the length of datagrams and our own address from the control messages.
///
/// # Safety
/// `message` is as a successful `recvmsg` has left it.
unsafe fn read_control(message: &libc::msghdr, stride: &mut usize, to: &mut Option<IpAddr>) {
    // SAFETY: the kernel has written whole control messages within the buffer, and the macros stay within it. Each datum is read
    // as what its kind is, at whatever alignment.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        while let Some(control) = next.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (control.cmsg_level, control.cmsg_type) {
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
            next = libc::CMSG_NXTHDR(message, control);
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
