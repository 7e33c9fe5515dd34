//! Whether a Route Direction can be followed: it must be for this node, wanted, possible, and as strong as this node wants.

use super::{Cx, Node, PeerEntry};
use crate::endpoint::Peer;
use ntmobile_wire::key::PublicKey;
use ntmobile_wire::message::{PublicKeyOffer, Refusal, RefusalCode, Route, RouteDirection, TunnelEnd};
use ntmobile_wire::voucher;
use std::net::Ipv6Addr;

impl Node {
    /// Whether a direction can be followed; gives the peer's public key where one is used.
    pub(super) fn examine(
        &self,
        cx: &Cx<'_>,
        direction: &RouteDirection,
        peer: &Peer,
    ) -> Result<Option<PublicKey>, Refusal> {
        let negotiation = Some(direction.negotiation);
        let refuse = |code, detail: &str| Err(Refusal { code, detail: detail.to_owned(), negotiation });
        if direction.node != self.name() {
            return refuse(RefusalCode::NotAllowed, "this is another node");
        }
        if self.registered.is_none() {
            return refuse(RefusalCode::PeerNotRegistered, "this node is on the move");
        }
        let ours = self.entry_for(peer).and_then(|entry| entry.building.as_ref()).filter(|b| b.is_ours());
        match direction.end {
            TunnelEnd::Mn if ours.is_none_or(|building| building.asked.is_none()) => {
                return refuse(RefusalCode::Superseded, "nobody waits for this direction any more");
            }
            // Glare: both ends have started. The one with the smaller name goes on.
            TunnelEnd::Cn
                if ours.is_some_and(|b| b.asked.is_some() || b.negotiation.is_some()) && self.name() < peer.name =>
            {
                return refuse(RefusalCode::Superseded, "this end has started too and goes first");
            }
            TunnelEnd::Mn | TunnelEnd::Cn => {}
            TunnelEnd::Unknown(_) => return refuse(RefusalCode::Unsupported, "which end?"),
        }
        // A DC directs as much as it likes; what is held for it is ours to say.
        if self.negotiations.len() >= self.config.negotiations || self.tunnels.len() >= self.config.tunnels {
            return refuse(RefusalCode::Overloaded, "this node has as many tunnels as it may");
        }
        // Key identifiers are readable on the wire: nobody may put a key of their own in the place of another.
        let keys = [direction.k_tun.as_ref(), Some(&direction.k_tmp)];
        if keys.into_iter().flatten().any(|key| self.endpoint.association(key.id).is_some()) {
            return refuse(RefusalCode::NotAllowed, "the key identifier is taken");
        }
        if self.tunnels.is_in_use(direction.spi_in) {
            return refuse(RefusalCode::SpiInUse, "draw again");
        }
        if !self.may_have(peer, direction.peer_addresses.v6) {
            return refuse(RefusalCode::NotAllowed, "the peer's virtual address is not its own");
        }
        let strategies = &self.config.strategies;
        let (Some(agreement), Some(_)) =
            (strategies.agreement_of(direction.agreement), strategies.protection_of(direction.protection))
        else {
            return refuse(RefusalCode::Unsupported, "this agreement or protection is not known here");
        };
        if let Route::Relayed { handshake, addresses, .. } = &direction.route {
            if strategies.relay_handshake_of(*handshake).is_none() {
                return refuse(RefusalCode::Unsupported, "this relay handshake is not known here");
            }
            if self.relay_address(addresses).is_none() {
                return refuse(RefusalCode::NoRelay, "the relay has no address of our IP version");
            }
            if direction.k_tun.is_none() {
                return refuse(RefusalCode::Unsupported, "a relayed tunnel needs K_tun");
            }
        }
        if !agreement.needs_public_keys() {
            // Neither a DC nor the end that starts may choose less than this node wants, nor less than a pin says.
            let own = strategies.agreement_of(strategies.agreement);
            let is_less = own.is_some_and(|own| own.needs_public_keys());
            if is_less || self.config.pins.contains_key(&direction.peer) {
                return refuse(RefusalCode::NotAllowed, "the agreement is weaker than this node wants");
            }
            return Ok(None);
        }
        match self.believed_key(cx, direction) {
            Ok(key) => Ok(Some(key)),
            Err(detail) => refuse(RefusalCode::NotAllowed, &detail),
        }
    }

    /// Whether a peer may be known by this address. Its own DC says which it is, and packets are led by it: it must neither be one
    /// of the internet's, nor this node's, nor another peer's.
    fn may_have(&self, peer: &Peer, address: Ipv6Addr) -> bool {
        let is_ours = self.registered.as_ref().is_some_and(|registered| registered.addresses.v6 == address);
        let owner = self.tunnels.towards(address.into());
        address.is_unique_local() && !is_ours && owner.is_none_or(|tunnel| tunnel.settings().peer == peer.name)
    }

    /// The peer's public key, if a pin or the AS vouches for it: a DC alone is not believed.
    fn believed_key(&self, cx: &Cx<'_>, direction: &RouteDirection) -> Result<PublicKey, String> {
        let Some(PublicKeyOffer { voucher }) = &direction.peer_public_key else {
            return Err(format!("no public key of {} came", direction.peer));
        };
        if voucher.node != direction.peer {
            return Err(format!("the voucher is for {}", voucher.node));
        }
        if let Some(pin) = self.config.pins.get(&direction.peer) {
            return if *pin == voucher.public_key { Ok(*pin) } else { Err("the key is not the pinned one".into()) };
        }
        let Some(granted) = &self.login.granted else { return Err("not logged in".into()) };
        voucher::verify(voucher, &granted.response.voucher_key, cx.wall.0).map_err(|error| error.to_string())?;
        Ok(voucher.public_key)
    }

    /// The entry under the peer's own application, or under 0 where the device's default was asked for.
    fn entry_for(&self, peer: &Peer) -> Option<&PeerEntry> {
        self.peers
            .get(peer)
            .or_else(|| self.peers.get(&Peer::named(peer.name.clone())).filter(|entry| entry.built.is_none()))
    }
}
