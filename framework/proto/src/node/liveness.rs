//! Whether the other end of a tunnel is still there. A peer whose process has started again knows nothing of the tunnel, and
//! the packets that go on being sent to it would be lost without a word: so it is asked, and where it does not answer a new
//! tunnel is built.

use super::{Cx, Due, Node};
use crate::endpoint::Peer;
use crate::time::Instant;
use ntmobile_wire::message::{DirectionReason, RekeyRequest};
use std::time::Duration;

/// How often a tunnel is looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// For how long applications may go on sending while nothing comes back, before the peer is asked. Who only ever sends asks
/// this often.
const SILENCE: Duration = Duration::from_secs(10);
/// How often the peer is asked.
const QUESTION: Duration = Duration::from_secs(2);
/// How long it may take to answer: long enough where a third of everything is lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a peer that is lost is left alone.
const PAUSE: Duration = Duration::from_secs(30);

impl Node {
    /// Looks after a tunnel from now on.
    pub(super) fn watch_liveness(&mut self, now: Instant, peer: &Peer) {
        self.deadlines.set(Due::Liveness(peer.clone()), now + INTERVAL);
    }

    /// Looks whether anything comes back through a tunnel that is in use.
    pub(super) fn check_liveness(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(built) = self.peers.get_mut(peer).and_then(|entry| entry.built.as_mut()) else { return };
        let is_silent = built.tunnel.last_used().since(built.tunnel.last_received()) >= SILENCE;
        let asked = built.asked.filter(|_| is_silent);
        let is_lost = asked.is_some_and(|since| cx.now.since(since) >= PATIENCE);
        built.asked = (is_silent && !is_lost).then(|| asked.unwrap_or(cx.now));
        let generation = built.tunnel.generation();
        // A new key that is being agreed on is a question already.
        let asks = is_silent && !is_lost && built.rekey.is_none();
        let next = match (is_lost, is_silent) {
            (true, _) => PAUSE,
            (false, true) => QUESTION,
            (false, false) => INTERVAL,
        };
        self.deadlines.set(Due::Liveness(peer.clone()), cx.now + next);
        if asks {
            // Whoever is asked for the generation that is in use says so once more, and that is all.
            let generation = u8::try_from(generation).expect("a generation has 4 bits");
            self.send_control(cx, peer, RekeyRequest { generation, wrapped_key: Vec::new() }.into());
        }
        let is_building = self.peers.get(peer).is_some_and(|entry| entry.building.is_some());
        if is_lost && !is_building && self.registered.is_some() {
            cx.count("node.peer_lost");
            self.ask_direction(cx, peer, DirectionReason::NewTunnel);
        }
    }
}
