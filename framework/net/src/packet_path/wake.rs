//! Waiting for packets, and being woken for another reason.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// How long a full socket is waited for at a time, in milliseconds.
const ROOM_PATIENCE: libc::c_int = 10;

/// What wakes a thread that waits for packets.
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes its arguments by value.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and is nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Wakes the thread, now or when it next waits.
    pub(crate) fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight octets are read. It fails only when the counter is full, and then the thread wakes anyway.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Waits until one of these can be read, or the waker is woken. `entries` is memory for it.
    pub(super) fn wait<'a>(
        &self,
        entries: &mut Vec<libc::pollfd>,
        readable: impl IntoIterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<()> {
        self.wait_until(entries, readable, -1)
    }

    /// The same, but for so many milliseconds at most.
    pub(crate) fn wait_for<'a>(
        &self,
        readable: impl IntoIterator<Item = BorrowedFd<'a>>,
        milliseconds: u16,
    ) -> io::Result<()> {
        self.wait_until(&mut Vec::new(), readable, milliseconds.into())
    }

    fn wait_until<'a>(
        &self,
        entries: &mut Vec<libc::pollfd>,
        readable: impl IntoIterator<Item = BorrowedFd<'a>>,
        patience: libc::c_int,
    ) -> io::Result<()> {
        let entry = |fd: libc::c_int| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        entries.clear();
        entries.push(entry(self.0.as_raw_fd()));
        entries.extend(readable.into_iter().map(|fd| entry(fd.as_raw_fd())));
        poll(entries, patience)?;
        if entries[0].revents != 0 {
            let mut count = [0; 8];
            // SAFETY: eight octets are written.
            unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        }
        Ok(())
    }
}

/// Waits a moment for room to send.
pub(super) fn wait_for_room(socket: BorrowedFd<'_>) -> io::Result<()> {
    let entry = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    poll(&mut [entry], ROOM_PATIENCE)
}

fn poll(entries: &mut [libc::pollfd], patience: libc::c_int) -> io::Result<()> {
    // SAFETY: the entries live through the call.
    match unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, patience) } {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
        _ => Ok(()),
    }
}
