//! How the two ends of a relayed tunnel meet: Hole Punching, and Tunnel Request in both handshakes.

use super::{Cx, RelayServer};
use crate::endpoint::{Path, Ticket};
use crate::machine::Effect;
use bytes::Bytes;
use ntmobile_wire::datagram::Header;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::message::{
    HolePunching, NtmAck, RefusalCode, RelayDirection, RelayHandshake, TunnelEnd, TunnelRequest, TunnelResponse,
};
use ntmobile_wire::subkey::Role;
use std::net::SocketAddr;

/// The type of *Tunnel Response*, readable without its key.
const TUNNEL_RESPONSE: u8 = 66;
/// The type of *Refusal*.
const REFUSAL: u8 = 17;

/// What the ends have brought to a `rendezvous`, MN's first.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    brought: [Option<Vec<u8>>; 2],
    waiting: [Option<Ticket>; 2],
}

impl RelayServer {
    /// *Hole Punching*: the end has proved where it is.
    pub(super) fn hole_punched(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, message: &HolePunching) {
        let Some(relay) = self.relays.get(&ticket.key) else { return };
        let own = spi_towards(ticket.role, &relay.direction);
        if message.negotiation != relay.direction.negotiation || message.spi_in.identifier() != own.identifier() {
            return self.refuse(cx, ticket, RefusalCode::NotAllowed, "the leg is not the sender's");
        }
        let Some(from) = self.prove_leg(cx, ticket) else { return };
        cx.count("relay.hole_punched");
        self.endpoint.answer(cx, ticket, NtmAck { observed: Some(from) });
    }

    /// *Tunnel Request* from one of the ends; `datagram` is it as it came.
    pub(super) fn tunnel_requested(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        request: TunnelRequest,
        datagram: &Bytes,
    ) {
        let Some(relay) = self.relays.get(&ticket.key) else { return };
        let fits = match request.end {
            TunnelEnd::Mn => ticket.role == Role::Mn,
            TunnelEnd::Cn => ticket.role == Role::Cn,
            TunnelEnd::Unknown(_) => false,
        };
        let handshake = relay.direction.handshake;
        if !fits || request.negotiation != relay.direction.negotiation {
            return self.refuse(cx, &ticket, RefusalCode::NotAllowed, "the Tunnel Request is not the sender's");
        }
        if handshake == RelayHandshake::Forwarded && request.end == TunnelEnd::Cn {
            return self.refuse(cx, &ticket, RefusalCode::NotAllowed, "the end that was called awaits Tunnel Request");
        }
        if self.prove_leg(cx, &ticket).is_none() {
            return;
        }
        match handshake {
            RelayHandshake::Rendezvous => self.meet(cx, ticket, request),
            _ => self.forward_request(cx, &ticket, datagram),
        }
    }

    /// Notes where an authenticated message came from.
    fn prove_leg(&mut self, cx: &mut Cx<'_>, ticket: &Ticket) -> Option<SocketAddr> {
        let relay = self.relays.get_mut(&ticket.key)?;
        let Path::Datagram(from) = ticket.path else { return None };
        relay.last_signalled = cx.now;
        self.table.prove(spi_towards(ticket.role, &relay.direction), from);
        Some(from)
    }

    /// `forwarded`: the request goes on to CN as it is, every copy of it. Where an answer has passed already, MN gets that
    /// once more too: it may have been lost on its last link. It may also be forged, so CN is asked all the same.
    fn forward_request(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, datagram: &Bytes) {
        let Some(relay) = self.relays.get(&ticket.key) else { return };
        let failure = match relay.entry.address(relay.direction.spi_cn) {
            Some(to) => {
                cx.count("relay.tunnel_request_forwarded");
                let until = cx.now + self.config.answer_patience;
                let before = self.return_paths.expect(to, ticket.transaction, ticket.key, until);
                cx.push(Effect::Transmit { to, bytes: datagram.clone() });
                if let (Some(bytes), Path::Datagram(from)) = (before, ticket.path) {
                    cx.count("relay.tunnel_response_repeated");
                    cx.push(Effect::Transmit { to: from, bytes });
                }
                None
            }
            // CN punches its leg again, or MN gives up.
            None => {
                cx.count("relay.no_leg");
                Some("the other end has not proved where it is")
            }
        };
        self.endpoint.forward(cx, ticket, failure);
    }

    /// `forwarded`: passes the answer to a Tunnel Request back to MN as it is. Whether `datagram` is one.
    pub(super) fn forward_answer(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        header: &Header,
        datagram: &Bytes,
    ) -> bool {
        if !matches!(header.kind, TUNNEL_RESPONSE | REFUSAL) {
            return false;
        }
        let Some(key) = self.return_paths.take(from, header.transaction, datagram) else { return false };
        let mn = self.relays.get(&key).and_then(|relay| relay.entry.address(relay.direction.spi_mn));
        if let Some(to) = mn {
            cx.count("relay.tunnel_response_forwarded");
            cx.push(Effect::Transmit { to, bytes: datagram.clone() });
        }
        true
    }

    /// `rendezvous`: with both ends here, each gets what the other has brought.
    fn meet(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: TunnelRequest) {
        let Some(relay) = self.relays.get_mut(&ticket.key) else { return };
        let own = usize::from(ticket.role == Role::Cn);
        let meeting = &mut relay.meeting;
        // What an end has brought first stays: the other may have it already.
        meeting.brought[own].get_or_insert(request.wrapped_key);
        let superseded = meeting.waiting[own].replace(ticket);
        if let [Some(from_mn), Some(from_cn)] = &meeting.brought {
            let negotiation = relay.direction.negotiation;
            let handed = [from_cn.clone(), from_mn.clone()];
            let tickets = std::mem::take(&mut meeting.waiting);
            cx.count("relay.met");
            for (ticket, wrapped_key) in tickets.into_iter().zip(handed) {
                if let Some(ticket) = ticket {
                    self.endpoint.answer(cx, &ticket, TunnelResponse { negotiation, wrapped_key });
                }
            }
        }
        if let Some(superseded) = superseded {
            self.endpoint.finish(cx, &superseded);
        }
    }
}

/// SPI of packets towards the end that speaks in this role.
fn spi_towards(role: Role, direction: &RelayDirection) -> Spi {
    match role {
        Role::Cn => direction.spi_cn,
        _ => direction.spi_mn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_wire::identifier::Negotiation;
    use ntmobile_wire::message::{Message, Refusal};

    #[test]
    fn the_types_known_without_a_key_are_the_messages_types() {
        let response = TunnelResponse { negotiation: Negotiation(0), wrapped_key: Vec::new() };
        assert_eq!(Message::from(response).kind(), TUNNEL_RESPONSE);
        let refusal = Refusal { code: RefusalCode::NotAllowed, detail: String::new(), negotiation: None };
        assert_eq!(Message::from(refusal).kind(), REFUSAL);
    }
}
