//! The one port of a path: the sockets that its threads have of it, and which of them a datagram leaves by.
//!
//! A thread has one socket for all addresses, or one for each where the host's operator has chosen some. A port of a server answers
//! from the address that it was asked on, as [`OsUdpPort`](crate::udp::OsUdpPort) does: NATs on the way take packets from no
//! other. An RS's legs prove themselves by signalling on the same port, so that trains leave from where their leg has been
//! asked.

use super::socket::{ReceivedTrain, TrainSocket};
use crate::net::NetOptions;
use crate::socket;
use crate::udp::asked::Asked;
use ntmobile_ports::net::NetError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{PoisonError, RwLock};

/// So many correspondents of a server are remembered at least: both legs of as many tunnels as an RS has, with room to spare.
const CORRESPONDENTS: usize = 32_768;

/// The port.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    /// Those of each thread.
    sockets: Vec<Vec<TrainSocket>>,
    /// For one that answers from the address that it was asked on.
    asked: Option<RwLock<Asked>>,
}

/// One thread's share of the port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane<'a> {
    port: &'a Port,
    sockets: &'a [TrainSocket],
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

impl Port {
    /// Opens a port (0 for any free one) for so many threads.
    pub(super) fn open(options: &NetOptions, port: u16, threads: usize) -> Result<Self, NetError> {
        // Sockets that share a port would share it with another program's too: whether there is one, the first to bind alone tells.
        let (alone, number) = Self::alone(options, port)?;
        let sockets = if threads <= 1 {
            vec![alone]
        } else {
            drop(alone);
            (0..threads).map(|_| Self::shared(options, number)).collect::<Result<_, _>>()?
        };
        let granted = sockets.iter().flatten().map(TrainSocket::buffer).min().unwrap_or(0);
        if granted < options.buffer {
            tracing::warn!(
                granted,
                "under load packets are lost before they are received: this host grants a socket less than {wanted} octets; raise net.core.rmem_max \
                 and net.core.wmem_max (sysctl) to that, or give the process CAP_NET_ADMIN",
                wanted = options.buffer
            );
        }
        let asked = options.answer_from_asked.then(|| RwLock::new(Asked::new(CORRESPONDENTS)));
        Ok(Self { number, sockets, asked })
    }

    fn alone(options: &NetOptions, port: u16) -> Result<(Vec<TrainSocket>, u16), NetError> {
        let number =
            |socket: &TrainSocket| socket.port().map_err(|error| socket::other("a port has no number", &error));
        if options.listen.is_empty() {
            let socket = TrainSocket::bind(options, None, port, false)?;
            let number = number(&socket)?;
            return Ok((vec![socket], number));
        }
        socket::bind_all(options, port, |address| {
            let socket = TrainSocket::bind(options, Some(address.ip()), address.port(), false)?;
            let number = number(&socket)?;
            Ok((socket, number))
        })
    }

    fn shared(options: &NetOptions, port: u16) -> Result<Vec<TrainSocket>, NetError> {
        let bind = |address| TrainSocket::bind(options, address, port, true).map_err(NetError::from);
        if options.listen.is_empty() {
            return Ok(vec![bind(None)?]);
        }
        options.listen.iter().map(|address| bind(Some(*address))).collect()
    }

    /// Its number.
    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// A thread's share.
    pub(super) fn lane(&self, thread: usize) -> Lane<'_> {
        Lane { port: self, sockets: &self.sockets[thread] }
    }

    /// Takes note of which of our addresses somebody has asked.
    pub(super) fn remember(&self, train: &ReceivedTrain) {
        let Some(asked) = &self.asked else { return };
        let known = asked.read().unwrap_or_else(PoisonError::into_inner).is_recent(&train.from, train.to);
        if !known && !train.to.is_unspecified() {
            asked.write().unwrap_or_else(PoisonError::into_inner).remember(train.from, train.to);
        }
    }

    fn asked_by(&self, who: &SocketAddr) -> Option<IpAddr> {
        self.asked.as_ref()?.read().unwrap_or_else(PoisonError::into_inner).of(who)
    }

    fn forget(&self, who: &SocketAddr) {
        if let Some(asked) = &self.asked {
            asked.write().unwrap_or_else(PoisonError::into_inner).forget(who);
        }
    }
}

impl<'a> Lane<'a> {
    /// Its sockets.
    pub(super) fn sockets(self) -> &'a [TrainSocket] {
        self.sockets
    }

    /// What can be waited for.
    pub(super) fn readable(self) -> impl Iterator<Item = BorrowedFd<'a>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Sends one datagram. Where the path is known to be too narrow for it, the kernel fragments the outer packet.
    pub(super) fn send(self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.leave(to, |socket, from| socket.send(from, to, datagram))
    }

    /// Answers whoever has sent a train, from the address that it came to if the port does so.
    pub(super) fn answer(self, train: &ReceivedTrain, datagram: &[u8]) -> io::Result<()> {
        let from = self.port.asked.as_ref().map(|_| train.to);
        self.towards(train.from, from)?.send(from, train.from, datagram)
    }

    /// Sends a train of datagrams of `stride` octets each, the last one perhaps shorter.
    pub(super) fn send_train(self, to: SocketAddr, train: &[u8], stride: usize) -> Result<(), TrainError> {
        if train.len() <= stride {
            return self.send(to, train).map_err(|_| TrainError::Lost);
        }
        let sent = self.leave(to, |socket, from| socket.send_train(from, to, train, stride));
        sent.map_err(|error| match error.raw_os_error() {
            Some(libc::EMSGSIZE | libc::EINVAL) => TrainError::TooNarrow,
            Some(libc::EIO | libc::EOPNOTSUPP) => TrainError::NoSegmentation,
            _ => TrainError::Lost,
        })
    }

    /// Sends from the address that `to` asked, if one is remembered and still ours; else from the one that the kernel chooses.
    fn leave(self, to: SocketAddr, send: impl Fn(&TrainSocket, Option<IpAddr>) -> io::Result<()>) -> io::Result<()> {
        let Some(from) = self.port.asked_by(&to) else { return send(self.towards(to, None)?, None) };
        match send(self.towards(to, Some(from))?, Some(from)) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // Whether the address has gone or the train is refused for what it is, only another try tells.
                let sent = send(self.towards(to, None)?, None);
                if sent.is_ok() {
                    self.port.forget(&to);
                }
                sent
            }
            sent => sent,
        }
    }

    /// The socket for this destination; the one bound to `from` if there are several.
    fn towards(self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<&'a TrainSocket> {
        let mut suitable = self.sockets.iter().filter(|socket| socket.reaches(to.ip()));
        let first = suitable.clone().next();
        let socket = suitable.find(|socket| Some(socket.address()) == from).or(first);
        socket.ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))
    }
}
