//! Why there is no TUN device, and what to do.

use std::io;
use thiserror::Error;

/// Why a TUN device could not be had.
#[derive(Debug, Error)]
pub enum TunError {
    /// The kernel has no TUN driver, or the container does not show it.
    #[error(
        "there is no /dev/net/tun: load the kernel's module (modprobe tun), or let the container have the device \
         (--device /dev/net/tun); the library model works without"
    )]
    NoDriver,
    /// The process may not make network devices.
    #[error(
        "the process may not make a TUN device: run as root, or give the program CAP_NET_ADMIN (setcap cap_net_admin+ep), \
         or use the vpn-service or library model"
    )]
    NotPermitted,
    /// Another process has a device of this name.
    #[error("the device {0} is in use by another process: end that, or choose another name")]
    InUse(String),
    /// The name cannot be a device's.
    #[error("{0:?} is no name for a device: it takes 1 to 15 octets without '/' and blanks")]
    BadName(String),
    /// The descriptor that was handed over is not of a TUN device.
    #[error("the descriptor that was handed over is not a TUN device's")]
    NotTun,
    /// The device refused something else.
    #[error("the TUN device refused to {what}: {source}")]
    Refused {
        /// What it was told.
        what: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
}

impl TunError {
    /// What the last system call's error means, when it was to do `what` with the device `name`.
    pub(super) fn last(what: &'static str, name: &str) -> Self {
        Self::of(io::Error::last_os_error(), what, name)
    }

    pub(super) fn of(source: io::Error, what: &'static str, name: &str) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Self::NoDriver,
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted,
            Some(libc::EBUSY) => Self::InUse(name.into()),
            _ => Self::Refused { what, source },
        }
    }
}
