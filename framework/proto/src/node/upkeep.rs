//! What a standing tunnel needs: its NAT mapping refreshed, its key renewed, and its end when nobody uses it.

use super::peers::Built;
use super::{ConnectError, Cx, Due, Node};
use crate::endpoint::{Path, Peer, Request};
use crate::machine::{Effect, PacketNotice};
use crate::packet::GENERATION_OVERLAP;
use crate::policy::{AgreementMaterial, InnerProtection};
use crate::trace::{Span, SpanKind};
use bytes::Bytes;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::datagram::NAT_KEEPALIVE;
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{HolePunching, Message, NtmAck, RekeyRequest, RekeyResponse, TunnelEnd};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// When an idle tunnel is looked at again that is being replaced.
const IDLE_AGAIN: Duration = Duration::from_secs(10);
/// How long a Rekey Response may take before the request is repeated.
const REKEY_RETRY: Duration = Duration::from_secs(2);
/// How often a tunnel is looked at for a key that has sealed many packets.
const REKEY_CHECK: Duration = Duration::from_secs(60);
/// Where peers whose virtual IPv4 address collides get their local one from: the last /22 of the shared address space.
const ALIASES: Ipv4Addr = Ipv4Addr::new(100, 127, 252, 0);
const ALIAS_COUNT: u32 = 1_022;

impl Node {
    /// Sets a standing tunnel's timers.
    pub(super) fn watch(&mut self, cx: &mut Cx<'_>, peer: &Peer, end: TunnelEnd, idle: Duration) {
        self.deadlines.set(Due::Idle(peer.clone()), cx.now + idle);
        let is_translated = self.registered.as_ref().is_some_and(|registered| registered.is_translated());
        let built = self.peers.get(peer).and_then(|entry| entry.built.as_ref());
        if is_translated || built.is_some_and(|built| built.connection.relay.is_some()) {
            self.deadlines.set(Due::NatKeepalive(peer.clone()), cx.now + self.config.nat_keepalive);
        }
        self.deadlines.set(Due::Liveness(peer.clone()), cx.now + self.config.liveness.silence);
        if end == TunnelEnd::Mn {
            self.deadlines.set(Due::Rekey(peer.clone()), cx.now + self.config.rekey_after.min(REKEY_CHECK));
        }
    }

    /// Ends a tunnel that no application has used for its hold time.
    pub(super) fn check_idle(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(built) = self.peers.get(peer).and_then(|entry| entry.built.as_ref()) else { return };
        let end = built.tunnel.last_used() + built.idle;
        if self.peers.get(peer).is_some_and(|entry| entry.building.is_some()) {
            // What replaces it is on its way, and the peer could not tell which of the two is closed.
            self.deadlines.set(Due::Idle(peer.clone()), cx.now + IDLE_AGAIN);
        } else if end > cx.now {
            self.deadlines.set(Due::Idle(peer.clone()), end);
        } else {
            self.send_control(cx, peer, ntmobile_wire::message::Close.into());
            self.close_tunnel(cx, peer, "idle");
        }
    }

    /// Refreshes the mapping of the NAT that we are behind. Towards an RS by proving the leg again: an end that only
    /// receives would never learn that the RS has started anew, or that its NAT has given it another port.
    pub(super) fn keep_mapping_alive(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(built) = self.peers.get(peer).and_then(|entry| entry.built.as_ref()) else { return };
        let to = built.tunnel.next_hop();
        let leg = built.k_tun.filter(|_| built.connection.relay.is_some());
        let leg = leg.map(|key| (key, built.negotiation, built.tunnel.settings().spi_in));
        self.deadlines.set(Due::NatKeepalive(peer.clone()), cx.now + self.config.nat_keepalive);
        if let Some((key, negotiation, spi_in)) = leg {
            return self.prove_leg(
                cx,
                peer,
                Request::to(key, Path::Datagram(to), HolePunching { negotiation, spi_in }, None),
            );
        }
        cx.push(Effect::Transmit { to, bytes: Bytes::from_static(&[NAT_KEEPALIVE]) });
    }

    /// A tunnel that a newer one has replaced: it still receives for a while.
    pub(super) fn retire(&mut self, cx: &mut Cx<'_>, built: Built) {
        let identifier = built.tunnel.settings().spi_in.identifier();
        self.deadlines.set(Due::Retire(identifier), cx.now + GENERATION_OVERLAP);
        self.retiring.insert(identifier, built);
    }

    /// The while is over.
    pub(super) fn retired(&mut self, identifier: u32) {
        if let Some(built) = self.retiring.remove(&identifier) {
            self.release(&built);
        }
    }

    /// A local IPv4 address for a peer whose own collides with ours or with another peer's.
    pub(super) fn alias_for(&self, peer: &Fqdn, remote: VirtualAddresses, local: VirtualAddresses) -> Option<Ipv4Addr> {
        let tunnels = self.tunnels.tunnels();
        let known = tunnels.iter().find(|tunnel| tunnel.settings().peer == *peer);
        if let Some(known) = known {
            return known.settings().alias;
        }
        let seen = |tunnel: &crate::packet::Tunnel| tunnel.settings().alias.unwrap_or(tunnel.settings().remote.v4);
        // Its own DC says which address a peer has, and packets are led by it: none but those set aside for such use are believed.
        let is_foreign = u32::from(remote.v4) & 0xffc0_0000 != u32::from(Ipv4Addr::new(100, 64, 0, 0));
        let collides = is_foreign || remote.v4 == local.v4 || tunnels.iter().any(|tunnel| seen(tunnel) == remote.v4);
        if !collides {
            return None;
        }
        (1..=ALIAS_COUNT)
            .map(|index| Ipv4Addr::from(u32::from(ALIASES) + index))
            .find(|alias| tunnels.iter().all(|tunnel| seen(tunnel) != *alias))
    }

    /// Whose standing tunnel receives under this SPI; nobody's, where a newer one has replaced it.
    fn standing(&self, tunnel: Spi) -> Option<Peer> {
        let tunnel = self.tunnels.receiving(tunnel)?;
        let peer = Peer { name: tunnel.settings().peer.clone(), application: tunnel.settings().application };
        let built = self.peers.get(&peer)?.built.as_ref()?;
        Arc::ptr_eq(&built.tunnel, &tunnel).then_some(peer)
    }

    /// The first packet under a tunnel's key has come: the peer holds the key.
    fn tunnel_proved(&mut self, cx: &mut Cx<'_>, tunnel: Spi) {
        let Some(peer) = self.standing(tunnel) else { return };
        let Some(built) = self.peers.get_mut(&peer).and_then(|entry| entry.built.as_mut()) else { return };
        if std::mem::replace(&mut built.proved, true) {
            // The first packet of a later generation.
            return;
        }
        let (trace, since) = (built.trace, built.since);
        if let Some(trace) = trace {
            let context = trace.child(cx.entropy);
            let name = "First application packet";
            let span = Span::new(context, Some(trace.span), name, SpanKind::Internal, (since, cx.now))
                .with("ntm.node", self.name().to_string())
                .with("ntm.peer", peer.name.to_string());
            cx.push(Effect::Span(Box::new(span)));
        }
    }

    /// What the packet path has noticed.
    pub(super) fn packet_notice(&mut self, cx: &mut Cx<'_>, notice: &PacketNotice) {
        match notice {
            // An authentic packet from another address: the peer's NAT has given it a new mapping. On a relayed path the
            // address is the RS's and does not change.
            PacketNotice::Roamed { tunnel, from } => {
                let peer = self.standing(*tunnel);
                let built = peer.and_then(|peer| self.peers.get(&peer)).and_then(|entry| entry.built.as_ref());
                if let Some(built) = built.filter(|built| built.connection.relay.is_none()) {
                    built.tunnel.move_to(*from);
                    cx.count("node.peer_roamed");
                }
            }
            PacketNotice::Proved { tunnel } => self.tunnel_proved(cx, *tunnel),
        }
    }

    /// Says something to the peer inside the tunnel, where one stands.
    pub(super) fn send_control(&mut self, cx: &mut Cx<'_>, peer: &Peer, message: Message) {
        let (session, transaction) = (self.endpoint.session(), self.endpoint.next_transaction());
        let Some(built) = self.peers.get(peer).and_then(|entry| entry.built.as_ref()) else { return };
        let frame = Frame { transaction, session, message, trace: built.trace }.encode();
        match built.tunnel.say(&frame) {
            Ok(Some((to, bytes))) => cx.push(Effect::Transmit { to, bytes }),
            Ok(None) => {}
            Err(_) => cx.count("node.control_not_sent"),
        }
    }

    /// A message that came inside a tunnel.
    pub(super) fn controlled(&mut self, cx: &mut Cx<'_>, tunnel: Spi, bytes: &[u8]) {
        let Some(peer) = self.standing(tunnel) else { return self.controlled_aside(cx, tunnel, bytes) };
        let Ok(frame) = Frame::decode(bytes) else { return cx.count("node.control_malformed") };
        match frame.message {
            Message::Close(_) => self.close_tunnel(cx, &peer, "closed"),
            Message::RekeyRequest(request) => self.rekey_requested(cx, &peer, &request),
            Message::RekeyResponse(response) => self.rekey_answered(cx, &peer, response.generation),
            Message::TunnelProbe(_) => self.send_control(cx, &peer, NtmAck::default().into()),
            Message::NtmAck(_) => {
                self.measured(cx, &peer);
                self.peer_is_there(cx, &peer);
            }
            _ => cx.count("node.control_unexpected"),
        }
    }

    /// A message that came inside a tunnel which does not stand here: it was replaced, or is about to stand. Only *Close* counts: the
    /// peer says so in the tunnel that stands at its end, and has no other.
    fn controlled_aside(&mut self, cx: &mut Cx<'_>, tunnel: Spi, bytes: &[u8]) {
        let is_close = Frame::decode(bytes).is_ok_and(|frame| matches!(frame.message, Message::Close(_)));
        let Some(tunnel) = self.tunnels.receiving(tunnel).filter(|_| is_close) else {
            return cx.count("node.control_stale");
        };
        let settings = tunnel.settings();
        let peer = Peer { name: settings.peer.clone(), application: settings.application };
        let was_replaced = self.retiring.contains_key(&settings.spi_in.identifier());
        let built = self.peers.get(&peer).and_then(|entry| entry.built.as_ref());
        if was_replaced && built.is_none_or(|built| built.proved) {
            // The peer has spoken through the new one since.
            return cx.count("node.control_stale");
        }
        self.close_tunnel(cx, &peer, "closed");
        if !was_replaced {
            self.connect_failed(cx, &peer, ConnectError::PeerNotRegistered(peer.name.clone()));
        }
    }

    /// Renews a tunnel's key when it is old or has sealed many packets; repeats a request that was not answered.
    pub(super) fn rekey(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(built) = self.peers.get_mut(peer).and_then(|entry| entry.built.as_mut()) else { return };
        let is_due = cx.now.since(built.since) >= self.config.rekey_after || built.tunnel.is_rekey_due();
        if built.rekey.is_none() && !is_due {
            let left = self.config.rekey_after.saturating_sub(cx.now.since(built.since));
            self.deadlines.set(Due::Rekey(peer.clone()), cx.now + left.min(REKEY_CHECK));
            return;
        }
        if built.rekey.is_none() {
            let generation = u8::try_from((built.tunnel.generation() + 1) % 16).expect("a generation has 4 bits");
            built.rekey = Some((generation, NamedKey::draw(cx.entropy)));
        }
        let Some((generation, key)) = built.rekey.clone() else { return };
        self.deadlines.set(Due::Rekey(peer.clone()), cx.now + REKEY_RETRY);
        let Some(built) = self.peers.get(peer).and_then(|entry| entry.built.as_ref()) else { return };
        if built.tunnel.accept_generation(u32::from(generation), &key.secret).is_err() {
            return;
        }
        let Some(agreement) = self.config.strategies.agreement_of(built.agreement) else { return };
        let Ok(wrapped_key) = agreement.seal(self.rekey_material(built, true), &key, cx.entropy) else {
            return cx.count("node.rekey_failed");
        };
        self.send_control(cx, peer, RekeyRequest { generation, wrapped_key }.into());
    }

    /// The tunnel itself protects the key; where public keys are used it is sealed to the peer's besides.
    fn rekey_material<'a>(&'a self, built: &'a Built, sends: bool) -> AgreementMaterial<'a> {
        let (own, other) = if built.end == TunnelEnd::Mn { (Role::Mn, Role::Cn) } else { (Role::Cn, Role::Mn) };
        AgreementMaterial {
            negotiation: built.negotiation,
            sender: if sends { (own, self.endpoint.session()) } else { (other, built.peer_session) },
            k_tmp: &built.k_tmp,
            own: &self.agreement_key,
            peer: built.peer_public_key.as_ref(),
            inner: InnerProtection::Plain,
        }
    }

    fn rekey_requested(&mut self, cx: &mut Cx<'_>, peer: &Peer, request: &RekeyRequest) {
        let Some(built) = self.peers.get(peer).and_then(|entry| entry.built.as_ref()) else { return };
        let generation = u32::from(request.generation);
        let current = built.tunnel.generation();
        // The next generation, or the present one repeated; anything else is from a tunnel that is gone.
        if generation != current && generation != (current + 1) % 16 {
            return cx.count("node.rekey_out_of_order");
        }
        if generation != current {
            let Some(agreement) = self.config.strategies.agreement_of(built.agreement) else { return };
            let Ok(key) = agreement.open(self.rekey_material(built, false), &request.wrapped_key) else {
                return cx.count("node.rekey_failed");
            };
            let taken = built
                .tunnel
                .accept_generation(generation, &key.secret)
                .and_then(|()| built.tunnel.send_generation(generation, &key.secret));
            if taken.is_err() {
                return cx.count("node.rekey_failed");
            }
            cx.count("node.rekeyed");
        }
        self.send_control(cx, peer, RekeyResponse { generation: request.generation }.into());
    }

    fn rekey_answered(&mut self, cx: &mut Cx<'_>, peer: &Peer, generation: u8) {
        let Some(built) = self.peers.get_mut(peer).and_then(|entry| entry.built.as_mut()) else { return };
        let Some((_, key)) = built.rekey.take_if(|(awaited, _)| *awaited == generation) else { return };
        if built.tunnel.send_generation(u32::from(generation), &key.secret).is_ok() {
            built.since = cx.now;
            cx.count("node.rekeyed");
        }
        self.deadlines.set(Due::Rekey(peer.clone()), cx.now + self.config.rekey_after.min(REKEY_CHECK));
    }
}
