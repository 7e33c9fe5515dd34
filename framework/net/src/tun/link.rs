//! The device as a network interface: up, how large its packets are, and how large its super-packets may become.

use super::error::TunError;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// Attribute of a link: the largest super-packet (`IFLA_GSO_MAX_SIZE`).
const GSO_MAX_SIZE: u16 = 41;

/// A request about the interface `name`, as ioctls take it.
pub(super) fn request(name: &str) -> Result<libc::ifreq, TunError> {
    let bad = name.is_empty() || name.len() >= libc::IFNAMSIZ || name.bytes().any(|b| b <= b' ' || b == b'/');
    if bad {
        return Err(TunError::BadName(name.into()));
    }
    // SAFETY: an ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, octet) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = octet as libc::c_char;
    }
    Ok(request)
}

fn ioctl(socket: &Socket, number: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: every request used here reads or writes an ifreq, which lives through the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), number, std::ptr::from_mut(request)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sets the MTU, the largest super-packet, and brings the interface up.
pub(super) fn bring_up(name: &str, mtu: u16, largest: u32) -> Result<(), TunError> {
    let refused = |what| move |source| TunError::of(source, what, name);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).map_err(refused("open a socket"))?;
    let mut mtu_request = request(name)?;
    mtu_request.ifr_ifru.ifru_mtu = mtu.into();
    ioctl(&socket, libc::SIOCSIFMTU as libc::Ioctl, &mut mtu_request).map_err(refused("set the MTU"))?;

    let mut index = request(name)?;
    ioctl(&socket, libc::SIOCGIFINDEX as libc::Ioctl, &mut index).map_err(refused("tell its index"))?;
    // SAFETY: SIOCGIFINDEX has filled in this member.
    let index = unsafe { index.ifr_ifru.ifru_ifindex };
    set_gso_max_size(index, largest).map_err(refused("limit its super-packets"))?;

    let mut flags = request(name)?;
    ioctl(&socket, libc::SIOCGIFFLAGS as libc::Ioctl, &mut flags).map_err(refused("tell its flags"))?;
    // SAFETY: SIOCGIFFLAGS has filled in this member.
    unsafe { flags.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
    ioctl(&socket, libc::SIOCSIFFLAGS as libc::Ioctl, &mut flags).map_err(refused("come up"))
}

/// Limits super-packets, so that one is always one train of outer packets.
fn set_gso_max_size(index: libc::c_int, octets: u32) -> io::Result<()> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    let mut message = Vec::with_capacity(40);
    // The header: length, type, flags, sequence, port; then the link: family, type, index, flags, change; then one attribute.
    message.extend_from_slice(&40u32.to_ne_bytes());
    message.extend_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&index.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&8u16.to_ne_bytes());
    message.extend_from_slice(&GSO_MAX_SIZE.to_ne_bytes());
    message.extend_from_slice(&octets.to_ne_bytes());
    // SAFETY: the closure makes the whole storage an empty netlink address, which is the kernel's.
    let (_, kernel) = unsafe {
        SockAddr::try_init(|storage, length| {
            (*storage.cast::<libc::sockaddr_nl>()).nl_family = libc::AF_NETLINK as libc::sa_family_t;
            *length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            Ok(())
        })
    }?;
    socket.send_to(&message, &kernel)?;
    let mut answer = [MaybeUninit::<u8>::uninit(); 512];
    let length = socket.recv(&mut answer)?;
    if length < 20 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let octet = |at: usize| {
        // SAFETY: the kernel has written so many octets.
        unsafe { answer[at].assume_init() }
    };
    match i32::from_ne_bytes([octet(16), octet(17), octet(18), octet(19)]) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}
