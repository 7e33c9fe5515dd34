//! A TUN device without offloads: every packet whole, with its checksums, one for each call.

use super::device;
use super::error::TunError;
use crate::links;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What a plain device is to be.
#[derive(Clone, Debug)]
pub struct PlainTunSettings {
    /// The interface's name.
    pub name: String,
    /// The largest packet that the kernel gives it.
    pub mtu: u32,
    /// How many packets may wait to be read; what comes then is lost, and counted in [`PlainTun::lost`].
    pub queue_length: u32,
}

/// A TUN device with one queue and no offloads. It goes when this is dropped.
///
/// The device stays in the namespace in which it was made; what changes or asks its interface must be called there, while
/// reading and writing works from anywhere.
#[derive(Debug)]
pub struct PlainTun {
    name: String,
    index: u32,
    fd: OwnedFd,
}

impl PlainTun {
    /// Makes a device in the present network namespace and brings it up.
    pub fn create(settings: &PlainTunSettings) -> Result<Self, TunError> {
        let (fd, name) = device::open(&settings.name, 0)?;
        let refused = |what| move |source| TunError::of(source, what, &settings.name);
        let index = links::index(&name).ok_or_else(io::Error::last_os_error).map_err(refused("tell its index"))?;
        links::set_queue_length(index, settings.queue_length).map_err(refused("lengthen its queue"))?;
        let state = links::State { is_up: true, mtu: settings.mtu };
        links::set_state(index, &state).map_err(refused("come up with its MTU"))?;
        Ok(Self { name, index, fd })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the next packet; [`io::ErrorKind::WouldBlock`] if there is none. What does not fit the buffer is cut off.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the kernel writes at most the buffer's length into it.
        let length = unsafe { libc::read(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(length).map_err(|_| io::Error::last_os_error())
    }

    /// Gives the kernel a packet, as if it had come over a link.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        // SAFETY: the kernel reads at most the packet's length from it.
        let written = unsafe { libc::write(self.fd.as_raw_fd(), packet.as_ptr().cast(), packet.len()) };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Gives the interface an address, usable at once, in a network whose prefix has this length.
    pub fn add_address(&self, address: IpAddr, prefix: u8) -> io::Result<()> {
        links::add_address(self.index, address, prefix)
    }

    /// Leads everything of this address's family that has no better route out by the interface; among several such, the
    /// smallest metric wins.
    pub fn add_default_route(&self, family_of: IpAddr, metric: u32) -> io::Result<()> {
        links::add_default_route(self.index, family_of, metric)
    }

    /// Changes how large a packet the kernel gives it.
    pub fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        links::set_state(self.index, &links::State { is_up: true, mtu })
    }

    /// Plugs the cable in or pulls it: without one, the kernel sends nothing and tells those who watch.
    pub fn set_carrier(&self, is_there: bool) -> io::Result<()> {
        let mut there = libc::c_int::from(is_there);
        device::tun_ioctl(&self.fd, libc::TUNSETCARRIER, &mut there)
    }

    /// How many packets were lost because they were not read in time.
    pub fn lost(&self) -> io::Result<u64> {
        links::transmit_drops(self.index)
    }
}

impl AsFd for PlainTun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
