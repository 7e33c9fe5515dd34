//! Whether the other end of a standing tunnel is still there.
//!
//! A peer that has lost its power or was started anew says nothing, and what is sent to it is lost without a word. So where
//! applications' packets go out and nothing authentic comes back for a while, the peer is asked inside the tunnel (*Tunnel
//! Probe*), a few times. Anything authentic that comes counts as an answer. Without one the tunnel ends here and another is
//! asked for, which leads to the peer's new process, or to an error that says why not.
//!
//! A node that gets a packet for a tunnel it does not have says so (*Source Unknown*). That is not authentic: it is a reason to
//! ask sooner, never to end a tunnel. However often it comes, a peer is asked once in [`Liveness::silence`].

use super::{Cx, Due, Node, NodeEvent};
use crate::endpoint::{Peer, Retry};
use crate::machine::Effect;
use crate::time::Instant;
use crate::trace::{Span, SpanKind};
use ntmobile_wire::message::{DirectionReason, TunnelProbe};
use ntmobile_wire::trace_context::TraceContext;
use std::time::Duration;

/// How a node finds out that the other end of a tunnel is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// How long packets may go out without anything coming back before the peer is asked (default 10 s).
    pub silence: Duration,
    /// How the question is repeated (default: twice a second, and given up after 10 s: where a third of everything is lost one
    /// question in a hundred thousand goes unanswered for that long).
    pub probe: Retry,
}

impl Default for Liveness {
    fn default() -> Self {
        let probe = Retry { first: Duration::from_millis(500), longest: Duration::from_millis(500), attempts: 20 };
        Self { silence: Duration::from_secs(10), probe }
    }
}

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probing {
    started: Instant,
    /// How often it has been asked.
    asked: u32,
    because: &'static str,
    span: Option<(TraceContext, TraceContext)>,
}

impl Node {
    /// The time has come to look after a tunnel: to ask, to ask again, or to give up.
    pub(super) fn check_liveness(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Liveness { silence, probe } = self.config.liveness;
        let is_steady = self.registered.is_some() && self.moved_at.is_none();
        let Some(entry) = self.peers.get_mut(peer) else { return };
        let is_steady = is_steady && entry.building.is_none();
        let Some(built) = entry.built.as_mut() else { return };
        if let Some(probing) = built.probing.as_mut() {
            if built.tunnel.last_received() >= probing.started {
                return self.peer_is_there(cx, peer);
            }
            if !is_steady {
                // We are on the move, or a new tunnel is on its way: the question answers itself.
                return self.end_probing(cx, peer, None);
            }
            if probing.asked >= probe.attempts {
                return self.peer_is_gone(cx, peer);
            }
            return self.ask_peer(cx, peer);
        }
        let since = built.tunnel.unanswered_since().filter(|_| is_steady);
        let due = since.map_or(cx.now, |since| since) + silence;
        if since.is_some() && due <= cx.now {
            self.begin_probing(cx, peer, "after silence");
        } else {
            self.deadlines.set(Due::Liveness(peer.clone()), due);
        }
    }

    /// Somebody says that the peer does not have the tunnel.
    pub(super) fn doubt_peer(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(entry) = self.peers.get(peer) else { return };
        let may_ask = entry.built.as_ref().is_some_and(|built| built.probing.is_none() && built.probe_from <= cx.now);
        if may_ask && entry.building.is_none() && self.registered.is_some() {
            self.begin_probing(cx, peer, "source unknown");
        } else {
            cx.count("node.source_unknown_ignored");
        }
    }

    /// Asks the peer for the sake of how long the answer takes. Answers have no numbers, so there is one question at a time.
    pub(super) fn measure(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let patience = self.config.liveness.silence;
        let Some(built) = self.peers.get_mut(peer).and_then(|entry| entry.built.as_mut()) else { return };
        let is_asked = built.measuring.is_some_and(|asked| cx.now.since(asked) < patience);
        if built.probing.is_none() && !is_asked {
            built.measuring = Some(cx.now);
            self.send_control(cx, peer, TunnelProbe.into());
        }
    }

    /// The peer has answered.
    pub(super) fn measured(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(built) = self.peers.get_mut(peer).and_then(|entry| entry.built.as_mut()) else { return };
        let asked = built.measuring.take().filter(|_| built.probing.is_none());
        if let Some(asked) = asked {
            cx.event(NodeEvent::RoundTrip { peer: peer.clone(), took: cx.now.since(asked) });
        }
    }

    fn begin_probing(&mut self, cx: &mut Cx<'_>, peer: &Peer, because: &'static str) {
        let silence = self.config.liveness.silence;
        let Some(built) = self.peers.get_mut(peer).and_then(|entry| entry.built.as_mut()) else { return };
        let span = built.trace.map(|conversation| (conversation, conversation.child(cx.entropy)));
        built.probing = Some(Probing { started: cx.now, asked: 0, because, span });
        built.probe_from = cx.now + silence;
        cx.count("node.peer_probed");
        self.ask_peer(cx, peer);
    }

    /// *Tunnel Probe*.
    fn ask_peer(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let retry = self.config.liveness.probe;
        let built = self.peers.get_mut(peer).and_then(|entry| entry.built.as_mut());
        let Some(probing) = built.and_then(|built| built.probing.as_mut()) else { return };
        self.deadlines.set(Due::Liveness(peer.clone()), cx.now + retry.wait(probing.asked));
        probing.asked += 1;
        self.send_control(cx, peer, TunnelProbe.into());
    }

    /// Something authentic has come.
    pub(super) fn peer_is_there(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        self.end_probing(cx, peer, None);
    }

    /// Nothing has.
    fn peer_is_gone(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        cx.count("node.peer_silent");
        self.end_probing(cx, peer, Some("no answer"));
        self.close_tunnel(cx, peer, "peer silent");
        // Applications' packets are on their way, or it would not have been asked.
        self.ask_direction(cx, peer, DirectionReason::NewTunnel);
    }

    fn end_probing(&mut self, cx: &mut Cx<'_>, peer: &Peer, failure: Option<&'static str>) {
        let Some(built) = self.peers.get_mut(peer).and_then(|entry| entry.built.as_mut()) else { return };
        let Some(Probing { started, asked, because, span }) = built.probing.take() else { return };
        self.deadlines.set(Due::Liveness(peer.clone()), cx.now + self.config.liveness.silence);
        let Some((conversation, context)) = span else { return };
        let mut span =
            Span::new(context, Some(conversation.span), "Tunnel Probe", SpanKind::Internal, (started, cx.now))
                .with("ntm.node", self.name().to_string())
                .with("ntm.peer", peer.name.to_string())
                .with("ntm.because", because)
                .with("ntm.asked", asked.to_string());
        span.failure = failure.map(Into::into);
        cx.push(Effect::Span(Box::new(span)));
    }
}
