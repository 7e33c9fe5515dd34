//! Sockets as every port opens them: the options that apply to all, and the operating system's refusals in our words.

use crate::net::NetOptions;
use ntmobile_ports::net::NetError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

/// Below this a port needs privilege.
const FIRST_FREE_PORT: u16 = 1_024;
/// How many numbers to try until one is free in both families.
const ATTEMPTS: u32 = 32;

/// Opens a socket that goes where the options say, without a local address yet.
pub(crate) fn open(options: &NetOptions, ip: IpAddr, kind: Type, protocol: Protocol) -> Result<Socket, BindFailure> {
    let address = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))
        .map_err(|error| BindFailure::new(address, &error))?;
    let set_up = |socket: &Socket| -> io::Result<()> {
        if ip.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Some(mark) = options.mark {
            socket.set_mark(mark)?;
        }
        if let Some(device) = &options.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        Ok(())
    };
    set_up(&socket).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => NetError::NeedsNetAdmin("a mark or an interface for a socket"),
        Some(libc::ENODEV) => {
            NetError::Other(format!("there is no interface {}", options.device.as_deref().unwrap_or_default()))
        }
        _ => other("a socket cannot be set up", &error),
    })?;
    if let Some(program) = &options.host {
        program.protect(socket.as_fd())?;
    }
    Ok(socket)
}

/// Opens the same port on every address that the options name, or on all of both families.
pub(crate) fn bind_all<T>(
    options: &NetOptions,
    port: u16,
    bind: impl Fn(SocketAddr) -> Result<(T, u16), BindFailure>,
) -> Result<(Vec<T>, u16), NetError> {
    let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
    let (addresses, is_chosen) = match options.listen.as_slice() {
        [] => (&any[..], false),
        chosen => (chosen, true),
    };
    for _ in 0..ATTEMPTS {
        let mut bound = Vec::with_capacity(addresses.len());
        let mut number = port;
        let mut lost = None;
        for &address in addresses {
            match bind(SocketAddr::new(address, number)) {
                Ok((socket, its)) => {
                    number = its;
                    bound.push(socket);
                }
                // A host without one family has the other.
                Err(BindFailure::NoSuchFamily(_)) if !is_chosen => {}
                Err(failure) => {
                    lost = Some(failure);
                    break;
                }
            }
        }
        match lost {
            None if bound.is_empty() => {
                return Err(NetError::Other("this host has neither IPv4 nor IPv6".to_owned()));
            }
            None => return Ok((bound, number)),
            // The number that was free in one family is taken in the other.
            Some(BindFailure::Taken(taken)) if port == 0 && taken != 0 => {}
            Some(failure) => return Err(failure.into()),
        }
    }
    Err(NetError::NoPort)
}

/// Why a socket did not get its address.
pub(crate) enum BindFailure {
    Taken(u16),
    NoSuchFamily(IpAddr),
    Refused(NetError),
}

impl BindFailure {
    /// What binding to `address` failed with.
    pub(crate) fn new(address: SocketAddr, error: &io::Error) -> Self {
        let port = address.port();
        match error.raw_os_error() {
            Some(libc::EADDRINUSE) => Self::Taken(port),
            Some(libc::EAFNOSUPPORT) => Self::NoSuchFamily(address.ip()),
            Some(libc::EADDRNOTAVAIL) => Self::Refused(NetError::NotOurAddress(address.ip())),
            Some(libc::EACCES | libc::EPERM) if port != 0 && port < FIRST_FREE_PORT => {
                Self::Refused(NetError::PrivilegedPort(port))
            }
            _ => Self::Refused(other(&format!("{address} cannot be opened"), error)),
        }
    }
}

impl From<NetError> for BindFailure {
    fn from(error: NetError) -> Self {
        Self::Refused(error)
    }
}

impl From<BindFailure> for NetError {
    fn from(failure: BindFailure) -> Self {
        match failure {
            BindFailure::Taken(0) => Self::NoPort,
            BindFailure::Taken(port) => Self::PortInUse(port),
            BindFailure::NoSuchFamily(ip) => Self::NotOurAddress(ip),
            BindFailure::Refused(error) => error,
        }
    }
}

/// Any other refusal, with what to do about it where that is known.
pub(crate) fn other(what: &str, error: &io::Error) -> NetError {
    let advice = match error.raw_os_error() {
        Some(libc::EMFILE) => "; raise the process's limit of open files (ulimit -n, or LimitNOFILE= in its unit)",
        Some(libc::ENFILE) => "; raise the host's limit of open files (sysctl fs.file-max)",
        _ => "",
    };
    NetError::Other(format!("{what}: {error}{advice}"))
}

/// Sets an integer option of a socket.
pub(crate) fn set_option(
    socket: &impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(mem::size_of::<libc::c_int>()).expect("four fits");
    // SAFETY: the descriptor is open for as long as it is borrowed; the value is an int of the length that is given, read
    // during the call only.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes room for bursts: as much as asked for with CAP_NET_ADMIN, else as much as the host allows everyone.
pub(crate) fn set_buffers(socket: &Socket, bytes: usize) {
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    if set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        // A smaller buffer loses more in a burst, which is no reason not to run.
        let _as_much_as_allowed = socket.set_recv_buffer_size(bytes);
    }
    if set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted).is_err() {
        let _as_much_as_allowed = socket.set_send_buffer_size(bytes);
    }
}
