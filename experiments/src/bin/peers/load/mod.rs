//! The load: this program started again in a namespace, where it sends, receives or swallows what a measure wants.

mod datagrams;
mod library;
mod lines;
mod quic;
pub(crate) mod relayed;
mod streams;
mod turn;

pub(crate) use quic::PORT as QUIC_PORT;

use clap::Subcommand;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

/// What a generator of load does.
#[derive(Debug, Subcommand)]
pub(crate) enum Load {
    /// Sends datagrams at the rates that standard input asks for.
    Send(Flows),
    /// Counts datagrams; tells how many at each line of standard input.
    Receive {
        /// The port.
        port: u16,
    },
    /// Sends as much over TCP connections as they take, as long as standard input says.
    Stream(Flows),
    /// Swallows what comes over TCP connections; tells how much at each line of standard input.
    Swallow {
        /// The port.
        port: u16,
    },
    /// A node that links NTMobile in: swallows streams, or sends one to a peer as long as standard input says.
    Library {
        /// The node's file.
        file: PathBuf,
        /// The peer's name; without it streams are swallowed.
        peer: Option<String>,
    },
    /// The same over QUIC.
    Quic {
        /// Where the server's certificate is, or is put.
        certificate: PathBuf,
        /// The server's address; without it streams are swallowed.
        server: Option<SocketAddr>,
    },
    /// Sends to a relay as fast as it can, as long as standard input says.
    Relayed(relayed::Relayed),
    /// Swallows what a relay sends.
    Sink {
        /// The port.
        port: u16,
    },
}

/// Several flows between addresses in a row.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Flows {
    /// How many.
    #[arg(long, default_value_t = 1)]
    pub(crate) flows: u16,
    /// The own address of the first.
    #[arg(long)]
    pub(crate) from: Ipv4Addr,
    /// Where the first goes to.
    #[arg(long)]
    pub(crate) to: SocketAddrV4,
    /// How many addresses the next flow is further, at both ends.
    #[arg(long, default_value_t = 0)]
    pub(crate) step: u32,
    /// Octets of a datagram.
    #[arg(long, default_value_t = 1_340)]
    pub(crate) octets: usize,
}

impl Flows {
    /// The ends of each flow.
    pub(crate) fn ends(self) -> impl Iterator<Item = (SocketAddrV4, SocketAddrV4)> {
        let further = move |address: &Ipv4Addr, flow: u16| {
            Ipv4Addr::from(u32::from(*address).wrapping_add(u32::from(flow) * self.step))
        };
        (0..self.flows).map(move |flow| {
            let from = SocketAddrV4::new(further(&self.from, flow), 0);
            (from, SocketAddrV4::new(further(self.to.ip(), flow), self.to.port()))
        })
    }
}

/// Does it.
pub(crate) fn run(load: Load) -> io::Result<()> {
    match load {
        Load::Send(flows) => datagrams::send(flows),
        Load::Receive { port } => datagrams::receive(port),
        Load::Stream(flows) => streams::send(flows),
        Load::Swallow { port } => streams::swallow(port),
        Load::Relayed(load) => relayed::send(load),
        Load::Library { file, peer } => library::run(&file, peer.as_deref()),
        Load::Quic { certificate, server } => quic::run(&certificate, server),
        Load::Sink { port } => relayed::sink(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_between_addresses_in_a_row() {
        let to = SocketAddrV4::new(Ipv4Addr::new(100, 64, 0, 254), 7);
        let flows = Flows { flows: 2, from: Ipv4Addr::new(100, 64, 0, 253), to, step: 2, octets: 64 };
        let ends: Vec<_> = flows.ends().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        let expected = [("100.64.0.253:0", "100.64.0.254:7"), ("100.64.0.255:0", "100.64.1.0:7")];
        assert_eq!(ends, expected.map(|(from, to)| (from.to_owned(), to.to_owned())));
    }
}
