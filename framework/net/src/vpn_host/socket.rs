//! A Unix socket that carries whole messages, each with a descriptor or without.

use socket2::{Domain, MsgHdr, SockAddr, Socket, Type};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Octets of a control message's header, and of one with a descriptor behind it.
const CONTROL_HEADER: usize = size_of::<libc::cmsghdr>();
const WITH_DESCRIPTOR: usize = CONTROL_HEADER + size_of::<usize>();

/// Aligned as control messages must be. What the kernel finds no room for it closes, and says so.
#[repr(C, align(8))]
struct Control([u8; WITH_DESCRIPTOR]);

/// One end.
#[derive(Debug)]
pub struct HostSocket(Socket);

/// A message's length, and the descriptor that came with it.
pub(super) type Received = (usize, Option<OwnedFd>);

impl HostSocket {
    /// Two ends: one for us, one to be inherited by a process that is started.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        Ok((Self(ours), Self(theirs)))
    }

    /// Connects to whoever listens at this path.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(Self(socket))
    }

    /// Takes an end that was inherited.
    pub fn inherit(fd: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(fd);
        if socket.r#type()? != Type::SEQPACKET || !socket.local_addr()?.is_unix() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a Unix socket of kind SEQPACKET"));
        }
        // Whether a call waits is the open socket's own, whoever has set it.
        socket.set_nonblocking(false)?;
        Ok(Self(socket))
    }

    /// Gives the end away, as a process that is started takes it.
    pub fn into_fd(self) -> OwnedFd {
        self.0.into()
    }

    /// Sends a message without waiting: whoever does not take up what is said to it is not waited for.
    pub fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let parts = [io::IoSlice::new(message)];
        let control = descriptor.map(|descriptor| rights(descriptor.as_raw_fd()));
        let mut header = MsgHdr::new().with_buffers(&parts);
        if let Some(control) = &control {
            header = header.with_control(control);
        }
        self.0.sendmsg(&header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).map(|_| ())
    }

    /// Waits for the next message; nothing when the other end is closed. A message that is longer than the buffer, or has more
    /// than one descriptor, is an error.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Option<OwnedFd>)>> {
        loop {
            match self.receive_once(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An empty message and the end look the same; nobody has a reason to send the first.
                Ok((0, _)) => return Ok(None),
                outcome => return outcome.map(Some),
            }
        }
    }

    fn receive_once(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut control = Control([0; WITH_DESCRIPTOR]);
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a message header is plain data, for which zeros are valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = WITH_DESCRIPTOR as _;
        // SAFETY: the message's parts all live through the call, which writes no more than the lengths given.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the message is as the call has left it, and what it holds is taken once.
        let mut descriptors = unsafe { take_descriptors(&message) };
        let is_cut = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
        if is_cut || descriptors.len() > 1 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a message is too long, or has too many descriptors",
            ));
        }
        Ok((length, descriptors.pop()))
    }

    /// How long [`Self::receive`] waits from now on; for ever without a limit.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(patience)
    }

    /// A second handle on the same end.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Ends the conversation, for whoever waits on this end too.
    pub fn close(&self) {
        // The other end may have done so before.
        let _closed = self.0.shutdown(std::net::Shutdown::Both);
    }
}

impl AsFd for HostSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where a host program is awaited. Its file goes when this is dropped.
#[derive(Debug)]
pub struct SocketListener {
    socket: AsyncFd<Socket>,
    path: PathBuf,
}

impl SocketListener {
    /// Listens at this path, for the node's own user and root. What a node has left there that is no more is replaced. Must be
    /// called within a tokio runtime.
    pub fn listen(path: &Path) -> io::Result<Self> {
        let address = SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?;
        if let Err(error) = socket.bind(&address) {
            if error.kind() != io::ErrorKind::AddrInUse || !is_left_behind(path) {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        // Nobody can connect before the socket listens.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        socket.listen(1)?;
        // SAFETY: the socket owns its open descriptor, and is neither closed nor replaced while it is registered.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|refused| refused.into_parts().1)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Waits for a host program.
    pub async fn accept(&self) -> io::Result<HostSocket> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| socket.get_ref().accept()) {
                Ok(accepted) => {
                    let (socket, _) = accepted?;
                    socket.set_nonblocking(false)?;
                    return Ok(HostSocket(socket));
                }
                Err(_would_block) => {}
            }
        }
    }
}

impl Drop for SocketListener {
    fn drop(&mut self) {
        // The next node removes what is left.
        let _removed = std::fs::remove_file(&self.path);
    }
}

/// Whether this is a socket that nobody has open any more. Nobody is disturbed by the question: a datagram socket is connected
/// to without the other end's knowing, and all other kinds of socket that live refuse one for its kind.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let asked = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    is_socket && asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The control message that carries a descriptor: length (of the platform's word), level, type, descriptor.
fn rights(descriptor: libc::c_int) -> [u8; WITH_DESCRIPTOR] {
    let mut control = [0; WITH_DESCRIPTOR];
    let length = CONTROL_HEADER + size_of::<libc::c_int>();
    let level = size_of::<usize>();
    control[..level].copy_from_slice(&length.to_ne_bytes());
    control[level..level + 4].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control[level + 4..level + 8].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    control[CONTROL_HEADER..CONTROL_HEADER + 4].copy_from_slice(&descriptor.to_ne_bytes());
    control
}

/// Takes the descriptors that came.
///
/// # Safety
/// `message` is as a successful `recvmsg` has left it, and its descriptors are nobody's yet.
unsafe fn take_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut taken = Vec::new();
    // SAFETY: the kernel has written whole control messages within the buffer, and the macros stay within it. Each descriptor in
    // them was made for this process, and is taken once.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        // Through the pointer: what follows the header is not reached by a reference to the header.
        while !next.is_null() {
            if ((*next).cmsg_level, (*next).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let octets = (*next).cmsg_len.saturating_sub(CONTROL_HEADER);
                let data = libc::CMSG_DATA(next).cast::<libc::c_int>();
                for number in 0..octets / size_of::<libc::c_int>() {
                    taken.push(OwnedFd::from_raw_fd(data.add(number).read_unaligned()));
                }
            }
            next = libc::CMSG_NXTHDR(message, next);
        }
    }
    taken
}
