//! The ledger against a kernel that is a map: what it holds after whatever has happened.

use super::control;
use super::ledger::{Kernel, Ledger};
use crate::xfrm::{Action, Counters, Direction, Policy, PolicyId, Sequence, State, StateId};
use ntmobile_proto::packet::{GENERATION_OVERLAP, TunnelSettings};
use ntmobile_proto::time::Instant;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::esp::EspKey;
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{ApplicationId, Session, Spi, Transaction};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::{CipherSuite, Close, RekeyRequest, TunnelProbe};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const INTERFACE: u32 = 42;
const PORT: u16 = 5000;

/// A state that the kernel holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    source: IpAddr,
    ports: (u16, u16),
    request: u32,
    key: Vec<u8>,
    counters: Counters,
}

/// A kernel that is a map.
struct Model {
    source: Cell<IpAddr>,
    states: RefCell<BTreeMap<StateId, Held>>,
    policies: RefCell<BTreeMap<PolicyId, Policy>>,
    /// The last number used under each key that has ever sealed.
    used: RefCell<BTreeMap<Vec<u8>, u32>>,
}

impl Model {
    fn new() -> Self {
        let source = Cell::new(ip("192.0.2.1"));
        Self { source, states: RefCell::default(), policies: RefCell::default(), used: RefCell::default() }
    }

    /// So many packets of 100 octets pass through the states of this SPI.
    fn pass(&self, spi: Spi, count: u32) {
        for (id, held) in self.states.borrow_mut().iter_mut().filter(|(id, _)| id.spi == spi) {
            held.counters.packets += u64::from(count);
            held.counters.bytes += 100 * u64::from(count);
            match &mut held.counters.sequence {
                Sequence::Seals(last) => {
                    *last += count;
                    self.used.borrow_mut().insert(held.key.clone(), *last);
                }
                Sequence::Opens { highest, seen } => {
                    *highest += count;
                    *seen = vec![*highest, id.spi.0];
                }
            }
        }
    }

    fn spis(&self) -> Vec<Spi> {
        self.states.borrow().keys().map(|id| id.spi).collect()
    }

    fn state(&self, spi: Spi) -> (StateId, Held) {
        let states = self.states.borrow();
        let mut found = states.iter().filter(|(id, _)| id.spi == spi);
        let (id, held) = found.next().expect("a state of this SPI");
        assert!(found.next().is_none(), "two states of one SPI");
        (*id, held.clone())
    }

    /// What leads to this address, and what may come from it: requests, and the outer addresses.
    fn ways(&self, peer: &str) -> (Option<Action>, Option<Action>) {
        let policies = self.policies.borrow();
        let find = |direction| {
            let is_it = |id: &PolicyId| {
                let end = if direction == Direction::Out { id.selector.destination } else { id.selector.source };
                id.direction == direction && end.0 == ip(peer) && id.selector.udp.is_none()
            };
            policies.values().find(|policy| is_it(&policy.id)).map(|policy| policy.action.clone())
        };
        (find(Direction::Out), find(Direction::In))
    }
}

impl Kernel for &Model {
    fn add_state(&self, state: &State<'_>) -> io::Result<()> {
        let mut states = self.states.borrow_mut();
        if states.contains_key(&state.id) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let key = state.key.expose().to_vec();
        if let Sequence::Seals(last) = state.sequence {
            let used = self.used.borrow().get(&key).copied().unwrap_or_default();
            assert!(last >= used, "numbers up to {used} are used and it begins behind {last}");
        }
        let counters = Counters { packets: 0, bytes: 0, sequence: state.sequence.clone() };
        let held = Held { source: state.source, ports: state.ports, request: state.request, key, counters };
        states.insert(state.id, held);
        Ok(())
    }

    fn update_state(&self, state: &State<'_>) -> io::Result<()> {
        let mut states = self.states.borrow_mut();
        let held = states.get_mut(&state.id).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        held.ports = state.ports;
        Ok(())
    }

    fn remove_state(&self, id: &StateId) -> io::Result<()> {
        self.states.borrow_mut().remove(id);
        Ok(())
    }

    fn counters(&self, id: &StateId) -> io::Result<Counters> {
        let states = self.states.borrow();
        states.get(id).map(|held| held.counters.clone()).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
    }

    fn put_policy(&self, policy: &Policy) -> io::Result<()> {
        self.policies.borrow_mut().insert(policy.id.clone(), policy.clone());
        Ok(())
    }

    fn remove_policy(&self, id: &PolicyId) -> io::Result<()> {
        self.policies.borrow_mut().remove(id);
        Ok(())
    }

    fn source_towards(&self, _: SocketAddr) -> Option<IpAddr> {
        Some(self.source.get())
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

fn key(number: u8, spi: Spi) -> EspKey {
    EspKey::derive(&Secret::from_bytes([number; 32]), CipherSuite::Aes128Gcm, Role::Mn, spi).expect("a known suite")
}

fn addresses(host: u8) -> VirtualAddresses {
    let v6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host];
    VirtualAddresses { v4: [100, 64, 0, host].into(), v6: v6.into() }
}

/// A tunnel of this number to a peer: SPI 0x…10 comes in, 0x…20 goes out.
fn settings(number: u8, peer: u8) -> TunnelSettings {
    let spi = |direction: u32| Spi(0x1000_0000 * u32::from(number) + direction);
    TunnelSettings {
        peer: Fqdn::parse("bob.u2.example").expect("a name"),
        application: ApplicationId(0),
        local: addresses(1),
        remote: addresses(peer),
        alias: None,
        next_hop: SocketAddr::new(ip("198.51.100.9"), 4000),
        end: Role::Mn,
        suite: CipherSuite::Aes128Gcm,
        spi_in: spi(0x10),
        spi_out: spi(0x20),
    }
}

fn install(ledger: &mut Ledger<&Model>, settings: &TunnelSettings) {
    let (incoming, outgoing) = (key(1, settings.spi_in), key(2, settings.spi_out));
    ledger.installed(settings, &incoming, &outgoing);
    for address in [IpAddr::from(settings.remote.v4), settings.remote.v6.into()] {
        ledger.leads(address, Some(settings.spi_in));
    }
}

fn ledger(model: &Model) -> Ledger<&Model> {
    Ledger::open(model, INTERFACE, PORT).expect("the map takes everything")
}

#[test]
fn a_tunnel_is_two_states_and_leads_between_its_ends() {
    let model = Model::new();
    let mut ledger = ledger(&model);
    let bob = settings(1, 2);
    install(&mut ledger, &bob);
    let (id, incoming) = model.state(bob.spi_in);
    assert_eq!((id.destination, incoming.source, incoming.ports), (ip("192.0.2.1"), ip("198.51.100.9"), (4000, PORT)));
    assert_eq!(incoming.key, key(1, bob.spi_in).expose());
    let (id, outgoing) = model.state(bob.spi_out);
    assert_eq!((id.destination, outgoing.source, outgoing.ports), (ip("198.51.100.9"), ip("192.0.2.1"), (PORT, 4000)));
    assert_eq!(outgoing.key, key(2, bob.spi_out).expose());
    let ends = Some((Some(ip("192.0.2.1")), ip("198.51.100.9")));
    for address in ["100.64.0.2", "fd00::2"] {
        let ways = model.ways(address);
        let out = Action::Tunnel { request: outgoing.request, ends };
        assert_eq!(ways, (Some(out), Some(Action::Tunnel { request: incoming.request, ends: None })));
    }

    // Packets of one peer may not pass for another's.
    let carol = settings(2, 3);
    install(&mut ledger, &carol);
    assert_ne!(model.state(carol.spi_in).1.request, incoming.request);
    assert_ne!(model.state(carol.spi_out).1.request, outgoing.request);
}

#[test]
fn the_control_port_is_signallings_alone() {
    let model = Model::new();
    let mut ledger = ledger(&model);
    install(&mut ledger, &settings(1, 2));
    let policies = model.policies.borrow();
    let about_ports: Vec<_> = policies.values().filter(|policy| policy.id.selector.udp.is_some()).collect();
    let refused: Vec<_> = about_ports.iter().filter(|policy| policy.action == Action::Refuse).collect();
    assert_eq!(refused.len(), 2, "of each family");
    let [own] = about_ports.iter().filter(|policy| policy.action != Action::Refuse).collect::<Vec<_>>()[..] else {
        panic!("signalling's own");
    };
    assert!(refused.iter().all(|refused| own.priority < refused.priority));
    let others = policies.values().filter(|policy| policy.id.selector.udp.is_none());
    assert!(others.into_iter().all(|other| refused.iter().all(|refused| refused.priority < other.priority)));
}

#[test]
fn a_peer_that_moves_is_followed_and_sequences_go_on() {
    let model = Model::new();
    let mut ledger = ledger(&model);
    let bob = settings(1, 2);
    install(&mut ledger, &bob);
    model.pass(bob.spi_in, 3);
    model.pass(bob.spi_out, 5);
    let before = (model.state(bob.spi_in), model.state(bob.spi_out));

    // Another port: the same states with it.
    ledger.moved(bob.spi_in, "198.51.100.9:4001".parse().expect("an address"));
    let ports = |held: Held, ports| Held { ports, ..held };
    let ((in_id, incoming), (out_id, outgoing)) = before;
    assert_eq!(model.state(bob.spi_in), (in_id, ports(incoming, (4001, PORT))));
    assert_eq!(model.state(bob.spi_out), (out_id, ports(outgoing, (PORT, 4001))));

    // Another address, and then another of our own: new states, where the old ones were.
    for (next_hop, source) in [("203.0.113.7:9", "192.0.2.1"), ("203.0.113.7:9", "192.0.2.77")] {
        model.source.set(ip(source));
        ledger.moved(bob.spi_in, next_hop.parse().expect("an address"));
        ledger.look_after(at(1), bob.spi_in);
        let (id, outgoing) = model.state(bob.spi_out);
        assert_eq!((id.destination, outgoing.source), (ip("203.0.113.7"), ip(source)));
        assert_eq!(outgoing.counters.sequence, Sequence::Seals(5));
        let (id, incoming) = model.state(bob.spi_in);
        assert_eq!((id.destination, incoming.source), (ip(source), ip("203.0.113.7")));
        assert_eq!(incoming.counters.sequence, Sequence::Opens { highest: 3, seen: vec![3, bob.spi_in.0] });
        let ends = Some((Some(ip(source)), ip("203.0.113.7")));
        assert_eq!(model.ways("fd00::2").0, Some(Action::Tunnel { request: outgoing.request, ends }));
    }
    let passage = ledger.look_after(at(2), bob.spi_in).expect("it is there");
    assert_eq!((passage.received, passage.sealed, passage.applications.bytes_out), (3, 5, 500));
}

#[test]
fn a_state_of_somebody_elses_is_left_alone() {
    let model = Model::new();
    let mut ledger = ledger(&model);
    let bob = settings(1, 2);
    let strangers = [(ip("192.0.2.1"), bob.spi_in), (ip("198.51.100.9"), bob.spi_out)].map(|(destination, spi)| {
        let counters = Counters { packets: 7, bytes: 700, sequence: Sequence::Seals(7) };
        let held = Held { source: ip("192.0.2.66"), ports: (1, 2), request: 99, key: vec![9], counters };
        (StateId { destination, spi }, held)
    });
    model.states.borrow_mut().extend(strangers.clone());
    let untouched = BTreeMap::from(strangers);
    install(&mut ledger, &bob);
    assert_eq!(ledger.refused(), 2);
    let passage = ledger.look_after(at(1), bob.spi_in).expect("there");
    assert_eq!((passage.received, passage.sealed), (0, 0), "what passes there is not this tunnel's");
    ledger.moved(bob.spi_in, "198.51.100.9:4001".parse().expect("an address"));
    assert_eq!(*model.states.borrow(), untouched);

    // Another address of both ends is free, where the tunnel is itself; it leaves without a trace.
    model.source.set(ip("192.0.2.77"));
    ledger.moved(bob.spi_in, "203.0.113.7:9".parse().expect("an address"));
    assert_eq!(model.states.borrow().len(), 4);
    let (next_in, next_out) = (bob.spi_in.at_generation(1), bob.spi_out.at_generation(1));
    ledger.accepts(bob.spi_in, next_in, &key(3, next_in));
    ledger.sends(bob.spi_in, next_out, &key(4, next_out));
    ledger.removed(bob.spi_in);
    assert_eq!(*model.states.borrow(), untouched);
    assert_eq!(ledger.refused(), 2);
}

#[test]
fn a_new_generation_stands_beside_the_old_one_until_it_has_proved_itself() {
    let model = Model::new();
    let mut ledger = ledger(&model);
    let bob = settings(1, 2);
    install(&mut ledger, &bob);
    model.pass(bob.spi_in, 3);
    model.pass(bob.spi_out, 5);
    let (next_in, next_out) = (bob.spi_in.at_generation(1), bob.spi_out.at_generation(1));
    ledger.accepts(bob.spi_in, next_in, &key(3, next_in));
    ledger.sends(bob.spi_in, next_out, &key(4, next_out));
    assert_eq!(model.spis(), [bob.spi_in, next_in, next_out]);
    assert_eq!(ledger.look_after(at(100), bob.spi_in).expect("there").newest_generation, 0);
    model.pass(next_in, 2);
    model.pass(bob.spi_in, 1);
    let passage = ledger.look_after(at(200), bob.spi_in).expect("there");
    assert_eq!((passage.newest_generation, passage.received, passage.sealed), (2, 6, 0));
    assert_eq!(passage.applications.packets_out, 5, "what left under the old key has left");
    ledger.look_after(at(200) + GENERATION_OVERLAP, bob.spi_in);
    assert_eq!(model.spis(), [next_in, next_out]);
    assert_eq!(ledger.look_after(at(300), bob.spi_in).expect("there").received, 6);
}

#[test]
fn a_question_whether_anybody_is_there_is_about_no_tunnel() {
    let frame = |message| Frame { transaction: Transaction(1), session: Session(1), message, trace: None }.encode();
    assert!(!control::is_about_a_tunnel(&frame(TunnelProbe.into())));
    assert!(control::is_about_a_tunnel(&frame(Close.into())));
    let offered = RekeyRequest { generation: 1, wrapped_key: vec![1; 8] };
    assert!(control::asks_for_key(&frame(offered.into())) && !control::asks_for_key(&frame(Close.into())));
}

#[test]
fn signallings_own_packets_are_no_use() {
    let model = Model::new();
    let mut ledger = ledger(&model);
    let bob = settings(1, 2);
    install(&mut ledger, &bob);
    model.pass(bob.spi_out, 3);
    model.pass(bob.spi_in, 1);
    ledger.control_passed(bob.spi_in, false, 100);
    ledger.control_passed(bob.spi_in, true, 100);
    let passage = ledger.look_after(at(1), bob.spi_in).expect("there");
    assert_eq!((passage.applications.packets_out, passage.applications.packets_in, passage.received), (2, 0, 1));
}

#[test]
fn what_leads_to_a_peer_stays_when_its_tunnel_ends_and_goes_with_the_life() {
    let model = Model::new();
    let mut ledger = ledger(&model);
    let at_first = model.policies.borrow().clone();
    let bob = settings(1, 2);
    install(&mut ledger, &bob);
    let policies = model.policies.borrow().clone();
    ledger.leads(bob.remote.v4.into(), None);
    ledger.leads(bob.remote.v6.into(), None);
    ledger.removed(bob.spi_in);
    assert_eq!(model.spis(), []);
    assert_eq!(*model.policies.borrow(), policies, "so that the kernel asks for another");
    let again = settings(2, 2);
    install(&mut ledger, &again);
    assert_ne!(*model.policies.borrow(), policies, "which it is led to");
    ledger.clear();
    assert_eq!(model.spis(), []);
    assert_eq!(*model.policies.borrow(), at_first);
}

#[test]
fn a_peer_whose_address_collides_is_reached_by_the_other_family() {
    let model = Model::new();
    let mut ledger = ledger(&model);
    let bob = TunnelSettings { alias: Some([100, 127, 252, 1].into()), ..settings(1, 2) };
    install(&mut ledger, &bob);
    assert_eq!(model.ways("100.64.0.2"), (None, None));
    assert!(model.ways("fd00::2").0.is_some());
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Installed { tunnel: u8, peer: u8 },
    Removed(u8),
    Rekeyed { tunnel: u8, generation: u8 },
    PeerMoved { tunnel: u8, to: u8 },
    Moved(u8),
    Passed { tunnel: u8, count: u8 },
    LookedAfter,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        (1..4_u8, 2..4_u8).prop_map(|(tunnel, peer)| Happening::Installed { tunnel, peer }),
        (1..4_u8).prop_map(Happening::Removed),
        (1..4_u8, 0..16_u8).prop_map(|(tunnel, generation)| Happening::Rekeyed { tunnel, generation }),
        (1..4_u8, 0..8_u8).prop_map(|(tunnel, to)| Happening::PeerMoved { tunnel, to }),
        (1..4_u8).prop_map(Happening::Moved),
        (1..4_u8, 1..9_u8).prop_map(|(tunnel, count)| Happening::Passed { tunnel, count }),
        Just(Happening::LookedAfter),
    ];
    proptest::collection::vec(one, 1..40)
}

proptest! {
    /// Whatever happens, in whatever order: each tunnel has its states where its packets go, nothing else has any, and no number is
    /// used twice under a key, which the map itself looks after.
    #[test]
    fn the_kernel_holds_what_the_tunnels_are(happenings in happenings()) {
        let model = Model::new();
        let mut ledger = ledger(&model);
        // Of each tunnel: what comes, the newest first, and what leaves.
        let mut tunnels: BTreeMap<u8, (Vec<Spi>, Spi)> = BTreeMap::new();
        let mut fresh = 0_u8;
        for (second, happening) in happenings.into_iter().enumerate() {
            match happening {
                Happening::Installed { tunnel, peer } => {
                    let settings = settings(tunnel, peer);
                    if tunnels.contains_key(&tunnel) {
                        continue;
                    }
                    fresh += 1;
                    ledger.installed(&settings, &key(fresh, settings.spi_in), &key(100 + fresh, settings.spi_out));
                    ledger.leads(settings.remote.v6.into(), Some(settings.spi_in));
                    tunnels.insert(tunnel, (vec![settings.spi_in], settings.spi_out));
                }
                Happening::Removed(tunnel) => {
                    ledger.removed(settings(tunnel, 2).spi_in);
                    tunnels.remove(&tunnel);
                }
                Happening::Rekeyed { tunnel, generation } => {
                    let Some((incoming, outgoing)) = tunnels.get_mut(&tunnel) else { continue };
                    let name = settings(tunnel, 2).spi_in;
                    let (next_in, next_out) = (name.at_generation(generation.into()), outgoing.at_generation(generation.into()));
                    // Nobody tells of a generation that is there.
                    if incoming.contains(&next_in) || *outgoing == next_out {
                        continue;
                    }
                    fresh += 1;
                    ledger.accepts(name, next_in, &key(fresh, next_in));
                    ledger.sends(name, next_out, &key(100 + fresh, next_out));
                    incoming.insert(0, next_in);
                    incoming.truncate(2);
                    *outgoing = next_out;
                }
                Happening::PeerMoved { tunnel, to } => {
                    let next_hop = SocketAddr::new([198, 51, 100, to / 2].into(), 4000 + u16::from(to % 2));
                    ledger.moved(settings(tunnel, 2).spi_in, next_hop);
                }
                Happening::Moved(host) => model.source.set([192, 0, 2, host].into()),
                Happening::Passed { tunnel, count } => {
                    if let Some((incoming, outgoing)) = tunnels.get(&tunnel) {
                        model.pass(incoming[0], count.into());
                        model.pass(*outgoing, count.into());
                    }
                }
                Happening::LookedAfter => {
                    for tunnel in ledger.tunnels() {
                        ledger.look_after(at(second as u64), tunnel);
                    }
                }
            }
            let mut expected: Vec<Spi> =
                tunnels.values().flat_map(|(incoming, outgoing)| incoming.iter().chain([outgoing])).copied().collect();
            let mut there = model.spis();
            expected.sort();
            there.sort();
            prop_assert_eq!(there, expected);
            prop_assert_eq!(ledger.refused(), 0);
        }
    }
}
