//! The device and its queues.

use super::error::TunError;
use super::link;
use super::offload::{Mergeable, VIRTIO_LENGTH};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What a device is to be.
#[derive(Clone, Debug)]
pub struct TunSettings {
    /// The interface's name; with `%d` in it, the kernel puts a number there.
    pub name: String,
    /// The largest packet of an application.
    pub mtu: u16,
    /// How many threads will read it.
    pub queues: usize,
    /// The largest super-packet, so that what is made of one fits one call: at most 65,536.
    pub largest: u32,
}

/// A TUN device. It goes when the last of its queues is dropped.
#[derive(Debug)]
pub struct Tun {
    name: String,
    queues: Vec<Queue>,
}

/// One queue of a device: one thread reads it, and any may write.
#[derive(Debug)]
pub struct Queue {
    fd: OwnedFd,
    mergeable: Mergeable,
    /// Whether the kernel puts a virtio header before each packet.
    virtio: bool,
}

impl Tun {
    /// Makes a device in the present network namespace and brings it up.
    pub fn create(settings: &TunSettings) -> Result<Self, TunError> {
        let mut name = settings.name.clone();
        let mut queues = Vec::new();
        for _ in 0..settings.queues.max(1) {
            let (queue, actual) = open_queue(&name, settings.queues > 1)?;
            // The kernel has chosen a number; the other queues are of the same device.
            name = actual;
            queues.push(queue);
        }
        link::bring_up(&name, settings.mtu, settings.largest)?;
        Ok(Self { name, queues })
    }

    /// Takes a device that somebody else has made, with one queue. Whether super-packets cross it is for its maker to say
    /// (`IFF_VNET_HDR`).
    pub fn adopt(fd: OwnedFd) -> Result<Self, TunError> {
        let mut request = link::request("adopted")?;
        tun_ioctl(&fd, libc::TUNGETIFF, &mut request).map_err(|_| TunError::NotTun)?;
        let name = name_of(&request);
        // SAFETY: TUNGETIFF has filled in this member.
        let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
        if flags & libc::IFF_TUN == 0 || flags & libc::IFF_NO_PI == 0 {
            return Err(TunError::NotTun);
        }
        let virtio = flags & libc::IFF_VNET_HDR != 0;
        let mergeable = if virtio { offload(&fd, &name)? } else { Mergeable::default() };
        set_nonblocking(&fd).map_err(|source| TunError::of(source, "be read without waiting", &name))?;
        Ok(Self { name, queues: vec![Queue { fd, mergeable, virtio }] })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands out the queues.
    pub fn into_queues(self) -> Vec<Queue> {
        self.queues
    }
}

impl Queue {
    /// What a test plays the kernel's part of, at the other end of a socket that keeps packets whole.
    #[cfg(test)]
    pub(crate) fn played(fd: OwnedFd, virtio: bool) -> Self {
        set_nonblocking(&fd).expect("a descriptor may be told not to wait");
        Self { fd, mergeable: Mergeable::default(), virtio }
    }

    /// Which super-packets may be written.
    pub fn mergeable(&self) -> Mergeable {
        self.mergeable
    }

    /// Reads the next packet or super-packet, behind its virtio header; [`io::ErrorKind::WouldBlock`] if there is none.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let skipped = if self.virtio { 0 } else { VIRTIO_LENGTH };
        let Some((head, room)) = buffer.split_at_mut_checked(skipped) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // SAFETY: the kernel writes at most the room's length into it.
        let length = unsafe { libc::read(self.fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        head.fill(0);
        Ok(skipped + length)
    }

    /// Writes a packet or super-packet; the first part is its virtio header.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let parts = if self.virtio { parts } else { parts.get(1..).unwrap_or(&[]) };
        // SAFETY: an IoSlice has the layout of an iovec, and all that they point to lives through the call.
        let written = unsafe { libc::writev(self.fd.as_raw_fd(), parts.as_ptr().cast(), parts.len() as libc::c_int) };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens one queue of the device `name`, which is made if it is not there; returns its actual name too.
fn open_queue(name: &str, several: bool) -> Result<(Queue, String), TunError> {
    let several = if several { libc::IFF_MULTI_QUEUE } else { 0 };
    let (fd, actual) = open(name, libc::IFF_VNET_HDR | several)?;
    let mergeable = offload(&fd, &actual)?;
    Ok((Queue { fd, mergeable, virtio: true }, actual))
}

/// Opens the device `name` with these flags beside those of every TUN device; returns its actual name too.
pub(super) fn open(name: &str, flags: libc::c_int) -> Result<(OwnedFd, String), TunError> {
    // SAFETY: the path is a C string.
    let fd = unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK) };
    if fd < 0 {
        return Err(TunError::last("open", name));
    }
    // SAFETY: the descriptor was just opened and is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut request = link::request(name)?;
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | flags;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    tun_ioctl(&fd, libc::TUNSETIFF, &mut request).map_err(|source| TunError::of(source, "be made", name))?;
    Ok((fd, name_of(&request)))
}

/// Asks for all that the kernel can leave to us, and settles for less with older kernels.
fn offload(fd: &OwnedFd, name: &str) -> Result<Mergeable, TunError> {
    let mut length = VIRTIO_LENGTH as libc::c_int;
    tun_ioctl(fd, libc::TUNSETVNETHDRSZ, &mut length)
        .map_err(|source| TunError::of(source, "take short virtio headers", name))?;
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    for (flags, mergeable) in [
        (tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6, Mergeable { tcp: true, udp: true }),
        (tcp, Mergeable { tcp: true, udp: false }),
    ] {
        // SAFETY: this request takes its argument by value.
        if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) } == 0 {
            return Ok(mergeable);
        }
    }
    Ok(Mergeable::default())
}

pub(super) fn tun_ioctl<T>(fd: &OwnedFd, number: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: every caller passes what its request reads or writes: an ifreq, or an int. It lives through the call.
    match unsafe { libc::ioctl(fd.as_raw_fd(), number, std::ptr::from_mut(argument)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn name_of(request: &libc::ifreq) -> String {
    request.ifr_name.iter().take_while(|octet| **octet != 0).map(|octet| char::from(*octet as u8)).collect()
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: the calls take and give flags by value.
    let set = unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        flags >= 0 && libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) == 0
    };
    if set { Ok(()) } else { Err(io::Error::last_os_error()) }
}
