//! The sockets of a port, for sending: the right one, from the right address, refusals in our words.

use super::PortSocket;
use super::asked::Asked;
use super::message::{self, Outgoing};
use crate::socket;
use ntmobile_ports::net::{NetError, Received};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// So many correspondents of a server are remembered at least.
const CORRESPONDENTS: usize = 4_096;

pub(super) struct Sockets {
    all: Vec<PortSocket>,
    /// For a port that answers from the address that it was asked on.
    asked: Option<Mutex<Asked>>,
    lost: AtomicU64,
}

impl Sockets {
    pub(super) fn new(all: Vec<PortSocket>, answer_from_asked: bool) -> Self {
        Self { all, asked: answer_from_asked.then(|| Mutex::new(Asked::new(CORRESPONDENTS))), lost: AtomicU64::new(0) }
    }

    pub(super) fn all(&self) -> &[PortSocket] {
        &self.all
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sends from the address that is said, or that the kernel chooses.
    pub(super) fn send(&self, outgoing: &Outgoing<'_>) -> Result<(), NetError> {
        let to = SocketAddr::new(outgoing.to.ip().to_canonical(), outgoing.to.port());
        let socket = self.socket_for(to.ip(), outgoing.from).ok_or(NetError::Unreachable(to))?;
        let whole = Outgoing { to, ..*outgoing };
        match (message::send(socket.io.as_fd(), &whole), outgoing.segment) {
            (Ok(()), _) => Ok(()),
            (Err(error), Some(segment)) if is_about_cutting(&error) => {
                for bytes in outgoing.bytes.chunks(usize::from(segment.max(1))) {
                    let one = Outgoing { bytes, segment: None, ..whole };
                    message::send(socket.io.as_fd(), &one).or_else(|error| self.lost_or_refused(to, &error))?;
                }
                Ok(())
            }
            (Err(error), _) => self.lost_or_refused(to, &error),
        }
    }

    /// Sends from the address that `to` asked, if one is remembered and still ours; else as [`Self::send`].
    pub(super) fn answer(&self, to: SocketAddr, bytes: &[u8], segment: Option<u16>) -> Result<(), NetError> {
        let from = self.asked.as_ref().and_then(|asked| lock(asked).of(&to));
        let outgoing = Outgoing { to, from, bytes, segment };
        match (self.send(&outgoing), &self.asked) {
            (Err(NetError::Unreachable(_)), Some(asked)) if from.is_some() => {
                lock(asked).forget(&to);
                self.send(&Outgoing { from: None, ..outgoing })
            }
            (outcome, _) => outcome,
        }
    }

    /// Who has asked which of our addresses.
    pub(super) fn remember(&self, datagrams: &VecDeque<Received>) {
        if let Some(asked) = &self.asked {
            let mut asked = lock(asked);
            for received in datagrams {
                asked.remember(received.from, received.to);
            }
        }
    }

    /// The socket of the destination's family; the one bound to `from` if there are several.
    fn socket_for(&self, to: IpAddr, from: Option<IpAddr>) -> Option<&PortSocket> {
        let mut of_family = self.all.iter().filter(|socket| socket.address.is_ipv4() == to.is_ipv4());
        let first = of_family.clone().next();
        of_family.find(|socket| Some(socket.address) == from).or(first)
    }

    fn lost_or_refused(&self, to: SocketAddr, error: &io::Error) -> Result<(), NetError> {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            // No route, no address to send from, or a route or a firewall that forbids it.
            Some(
                libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EADDRNOTAVAIL
                | libc::ENODEV
                | libc::EACCES
                | libc::EPERM
                | libc::EINVAL,
            ) => Err(NetError::Unreachable(to)),
            _ => Err(socket::other(&format!("nothing can be sent to {to}"), error)),
        }
    }
}

fn lock(asked: &Mutex<Asked>) -> std::sync::MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a super-packet may be refused for what it is: a path that takes shorter datagrams only, a driver that does not cut.
fn is_about_cutting(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP))
}
