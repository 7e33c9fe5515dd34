//! Which K_ntmdc are held: a few for each application of a node, each until it ends, and what goes with the last of them.

use super::nodes::{NodeRecord, Vouched};
use super::{Cx, DirectionCoordinator, DirectionCoordinatorEvent, Due, Wait, records};
use crate::endpoint::{Association, Peer};
use crate::machine::{Effect, Write};
use crate::time::Instant;
use ntmobile_wire::identifier::{KeyId, Session};
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{Reachability, RefusalCode};
use ntmobile_wire::subkey::{KeyKind, Role};
use std::time::Duration;

impl DirectionCoordinator {
    /// Whether one more application of this node may hold a key.
    pub(super) fn check_application(&self, peer: &Peer) -> Result<(), (RefusalCode, &'static str)> {
        let is_new = self.nodes.get(peer).is_none();
        if is_new && self.nodes.applications(&peer.name) >= self.config.applications {
            return Err((RefusalCode::Overloaded, "as many applications as a node may have are logged in"));
        }
        Ok(())
    }

    /// Begins to use a K_ntmdc that is stored; those before it stay valid, since their holder may not know yet.
    pub(super) fn hold_node_key(
        &mut self,
        cx: &mut Cx<'_>,
        peer: &Peer,
        key: NamedKey,
        lifetime: Duration,
        session: Session,
    ) {
        let id = key.id;
        cx.event(DirectionCoordinatorEvent::LoggedIn { node: peer.clone() });
        let is_registered = self.nodes.get(peer).is_some_and(|record| record.registered(cx.now).is_some());
        let record = self.nodes.entry(peer, id);
        // A registered node is spoken to under the key it registered with until it has registered with the new one.
        if !is_registered {
            record.key = id;
        }
        let mut replaced = Vec::new();
        for old in record.make_room(self.config.node_keys, id) {
            cx.count("dc.node_key_replaced");
            self.endpoint.abandon(cx.now, old);
            self.deadlines.cancel(&Due::NodeKey(peer.clone(), old));
            replaced.push(Write { table: records::NODE_KEYS, key: records::node_key_name(peer, old), value: None });
        }
        self.listen_to_node(peer, key, Some(session), cx.now + lifetime);
        self.discard(cx, replaced);
    }

    fn listen_to_node(&mut self, peer: &Peer, key: NamedKey, session: Option<Session>, ends: Instant) {
        let own = (Role::Dc, self.endpoint.session());
        self.deadlines.set(Due::NodeKey(peer.clone(), key.id), ends);
        let association = Association::new(key, KeyKind::Ntmdc, own, (Role::Node, session), peer.clone());
        self.endpoint.add(association.expiring(ends));
    }

    /// Puts back a key that an earlier process held; the node's session will be challenged.
    pub(super) fn restore_node_key(&mut self, cx: &Cx<'_>, name: &str, value: &[u8]) -> Option<()> {
        let peer = records::read_application(name)?;
        let (key, ends) = records::read_key(value, cx.now, cx.wall)?;
        let id = key.id;
        self.nodes.entry(&peer, id).key = id;
        self.listen_to_node(&peer, key, None, ends);
        Some(())
    }

    /// Puts back what the AS said of a node that still has a key.
    pub(super) fn restore_voucher(&mut self, name: &str, value: &[u8]) -> Option<()> {
        let peer = records::read_application(name)?;
        let response = records::read_voucher(value)?;
        self.nodes.get_mut(&peer)?.vouched = Some(Vouched { response });
        Some(())
    }

    /// Puts back where a node was that still has the key. Whether it is still there only its next keepalive can tell, so
    /// the registration holds for one more lifetime.
    pub(super) fn restore_registration(&mut self, cx: &Cx<'_>, name: &str, value: &[u8]) -> Option<()> {
        let peer = records::read_application(name)?;
        let now = cx.now;
        let stored = records::read_registration(value, |node| now + self.registration_lifetime(node.reachability))?;
        let until = stored.registration.until;
        let record = self.nodes.get_mut(&peer).filter(|record| record.keys.contains(&stored.key))?;
        record.key = stored.key;
        record.registration = Some(stored.registration);
        let left = stored.notification_ends.0.saturating_sub(cx.wall.0);
        let assignment = stored.granted.notification.filter(|_| left > 0);
        record.notification = assignment.map(|assignment| (assignment, now + Duration::from_secs(left)));
        self.deadlines.set(Due::Lapse(peer), until);
        Some(())
    }

    /// How long a registration holds.
    pub(super) fn registration_lifetime(&self, reachability: Reachability) -> Duration {
        match reachability {
            Reachability::TcpNs => self.config.notified_registration_lifetime,
            _ => self.config.registration_lifetime,
        }
    }

    /// A K_ntmdc has ended; with the last one goes everything else that is known of the application but its addresses.
    pub(super) fn node_key_ended(&mut self, cx: &mut Cx<'_>, peer: &Peer, key: KeyId) {
        let mut writes = vec![Write { table: records::NODE_KEYS, key: records::node_key_name(peer, key), value: None }];
        if let Some(record) = self.nodes.get_mut(peer) {
            record.keys.retain(|held| *held != key);
            match record.keys.last() {
                Some(newest) if record.key == key => record.key = *newest,
                Some(_) => {}
                None => writes.extend(self.forget_application(peer)),
            }
        }
        self.discard(cx, writes);
    }

    fn forget_application(&mut self, peer: &Peer) -> Vec<Write> {
        self.deadlines.cancel(&Due::Lapse(peer.clone()));
        let Some(NodeRecord { registration, vouched, .. }) = self.nodes.remove(peer) else { return Vec::new() };
        let tables = [(records::REGISTRATIONS, registration.is_some()), (records::VOUCHERS, vouched.is_some())];
        let stored = tables.into_iter().filter(|(_, is_stored)| *is_stored);
        stored.map(|(table, _)| Write { table, key: records::application_name(peer), value: None }).collect()
    }

    /// A registration may have run out.
    pub(super) fn registration_lapsed(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(record) = self.nodes.get_mut(peer) else { return };
        match &record.registration {
            Some(registration) if registration.until > cx.now => {
                let until = registration.until;
                self.deadlines.set(Due::Lapse(peer.clone()), until);
            }
            Some(_) => {
                record.registration = None;
                record.notification = None;
                cx.count("dc.registration_lapsed");
                let key = records::application_name(peer);
                self.discard(cx, vec![Write { table: records::REGISTRATIONS, key, value: None }]);
            }
            None => {}
        }
    }

    /// Deletes records. If that is lost, they are found to have ended when they are read.
    pub(super) fn discard(&mut self, cx: &mut Cx<'_>, writes: Vec<Write>) {
        if !writes.is_empty() {
            let call = self.calls.open(Wait::Unawaited);
            cx.push(Effect::Persist { call, writes });
        }
    }
}
