//! The node: logs in, registers, keeps itself reachable, opens and accepts tunnels, moves.
//!
//! **Invariants:** every command is told its outcome exactly once. One tunnel serves every connection between two
//! (node, application) pairs: while it is being built, newcomers wait; signalling owns what is *none*, *building* and *built*, the
//! packet path owns the tunnel table, and signalling is the only writer of it.
//!
//! | file | subject |
//! | --- | --- |
//! | `joining` | how long a join is tried |
//! | `login` | K_ntmdc, by the login strategy |
//! | `registration` | where the node is, and staying reachable there |
//! | `notification` | the connection to the Notification Server |
//! | `peers` | which peers are none, building, built; who waits |
//! | `early` | Tunnel Requests that overtake their direction |
//! | `negotiation` | one negotiation of a tunnel, from Route Direction to Tunnel Response |
//! | `examination` | whether a Route Direction can be followed |
//! | `agreement` | K_mncn: sealed, opened, taken into use |
//! | `upkeep` | idle tunnels, NAT mappings, new keys |
//! | `liveness` | tunnels whose other end is gone |

mod agreement;
mod attempt;
mod config;
mod early;
mod event;
mod examination;
mod joining;
mod liveness;
mod login;
mod negotiation;
mod notification;
mod peers;
mod registration;
mod upkeep;

pub use attempt::Attempt;
pub use config::NodeConfig;
pub use event::{ConnectError, Connection, JoinError, NodeCommand, NodeEvent};
pub use liveness::Liveness;

use crate::calls::Calls;
use crate::deadlines::Deadlines;
use crate::endpoint::{Arrival, Endpoint, Path, Peer, Ticket, TimedOut};
use crate::machine::{CallId, Context, Input, LookupFailure, Machine, ServerAddresses};
use crate::packet::TunnelTable;
use crate::sizes::Sizes;
use crate::time::Instant;
use crate::tls::{TlsClient, TlsOutcome};
use bytes::Bytes;
use early::EarlyRequests;
use joining::Joining;
use login::Login;
use negotiation::Negotiating;
use notification::NotificationConnection;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::datagram::{self, Header};
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::identifier::{ApplicationId, Negotiation, Session};
use ntmobile_wire::message::{Message, Refusal, RefusalCode};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::sealed_key::AgreementKey;
use ntmobile_wire::subkey::Role;
use ntmobile_wire::trace_context::TraceContext;
use peers::{Built, PeerEntry};
use registration::{Registered, Registering};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

type Cx<'a> = Context<'a, NodeEvent>;

/// The type of *Tunnel Request* on the wire.
const TUNNEL_REQUEST: u8 = 65;

/// What a request under a named key was for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tag {
    Registration(u32),
    Keepalive {
        epoch: u32,
        is_primary: bool,
    },
    /// Whether the DC is there at all while it owes us a direction.
    Probe(u32),
    NotificationRegistration,
    NotificationKeepalive,
    Pull,
    Direction(Peer),
    PulledAcknowledge,
    HolePunching(Negotiation),
    TunnelRequest(Negotiation),
    ProveLeg(Peer),
}

/// What a TLS call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TlsTag {
    AccountServerLogin,
    InitialData,
    CoordinatorLogin,
}

/// What an effect was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    AccountServer(TlsTag),
    Coordinator,
    Stored,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Register,
    Keepalive,
    LoginAgain,
    KeyEnds,
    Probe,
    NotificationKeepalive,
    NotificationConnect,
    NotificationReconnect,
    Negotiation(Negotiation),
    Superseded(Peer),
    Idle(Peer),
    NatKeepalive(Peer),
    Rekey(Peer),
    Liveness(Peer),
    /// A replaced tunnel, by the identifier of its inbound SPI.
    Retire(u32),
}

/// The machine of a node, for one application on one device.
pub struct Node {
    config: NodeConfig,
    endpoint: Endpoint<Tag>,
    tls: TlsClient<TlsTag>,
    calls: Calls<Wait>,
    deadlines: Deadlines<Due>,
    tunnels: Arc<TunnelTable>,
    agreement_key: AgreementKey,
    /// The host's own addresses, the preferred one first, and the signalling port.
    addresses: Vec<IpAddr>,
    port: u16,
    /// The join under way.
    joining: Option<Joining>,
    /// Whether the application wants to be part of the network: from Join to Leave.
    is_wanted: bool,
    login: Login,
    registered: Option<Registered>,
    /// The addresses that it has had since it joined, which are not to change.
    addresses_held: Option<VirtualAddresses>,
    /// The registration under way, and the addresses it goes from and to.
    registering: Option<Registering>,
    way: Option<(SocketAddr, SocketAddr)>,
    /// When the node noticed that it had moved, until its tunnels are handed over.
    moved_at: Option<Instant>,
    epoch: u32,
    keepalives_lost: u32,
    notification: NotificationConnection,
    peers: BTreeMap<Peer, PeerEntry>,
    /// Which application answered for a device's default.
    defaults: BTreeMap<Fqdn, ApplicationId>,
    /// Tunnels that a newer one has replaced and through which packets may still come.
    retiring: BTreeMap<u32, Built>,
    negotiations: BTreeMap<Negotiation, Negotiating>,
    early: EarlyRequests,
}

impl Node {
    /// A node that starts; its session is drawn here, and a key pair that it keeps if its store holds none.
    pub fn new(config: NodeConfig, entropy: &mut dyn Entropy) -> Self {
        let session = Session::draw(entropy);
        let first_transaction = u64::from_be_bytes(draw(entropy));
        Self {
            config,
            endpoint: Endpoint::new(session, first_transaction),
            tls: TlsClient::default(),
            calls: Calls::default(),
            deadlines: Deadlines::default(),
            tunnels: Arc::new(TunnelTable::of(session)),
            agreement_key: AgreementKey::draw(entropy),
            addresses: Vec::new(),
            port: 0,
            joining: None,
            is_wanted: false,
            login: Login::default(),
            registered: None,
            addresses_held: None,
            registering: None,
            way: None,
            moved_at: None,
            epoch: 0,
            keepalives_lost: 0,
            notification: NotificationConnection::default(),
            peers: BTreeMap::new(),
            defaults: BTreeMap::new(),
            retiring: BTreeMap::new(),
            negotiations: BTreeMap::new(),
            early: EarlyRequests::default(),
        }
    }

    /// The tunnel table that the packet path reads; this machine is its only writer.
    pub fn tunnels(&self) -> Arc<TunnelTable> {
        self.tunnels.clone()
    }

    /// The node's own name.
    fn name(&self) -> Fqdn {
        self.config.account.node()
    }

    fn command_leave(&mut self, cx: &mut Cx<'_>) {
        for peer in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.send_control(cx, &peer, ntmobile_wire::message::Close.into());
            self.close_tunnel(cx, &peer, "left");
            self.connect_failed(cx, &peer, ConnectError::NotJoined);
        }
        for negotiation in self.negotiations.keys().copied().collect::<Vec<_>>() {
            self.drop_negotiation(negotiation);
        }
        for (_, built) in std::mem::take(&mut self.retiring) {
            self.release(&built);
        }
        self.close_notification(cx);
        self.registered = None;
        self.give_up_registering(cx, "left");
        self.moved_at = None;
        // Whatever is still answered belongs to a registration that is over.
        self.epoch += 1;
        self.is_wanted = false;
        if self.joining.take().is_some() {
            self.end_login_span(cx, Some(JoinError::Left.to_string()));
            cx.event(NodeEvent::JoinFailed(JoinError::Left));
        }
        self.deadlines = Deadlines::default();
    }

    fn requested(&mut self, cx: &mut Cx<'_>, ticket: Ticket, message: Message) {
        // Peers, RSs and NSs hold keys with us too: each may say its own, and only our DC directs us.
        match (ticket.role, message) {
            (Role::Dc, Message::RouteDirection(_)) if self.registered.is_none() && self.is_wanted => {
                // On the move: the DC repeats it, also at the new address, and by then it can be followed.
                cx.count("node.direction_put_off");
                self.endpoint.pass_on(cx, &ticket);
            }
            (Role::Dc, Message::RouteDirection(direction)) => {
                let trace = ticket.trace;
                self.route_directed(cx, (Some(ticket), trace), direction);
            }
            (Role::Mn | Role::Cn, Message::TunnelRequest(request)) => self.tunnel_requested(cx, &ticket, &request),
            (Role::Ns, Message::Notification(_)) => self.notified(cx, &ticket),
            // The answer to a Direction Request that the peer's own start has completed.
            (_, Message::Refusal(_)) => {
                cx.count("node.late_refusal");
                self.endpoint.finish(cx, &ticket);
            }
            (_, message) => {
                cx.count("node.unexpected_message");
                let detail = format!("a node does not take {}", message.label());
                self.refuse(cx, &ticket, RefusalCode::NotAllowed, detail, None);
            }
        }
    }

    fn refuse(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: &Ticket,
        code: RefusalCode,
        detail: impl Into<String>,
        negotiation: Option<Negotiation>,
    ) {
        let detail = detail.into();
        self.endpoint.answer(cx, ticket, Refusal { code, detail, negotiation });
    }

    fn answered(&mut self, cx: &mut Cx<'_>, tag: Tag, message: Message, (path, trace): (Path, Option<TraceContext>)) {
        let result = match message {
            Message::Refusal(refusal) => Err(refusal),
            message => Ok(message),
        };
        match tag {
            Tag::Registration(epoch) => self.registration_answered(cx, epoch, result),
            Tag::Keepalive { epoch, is_primary } => self.keepalive_answered(cx, epoch, is_primary, result),
            Tag::Probe(epoch) => self.probe_answered(cx, epoch, result),
            Tag::NotificationRegistration => self.notification_registered(cx, result.map(drop)),
            Tag::NotificationKeepalive => self.notification_kept_alive(cx, result.map(drop)),
            Tag::Pull => self.pull_answered(cx, result, trace),
            Tag::Direction(peer) => self.direction_refused(cx, &peer, result),
            Tag::PulledAcknowledge | Tag::ProveLeg(_) => {}
            Tag::HolePunching(negotiation) => self.leg_opened(cx, negotiation, result.map(drop)),
            Tag::TunnelRequest(negotiation) => self.tunnel_answered(cx, negotiation, result, path),
        }
    }

    fn timed_out(&mut self, cx: &mut Cx<'_>, timed_out: TimedOut<Tag>) {
        let step = timed_out.label;
        match timed_out.tag {
            Tag::Registration(epoch) => self.registration_timed_out(cx, epoch),
            Tag::Keepalive { epoch, is_primary } => self.keepalive_lost(cx, epoch, is_primary),
            Tag::Probe(epoch) => self.coordinator_silent(cx, epoch),
            Tag::NotificationRegistration | Tag::NotificationKeepalive => self.notification_lost(cx),
            Tag::Direction(peer) => self.connect_failed(cx, &peer, ConnectError::TimedOut { step }),
            Tag::HolePunching(negotiation) | Tag::TunnelRequest(negotiation) => {
                self.negotiation_failed(cx, negotiation, ConnectError::TimedOut { step });
            }
            Tag::ProveLeg(peer) => self.relay_lost(cx, &peer),
            Tag::Pull | Tag::PulledAcknowledge => {}
        }
    }

    fn tls_answered(&mut self, cx: &mut Cx<'_>, (tag, result): TlsOutcome<TlsTag>) {
        match tag {
            TlsTag::AccountServerLogin | TlsTag::CoordinatorLogin => self.login_answered(cx, tag, result),
            TlsTag::InitialData => self.initial_data_answered(cx, result),
        }
    }

    fn resolved(&mut self, cx: &mut Cx<'_>, call: CallId, result: Result<ServerAddresses, LookupFailure>) {
        match self.calls.close(call) {
            Some(Wait::AccountServer(tag)) => self.account_server_found(cx, tag, result),
            Some(Wait::Coordinator) => self.coordinator_found(cx, result),
            _ => cx.count("node.stale_outcome"),
        }
    }

    fn datagram(&mut self, cx: &mut Cx<'_>, from: SocketAddr, bytes: Bytes) {
        if let Ok((_, message)) = datagram::decode_source_unknown(&bytes) {
            return self.source_unknown(cx, from, message.spi);
        }
        if let Ok(header) = Header::parse(&bytes)
            && header.kind == TUNNEL_REQUEST
            && self.endpoint.association(header.key_id).is_none()
        {
            cx.count("node.early_tunnel_request");
            return self.early.keep(cx.now, header.key_id, from, bytes);
        }
        match self.endpoint.receive(cx, Path::Datagram(from), &bytes) {
            Some(Arrival::Request { ticket, message }) => self.requested(cx, ticket, message),
            Some(Arrival::Answer { tag, message, path, trace }) => self.answered(cx, tag, message, (path, trace)),
            _ => {}
        }
    }
}

impl Machine for Node {
    type Command = NodeCommand;
    type Event = NodeEvent;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Started { records, addresses, port } => {
                self.addresses = addresses;
                self.port = port;
                self.restore_login(cx, &records);
            }
            Input::AddressesChanged { addresses } => self.addresses_changed(cx, addresses),
            Input::Datagram { from, bytes } => self.datagram(cx, from, bytes),
            Input::TunnelControl { tunnel, bytes } => self.controlled(cx, tunnel, &bytes),
            Input::PacketPath(notice) => self.packet_notice(cx, &notice),
            Input::TlsAnswered { call, result } => {
                if let Some(outcome) = self.tls.answered(cx, call, result) {
                    self.tls_answered(cx, outcome);
                }
            }
            Input::Resolved { call, result } => self.resolved(cx, call, result),
            Input::Persisted { call, result } => {
                self.calls.close(call);
                if result.is_err() {
                    // The key is good all the same; only a restart will need a login.
                    cx.count("node.store_failed");
                }
            }
            Input::StreamOpened { stream, .. } => self.notification_connected(cx, stream),
            Input::StreamReceived { stream, bytes } => self.notification_received(cx, stream, &bytes),
            Input::StreamClosed { stream } => self.notification_closed(cx, stream),
            Input::TlsRequest { .. } | Input::Verified { .. } => cx.count("node.unexpected_input"),
        }
    }

    fn command(&mut self, cx: &mut Cx<'_>, command: NodeCommand) {
        match command {
            NodeCommand::Join => self.join(cx),
            NodeCommand::Connect { waiter, peer, application } => {
                self.connect(cx, waiter, Peer { name: peer, application });
            }
            NodeCommand::Measure { peer } => self.measure(cx, &peer),
            NodeCommand::Leave => self.command_leave(cx),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.endpoint.deadline(), self.deadlines.next()].into_iter().flatten().min()
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        for timed_out in self.endpoint.expire(cx) {
            self.timed_out(cx, timed_out);
        }
        while let Some(due) = self.deadlines.pop_due(cx.now) {
            match due {
                Due::Register => self.register(cx),
                Due::Keepalive => self.send_keepalives(cx),
                Due::LoginAgain => self.log_in(cx),
                Due::KeyEnds => self.key_ended(cx),
                Due::Probe => self.probe_coordinator(cx),
                Due::NotificationKeepalive => self.keep_notification_alive(cx),
                Due::NotificationConnect => self.notification_lost(cx),
                Due::NotificationReconnect => self.register(cx),
                Due::Negotiation(negotiation) => {
                    self.negotiation_failed(cx, negotiation, ConnectError::TimedOut { step: "Tunnel Request" });
                }
                Due::Superseded(peer) => self.superseded_too_long(cx, &peer),
                Due::Idle(peer) => self.check_idle(cx, &peer),
                Due::NatKeepalive(peer) => self.keep_mapping_alive(cx, &peer),
                Due::Rekey(peer) => self.rekey(cx, &peer),
                Due::Liveness(peer) => self.check_liveness(cx, &peer),
                Due::Retire(identifier) => self.retired(identifier),
            }
        }
    }

    fn sizes(&self) -> Sizes {
        self.endpoint
            .sizes()
            .with("peers", self.peers.len())
            .with("defaults", self.defaults.len())
            .with("negotiations", self.negotiations.len())
            .with("tunnels", self.tunnels.len())
            .with("early", self.early.len())
            .with("calls", self.calls.len() + self.tls.len())
    }
}
