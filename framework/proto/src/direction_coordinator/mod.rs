//! The Direction Coordinator: keeps its nodes' records, finds the other DC, decides the path and directs the tunnel.
//!
//! **Invariant:** every request that a node or server sends is answered or refused, exactly once, within the patience that its
//! sender is documented to have; whatever happens in between is one entry in `directions` or
//! `deliveries`, which ends with that answer.
//!
//! | file | subject |
//! | --- | --- |
//! | `login` | K_ntmdc, from the AS or made here |
//! | `node_keys` | which K_ntmdc are held, until when, and what goes with the last |
//! | `registration` | where nodes are, and how they are woken |
//! | `direction` | a tunnel, from Direction Request to the last Route Direction |
//! | `relays` | the RS of such a tunnel |
//! | `lending` | an RS of ours for a tunnel that another DC directs |
//! | `delivery` | bringing a Route Direction to a node of ours |
//! | `shares` | who makes room where a table that many share is full |
//! | `servers` | keys shared with other servers |
//! | `server_keys` | which of them are held, and until when |

mod config;
mod delivery;
mod direction;
mod event;
mod lending;
mod login;
mod node_keys;
mod nodes;
pub(crate) mod records;
mod registration;
mod relays;
mod server_keys;
mod servers;
mod shares;

pub use config::{DirectionCoordinatorConfig, OwnServer};
pub use event::DirectionCoordinatorEvent;

use crate::calls::Calls;
use crate::deadlines::Deadlines;
use crate::endpoint::{Arrival, Endpoint, Path, Peer, Ticket, TimedOut};
use crate::machine::{CallId, Context, Input, LookupFailure, Machine, Record, ServerAddresses, StoreFailure};
use crate::repeated_requests::RepeatedRequests;
use crate::sizes::Sizes;
use crate::time::Instant;
use crate::tls::{self, TlsClient, TlsOutcome, TlsTicket};
use delivery::Delivery;
use direction::Direction;
use lending::{Lent, Loan};
use login::{Grant, LoginInProgress};
use nodes::Nodes;
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::identifier::{KeyId, Negotiation, Session};
use ntmobile_wire::message::{
    KeyDistribution, KeySharingRequest, Message, Refusal, RefusalCode, RouteDirectionAcknowledge,
};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use registration::RegistrationInProgress;
use servers::Servers;
use shares::Shares;
use std::collections::BTreeMap;

type Cx<'a> = Context<'a, DirectionCoordinatorEvent>;

/// What a request under a named key was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    NodeInformation(u64),
    RelayDirection(u64),
    BorrowRelay(u64),
    LendRelay(u64),
    RouteToCn(u64),
    RouteToMn(u64),
    Deliver(u64),
    Wake(u64),
    NotificationDirection(u64),
}

/// What a TLS call was for.
#[derive(Clone, Debug)]
enum TlsTag {
    KeySharing(servers::ServerId),
    Authentication(u64),
}

/// What an effect was for.
#[derive(Debug)]
enum Wait {
    /// The DC of the peer in this direction.
    PeerCoordinator(u64),
    /// The AS, for this login.
    AccountServer(u64),
    /// A distributed key is stored: hold and acknowledge it.
    KeyStored(TlsTicket, Box<KeyDistribution>),
    /// A login's key is stored: hold it and answer.
    LoginStored(TlsTicket, Box<Grant>),
    /// A key that another server shared is stored: hold and acknowledge it.
    SharedKeyStored(TlsTicket, Box<KeySharingRequest>),
    /// An allotted address is stored: go on with the registration.
    AddressStored(u64),
    /// A registration is stored: grant it.
    RegistrationStored(u64),
    /// Something that nobody waits for is stored or deleted.
    Unawaited,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A woken node has not fetched what waits for it.
    Wake(u64),
    /// The AS has not said whether a node may log in.
    Login(u64),
    /// A K_ntmdc ends.
    NodeKey(Peer, KeyId),
    /// A registration may have run out.
    Lapse(Peer),
    /// A key shared with another server ends.
    ServerKey(servers::ServerId, KeyId),
}

/// The machine of a Direction Coordinator.
pub struct DirectionCoordinator {
    config: DirectionCoordinatorConfig,
    endpoint: Endpoint<Tag>,
    tls: TlsClient<TlsTag>,
    calls: Calls<Wait>,
    nodes: Nodes,
    servers: Servers,
    logins: BTreeMap<u64, LoginInProgress>,
    repeated_logins: RepeatedRequests,
    registrations: BTreeMap<u64, RegistrationInProgress>,
    directions: BTreeMap<u64, Direction>,
    /// Whose they are: by the node that asked.
    direction_shares: Shares,
    deliveries: BTreeMap<u64, Delivery>,
    /// Whose they are: by the DC that directs.
    delivery_shares: Shares,
    /// Relays that other DCs have asked for.
    loans: BTreeMap<u64, Loan>,
    lent: Lent,
    next_id: u64,
    deadlines: Deadlines<Due>,
}

impl DirectionCoordinator {
    /// A DC that starts; its session is drawn here.
    pub fn new(config: DirectionCoordinatorConfig, entropy: &mut dyn Entropy) -> Self {
        let session = Session::draw(entropy);
        let first_transaction = u64::from_be_bytes(draw(entropy));
        let nodes = Nodes::new(config.virtual_v4, config.virtual_v6);
        Self {
            config,
            endpoint: Endpoint::new(session, first_transaction),
            tls: TlsClient::default(),
            calls: Calls::default(),
            nodes,
            servers: Servers::default(),
            logins: BTreeMap::new(),
            repeated_logins: RepeatedRequests::default(),
            registrations: BTreeMap::new(),
            directions: BTreeMap::new(),
            direction_shares: Shares::default(),
            deliveries: BTreeMap::new(),
            delivery_shares: Shares::default(),
            loans: BTreeMap::new(),
            lent: Lent::default(),
            next_id: 1,
            deadlines: Deadlines::default(),
        }
    }

    fn draw_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, code: RefusalCode, detail: impl Into<String>) {
        cx.count("dc.refused");
        let refusal = refusal(code, detail, None);
        self.endpoint.answer(cx, ticket, refusal);
    }

    fn started(&mut self, cx: &mut Cx<'_>, stored: Vec<Record>) {
        let mut ended = Vec::new();
        for table in records::TABLES {
            for record in stored.iter().filter(|record| record.table == table) {
                if self.restore(cx, record).is_none() {
                    cx.count("dc.stored_record_ended");
                    ended.extend(records::deletion_of(record));
                }
            }
        }
        self.discard(cx, ended);
    }

    fn restore(&mut self, cx: &mut Cx<'_>, record: &Record) -> Option<()> {
        let name = std::str::from_utf8(&record.key).ok()?;
        match record.table.as_str() {
            records::ADDRESSES => {
                self.nodes.restore_address(Fqdn::parse(name).ok()?, records::read_address(&record.value)?);
            }
            records::NODE_KEYS => self.restore_node_key(cx, name, &record.value)?,
            records::VOUCHERS => self.restore_voucher(name, &record.value)?,
            records::REGISTRATIONS => self.restore_registration(cx, name, &record.value)?,
            records::SERVER_KEYS => self.restore_server_key(cx, name, &record.value)?,
            _ => return None,
        }
        Some(())
    }

    fn requested(&mut self, cx: &mut Cx<'_>, ticket: Ticket, message: Message) {
        let from_node = ticket.role == Role::Node;
        // Our RSs and NSs hold keys with us too, and ask for nothing.
        let from_coordinator = matches!(ticket.role, Role::Requester | Role::Responder);
        match message {
            Message::RegistrationRequest(request) if from_node => self.registration_requested(cx, ticket, request),
            Message::Keepalive(keepalive) if from_node => self.kept_alive(cx, &ticket, &keepalive),
            Message::DirectionRequest(request) if from_node => self.direction_requested(cx, ticket, request),
            Message::RouteDirectionRequest(_) if from_node => self.pulled(cx, &ticket),
            Message::RouteDirectionAcknowledge(acknowledge) if from_node => {
                self.pulled_direction_settled(cx, &ticket, acknowledge.negotiation, Ok(acknowledge));
            }
            Message::Refusal(Refusal { code, detail, negotiation: Some(negotiation) }) if from_node => {
                let refusal = refusal(code, detail, Some(negotiation));
                self.pulled_direction_settled(cx, &ticket, negotiation, Err(refusal));
            }
            Message::NodeInformationRequest(request) if from_coordinator => {
                self.information_requested(cx, &ticket, &request)
            }
            Message::RelayDirection(direction) if from_coordinator => self.relay_requested(cx, ticket, direction),
            Message::RouteDirection(direction) if from_coordinator => self.direction_for_node(cx, ticket, direction),
            message => {
                cx.count("dc.unexpected_message");
                let detail = format!("a Direction Coordinator does not take {} here", message.label());
                self.refuse(cx, &ticket, RefusalCode::NotAllowed, detail);
            }
        }
    }

    fn answered(&mut self, cx: &mut Cx<'_>, tag: Tag, message: Message) {
        let result = match message {
            Message::Refusal(refusal) => Err(refusal),
            message => Ok(message),
        };
        match tag {
            Tag::NodeInformation(id) => self.informed(cx, id, result),
            Tag::RelayDirection(id) => self.relay_directed(cx, id, result.map(drop)),
            Tag::BorrowRelay(id) => self.relay_borrowed(cx, id, result),
            Tag::LendRelay(id) => self.lent_relay_directed(cx, id, result.map(drop)),
            Tag::RouteToCn(id) => self.cn_directed(cx, id, acknowledge(result)),
            Tag::RouteToMn(id) => self.mn_directed(cx, id, acknowledge(result).map(drop)),
            Tag::Deliver(id) => self.delivered(cx, id, acknowledge(result)),
            Tag::Wake(id) => self.woken(cx, id, result.map(drop)),
            Tag::NotificationDirection(id) => self.notification_directed(cx, id, result.map(drop)),
        }
    }

    fn timed_out(&mut self, cx: &mut Cx<'_>, timed_out: TimedOut<Tag>) {
        let label = timed_out.label;
        let silence =
            |server: &str| refusal(RefusalCode::ServerUnreachable, format!("{server} did not answer {label}"), None);
        match timed_out.tag {
            Tag::NodeInformation(id) => self.peer_coordinator_silent(cx, id),
            Tag::RelayDirection(id) => self.relay_directed(cx, id, Err(silence("the Relay Server"))),
            Tag::BorrowRelay(id) => self.relay_borrowed(cx, id, Err(silence("the peer's Direction Coordinator"))),
            Tag::LendRelay(id) => self.lent_relay_directed(cx, id, Err(silence("the Relay Server"))),
            Tag::RouteToCn(id) => self.cn_directed(cx, id, Err(silence("the peer's Direction Coordinator"))),
            Tag::RouteToMn(id) => self.mn_directed(cx, id, Err(silence("the node"))),
            Tag::Deliver(id) => {
                self.delivered(cx, id, Err(refusal(RefusalCode::PeerAsleep, "it does not answer", None)))
            }
            Tag::Wake(id) => self.woken(cx, id, Err(silence("the Notification Server"))),
            Tag::NotificationDirection(id) => self.notification_server_silent(cx, id),
        }
    }

    fn tls_answered(&mut self, cx: &mut Cx<'_>, (tag, result): TlsOutcome<TlsTag>) {
        match tag {
            TlsTag::KeySharing(server) => self.key_shared(cx, &server, result),
            TlsTag::Authentication(id) => self.authenticated(cx, id, result),
        }
    }

    fn tls_requested(&mut self, cx: &mut Cx<'_>, ticket: TlsTicket, message: Message) {
        match message {
            Message::KeyDistribution(distribution) => self.key_distributed(cx, ticket, distribution),
            Message::LoginRequest(request) => self.login_requested(cx, ticket, request),
            Message::KeySharingRequest(request) => self.key_sharing_requested(cx, ticket, request),
            message => {
                let detail = format!("a Direction Coordinator does not take {} over TLS", message.label());
                tls::refuse(cx, self.endpoint.session(), &ticket, RefusalCode::Unsupported, &detail);
            }
        }
    }

    fn resolved(&mut self, cx: &mut Cx<'_>, call: CallId, result: Result<ServerAddresses, LookupFailure>) {
        match self.calls.close(call) {
            Some(Wait::PeerCoordinator(id)) => self.peer_coordinator_found(cx, id, result),
            Some(Wait::AccountServer(id)) => self.account_server_found(cx, id, result),
            _ => cx.count("dc.stale_outcome"),
        }
    }

    fn persisted(&mut self, cx: &mut Cx<'_>, call: CallId, result: Result<(), StoreFailure>) {
        if let Err(failure) = &result {
            cx.count("dc.store_failed");
            cx.event(DirectionCoordinatorEvent::StoreFailed(failure.clone()));
        }
        let failure = result.err().map(|failure| format!("{}: {failure}", self.config.name));
        match (self.calls.close(call), failure) {
            // Whoever asked does not have the key: nothing is held that is not stored.
            (Some(Wait::LoginStored(ticket, _)), Some(failure)) => {
                self.refuse_login(cx, &ticket, RefusalCode::StorageFailed, &failure);
            }
            (Some(Wait::KeyStored(ticket, _) | Wait::SharedKeyStored(ticket, _)), Some(failure)) => {
                tls::refuse(cx, self.endpoint.session(), &ticket, RefusalCode::StorageFailed, &failure)
            }
            (Some(Wait::KeyStored(ticket, key)), None) => self.stored_key(cx, &ticket, *key),
            (Some(Wait::LoginStored(ticket, grant)), None) => self.stored_login(cx, &ticket, *grant),
            (Some(Wait::SharedKeyStored(ticket, request)), None) => self.stored_shared_key(cx, &ticket, *request),
            (Some(Wait::AddressStored(id)), failure) => self.address_stored(cx, id, failure),
            (Some(Wait::RegistrationStored(id)), failure) => self.registration_stored(cx, id, failure.is_none()),
            (Some(Wait::Unawaited), _) => {}
            _ => cx.count("dc.stale_outcome"),
        }
    }
}

/// A refusal as a value.
fn refusal(code: RefusalCode, detail: impl Into<String>, negotiation: Option<Negotiation>) -> Refusal {
    let mut detail = detail.into();
    // A refusal carries 120 bytes of detail; cut at a character.
    while detail.len() > 120 {
        detail.pop();
    }
    Refusal { code, detail, negotiation }
}

/// The acknowledgement of a Route Direction; anything else in its place is a broken peer.
fn acknowledge(result: Result<Message, Refusal>) -> Result<RouteDirectionAcknowledge, Refusal> {
    match result? {
        Message::RouteDirectionAcknowledge(acknowledge) => Ok(acknowledge),
        message => {
            let detail = format!("{} in answer to Route Direction", message.label());
            Err(refusal(RefusalCode::Unsupported, detail, None))
        }
    }
}

impl Machine for DirectionCoordinator {
    type Command = std::convert::Infallible;
    type Event = DirectionCoordinatorEvent;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Started { records, .. } => self.started(cx, records),
            Input::Datagram { from, bytes } => match self.endpoint.receive(cx, Path::Datagram(from), &bytes) {
                Some(Arrival::Request { ticket, message }) => self.requested(cx, ticket, message),
                Some(Arrival::Answer { tag, message, .. }) => self.answered(cx, tag, message),
                _ => {}
            },
            Input::TlsRequest { request, from, certificate, frame } => {
                let session = self.endpoint.session();
                if let Some((ticket, message)) = tls::accept(cx, session, (request, from), certificate, &frame) {
                    self.tls_requested(cx, ticket, message);
                }
            }
            Input::TlsAnswered { call, result } => {
                if let Some(outcome) = self.tls.answered(cx, call, result) {
                    self.tls_answered(cx, outcome);
                }
            }
            Input::Resolved { call, result } => self.resolved(cx, call, result),
            Input::Persisted { call, result } => self.persisted(cx, call, result),
            Input::AddressesChanged { .. } => {}
            Input::TunnelControl { .. }
            | Input::PacketPath(_)
            | Input::Verified { .. }
            | Input::StreamOpened { .. }
            | Input::StreamReceived { .. }
            | Input::StreamClosed { .. } => cx.count("dc.unexpected_input"),
        }
    }

    fn command(&mut self, _: &mut Cx<'_>, command: Self::Command) {
        match command {}
    }

    fn deadline(&self) -> Option<Instant> {
        let own = [self.endpoint.deadline(), self.deadlines.next(), self.repeated_logins.deadline()];
        own.into_iter().flatten().min()
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.repeated_logins.expire(cx.now);
        for timed_out in self.endpoint.expire(cx) {
            self.timed_out(cx, timed_out);
        }
        while let Some(due) = self.deadlines.pop_due(cx.now) {
            match due {
                Due::Wake(id) => self.not_fetched(cx, id),
                Due::Login(id) => self.login_took_too_long(cx, id),
                Due::NodeKey(peer, key) => self.node_key_ended(cx, &peer, key),
                Due::Lapse(peer) => self.registration_lapsed(cx, &peer),
                Due::ServerKey(server, key) => self.server_key_ended(cx, &server, key),
            }
        }
    }

    fn sizes(&self) -> Sizes {
        self.endpoint
            .sizes()
            .join(self.nodes.sizes())
            .with("calls", self.calls.len() + self.tls.len())
            .with("server_keys", self.servers.len())
            .with("logins", self.logins.len())
            .with("tls_requests", self.repeated_logins.len())
            .with("registrations", self.registrations.len())
            .with("directions", self.directions.len())
            .with("deliveries", self.deliveries.len())
            .with("loans", self.loans.len())
    }
}
