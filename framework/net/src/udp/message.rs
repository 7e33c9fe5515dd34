//! `sendmsg` with what it is told beside the bytes: the address to send from, and where to cut a super-packet.
//!
//! The receiving side is `quinn_udp`'s; its sending side is not used, since one refusal there (a source address that has
//! just gone is one) ends segmentation for good.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for one packet-info and one segment size.
const CONTROL: usize = 64;

/// Control messages, aligned as the kernel wants them.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// What to send where.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// To whom.
    pub to: SocketAddr,
    /// From which of our addresses; the operating system chooses when it is not said.
    pub from: Option<IpAddr>,
    /// One datagram, or several of [`segment`](Self::segment) bytes each, the last maybe shorter.
    pub bytes: &'a [u8],
    /// The length of each datagram in `bytes`.
    pub segment: Option<u16>,
}

/// Hands it to the operating system, which takes all of it or nothing.
pub(crate) fn send(socket: BorrowedFd<'_>, outgoing: &Outgoing<'_>) -> io::Result<()> {
    let to = socket2::SockAddr::from(outgoing.to);
    let mut part = libc::iovec { iov_base: outgoing.bytes.as_ptr().cast_mut().cast(), iov_len: outgoing.bytes.len() };
    let mut control = Control([0; CONTROL]);
    let length = fill(&mut control, outgoing);
    // SAFETY: all zeros is a valid msghdr: null pointers of length zero.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if length > 0 {
        message.msg_control = (&raw mut control.0).cast();
        message.msg_controllen = length;
    }
    loop {
        // SAFETY: the header points to the address, the part and the control messages above, all of which outlive the call
        // and have the lengths that are given; sendmsg writes to none of them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Writes the control messages; returns how long they are.
fn fill(control: &mut Control, outgoing: &Outgoing<'_>) -> usize {
    let mut at = 0;
    match outgoing.from {
        Some(IpAddr::V4(from)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            push(control, &mut at, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(from)) => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
            push(control, &mut at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    // A single datagram needs no cutting, and some drivers refuse to be told to.
    if let Some(segment) = outgoing.segment.filter(|&segment| usize::from(segment) < outgoing.bytes.len()) {
        push(control, &mut at, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    at
}

fn push<T: Copy>(control: &mut Control, at: &mut usize, level: libc::c_int, kind: libc::c_int, value: T) {
    let size = libc::c_uint::try_from(mem::size_of::<T>()).expect("control messages are a few bytes");
    // SAFETY: the two functions only compute lengths.
    let (length, space) = unsafe { (libc::CMSG_LEN(size) as usize, libc::CMSG_SPACE(size) as usize) };
    assert!(*at + space <= CONTROL && mem::align_of::<T>() <= mem::align_of::<libc::cmsghdr>());
    // SAFETY: `at` is a sum of CMSG_SPACEs and so keeps the alignment of the buffer, which is that of a header; header and
    // value lie within the buffer, as has just been checked. The value begins where CMSG_DATA says, at least a header's
    // length on and aligned like one, which suffices for T.
    unsafe {
        let header = control.0.as_mut_ptr().add(*at).cast::<libc::cmsghdr>();
        header.write(libc::cmsghdr { cmsg_len: length, cmsg_level: level, cmsg_type: kind });
        libc::CMSG_DATA(header).cast::<T>().write(value);
    }
    *at += space;
}
