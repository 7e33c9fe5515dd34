//! The one shape of every entity's machine: what goes in, what comes out.

use crate::certificate::{CertificateRole, PeerCertificate};
use crate::sizes::Sizes;
use crate::time::{Instant, UnixTime};
use crate::trace::Span;
use bytes::Bytes;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::{Account, Fqdn};
use ntmobile_wire::trace_context::TraceContext;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Ties the outcome of an effect to the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One TLS request that waits for its answer at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One TCP connection, as long as it lives; numbers of accepted connections are drawn by the driver with the top bit
/// set, those of connections that the machine opens are drawn by the machine without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Where a server is reached, found through DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddresses {
    /// The server's own name: the target of the NS or SRV record.
    pub name: Fqdn,
    /// Signalling and ESP (UDP, default port 4500).
    pub signalling: DualStack,
    /// TLS (QUIC, default port 4433).
    pub tls: DualStack,
}

/// What is looked up in DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// The DC responsible for this name: the closest enclosing zone's NS record, then SRV `_ntm._udp` and `_ntm-tls._udp`.
    DirectionCoordinator(Fqdn),
    /// The AS of this domain: SRV `_ntm-as._udp`.
    AccountServer(Fqdn),
}

/// Why a look-up failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupFailure {
    /// The name does not exist, or leads to no server of the network.
    #[error("the name does not exist in DNS or leads to no server of the network")]
    NoSuchName,
    /// No DNS server answered in time.
    #[error("no DNS server answered")]
    TimedOut,
    /// The servers' answers make no sense.
    #[error("the DNS servers' answers are broken")]
    Broken,
}

/// Why a TLS call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// Nobody answered in time.
    #[error("the server did not answer")]
    TimedOut,
    /// The other side's certificate was refused, or ours was.
    #[error("{0}")]
    Certificate(CertificateFault),
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
}

/// Why a certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// The server's is not valid any more, or not yet.
    #[error(
        "its certificate has expired or is not valid yet by this host's clock; set the clock if it is wrong, else its operator \
         has to issue another"
    )]
    OutOfDate,
    /// The server's was issued by somebody else.
    #[error(
        "its certificate is from another authority than the one that is trusted here (authority.pem); take that file from whoever \
         runs the network"
    )]
    OtherAuthority,
    /// The server's bears another name or role.
    #[error("its certificate is somebody else's; check the server's name")]
    OtherBearer,
    /// The server has refused ours.
    #[error("it does not accept this end's certificate; check that one, its authority and the clocks of both")]
    Ours,
    /// There is none to show.
    #[error("it wants a certificate, and this end has none")]
    NoneToShow,
}

/// Why a store refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFailure {
    /// No space left.
    #[error("the store's disk is full")]
    Full,
    /// Anything else.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// What an authenticator says of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Accepted,
    /// It is wrong, or there is no such account; which of the two is not said.
    Refused,
    /// The authenticator does not take this kind of credential.
    NotSupported,
    /// The authenticator failed.
    Failed,
}

/// One write to the durable store. What is written may be secret: only the table is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The kind of record.
    pub table: &'static str,
    /// Its key.
    pub key: Bytes,
    /// Its value, or `None` to delete it.
    pub value: Option<Bytes>,
}

/// One record that the store held when the entity started. It may be secret: only the table is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The kind of record.
    pub table: String,
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// What arrives at a machine.
#[derive(Clone)]
pub enum Input {
    /// The first input of all: what the store holds, and the addresses and signalling port the host has.
    Started {
        /// Everything that was stored.
        records: Vec<Record>,
        /// The host's own addresses, the preferred one first.
        addresses: Vec<IpAddr>,
        /// The port of the signalling socket.
        port: u16,
    },
    /// The host's own addresses have changed.
    AddressesChanged {
        /// All of them now, the preferred one first.
        addresses: Vec<IpAddr>,
    },
    /// A datagram on the signalling socket whose first four bytes are the non-ESP marker.
    Datagram {
        /// Where it came from.
        from: SocketAddr,
        /// All of it, marker included.
        bytes: Bytes,
    },
    /// A message on the reserved port inside a tunnel.
    TunnelControl {
        /// The tunnel that carried it: the SPI towards us that it was installed with.
        tunnel: Spi,
        /// The message in its frame.
        bytes: Bytes,
    },
    /// The packet path asks for attention: a tunnel is idle, near exhaustion, or its peer's address changed.
    PacketPath(PacketNotice),
    /// A TLS client asks; answer with [`Effect::TlsAnswer`].
    TlsRequest {
        /// What to answer to.
        request: RequestId,
        /// Where it came from.
        from: SocketAddr,
        /// The client's certificate, if it showed one.
        certificate: Option<PeerCertificate>,
        /// The request in its frame.
        frame: Bytes,
    },
    /// The outcome of [`Effect::TlsCall`].
    TlsAnswered {
        /// The call.
        call: CallId,
        /// The answer in its frame.
        result: Result<Bytes, TlsFailure>,
    },
    /// The outcome of [`Effect::Resolve`].
    Resolved {
        /// The call.
        call: CallId,
        /// Where the server is.
        result: Result<ServerAddresses, LookupFailure>,
    },
    /// The outcome of [`Effect::Persist`]: it is on stable storage, or was refused.
    Persisted {
        /// The call.
        call: CallId,
        /// Whether it holds.
        result: Result<(), StoreFailure>,
    },
    /// The outcome of [`Effect::Verify`].
    Verified {
        /// The call.
        call: CallId,
        /// What the authenticator says.
        verdict: Verdict,
    },
    /// A TCP connection was accepted, or one asked for by [`Effect::StreamConnect`] stands.
    StreamOpened {
        /// The connection.
        stream: StreamId,
        /// The other end.
        peer: SocketAddr,
    },
    /// Bytes came on a TCP connection.
    StreamReceived {
        /// The connection.
        stream: StreamId,
        /// Some bytes, cut anywhere.
        bytes: Bytes,
    },
    /// A TCP connection is gone, or could not be made.
    StreamClosed {
        /// The connection.
        stream: StreamId,
    },
}

/// What the packet path tells signalling. A tunnel is named by the SPI towards us that it was installed with: a device has
/// one for each pair of applications, and for a while the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketNotice {
    /// The first packet under a new tunnel key was authenticated.
    Proved {
        /// The tunnel.
        tunnel: Spi,
    },
    /// An authenticated packet came from another address than the tunnel's.
    Roamed {
        /// The tunnel.
        tunnel: Spi,
        /// Where it came from.
        from: SocketAddr,
    },
}

/// What a machine wants done. Carried out in order.
#[derive(Clone)]
pub enum Effect<E> {
    /// Send a datagram from the signalling socket.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// All of it.
        bytes: Bytes,
    },
    /// Ask a server over TLS; answered by [`Input::TlsAnswered`], at the latest after the driver's time-out (default 10 s).
    TlsCall {
        /// The call.
        call: CallId,
        /// The name that the server's certificate must bear.
        server: Fqdn,
        /// The part that the server's certificate must let it play.
        role: CertificateRole,
        /// Where it is.
        addresses: DualStack,
        /// The request in its frame.
        frame: Bytes,
        /// Whether to show our own certificate.
        mutual: bool,
    },
    /// Answer a TLS client.
    TlsAnswer {
        /// Which request.
        request: RequestId,
        /// The answer in its frame.
        frame: Bytes,
    },
    /// Look a server up in DNS; answered by [`Input::Resolved`].
    Resolve {
        /// The call.
        call: CallId,
        /// What.
        lookup: Lookup,
        /// The span that wants to know.
        trace: Option<TraceContext>,
    },
    /// Write to the durable store, all or nothing; answered by [`Input::Persisted`].
    Persist {
        /// The call.
        call: CallId,
        /// The writes.
        writes: Vec<Write>,
    },
    /// Have a credential verified; answered by [`Input::Verified`].
    Verify {
        /// The call.
        call: CallId,
        /// Whose.
        account: Account,
        /// What was shown.
        credential: Credential,
        /// The fingerprint of the client certificate, if there is one.
        certificate: Option<[u8; 32]>,
    },
    /// Open a TCP connection.
    StreamConnect {
        /// The machine's name for it.
        stream: StreamId,
        /// Where to.
        to: SocketAddr,
    },
    /// Send bytes on a TCP connection.
    StreamSend {
        /// The connection.
        stream: StreamId,
        /// The bytes.
        bytes: Bytes,
    },
    /// Close a TCP connection.
    StreamClose {
        /// The connection.
        stream: StreamId,
    },
    /// A step has ended: for the trace.
    Span(Box<Span>),
    /// Count one more of something; names are those of the book's counter table.
    Count(&'static str),
    /// Tell whoever uses the entity.
    Event(E),
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write")
            .field("table", &self.table)
            .field("deletes", &self.value.is_none())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Frames and stored records carry keys, so an input shows no more than its kind.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started { .. } => "Started",
            Self::AddressesChanged { .. } => "AddressesChanged",
            Self::Datagram { .. } => "Datagram",
            Self::TunnelControl { .. } => "TunnelControl",
            Self::PacketPath(_) => "PacketPath",
            Self::TlsRequest { .. } => "TlsRequest",
            Self::TlsAnswered { .. } => "TlsAnswered",
            Self::Resolved { .. } => "Resolved",
            Self::Persisted { .. } => "Persisted",
            Self::Verified { .. } => "Verified",
            Self::StreamOpened { .. } => "StreamOpened",
            Self::StreamReceived { .. } => "StreamReceived",
            Self::StreamClosed { .. } => "StreamClosed",
        })
    }
}

/// Frames and writes carry keys, so an effect shows no more than its kind.
impl<E> fmt::Debug for Effect<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transmit { .. } => "Transmit",
            Self::TlsCall { .. } => "TlsCall",
            Self::TlsAnswer { .. } => "TlsAnswer",
            Self::Resolve { .. } => "Resolve",
            Self::Persist { .. } => "Persist",
            Self::Verify { .. } => "Verify",
            Self::StreamConnect { .. } => "StreamConnect",
            Self::StreamSend { .. } => "StreamSend",
            Self::StreamClose { .. } => "StreamClose",
            Self::Span(_) => "Span",
            Self::Count(_) => "Count",
            Self::Event(_) => "Event",
        })
    }
}

/// Everything a machine may use while it handles one input.
pub struct Context<'a, E> {
    /// Time in the machine's world.
    pub now: Instant,
    /// Wall-clock time, for expiry.
    pub wall: UnixTime,
    /// Randomness.
    pub entropy: &'a mut dyn Entropy,
    /// Where effects go.
    pub effects: &'a mut Vec<Effect<E>>,
}

impl<E> Context<'_, E> {
    /// Asks for an effect.
    pub fn push(&mut self, effect: Effect<E>) {
        self.effects.push(effect);
    }

    /// Counts one more of `name`.
    pub fn count(&mut self, name: &'static str) {
        self.effects.push(Effect::Count(name));
    }

    /// Tells whoever uses the entity.
    pub fn event(&mut self, event: E) {
        self.effects.push(Effect::Event(event));
    }
}

/// A protocol entity without the world around it.
pub trait Machine {
    /// What its user asks of it.
    type Command;
    /// What it tells its user.
    type Event;

    /// Something has arrived.
    fn handle(&mut self, context: &mut Context<'_, Self::Event>, input: Input);

    /// Its user asks for something.
    fn command(&mut self, context: &mut Context<'_, Self::Event>, command: Self::Command);

    /// When [`Machine::expire`] wants to be called next; `None` for never.
    fn deadline(&self) -> Option<Instant>;

    /// The deadline has come.
    fn expire(&mut self, context: &mut Context<'_, Self::Event>);

    /// How much it holds. Every table has a bound, whatever others send.
    fn sizes(&self) -> Sizes;
}
