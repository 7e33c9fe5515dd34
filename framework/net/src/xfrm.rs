//! The kernel's IPsec tables (XFRM): states, which are keys, and policies, which say what goes through which state.
//!
//! The kernel takes orders by netlink; there is no living crate for this family, and it needs few messages: [`order`] writes
//! them, [`answer`] reads what comes back, [`layout`] has the structures.
//!
//! **What is ours** is told by the number of the virtual interface that every state and policy bears: whatever else the host
//! uses IPsec for is left alone, and what a killed node has left is found ([`flush`]).

mod answer;
mod layout;
mod order;
#[cfg(test)]
mod tests;

pub(crate) use answer::{Counters, KernelEvent};
pub(crate) use order::{Action, Direction, Policy, PolicyId, Selector, Sequence, State, StateId, UdpPorts};

use answer::{Answer, answers};
use order::Message;
use rtnetlink::sys::{Socket, SocketAddr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use zeroize::Zeroizing;

/// The netlink family.
const NETLINK_XFRM: isize = 6;
/// The groups of the events that are listened to (`XFRMNLGRP_ACQUIRE`, `XFRMNLGRP_MAPPING`).
const EVENTS: [u32; 2] = [1, 8];
/// Room for events that come at once.
const EVENT_BUFFER: usize = 1 << 20;

/// A way to the tables of the present network namespace.
#[derive(Debug)]
pub(crate) struct Tables {
    socket: Socket,
}

impl Tables {
    /// Opens it; fails where the kernel has no IPsec at all.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Adds a state.
    pub(crate) fn add_state(&self, state: &State<'_>) -> io::Result<()> {
        self.change(&order::add_state(state))
    }

    /// Gives a state other ports.
    pub(crate) fn update_state(&self, state: &State<'_>) -> io::Result<()> {
        self.change(&order::update_state(state))
    }

    /// Removes a state; it may be gone.
    pub(crate) fn remove_state(&self, id: &StateId) -> io::Result<()> {
        unless_gone(self.change(&order::remove_state(id)))
    }

    /// How far a state has come.
    pub(crate) fn counters(&self, id: &StateId) -> io::Result<Counters> {
        self.socket.send(order::ask_counters(id).octets(), 0)?;
        loop {
            for answer in self.receive()? {
                match answer {
                    Answer::Counters(counters) => return Ok(counters),
                    Answer::Acknowledged(code) if code != 0 => return Err(io::Error::from_raw_os_error(-code)),
                    _ => {}
                }
            }
        }
    }

    /// Puts a policy, in the place of the one that is there.
    pub(crate) fn put_policy(&self, policy: &Policy) -> io::Result<()> {
        self.change(&order::put_policy(policy))
    }

    /// Removes a policy; it may be gone.
    pub(crate) fn remove_policy(&self, id: &PolicyId) -> io::Result<()> {
        unless_gone(self.change(&order::remove_policy(id)))
    }

    fn change(&self, message: &Message) -> io::Result<()> {
        self.socket.send(message.octets(), 0)?;
        loop {
            for answer in self.receive()? {
                match answer {
                    Answer::Acknowledged(0) => return Ok(()),
                    Answer::Acknowledged(code) => return Err(io::Error::from_raw_os_error(-code)),
                    _ => {}
                }
            }
        }
    }

    fn all(&self, question: &Message) -> io::Result<Vec<Answer>> {
        self.socket.send(question.octets(), 0)?;
        let mut all = Vec::new();
        loop {
            for answer in self.receive()? {
                match answer {
                    Answer::Done | Answer::Acknowledged(0) => return Ok(all),
                    Answer::Acknowledged(code) => return Err(io::Error::from_raw_os_error(-code)),
                    answer => all.push(answer),
                }
            }
        }
    }

    /// What comes next. States come with their keys.
    fn receive(&self) -> io::Result<Vec<Answer>> {
        let (octets, _) = self.socket.recv_from_full()?;
        Ok(answers(&Zeroizing::new(octets)))
    }
}

/// Hears what the kernel tells by itself.
#[derive(Debug)]
pub(crate) struct Events {
    socket: Socket,
}

impl Events {
    /// Begins to listen; needs CAP_NET_ADMIN.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM)?;
        socket.bind_auto()?;
        for group in EVENTS {
            socket.add_membership(group)?;
        }
        socket.set_rx_buf_sz(libc::c_int::try_from(EVENT_BUFFER).expect("a megabyte"))?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// What has been told since; fails with [`io::ErrorKind::WouldBlock`] where there is nothing more.
    pub(crate) fn next(&self) -> io::Result<Vec<KernelEvent>> {
        let (octets, _) = self.socket.recv_from_full()?;
        let told = answers(&octets).into_iter().filter_map(|answer| match answer {
            Answer::Event(event) => Some(event),
            _ => None,
        });
        Ok(told.collect())
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open for as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

/// Removes every state and policy of an interface of this number. A kernel without IPsec has none.
pub(crate) fn flush(interface: u32) -> io::Result<()> {
    let tables = match Tables::open() {
        Err(error) if is_without_ipsec(&error) => return Ok(()),
        tables => tables?,
    };
    for answer in tables.all(&order::ask_policies())? {
        if let Answer::Policy { selector, direction, interface: its } = answer
            && its == interface
        {
            unless_gone(tables.change(&order::remove_policy_as(&selector, direction, interface)))?;
        }
    }
    for answer in tables.all(&order::ask_states())? {
        if let Answer::State { id, interface: its } = answer
            && its == interface
        {
            tables.remove_state(&id)?;
        }
    }
    Ok(())
}

/// Whether the kernel has no such tables at all.
pub(crate) fn is_without_ipsec(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPROTONOSUPPORT)
}

/// Whether the kernel has the tables, and not the protocol or the cipher for a state.
pub(crate) fn is_without_esp(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPROTONOSUPPORT | libc::ENOSYS | libc::EAFNOSUPPORT | libc::ENOPROTOOPT))
}

fn unless_gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => Ok(()),
        outcome => outcome,
    }
}
