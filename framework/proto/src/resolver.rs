//! An iterative DNS resolver without sockets: it finds DCs, ASs and plain hosts, starting at the root.
//!
//! **Invariant:** a server's word is taken only for names inside the zone it was asked about, only under the random
//! identifier of a query that is open, only from the address the query went to.
//!
//! The run loop of whoever drives it: [`Resolver::start`] a look-up, or hand over a datagram by
//! [`Resolver::handle_response`], or call [`Resolver::expire`] at [`Resolver::deadline`]; then send everything of
//! [`Resolver::poll_transmit`] and take every result of [`Resolver::poll_finished`].
//!
//! # How the DC of a node is found, and what it costs
//!
//! A DC is the name server of its domain, so the delegation that leads to the domain names the DC and, as glue, its
//! addresses. Looking for `alice.u1.example`, in sequential round trips:
//!
//! | step | asked of | costs | learnt |
//! | --- | --- | --- | --- |
//! | 1 | a root server | 1 | the servers of `example` |
//! | 2 | a server of `example` | 1 | that `dc.u1.example` is the name server of `u1.example`, and its addresses |
//! | 3 | the DC itself, all at once | 1 | SRV `_ntm._udp` and `_ntm-tls._udp` of `u1.example`: ports and target |
//!
//! * **Cold: 3.** Step 3 also carries whichever address family the glue lacked and the question whether the name itself
//!   is delegated further; they cost datagrams, not time.
//! * **The top-level domain known: 2. The domain's delegation known but its SRV records expired: 1.**
//! * **Warm: 0**, for every node of the domain and not only the one looked up first: a name directly below a domain that
//!   publishes `_ntm._udp` is that domain's by the network's naming rule, so that it need not be asked whether the node
//!   exists, and the DC says so itself when it does not. A DC whose domain lies directly below another DC's is therefore
//!   looked up by the name of a node in it.
//! * **One more** for each further zone cut on the way down; for an SRV target whose addresses neither the answer nor the
//!   glue brought along; and, warm, for a node not asked for before in a domain that publishes no SRV record (the closest
//!   zone that encloses the name counts, and only its server knows that there is no closer one).
//! * **Without `_ntm._udp`** the name server is the DC, on ports 4500 and 4433. A top-level domain is a registry's and
//!   counts as a DC's only if it does publish one.
//! * An **AS** (SRV `_ntm-as._udp`) costs as much as a DC when an address that we can reach comes along in the answer, and
//!   what a plain host costs more when not. A **plain host** costs one round trip per zone cut, both families at once, and again for each alias.
//!
//! Everything learnt is kept for its TTL (at least 20 s, longer than a look-up may take; what does not exist by RFC 2308),
//! in bounded memory, for all look-ups of the host together. Look-ups that want the same thing share its queries.
//!
//! A query that is not answered goes to the next server, after 400 ms where the one that was asked is not known and otherwise
//! after what its earlier answers took; from the second round on with growing waits, answers to earlier tries remaining
//! welcome, until the look-up's time is over after 15 s: [`LookupFailure::TimedOut`]. The letters' case is not randomised:
//! identifier and, if the caller opens a port per [`QueryId`], port make 32 bits.
//!
//! An answer that was cut to fit a datagram is asked for again over TCP (RFC 7766), of the same server; its outcome comes back
//! by [`Resolver::handle_stream`].

mod cache;
mod goal;
mod message;
mod servers;
mod walk;

#[cfg(test)]
mod tests;

use crate::machine::{Lookup, LookupFailure, ServerAddresses};
use crate::time::Instant;
use bytes::Bytes;
use cache::{Cache, Question};
use goal::{Progress, View};
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::name::Fqdn;
use servers::Servers;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use walk::Walk;

/// A look-up under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// One query, through all its retransmissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// The address families that the host can send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Families {
    /// Those of the host's own addresses; both if it has none now, for it may have some before an answer is due.
    pub fn of(addresses: &[IpAddr]) -> Self {
        let (v4, v6) = (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6));
        if v4 || v6 { Self { v4, v6 } } else { Self { v4: true, v6: true } }
    }

    /// Whether an address is of a family that the host has.
    fn reach(self, address: &SocketAddr) -> bool {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// What a look-up is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A server of the network.
    Server(Lookup),
    /// The addresses of a host.
    Host(Fqdn),
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A server of the network.
    Server(ServerAddresses),
    /// The addresses of a host that are of the families we have, IPv4 first; not empty.
    Host(Vec<IpAddr>),
}

/// How a query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As a datagram.
    Udp,
    /// Behind two bytes of length, which are the caller's to write, on a connection of its own.
    Tcp,
}

/// A query to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The query it belongs to. A host that wants an unpredictable port for each opens one when it first sees the
    /// number, and closes it once [`Resolver::is_open`] says no.
    pub query: QueryId,
    /// How.
    pub transport: Transport,
    /// Where to.
    pub to: SocketAddr,
    /// By which name the server there is known; none for a root server, of which nothing but the address is.
    pub server: Option<Fqdn>,
    /// The look-up that it is for, the first where several share it.
    pub lookup: Option<LookupId>,
    /// The DNS message.
    pub bytes: Bytes,
}

/// How long a look-up may take.
pub const TIME_OUT: Duration = Duration::from_secs(15);
/// Entries of the cache; an entry is about a hundred bytes.
const CACHE_CAPACITY: usize = 8_192;
/// Look-ups under way at once; more are refused, since a remote party can cause them.
const MOST_LOOKUPS: usize = 4_096;

/// Whom it concerns when a question is answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiter {
    Lookup(LookupId),
    Question(Question),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Lookup(LookupId),
    Question(Question),
}

/// A look-up under way.
#[derive(Debug)]
struct Pending {
    wanted: Wanted,
    deadline: Instant,
    waiting: BTreeSet<Question>,
    failed: BTreeMap<Question, LookupFailure>,
}

/// The resolver of one host.
#[derive(Debug)]
pub struct Resolver {
    root_hints: Vec<SocketAddr>,
    families: Families,
    cache: Cache,
    lookups: BTreeMap<LookupId, Pending>,
    walks: BTreeMap<Question, Walk>,
    open: BTreeMap<u16, Question>,
    open_queries: BTreeSet<QueryId>,
    servers: Servers,
    timers: BTreeSet<(Instant, Timer)>,
    woken: VecDeque<Waiter>,
    transmits: VecDeque<Transmit>,
    finished: VecDeque<(LookupId, Result<Found, LookupFailure>)>,
    next_lookup: u64,
    next_query: u64,
}

impl Resolver {
    /// Knows nothing but where the root servers are.
    pub fn new(root_hints: Vec<SocketAddr>, families: Families) -> Self {
        Self {
            root_hints,
            families,
            cache: Cache::new(CACHE_CAPACITY),
            lookups: BTreeMap::new(),
            walks: BTreeMap::new(),
            open: BTreeMap::new(),
            open_queries: BTreeSet::new(),
            servers: Servers::default(),
            timers: BTreeSet::new(),
            woken: VecDeque::new(),
            transmits: VecDeque::new(),
            finished: VecDeque::new(),
            next_lookup: 0,
            next_query: 0,
        }
    }

    /// The host has moved and may have other address families now. What is known stays known; queries under way are
    /// sent anew at once.
    pub fn set_families(&mut self, now: Instant, entropy: &mut dyn Entropy, families: Families) {
        self.families = families;
        // Servers were silent, or quick, on the paths of before.
        self.servers.forget();
        let questions: Vec<Question> = self.walks.keys().cloned().collect();
        for question in questions {
            self.stop_asking(&question);
            self.woken.push_back(Waiter::Question(question));
        }
        self.woken.extend(self.lookups.keys().map(|id| Waiter::Lookup(*id)));
        self.settle(now, entropy);
    }

    /// Begins a look-up; its result comes from [`Resolver::poll_finished`], at once where everything is known.
    pub fn start(&mut self, now: Instant, entropy: &mut dyn Entropy, wanted: Wanted) -> LookupId {
        let id = LookupId(self.next_lookup);
        self.next_lookup += 1;
        if self.lookups.len() >= MOST_LOOKUPS {
            self.finished.push_back((id, Err(LookupFailure::TimedOut)));
            return id;
        }
        let deadline = now + TIME_OUT;
        let pending = Pending { wanted, deadline, waiting: BTreeSet::new(), failed: BTreeMap::new() };
        self.lookups.insert(id, pending);
        self.timers.insert((deadline, Timer::Lookup(id)));
        self.woken.push_back(Waiter::Lookup(id));
        self.settle(now, entropy);
        id
    }

    /// A datagram came to a port that queries were sent from. Tells whether it was the answer to an open query; strays
    /// and forgeries change nothing.
    pub fn handle_response(&mut self, now: Instant, entropy: &mut dyn Entropy, from: SocketAddr, bytes: &[u8]) -> bool {
        let taken = self.read(now, entropy, (from, Transport::Udp), bytes);
        self.settle(now, entropy);
        taken
    }

    /// What a query over TCP has come to: the answer without its length, or `None` where the connection could not be made, broke
    /// or brought none. Tells whether it was the answer to an open query.
    pub fn handle_stream(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
        (query, server): (QueryId, SocketAddr),
        answer: Option<&[u8]>,
    ) -> bool {
        let taken = match answer {
            Some(bytes) => self.read(now, entropy, (server, Transport::Tcp), bytes),
            None => {
                self.stream_failed(now, query, server);
                false
            }
        };
        self.settle(now, entropy);
        taken
    }

    /// The next query to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next look-up that has come to its end.
    pub fn poll_finished(&mut self) -> Option<(LookupId, Result<Found, LookupFailure>)> {
        self.finished.pop_front()
    }

    /// Whether an answer to this query is still waited for.
    pub fn is_open(&self, query: QueryId) -> bool {
        self.open_queries.contains(&query)
    }

    /// When [`Resolver::expire`] wants to be called next; `None` for never.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The deadline has come.
    pub fn expire(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
        {
            match self.timers.pop_first() {
                Some((_, Timer::Lookup(id))) => self.finish(id, Err(LookupFailure::TimedOut)),
                Some((_, Timer::Question(question))) => self.retry(now, &question),
                None => {}
            }
        }
        self.settle(now, entropy);
    }

    /// Lets everyone whom news concerns look again, until there is no more news.
    fn settle(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while let Some(waiter) = self.woken.pop_front() {
            match waiter {
                Waiter::Lookup(id) => self.advance_lookup(now, id),
                Waiter::Question(question) => self.advance_walk(now, entropy, &question),
            }
        }
    }

    /// Looks what a look-up still needs, and asks for it.
    fn advance_lookup(&mut self, now: Instant, id: LookupId) {
        let Some(pending) = self.lookups.get(&id) else { return };
        let view = View { cache: &self.cache, now, families: self.families, failed: &pending.failed };
        match goal::evaluate(&view, &pending.wanted) {
            Progress::Done(result) => self.finish(id, result),
            Progress::Needs(questions) => {
                let new: Vec<Question> = questions.difference(&pending.waiting).cloned().collect();
                for question in new {
                    self.join(question, Waiter::Lookup(id), 0);
                }
            }
        }
    }

    /// Ends a look-up, and everything that only it waited for.
    fn finish(&mut self, id: LookupId, result: Result<Found, LookupFailure>) {
        let Some(pending) = self.lookups.remove(&id) else { return };
        self.timers.remove(&(pending.deadline, Timer::Lookup(id)));
        for question in pending.waiting {
            self.leave(&question, &Waiter::Lookup(id));
        }
        self.finished.push_back((id, result));
    }
}
