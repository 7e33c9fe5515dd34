//! A small network on the bench: one AS, DCs, and nodes that join.

use crate::bench::{Bench, PORT, name, server};
use ntmobile_proto::direction_coordinator::{DirectionCoordinator, DirectionCoordinatorConfig, OwnServer};
use ntmobile_proto::machine::{Context, Input, Machine};
use ntmobile_proto::node::{Node, NodeCommand, NodeConfig, NodeEvent};
use ntmobile_proto::time::Instant;
use ntmobile_proto::tls::{self, TlsClient, TlsTarget, TlsTicket};
use ntmobile_strategies::registry::{Choices, Registry};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::identifier::{ApplicationId, Session, Transaction};
use ntmobile_wire::key::{NamedKey, SecretText};
use ntmobile_wire::message::{Credential, KeyDistribution, LoginRequest, LoginResponse, Message};
use ntmobile_wire::name::{Account, Fqdn};
use ntmobile_wire::voucher::VoucherSigner;
use std::collections::BTreeMap;
use std::time::Duration;

/// Gives keys to everybody, as `via-as` does.
pub struct KeyGiver {
    session: Session,
    signer: VoucherSigner,
    coordinators: BTreeMap<Fqdn, (Fqdn, DualStack)>,
    tls: TlsClient<(TlsTicket, LoginResponse)>,
    next: u64,
}

impl KeyGiver {
    fn login(&mut self, cx: &mut Context<'_, ()>, ticket: TlsTicket, request: &LoginRequest) {
        let (dc, addresses) = self.coordinators[request.account.domain()].clone();
        let key = NamedKey::draw(cx.entropy);
        let node = request.account.node();
        let response = LoginResponse {
            node: node.clone(),
            key: key.clone(),
            lifetime_s: 86_400,
            dc_session: Session(0),
            cs_token: Vec::new(),
            voucher: self.signer.sign(node.clone(), request.public_key, u64::MAX),
            voucher_key: self.signer.verifying_key(),
        };
        let message = KeyDistribution {
            node,
            application: request.application,
            key,
            lifetime_s: 86_400,
            node_session: ticket.session,
            cs_token: Vec::new(),
        };
        self.next += 1;
        let target = TlsTarget { server: dc, addresses, mutual: true };
        let identity = (self.session, Transaction(self.next));
        let trace = ticket.trace;
        self.tls.call(cx, target, identity, message.into(), trace, (ticket, response));
    }
}

impl Machine for KeyGiver {
    type Command = ();
    type Event = ();

    fn handle(&mut self, cx: &mut Context<'_, ()>, input: Input) {
        match input {
            Input::TlsRequest { request, from, certificate, frame } => {
                let accepted = tls::accept(cx, self.session, (request, from), certificate, &frame);
                if let Some((ticket, Message::LoginRequest(request))) = accepted {
                    self.login(cx, ticket, &request);
                }
            }
            Input::TlsAnswered { call, result } => {
                let Some(((ticket, mut response), Ok((dc_session, Message::NtmAck(_))))) =
                    self.tls.answered(cx, call, result)
                else {
                    return;
                };
                response.dc_session = dc_session;
                tls::answer(cx, self.session, &ticket, response);
            }
            _ => {}
        }
    }

    fn command(&mut self, _: &mut Context<'_, ()>, (): ()) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn expire(&mut self, _: &mut Context<'_, ()>) {}
}

/// Which two DCs there are: domain, DC, its address.
pub const DOMAINS: [(&str, &str, &str); 2] =
    [("u1.example", "dc.u1.example", "192.0.2.11"), ("u2.example", "dc.u2.example", "192.0.2.12")];

/// The relay of a domain.
pub const RELAYS: [(&str, &str); 2] = [("rs.u1.example", "192.0.2.21"), ("rs.u2.example", "192.0.2.22")];

/// A bench with an AS and two DCs that know each other by DNS.
pub fn network(seed: u64, choices: &Choices) -> Bench {
    let mut bench = Bench::new(seed);
    let strategies = Registry::builtin().choose(choices).expect("known strategies");
    let signer = VoucherSigner::from_seed([9; 32]);
    let coordinators = DOMAINS.iter().map(|(domain, dc, address)| {
        bench.zone(domain, server(dc, address));
        (name(domain), (name(dc), server(dc, address).tls))
    });
    let coordinators = coordinators.collect();
    let giver = KeyGiver { session: Session(1), signer, coordinators, tls: TlsClient::default(), next: 0 };
    bench.place("as.example", giver, &["192.0.2.1"], None);
    for (index, (domain, dc, address)) in DOMAINS.iter().enumerate() {
        let v4 = (format!("100.64.{}.0", 16 * index).parse().expect("an address"), 20);
        let v6 = format!("fd00:0:0:{}::", index + 1).parse().expect("an address");
        let mut config =
            DirectionCoordinatorConfig::new(name(dc), name(domain), name("as.example"), (v4, v6), strategies.clone());
        let (relay, relay_address) = RELAYS[index];
        let relay_at = server(relay, relay_address);
        config.relays = vec![OwnServer {
            name: name(relay),
            signalling: relay_at.signalling,
            tls: relay_at.tls,
            notification: DualStack::default(),
        }];
        let machine = DirectionCoordinator::new(config, bench.entropy());
        bench.place(dc, machine, &[address], None);
    }
    bench
}

/// Puts a node on the bench and lets it join.
pub fn join(bench: &mut Bench, account: &str, choices: &Choices, address: &str, outside: Option<&str>) {
    let account = Account::parse(account).expect("an account");
    let strategies = Registry::builtin().choose(choices).expect("known strategies");
    let password = Credential::Password(SecretText::new("right"));
    let mut config = NodeConfig::new(account.clone(), password, name("as.example"), strategies);
    config.account_server_addresses = Some(server("as.example", "192.0.2.1").tls);
    let who = account.node();
    let node = Node::new(config, bench.entropy());
    bench.place(who.as_str(), node, &[address], outside);
    bench.run_for(Duration::ZERO);
    bench.command::<Node>(who.as_str(), NodeCommand::Join);
}

/// Asks a node for a tunnel.
pub fn connect(bench: &mut Bench, who: &str, peer: &str, waiter: u64) {
    let command = NodeCommand::Connect { waiter, peer: name(peer), application: ApplicationId(0) };
    bench.command::<Node>(who, command);
}

/// What a node has told about a waiter, if anything.
pub fn outcome(bench: &mut Bench, who: &str, waiter: u64) -> Option<NodeEvent> {
    let events = &bench.at::<Node>(who).events;
    let told = events.iter().map(|(_, event)| event).filter(|event| match event {
        NodeEvent::Connected { waiter: told, .. } | NodeEvent::ConnectFailed { waiter: told, .. } => *told == waiter,
        _ => false,
    });
    let told: Vec<_> = told.cloned().collect();
    assert!(told.len() <= 1, "{who} was told twice about {waiter}: {told:?}");
    told.into_iter().next()
}

/// Where an address's signalling port is.
pub fn at(address: &str) -> std::net::SocketAddr {
    format!("{address}:{PORT}").parse().expect("an address")
}
