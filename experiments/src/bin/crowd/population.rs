//! Who is in a crowd: nodes spread by the seed over domains and over access networks of every kind, and whom each calls.

use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::builder::Builder;
use ntmobile_lab::scenario::event::{TrafficKind, Udp};
use ntmobile_lab::scenario::network::{Family, Nat, Network};
use ntmobile_lab::scenario::problem::ScenarioError;
use ntmobile_lab::scenario::units::{Size, TimeSpan, ms, secs};
use ntmobile_sim::Simulation;
use std::collections::BTreeSet;

/// The pause between one node's login and the next. A server holds 4,096 TLS connections, each for the 30 s that a client may
/// leave it idle, so that an AS can take 136 newcomers a second; these are 12.5, spread as people are.
const LOGIN_PAUSE: TimeSpan = ms(80);

/// The first conversation starts so long after the last login.
const FIRST_CALL: TimeSpan = secs(10);

/// The last conversation starts so long before the end, to be over by then.
const LAST_CALL: TimeSpan = secs(12);

/// How large a crowd, and which one of that size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// How many nodes.
    pub(crate) nodes: u32,
    /// How many minutes they live once everybody is there.
    pub(crate) minutes: u32,
    /// How many conversations each of them opens, each with another peer.
    pub(crate) conversations: u32,
    /// What chance follows from.
    pub(crate) seed: u64,
}

/// A kind of access network.
struct Kind {
    name: &'static str,
    /// So many nodes out of twenty live in one of these.
    share: u32,
    /// So many nodes share one.
    size: u32,
    delay: TimeSpan,
    nat: Option<Nat>,
    families: &'static [Family],
}

const V4: &[Family] = &[Family::Ipv4];
const V6: &[Family] = &[Family::Ipv6];
const BOTH: &[Family] = &[Family::Ipv4, Family::Ipv6];

#[rustfmt::skip]
const KINDS: [Kind; 8] = [
    Kind { name: "home", share: 6, size: 3, delay: ms(8), nat: Some(Nat::home()), families: V4 },
    Kind { name: "carrier", share: 4, size: 100, delay: ms(20), nat: Some(Nat::carrier()), families: V4 },
    Kind { name: "dual", share: 3, size: 3, delay: ms(7), nat: Some(Nat::home()), families: BOTH },
    Kind { name: "office", share: 2, size: 20, delay: ms(4), nat: Some(Nat::symmetric()), families: V4 },
    Kind { name: "cafe", share: 1, size: 5, delay: ms(11), nat: Some(Nat::restricted()), families: V4 },
    Kind { name: "dormitory", share: 1, size: 10, delay: ms(6), nat: Some(Nat::full_cone()), families: V4 },
    Kind { name: "campus", share: 2, size: 50, delay: ms(3), nat: None, families: V4 },
    Kind { name: "mobile", share: 1, size: 50, delay: ms(25), nat: None, families: V6 },
];

impl Kind {
    fn network(&self, network: Network) -> Network {
        network.delay(self.delay).nat(self.nat).families(self.families)
    }

    /// The kind of the `nth` twentieth.
    fn of_share(nth: u64) -> usize {
        let ends = KINDS.iter().scan(0, |end, kind| {
            *end += u64::from(kind.share);
            Some(*end)
        });
        ends.take_while(|end| *end <= nth).count()
    }
}

impl Crowd {
    /// One DC with two RSs for every 125 nodes, from two to eight of them.
    pub(crate) fn domains(&self) -> u32 {
        (self.nodes / 125).clamp(2, 8)
    }

    /// The crowd as a scenario.
    pub(crate) fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut chance = Simulation::new(self.seed).world().entropy("crowd");
        let mut below = |bound: u32| u32::try_from(chance.below(u64::from(bound))).expect("it is below the bound");
        let logins = LOGIN_PAUSE.as_nanos() * u64::from(self.nodes);
        let duration = TimeSpan::from_nanos(logins + u64::from(self.minutes) * 60_000_000_000);
        let from = logins + FIRST_CALL.as_nanos();
        let span = duration.as_nanos() - LAST_CALL.as_nanos() - from;
        let mut builder = Scenario::builder().summary("A crowd.").seed(self.seed).duration(duration);
        for domain in 0..self.domains() {
            let delay = ms(2 + u64::from(below(15)));
            builder = builder.domain(domain_name(domain), |table| table.relays(2).delay(delay));
        }
        builder = self.settle(builder, &mut below);
        for caller in 0..self.nodes {
            for callee in self.callees(caller, &mut below) {
                let start = TimeSpan::from_nanos(from + span / 1_000_000 * u64::from(below(1_000_000)));
                let kind = Udp { every: ms(200), bytes: Size(200), count: Some(5), r#for: None };
                builder = builder.traffic_at(start, node_name(caller), node_name(callee), TrafficKind::Udp(kind));
            }
        }
        builder.build()
    }

    /// Gives everybody a domain, a network and a time to start at.
    fn settle(&self, mut builder: Builder, below: &mut impl FnMut(u32) -> u32) -> Builder {
        let mut settled = [0u32; KINDS.len()];
        for number in 0..self.nodes {
            let kind = Kind::of_share(u64::from(below(20)));
            let network = format!("{}-{}", KINDS[kind].name, settled[kind] / KINDS[kind].size);
            if settled[kind].is_multiple_of(KINDS[kind].size) {
                builder = builder.network(network.clone(), |table| KINDS[kind].network(table));
            }
            settled[kind] += 1;
            let start = TimeSpan::from_nanos(LOGIN_PAUSE.as_nanos() * u64::from(number));
            let domain = domain_name(below(self.domains()));
            builder = builder.node(node_name(number), |node| node.domain(domain).network(network).start(start));
        }
        builder
    }

    /// Whom a node calls: others, each once.
    fn callees(&self, caller: u32, below: &mut impl FnMut(u32) -> u32) -> Vec<u32> {
        let mut seen = BTreeSet::from([caller]);
        let wanted = self.conversations.min(self.nodes.saturating_sub(1)) as usize;
        std::iter::repeat_with(|| below(self.nodes)).filter(|callee| seen.insert(*callee)).take(wanted).collect()
    }
}

fn domain_name(number: u32) -> String {
    format!("u{number}.example")
}

fn node_name(number: u32) -> String {
    format!("n{number:04}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(seed: u64) -> Scenario {
        Crowd { nodes: 200, minutes: 2, conversations: 3, seed }.scenario().expect("a sound scenario")
    }

    #[test]
    fn everybody_calls_as_many_others_as_asked_each_once() {
        let scenario = crowd(1);
        let calls: BTreeSet<_> = scenario.traffic.iter().map(|traffic| (&traffic.from, &traffic.to)).collect();
        assert_eq!((scenario.node.len(), calls.len(), scenario.traffic.len()), (200, 600, 600));
        let starts = scenario.traffic.iter().map(|traffic| traffic.start);
        // 16 s of logins, then two minutes.
        assert!(starts.clone().min() >= Some(secs(26)) && starts.max() <= Some(secs(124)));
    }

    #[test]
    fn a_crowd_has_every_kind_of_network_and_follows_from_its_seed() {
        let scenario = crowd(1);
        for kind in &KINDS {
            assert!(scenario.network.contains_key(&format!("{}-0", kind.name)), "nobody at a {}", kind.name);
        }
        assert_eq!(KINDS.iter().map(|kind| kind.share).sum::<u32>(), 20);
        assert_eq!(scenario, crowd(1));
        assert_ne!(scenario, crowd(2));
    }
}
