//! DNS for one host: a task around the sans-IO resolver, shared by every entity and application on the host so that
//! they share what is known.
//!
//! Each query leaves from a port of its own, which is closed as soon as nobody waits for an answer on it; so does the connection
//! of one that has to go over TCP.

mod stream;

use bytes::Bytes;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{Net, NetError, Received, UdpPort};
use ntmobile_proto::machine::{Lookup, LookupFailure, ServerAddresses};
use ntmobile_proto::resolver::{Families, Found, LookupId, QueryId, Resolver, Transmit, Transport, Wanted};
use ntmobile_proto::time::Instant;
use ntmobile_proto::trace::{Span, SpanEvent, SpanKind};
use ntmobile_telemetry::Recorder;
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::trace_context::TraceContext;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// So many look-ups may wait to be begun.
const QUEUE: usize = 64;
/// So many connections to name servers may stand; a query that needs one more fails.
const MOST_STREAMS: usize = 64;

/// What the resolver of a host needs.
pub struct ResolutionPorts {
    /// The host's name in traces and counts.
    pub name: Arc<str>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The host's network.
    pub net: Arc<dyn Net>,
    /// Query identifiers come from here.
    pub entropy: Box<dyn Entropy + Send>,
    /// Where spans and counts go.
    pub recorder: Recorder,
    /// Where the root servers are.
    pub root_servers: Vec<SocketAddr>,
}

/// Reaches the resolver of a host. Clones reach the same one; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Resolution {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    wanted: Wanted,
    trace: Option<TraceContext>,
    answer: oneshot::Sender<Result<Found, LookupFailure>>,
}

impl Resolution {
    /// Starts the resolver of a host.
    ///
    /// # Panics
    /// When called outside an actix system.
    pub fn start(ports: ResolutionPorts) -> Self {
        let (requests, incoming) = mpsc::channel(QUEUE);
        let resolver = Resolver::new(ports.root_servers.clone(), Families::of(&ports.net.addresses()));
        let service = Service {
            ports,
            resolver,
            sockets: BTreeMap::new(),
            streams: JoinSet::new(),
            streaming: BTreeMap::new(),
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        actix::spawn(service.run(incoming));
        Self { requests }
    }

    /// Finds a server of the network.
    pub async fn server(&self, lookup: Lookup, trace: Option<TraceContext>) -> Result<ServerAddresses, LookupFailure> {
        match self.resolve(Wanted::Server(lookup), trace).await? {
            Found::Server(addresses) => Ok(addresses),
            Found::Host(_) => Err(LookupFailure::Broken),
        }
    }

    /// Finds the addresses of any host; for names that are not the network's.
    pub async fn host(&self, name: Fqdn, trace: Option<TraceContext>) -> Result<Vec<IpAddr>, LookupFailure> {
        match self.resolve(Wanted::Host(name), trace).await? {
            Found::Host(addresses) => Ok(addresses),
            Found::Server(_) => Err(LookupFailure::Broken),
        }
    }

    async fn resolve(&self, wanted: Wanted, trace: Option<TraceContext>) -> Result<Found, LookupFailure> {
        let (answer, answered) = oneshot::channel();
        let request = Request { wanted, trace, answer };
        self.requests.send(request).await.map_err(|_task_gone| LookupFailure::TimedOut)?;
        answered.await.unwrap_or(Err(LookupFailure::TimedOut))
    }
}

/// A look-up under way.
struct Waiting {
    answer: oneshot::Sender<Result<Found, LookupFailure>>,
    /// The span it is part of, and its own.
    trace: Option<(TraceContext, TraceContext)>,
    name: String,
    since: Instant,
}

/// Name servers are asked under these: the query, and whom.
type Asked = (QueryId, SocketAddr);

struct Service {
    ports: ResolutionPorts,
    resolver: Resolver,
    sockets: BTreeMap<QueryId, Arc<dyn UdpPort>>,
    /// Queries over TCP, and their outcomes.
    streams: JoinSet<(Asked, Option<Bytes>)>,
    streaming: BTreeMap<Asked, AbortHandle>,
    waiting: BTreeMap<LookupId, Waiting>,
    /// The spans of queries that wait for an answer.
    asked: BTreeMap<Asked, Span>,
}

impl Service {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let (clock, net) = (Arc::clone(&self.ports.clock), Arc::clone(&self.ports.net));
        let mut moved = net.address_change(0);
        loop {
            let deadline = self.resolver.deadline();
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(request) => self.begin(request),
                    None => return,
                },
                received = receive_any(&self.sockets) => self.take(received),
                Some(ended) = self.streams.join_next() => {
                    // One that was broken off has no outcome.
                    if let Ok((asked, answer)) = ended {
                        self.take_streamed(asked, answer.as_deref());
                    }
                }
                () = sleep_until(&*clock, deadline) => {
                    self.resolver.expire(clock.now(), &mut *self.ports.entropy);
                }
                changes = &mut moved => {
                    moved = net.address_change(changes);
                    let families = Families::of(&net.addresses());
                    self.resolver.set_families(clock.now(), &mut *self.ports.entropy, families);
                }
            }
            self.carry_out();
        }
    }

    fn begin(&mut self, request: Request) {
        let since = self.ports.clock.now();
        let name = describe(&request.wanted);
        let trace = request.trace.map(|parent| (parent, parent.child(&mut *self.ports.entropy)));
        let id = self.resolver.start(since, &mut *self.ports.entropy, request.wanted);
        self.waiting.insert(id, Waiting { answer: request.answer, trace, name, since });
    }

    fn take(&mut self, (query, received): (QueryId, Result<Received, NetError>)) {
        let Ok(received) = received else {
            // The socket is of no use any more; the resolver tries again when its time comes.
            self.sockets.remove(&query);
            return self.count("dns.socket_error");
        };
        let now = self.ports.clock.now();
        if !self.resolver.handle_response(now, &mut *self.ports.entropy, received.from, &received.bytes) {
            return self.count("dns.stray_answer");
        }
        self.answered((query, received.from));
    }

    fn take_streamed(&mut self, asked: Asked, answer: Option<&[u8]>) {
        self.streaming.remove(&asked);
        let now = self.ports.clock.now();
        if self.resolver.handle_stream(now, &mut *self.ports.entropy, asked, answer) {
            self.answered(asked);
        } else {
            self.count("dns.stream_failed");
        }
    }

    /// Ends the span of a query.
    fn answered(&mut self, asked: Asked) {
        if let Some(span) = self.asked.remove(&asked) {
            let end = self.ports.clock.now();
            self.ports.recorder.record(&self.ports.name, Span { end, ..span });
        }
    }

    /// Sends what the resolver wants sent and hands out what it has found.
    fn carry_out(&mut self) {
        while let Some(Transmit { query, transport, to, server, lookup, bytes }) = self.resolver.poll_transmit() {
            self.trace_query((query, to), server, lookup);
            match transport {
                Transport::Tcp => self.stream((query, to), bytes),
                Transport::Udp => {
                    if self.send(query, to, bytes).is_err() {
                        self.count("dns.unsent");
                    }
                }
            }
        }
        while let Some((id, result)) = self.resolver.poll_finished() {
            if let Some(waiting) = self.waiting.remove(&id) {
                self.record(&waiting, &result);
                // Whoever asked may have lost interest.
                let _ = waiting.answer.send(result);
            }
        }
        let (resolver, now) = (&self.resolver, self.ports.clock.now());
        for (_, mut span) in self.asked.extract_if(.., |(query, _), _| !resolver.is_open(*query)) {
            (span.end, span.failure) = (now, Some("no answer while one was awaited".into()));
            self.ports.recorder.record(&self.ports.name, span);
        }
        self.sockets.retain(|&query, _| resolver.is_open(query));
        for (_, stream) in self.streaming.extract_if(.., |(query, _), _| !resolver.is_open(*query)) {
            stream.abort();
        }
    }

    /// Begins the span of a query, or notes in it that the query is sent again.
    fn trace_query(&mut self, asked: Asked, server: Option<Fqdn>, lookup: Option<LookupId>) {
        let now = self.ports.clock.now();
        if let Some(span) = self.asked.get_mut(&asked) {
            span.events.push(SpanEvent { at: now, name: "retransmitted".into() });
            return;
        }
        let Some((_, lookup)) = lookup.and_then(|id| self.waiting.get(&id)?.trace) else { return };
        let context = lookup.child(&mut *self.ports.entropy);
        let server = server.map_or_else(|| "root".to_owned(), |name| name.to_string());
        let span = Span::new(context, Some(lookup.span), "DNS Query", SpanKind::Client, (now, now));
        self.asked.insert(asked, span.with("ntm.server", server));
    }

    fn send(&mut self, query: QueryId, to: SocketAddr, bytes: Bytes) -> Result<(), NetError> {
        if !self.sockets.contains_key(&query) {
            self.sockets.insert(query, self.ports.net.bind_udp(0)?);
        }
        self.sockets[&query].send(to, bytes)
    }

    /// Asks over TCP. A connection that is on its way is left to itself: TCP repeats what is lost.
    fn stream(&mut self, asked: Asked, bytes: Bytes) {
        if self.streaming.contains_key(&asked) {
            return;
        }
        if self.streaming.len() >= MOST_STREAMS {
            return self.take_streamed(asked, None);
        }
        self.count("dns.asked_over_tcp");
        let connecting = self.ports.net.connect_tcp(asked.1);
        let asking = async move { (asked, stream::ask(connecting, bytes).await) };
        self.streaming.insert(asked, self.streams.spawn_local(asking));
    }

    fn record(&mut self, waiting: &Waiting, result: &Result<Found, LookupFailure>) {
        let Some((parent, context)) = waiting.trace else { return };
        let times = (waiting.since, self.ports.clock.now());
        let mut span = Span::new(context, Some(parent.span), "DNS Lookup", SpanKind::Internal, times)
            .with("ntm.lookup", waiting.name.clone());
        span.failure = result.as_ref().err().map(|failure| failure.to_string().into());
        self.ports.recorder.record(&self.ports.name, span);
    }

    fn count(&self, name: &'static str) {
        self.ports.recorder.count(&self.ports.name, name, 1);
    }
}

fn describe(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Server(Lookup::DirectionCoordinator(name)) => format!("the DC of {name}"),
        Wanted::Server(Lookup::AccountServer(name)) => format!("the AS of {name}"),
        Wanted::Host(name) => name.to_string(),
    }
}

/// Waits for a datagram on any of the sockets; for ever if there are none.
async fn receive_any(sockets: &BTreeMap<QueryId, Arc<dyn UdpPort>>) -> (QueryId, Result<Received, NetError>) {
    poll_fn(|context| {
        for (&query, socket) in sockets {
            if let Poll::Ready(received) = socket.poll_receive(context) {
                return Poll::Ready((query, received));
            }
        }
        Poll::Pending
    })
    .await
}

async fn sleep_until(clock: &dyn Clock, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
