//! One question's way down the tree of zones: which servers to ask, when to ask again, when to give up.

use super::cache::{Data, Kind, Question};
use super::message::{self, Unread};
use super::{LookupId, QueryId, Resolver, Timer, Transmit, Transport, Waiter};
use crate::machine::LookupFailure;
use crate::time::Instant;
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// How long an answer over TCP may take, with the connection that it needs.
const STREAM_WAIT: Duration = Duration::from_secs(5);
/// Servers of one zone that are asked.
const MOST_SERVERS: usize = 16;
/// Name servers of one zone whose addresses are looked up, where no glue came along: a zone with many names in others'
/// zones must not make us flood those.
const MOST_GLUELESS: usize = 2;
/// How many look-ups of name servers may nest.
const DEEPEST: u8 = 3;
/// Zones and servers tried by one question.
const MOST_STEPS: u32 = 24;
/// Questions under way at once.
const MOST_WALKS: usize = 16_384;

/// A question under way.
#[derive(Debug)]
pub(super) struct Walk {
    waiters: BTreeSet<Waiter>,
    depth: u8,
    steps: u32,
    /// Addresses of name servers that it waits for, and those that were not found.
    children: BTreeSet<Question>,
    failed: BTreeMap<Question, LookupFailure>,
    asking: Option<Asking>,
}

/// A query that waits for its answer.
#[derive(Debug)]
struct Asking {
    /// The zone whose servers are asked; `None` is the root.
    zone: Option<Fqdn>,
    servers: Vec<SocketAddr>,
    /// Of these, whom it was sent to and who has not answered uselessly.
    asked: BTreeMap<SocketAddr, Asked>,
    next: usize,
    query: QueryId,
    id: u16,
    retry_at: Instant,
}

/// A server that was asked.
#[derive(Debug)]
struct Asked {
    /// When for the first time.
    first: Instant,
    times: u32,
    /// Its answer does not fit a datagram: it is asked over TCP.
    by_stream: bool,
}

impl Asking {
    /// Whom it was sent to last.
    fn current(&self) -> SocketAddr {
        self.servers[(self.next + self.servers.len() - 1) % self.servers.len()]
    }
}

/// What can be done next for a question.
enum Step {
    Ask(Option<Fqdn>, Vec<SocketAddr>),
    FindServers(Vec<Question>),
    GiveUp(LookupFailure),
}

impl Resolver {
    /// Lets `waiter` wait for `question`, which is asked unless it is already.
    pub(super) fn join(&mut self, question: Question, waiter: Waiter, depth: u8) {
        let hopeless = match &waiter {
            Waiter::Question(parent) => depth > DEEPEST || self.waits_for(&question, parent),
            Waiter::Lookup(_) => false,
        };
        let is_new = !self.walks.contains_key(&question);
        if hopeless || (is_new && self.walks.len() >= MOST_WALKS) {
            self.tell_failure(&waiter, &question, LookupFailure::Broken);
            self.woken.push_back(waiter);
            return;
        }
        match &waiter {
            Waiter::Lookup(id) => self.lookups.get_mut(id).map(|lookup| lookup.waiting.insert(question.clone())),
            Waiter::Question(parent) => self.walks.get_mut(parent).map(|walk| walk.children.insert(question.clone())),
        };
        let walk = self.walks.entry(question.clone()).or_insert_with(|| Walk {
            waiters: BTreeSet::new(),
            depth,
            steps: 0,
            children: BTreeSet::new(),
            failed: BTreeMap::new(),
            asking: None,
        });
        walk.waiters.insert(waiter);
        if is_new {
            self.woken.push_back(Waiter::Question(question));
        }
    }

    /// `waiter` does not wait for `question` any more; what nobody waits for ends.
    pub(super) fn leave(&mut self, question: &Question, waiter: &Waiter) {
        let mut left = vec![(question.clone(), waiter.clone())];
        while let Some((question, waiter)) = left.pop() {
            let Some(walk) = self.walks.get_mut(&question) else { continue };
            walk.waiters.remove(&waiter);
            if walk.waiters.is_empty() {
                left.extend(self.end(&question).into_iter().map(|child| (child, Waiter::Question(question.clone()))));
            }
        }
    }

    /// Forgets a question; returns what it waited for itself.
    fn end(&mut self, question: &Question) -> BTreeSet<Question> {
        let Some(mut walk) = self.walks.remove(question) else { return BTreeSet::new() };
        self.close(question, walk.asking.take());
        walk.children
    }

    /// No answer to this query is welcome any more.
    fn close(&mut self, question: &Question, asking: Option<Asking>) {
        if let Some(asking) = asking {
            self.timers.remove(&(asking.retry_at, Timer::Question(question.clone())));
            self.open.remove(&asking.id);
            self.open_queries.remove(&asking.query);
        }
    }

    /// The question's query is not waited for any more, the question itself is.
    pub(super) fn stop_asking(&mut self, question: &Question) {
        let asking = self.walks.get_mut(question).and_then(|walk| walk.asking.take());
        self.close(question, asking);
    }

    /// Whether `question` waits for `other`, directly or through others.
    fn waits_for(&self, question: &Question, other: &Question) -> bool {
        let mut seen = BTreeSet::new();
        let mut left = vec![question];
        while let Some(next) = left.pop() {
            if next == other {
                return true;
            }
            if seen.insert(next) {
                left.extend(self.walks.get(next).into_iter().flat_map(|walk| &walk.children));
            }
        }
        false
    }

    /// A question has ended, with what it knows in the cache or with `failure`: everyone who waits is woken.
    fn conclude(&mut self, question: &Question, failure: Option<LookupFailure>) {
        let Some(walk) = self.walks.get_mut(question) else { return };
        let waiters = std::mem::take(&mut walk.waiters);
        let children = self.end(question);
        for child in children {
            self.leave(&child, &Waiter::Question(question.clone()));
        }
        for waiter in waiters {
            match &waiter {
                Waiter::Lookup(id) => self.lookups.get_mut(id).map(|lookup| lookup.waiting.remove(question)),
                Waiter::Question(parent) => self.walks.get_mut(parent).map(|walk| walk.children.remove(question)),
            };
            if let Some(failure) = failure {
                self.tell_failure(&waiter, question, failure);
            }
            self.woken.push_back(waiter);
        }
    }

    fn tell_failure(&mut self, waiter: &Waiter, question: &Question, failure: LookupFailure) {
        match waiter {
            Waiter::Lookup(id) => {
                self.lookups.get_mut(id).map(|lookup| lookup.failed.insert(question.clone(), failure))
            }
            Waiter::Question(parent) => {
                self.walks.get_mut(parent).map(|walk| walk.failed.insert(question.clone(), failure))
            }
        };
    }

    /// Goes on with a question after something new is known.
    pub(super) fn advance_walk(&mut self, now: Instant, entropy: &mut dyn Entropy, question: &Question) {
        let Some(walk) = self.walks.get(question) else { return };
        if self.cache.get(now, question).is_some() {
            self.conclude(question, None);
            return;
        }
        match self.next_step(now, question, walk) {
            Step::Ask(zone, servers) => {
                if walk.asking.as_ref().is_none_or(|asking| asking.zone != zone) {
                    self.ask(now, entropy, question, zone, servers);
                }
            }
            Step::FindServers(addresses) => {
                let depth = walk.depth + 1;
                let new: Vec<Question> = addresses.into_iter().filter(|child| !walk.children.contains(child)).collect();
                self.stop_asking(question);
                for child in new {
                    self.join(child, Waiter::Question(question.clone()), depth);
                }
            }
            Step::GiveUp(failure) => self.conclude(question, Some(failure)),
        }
    }

    /// Finds the deepest zone on the way to the name of which a server can be asked.
    fn next_step(&self, now: Instant, question: &Question, walk: &Walk) -> Step {
        if walk.steps >= MOST_STEPS {
            return Step::GiveUp(LookupFailure::Broken);
        }
        for zone in self.cache.enclosing_zones(now, &question.name) {
            let names = self.cache.name_servers(now, &zone).unwrap_or_default();
            let servers = self.server_addresses(now, names);
            if !servers.is_empty() {
                return Step::Ask(Some(zone), servers);
            }
            // Names inside the zone itself cannot be found without glue: that takes its parent's servers.
            let mut outside = names.iter().filter(|name| !name.is_within(&zone)).take(MOST_GLUELESS).peekable();
            if outside.peek().is_some() {
                let addresses: Vec<Question> = outside
                    .flat_map(|name| self.own_kinds().map(|kind| Question::new(name.clone(), kind)))
                    .filter(|child| !walk.failed.contains_key(child) && self.cache.get(now, child).is_none())
                    .collect();
                if addresses.is_empty() {
                    let timed_out = walk.failed.values().any(|failure| *failure == LookupFailure::TimedOut);
                    return Step::GiveUp(if timed_out { LookupFailure::TimedOut } else { LookupFailure::Broken });
                }
                return Step::FindServers(addresses);
            }
        }
        let roots: Vec<SocketAddr> = self.root_hints.iter().filter(|hint| self.families.reach(hint)).copied().collect();
        if roots.is_empty() { Step::GiveUp(LookupFailure::TimedOut) } else { Step::Ask(None, roots) }
    }

    /// The address types that the host can use.
    fn own_kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let families = self.families;
        [(Kind::A, families.v4), (Kind::Aaaa, families.v6)].into_iter().filter_map(|(kind, own)| own.then_some(kind))
    }

    /// Where these name servers are, as far as it is known and the host can send there.
    fn server_addresses(&self, now: Instant, names: &[Fqdn]) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for name in names {
            for kind in self.own_kinds() {
                match self.cache.get(now, &Question::new(name.clone(), kind)) {
                    Some(Data::V4(found)) => addresses.extend(found.iter().map(|ip| SocketAddr::from((*ip, 53)))),
                    Some(Data::V6(found)) => addresses.extend(found.iter().map(|ip| SocketAddr::from((*ip, 53)))),
                    _ => {}
                }
            }
        }
        addresses.truncate(MOST_SERVERS);
        addresses
    }

    /// Begins to ask the servers of a zone, those last that were silent lately.
    fn ask(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
        question: &Question,
        zone: Option<Fqdn>,
        mut servers: Vec<SocketAddr>,
    ) {
        servers.sort_by_key(|server| self.servers.is_silent(server, now));
        let mut id = u16::from_be_bytes(draw(entropy));
        // Walks are fewer than identifiers, so this ends.
        while self.open.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        let query = QueryId(self.next_query);
        let Some(walk) = self.walks.get_mut(question) else { return };
        walk.steps += 1;
        let before =
            walk.asking.replace(Asking { zone, servers, asked: BTreeMap::new(), next: 0, query, id, retry_at: now });
        self.close(question, before);
        self.next_query += 1;
        self.open.insert(id, question.clone());
        self.open_queries.insert(query);
        self.send(now, question);
    }

    /// Sends the query to the next server in the line.
    fn send(&mut self, now: Instant, question: &Question) {
        let Some(asking) = self.walks.get_mut(question).and_then(|walk| walk.asking.as_mut()) else { return };
        let server = asking.servers[asking.next % asking.servers.len()];
        // Another server need not be waited for longer; the same one, asked again and again, is.
        let round = asking.next / asking.servers.len();
        asking.next += 1;
        let asked = asking.asked.entry(server).or_insert(Asked { first: now, times: 0, by_stream: false });
        asked.times += 1;
        let (transport, wait) = match asked.by_stream {
            true => (Transport::Tcp, STREAM_WAIT),
            false => (Transport::Udp, self.servers.wait(&server, round)),
        };
        self.timers.remove(&(asking.retry_at, Timer::Question(question.clone())));
        asking.retry_at = now + wait;
        self.timers.insert((asking.retry_at, Timer::Question(question.clone())));
        let bytes = message::write_query(asking.id, question);
        let (query, zone) = (asking.query, asking.zone.clone());
        let name = zone.and_then(|zone| self.server_name(now, &zone, server));
        let lookup = self.first_lookup(question);
        self.transmits.push_back(Transmit { query, transport, to: server, server: name, lookup, bytes });
    }

    /// Which of a zone's name servers is at an address.
    fn server_name(&self, now: Instant, zone: &Fqdn, address: SocketAddr) -> Option<Fqdn> {
        let names = self.cache.name_servers(now, zone)?;
        names.iter().find(|name| self.server_addresses(now, std::slice::from_ref(*name)).contains(&address)).cloned()
    }

    /// The look-up that a question is asked for, by way of the questions that wait for it.
    fn first_lookup(&self, question: &Question) -> Option<LookupId> {
        let mut question = question;
        for _ in 0..=DEEPEST {
            let waiters = &self.walks.get(question)?.waiters;
            match waiters.first()? {
                Waiter::Lookup(id) => return Some(*id),
                Waiter::Question(parent) => question = parent,
            }
        }
        None
    }

    /// Nobody has answered in time: another server, or the same once more.
    pub(super) fn retry(&mut self, now: Instant, question: &Question) {
        let Some(asking) = self.walks.get(question).and_then(|walk| walk.asking.as_ref()) else { return };
        self.servers.fell_silent(asking.current(), now);
        self.send(now, question);
    }

    /// A query over TCP will not be answered.
    pub(super) fn stream_failed(&mut self, now: Instant, query: QueryId, server: SocketAddr) {
        let question = self.walks.iter().find(|(_, walk)| walk.asking.as_ref().is_some_and(|a| a.query == query));
        if let Some(question) = question.map(|(question, _)| question.clone()) {
            self.useless(now, &question, server);
        }
    }

    /// Reads a message; tells whether it was the answer to an open query.
    pub(super) fn read(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
        (from, transport): (SocketAddr, Transport),
        bytes: &[u8],
    ) -> bool {
        let Some(question) = message::identifier(bytes).and_then(|id| self.open.get(&id)).cloned() else {
            return false;
        };
        let Some(walk) = self.walks.get_mut(&question) else { return false };
        let Some(asking) = walk.asking.as_mut() else { return false };
        let (id, zone) = (asking.id, asking.zone.clone());
        let Some(asked) = asking.asked.get_mut(&from) else { return false };
        // Sent more than once, nobody knows which copy was answered (Karn's rule).
        let after = (asked.times == 1 && transport == Transport::Udp).then(|| now.since(asked.first));
        match message::read_answer((bytes, transport), id, &question, zone.as_ref()) {
            Err(Unread::Stray) => false,
            Err(Unread::Cut) if asked.by_stream => true,
            Err(Unread::Cut) => {
                asked.by_stream = true;
                self.servers.answered(from, after);
                self.ask_next(now, &question, from);
                true
            }
            Err(Unread::Useless) => {
                self.useless(now, &question, from);
                true
            }
            Ok(facts) => {
                self.servers.answered(from, after);
                for fact in facts {
                    self.cache.learn(now, fact);
                }
                self.advance_walk(now, entropy, &question);
                // A delegation that leads nowhere new is as good as no answer.
                match self.walks.get(&question) {
                    Some(walk) if walk.asking.as_ref().is_some_and(|asking| asking.zone == zone) => {
                        self.useless(now, &question, from);
                    }
                    Some(walk) => self.woken.extend(walk.waiters.iter().cloned()),
                    None => {}
                }
                true
            }
        }
    }

    /// A server cannot help with this question: the others may; with none left the question fails.
    fn useless(&mut self, now: Instant, question: &Question, from: SocketAddr) {
        let Some(walk) = self.walks.get_mut(question) else { return };
        let Some(asking) = walk.asking.as_mut() else { return };
        walk.steps += 1;
        let current = asking.current();
        asking.servers.retain(|server| *server != from);
        asking.asked.remove(&from);
        if asking.servers.is_empty() || walk.steps >= MOST_STEPS {
            self.conclude(question, Some(LookupFailure::Broken));
        } else if current == from {
            asking.next = 0;
            self.send(now, question);
        }
    }

    /// Asks this server at once, whosever turn it is.
    fn ask_next(&mut self, now: Instant, question: &Question, server: SocketAddr) {
        let Some(asking) = self.walks.get_mut(question).and_then(|walk| walk.asking.as_mut()) else { return };
        let turn = asking.next - asking.next % asking.servers.len();
        let place = asking.servers.iter().position(|known| *known == server).unwrap_or_default();
        asking.next = turn + place;
        self.send(now, question);
    }
}
