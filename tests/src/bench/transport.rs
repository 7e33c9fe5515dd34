//! How messages cross the bench: datagrams, TLS legs, TCP connections and look-ups, each in the time of its link.

use super::{Bench, Crossed, Happening, PORT, name};
use bytes::Bytes;
use ntmobile_proto::certificate::{CertificateRole, PeerCertificate};
use ntmobile_proto::machine::{
    CallId, CertificateFault, Effect, Input, Lookup, LookupFailure, RequestId, ServerAddresses, StreamId, TlsFailure,
};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::datagram::{self, Datagram};
use ntmobile_wire::name::Fqdn;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a TLS call may take.
pub const TLS_PATIENCE: Duration = Duration::from_secs(10);
/// How long a look-up takes that no DNS server answers.
pub const DNS_PATIENCE: Duration = Duration::from_secs(15);
/// How long an attempt to connect takes that nobody answers.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// The certificate that a host of this name holds: the first label says what part it plays.
pub fn certificate_of(host: &Fqdn) -> PeerCertificate {
    let role = match host.host().trim_end_matches(|last: char| last.is_ascii_digit()) {
        "as" => CertificateRole::AccountServer,
        "dc" => CertificateRole::DirectionCoordinator,
        "rs" => CertificateRole::RelayServer,
        "ns" => CertificateRole::NotificationServer,
        _ => CertificateRole::Node,
    };
    PeerCertificate { name: host.clone(), role, fingerprint: [7; 32] }
}

/// A TLS call that waits for its answer.
pub(super) struct PendingTls {
    pub(super) caller: Fqdn,
    pub(super) server: Fqdn,
    pub(super) call: CallId,
}

impl Bench {
    /// Says how long a message between these two takes, one way.
    pub fn set_delay(&mut self, one: &str, other: &str, delay: Duration) {
        self.delays.insert((name(one), name(other)), delay);
        self.delays.insert((name(other), name(one)), delay);
    }

    /// How long a message between these two takes, one way.
    pub fn link(&self, one: &str, other: &str) -> Duration {
        self.delay_between(&name(one), &name(other))
    }

    pub(super) fn delay_between(&self, one: &Fqdn, other: &Fqdn) -> Duration {
        self.delays.get(&(one.clone(), other.clone())).copied().unwrap_or(self.delay)
    }

    /// Says that a DC is responsible for a domain, or an AS found from it.
    pub fn zone(&mut self, domain: &str, server: ServerAddresses) {
        self.zones.insert(name(domain), server);
    }

    /// Loses every datagram between two hosts from now on, and lets them make no connection.
    pub fn sever(&mut self, one: &str, other: &str) {
        self.severed.insert((name(one), name(other)));
        self.severed.insert((name(other), name(one)));
    }

    /// Lets two hosts reach each other again.
    pub fn mend(&mut self, one: &str, other: &str) {
        self.severed.remove(&(name(one), name(other)));
        self.severed.remove(&(name(other), name(one)));
    }

    /// Sends a datagram as if `who` had.
    pub fn transmit(&mut self, who: &str, to: SocketAddr, bytes: Bytes) {
        self.carry_out(&name(who), vec![Effect::Transmit { to, bytes }]);
    }

    /// Hands a datagram to a host's machine, from an address of the caller's choice.
    pub fn inject(&mut self, to: &str, from: SocketAddr, bytes: Bytes) {
        self.input(&name(to), Input::Datagram { from, bytes }, Duration::ZERO);
    }

    /// Lets a datagram arrive at a host as its socket would, from an address of the caller's choice.
    pub fn arrive(&mut self, to: &str, from: SocketAddr, bytes: Bytes) {
        self.deliver(&name(to), from, bytes, Duration::ZERO);
    }

    /// Asks a host over TLS, as a stranger who wants no answer.
    pub fn inject_tls(&mut self, to: &str, from: SocketAddr, certificate: Option<PeerCertificate>, frame: Bytes) {
        self.sequence += 1;
        let request = RequestId(self.sequence);
        self.input(&name(to), Input::TlsRequest { request, from, certificate, frame }, Duration::ZERO);
    }

    /// Opens a TCP connection to a host, as a stranger.
    pub fn open_stream(&mut self, to: &str, peer: SocketAddr) -> StreamId {
        self.sequence += 1;
        let stream = StreamId(self.sequence | 1 << 63);
        self.input(&name(to), Input::StreamOpened { stream, peer }, Duration::ZERO);
        stream
    }

    /// Lets bytes arrive at a host on a TCP connection.
    pub fn inject_on_stream(&mut self, to: &str, stream: StreamId, bytes: Bytes) {
        self.input(&name(to), Input::StreamReceived { stream, bytes }, Duration::ZERO);
    }

    /// The TCP connections that a host has with others on the bench.
    pub fn streams_of(&self, who: &str) -> Vec<StreamId> {
        let who = name(who);
        self.streams.keys().filter(|(host, _)| *host == who).map(|(_, stream)| *stream).collect()
    }

    pub(super) fn send(&mut self, who: &Fqdn, to: SocketAddr, bytes: Bytes) {
        let place = self.places.get(who).expect("who sends is on the bench");
        let Some(own) = place.addresses.iter().find(|own| own.is_ipv4() == to.is_ipv4()).copied() else { return };
        let (outside, is_up) = (place.outside, place.is_up);
        let nat = |outside: Option<SocketAddr>| outside.map(|outside| outside.ip());
        // Behind one NAT hosts meet at their own addresses; elsewhere only the outside counts.
        let found = self.places.iter().find_map(|(receiver, other)| {
            let own = to.port() == PORT && other.addresses.contains(&to.ip());
            let private = own && (other.outside.is_none() || nat(other.outside) == nat(outside));
            let public = other.outside == Some(to) && nat(other.outside) != nat(outside);
            (private || public).then(|| (receiver.clone(), private && other.outside.is_some(), other.is_up))
        });
        let Some((receiver, is_private, receiver_is_up)) = found else { return };
        if !is_up || !receiver_is_up || self.severed.contains(&(who.clone(), receiver.clone())) {
            return;
        }
        let from = outside.filter(|_| !is_private).unwrap_or(SocketAddr::new(own, PORT));
        self.crossed.push(self.crossing(who, &receiver, &bytes));
        let delay = self.delay_between(who, &receiver);
        let copies = if self.dice.happens(self.trouble.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice.happens(self.trouble.loss) {
                continue;
            }
            let held = if self.dice.happens(self.trouble.reordering) { 3 * delay } else { Duration::ZERO };
            self.deliver(&receiver, from, bytes.clone(), delay + held);
        }
    }

    fn crossing(&self, from: &Fqdn, to: &Fqdn, bytes: &Bytes) -> Crossed {
        Crossed { at: self.now, from: from.clone(), to: to.clone(), bytes: bytes.clone() }
    }

    fn deliver(&mut self, to: &Fqdn, from: SocketAddr, bytes: Bytes, after: Duration) {
        match datagram::classify(&bytes) {
            Datagram::Signalling => self.input(to, Input::Datagram { from, bytes }, after),
            Datagram::Esp(_) => {
                self.schedule(after, Happening::Packet(to.clone(), from, bytes));
            }
            Datagram::Keepalive => {}
            Datagram::Malformed => *self.counters.entry("datagram.malformed").or_default() += 1,
        }
    }

    pub(super) fn call(
        &mut self,
        who: &Fqdn,
        call: CallId,
        (server, role, addresses): (Fqdn, CertificateRole, DualStack),
        frame: Bytes,
        mutual: bool,
    ) {
        self.sequence += 1;
        let request = RequestId(self.sequence);
        self.tls.insert(request, PendingTls { caller: who.clone(), server: server.clone(), call });
        self.schedule(TLS_PATIENCE, Happening::TlsPatience(request));
        let reachable = self.places.get(&server).is_some_and(|place| {
            place.is_up && addresses.iter().any(|address| place.addresses.contains(&address.ip()))
        });
        if !reachable || self.severed.contains(&(who.clone(), server.clone())) {
            return;
        }
        if certificate_of(&server).role != role {
            self.tls.remove(&request);
            let result = Err(TlsFailure::Certificate(CertificateFault::OtherBearer));
            let after = 2 * self.delay_between(who, &server);
            return self.input(who, Input::TlsAnswered { call, result }, after);
        }
        let place = &self.places[who];
        let from = SocketAddr::new(place.outside.map_or(place.addresses[0], |outside| outside.ip()), 50_000);
        let certificate = mutual.then(|| certificate_of(who));
        self.tls_frames.push(self.crossing(who, &server, &frame));
        // One round trip of handshake, then the request.
        let after = 3 * self.delay_between(who, &server);
        self.input(&server, Input::TlsRequest { request, from, certificate, frame }, after);
    }

    pub(super) fn answer_call(&mut self, who: &Fqdn, request: RequestId, frame: Bytes) {
        let Some(PendingTls { caller, call, .. }) = self.tls.remove(&request) else { return };
        self.tls_frames.push(self.crossing(who, &caller, &frame));
        let after = self.delay_between(who, &caller);
        self.input(&caller, Input::TlsAnswered { call, result: Ok(frame) }, after);
    }

    pub(super) fn give_up_tls(&mut self, request: RequestId) {
        if let Some(PendingTls { caller, call, .. }) = self.tls.remove(&request) {
            let result = Err(TlsFailure::TimedOut);
            self.input(&caller, Input::TlsAnswered { call, result }, Duration::ZERO);
        }
    }

    pub(super) fn look_up(&mut self, who: &Fqdn, call: CallId, lookup: &Lookup) {
        let found = self.find_zone(lookup);
        let known = found.as_ref().is_ok_and(|(zone, _)| self.looked_up.contains(&(who.clone(), zone.clone())));
        let (result, after) = match found {
            Ok((_, server)) if known => (Ok(server), Duration::ZERO),
            _ if !self.dns_is_up => (Err(LookupFailure::TimedOut), DNS_PATIENCE),
            Ok((zone, server)) => {
                self.looked_up.insert((who.clone(), zone));
                (Ok(server), self.dns)
            }
            Err(failure) => (Err(failure), self.dns),
        };
        self.input(who, Input::Resolved { call, result }, after);
    }

    /// Lets a host know the servers of a domain, as if it had looked them up.
    pub fn remember_look_up(&mut self, who: &str, domain: &str) {
        self.looked_up.insert((name(who), name(domain)));
    }

    /// Lets a host forget what it has looked up.
    pub fn forget_look_ups(&mut self, who: &str) {
        let who = name(who);
        self.looked_up.retain(|(host, _)| *host != who);
    }

    fn find_zone(&self, lookup: &Lookup) -> Result<(Fqdn, ServerAddresses), LookupFailure> {
        let (mut wanted, prefix) = match lookup {
            Lookup::DirectionCoordinator(wanted) => (Some(wanted.clone()), ""),
            Lookup::AccountServer(wanted) => (Some(wanted.clone()), "as."),
        };
        while let Some(domain) = wanted {
            let zone = name(&format!("{prefix}{domain}"));
            if let Some(server) = self.zones.get(&zone) {
                return Ok((zone, server.clone()));
            }
            wanted = domain.parent();
        }
        Err(LookupFailure::NoSuchName)
    }

    pub(super) fn connect_stream(&mut self, who: &Fqdn, stream: StreamId, to: SocketAddr) {
        let found = self.places.iter().find(|(_, place)| place.is_up && place.addresses.contains(&to.ip()));
        let Some(server) = found.map(|(server, _)| server.clone()) else {
            return self.input(who, Input::StreamClosed { stream }, CONNECT_PATIENCE);
        };
        self.sequence += 1;
        let theirs = StreamId(self.sequence | 1 << 63);
        self.streams.insert((who.clone(), stream), (server.clone(), theirs));
        self.streams.insert((server.clone(), theirs), (who.clone(), stream));
        let peer = SocketAddr::new(self.places[who].addresses[0], 50_001);
        let delay = self.delay_between(who, &server);
        self.input(&server, Input::StreamOpened { stream: theirs, peer }, delay);
        self.input(who, Input::StreamOpened { stream, peer: to }, 2 * delay);
    }

    pub(super) fn send_on_stream(&mut self, who: &Fqdn, stream: StreamId, bytes: Bytes) {
        if let Some((other, theirs)) = self.streams.get(&(who.clone(), stream)).cloned() {
            self.stream_bytes.push(self.crossing(who, &other, &bytes));
            let after = self.delay_between(who, &other);
            self.input(&other, Input::StreamReceived { stream: theirs, bytes }, after);
        }
    }

    pub(super) fn close_stream(&mut self, who: &Fqdn, stream: StreamId) {
        if let Some((other, theirs)) = self.streams.remove(&(who.clone(), stream)) {
            self.streams.remove(&(other.clone(), theirs));
            let after = self.delay_between(who, &other);
            self.input(&other, Input::StreamClosed { stream: theirs }, after);
        }
    }

    /// Breaks every TCP connection of a host, which it is told at once and the others after their links' time.
    pub fn break_streams(&mut self, who: &str) {
        let who = name(who);
        for stream in self.streams_of(who.as_str()) {
            self.close_stream(&who, stream);
            self.input(&who, Input::StreamClosed { stream }, Duration::ZERO);
        }
    }
}
