//! The keys that DCs share with one of their servers (K_dcns, K_dcrs): asked for, checked, stored, held, put back after a restart.

use crate::certificate::CertificateRole;
use crate::deadlines::Deadlines;
use crate::endpoint::{Association, Endpoint, Peer};
use crate::machine::{Context, Record, StoreFailure, Write};
use crate::stored_message::{StoredMessage, deletion};
use crate::time::Instant;
use crate::tls::{self, TlsTicket};
use ntmobile_wire::identifier::{KeyId, Session};
use ntmobile_wire::message::{KeySharingRequest, KeySharingResponse, Message, RefusalCode, SharedKeyPurpose};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::{KeyKind, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Keys held per DC: the one in use and the one before it, under which messages may still be on their way.
const KEYS_PER_COORDINATOR: usize = 2;

/// Which DCs a server works for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinators {
    /// Their names; `None` for everyone whose certificate says that it is a DC.
    pub admitted: Option<BTreeSet<Fqdn>>,
    /// How many may share a key at once (default 1,024).
    pub limit: usize,
}

impl Default for Coordinators {
    fn default() -> Self {
        Self { admitted: None, limit: 1_024 }
    }
}

/// Which key it is, seen from the server that does not make it.
#[derive(Clone, Debug)]
pub(crate) struct SharedKeyKind {
    /// The server itself.
    pub(crate) server: Fqdn,
    pub(crate) purpose: SharedKeyPurpose,
    pub(crate) kind: KeyKind,
    pub(crate) role: Role,
    pub(crate) table: &'static str,
}

/// Why a key is not accepted.
pub(crate) type NotShared = (RefusalCode, &'static str);

/// A key that is being stored; the DC is answered when it is.
pub(crate) struct Sharing {
    ticket: TlsTicket,
    request: KeySharingRequest,
}

/// The keys held.
pub(crate) struct SharedKeys {
    what: SharedKeyKind,
    coordinators: Coordinators,
    /// The newest key of each DC last.
    held: BTreeMap<Fqdn, Vec<KeyId>>,
    ends: Deadlines<(Fqdn, KeyId)>,
}

impl SharedKeys {
    pub(crate) fn new(what: SharedKeyKind, coordinators: Coordinators) -> Self {
        Self { what, coordinators, held: BTreeMap::new(), ends: Deadlines::default() }
    }

    /// How many DCs share a key.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// A request over TLS: *Key Sharing Request* is the only one that such a server takes. Gives what is to be stored before
    /// it is answered, or nothing, where it has been refused.
    pub(crate) fn asked<T, E>(
        &self,
        cx: &mut Context<'_, E>,
        endpoint: &Endpoint<T>,
        (ticket, message): (TlsTicket, Message),
        room: Result<(), NotShared>,
    ) -> Option<(Sharing, Write)> {
        let session = endpoint.session();
        let Message::KeySharingRequest(request) = message else {
            tls::refuse(cx, session, &ticket, RefusalCode::Unsupported, "this server shares keys only");
            return None;
        };
        if !ticket.is_from(CertificateRole::DirectionCoordinator, &request.requester) {
            let detail = "the certificate is not that of the Direction Coordinator which asks";
            tls::refuse_bearer(cx, session, &ticket, detail);
            return None;
        }
        if let Err((code, detail)) = self.check(endpoint, &request).and(room) {
            tls::refuse(cx, session, &ticket, code, detail);
            return None;
        }
        let stored = StoredMessage::new(request.requester.clone(), cx.wall, request.lifetime_s, request.clone());
        let write = stored.write(self.what.table, request.key.id);
        Some((Sharing { ticket, request }, write))
    }

    /// The store has taken the key, or not: the DC is answered. Where the key is shared, gives the DC and the deletions of
    /// the keys that this one replaces.
    pub(crate) fn stored<T, E>(
        &mut self,
        cx: &mut Context<'_, E>,
        endpoint: &mut Endpoint<T>,
        Sharing { ticket, request }: Sharing,
        result: Result<(), StoreFailure>,
    ) -> Option<(Fqdn, Vec<Write>)> {
        let session = endpoint.session();
        if let Err(failure) = result {
            let detail: String = failure.to_string().chars().take(60).collect();
            tls::refuse(cx, session, &ticket, RefusalCode::StorageFailed, &detail);
            return None;
        }
        // Another key may have taken the identifier while this one was being stored.
        if let Err((code, detail)) = self.check(endpoint, &request) {
            tls::refuse(cx, session, &ticket, code, detail);
            return None;
        }
        let coordinator = request.requester.clone();
        let ends = cx.now + Duration::from_secs(request.lifetime_s.into());
        let deletions = self.hold(endpoint, request, Some(ticket.session), ends);
        tls::answer(cx, session, &ticket, KeySharingResponse { server: self.what.server.clone() });
        Some((coordinator, deletions))
    }

    /// Whether a DC may share this key with us.
    fn check<T>(&self, endpoint: &Endpoint<T>, request: &KeySharingRequest) -> Result<(), NotShared> {
        if request.purpose != self.what.purpose {
            return Err((RefusalCode::Unsupported, "this server shares no key of that purpose"));
        }
        if self.coordinators.admitted.as_ref().is_some_and(|admitted| !admitted.contains(&request.requester)) {
            return Err((RefusalCode::NotAllowed, "this server does not work for the requester"));
        }
        if !self.held.contains_key(&request.requester) && self.held.len() >= self.coordinators.limit {
            return Err((RefusalCode::Overloaded, "this server works for as many Direction Coordinators as it can"));
        }
        // Key identifiers are readable on the wire: nobody may put a key of their own in the place of another's.
        match endpoint.association(request.key.id) {
            Some(known) if *known.key() != request.key || known.peer().name != request.requester => {
                Err((RefusalCode::NotAllowed, "the key identifier is taken"))
            }
            _ => Ok(()),
        }
    }

    /// Holds a key from now on; returns the deletions of those it replaces.
    fn hold<T>(
        &mut self,
        endpoint: &mut Endpoint<T>,
        request: KeySharingRequest,
        session: Option<Session>,
        ends: Instant,
    ) -> Vec<Write> {
        let KeySharingRequest { requester, key, .. } = request;
        let keys = self.held.entry(requester.clone()).or_default();
        keys.retain(|id| *id != key.id);
        keys.push(key.id);
        let surplus = keys.len().saturating_sub(KEYS_PER_COORDINATOR);
        let replaced: Vec<_> = keys.drain(..surplus).collect();
        for id in &replaced {
            self.ends.cancel(&(requester.clone(), *id));
        }
        match endpoint.association_mut(key.id) {
            // The DC asked again because our answer was lost: keep what was seen under the key.
            Some(known) => {
                if let Some(session) = session {
                    known.learn_session(Role::Dc, session);
                }
            }
            None => {
                self.ends.set((requester.clone(), key.id), ends);
                let own = (self.what.role, endpoint.session());
                let association =
                    Association::new(key, self.what.kind, own, (Role::Dc, session), Peer::named(requester));
                endpoint.add(association.expiring(ends));
            }
        }
        replaced
            .into_iter()
            .map(|id| {
                endpoint.remove(id);
                deletion(self.what.table, id)
            })
            .collect()
    }

    /// Puts back a key that an earlier process held; the DC's session will be challenged. Returns what to delete.
    pub(crate) fn restore<T, E>(
        &mut self,
        cx: &Context<'_, E>,
        endpoint: &mut Endpoint<T>,
        record: &Record,
    ) -> Vec<Write> {
        let stored = StoredMessage::read(&record.value);
        let ends = stored.as_ref().and_then(|stored| stored.ends_at(cx.now, cx.wall));
        match (stored.map(|stored| stored.message), ends) {
            (Some(Message::KeySharingRequest(request)), Some(ends)) => self.hold(endpoint, request, None, ends),
            _ => vec![Write { table: self.what.table, key: record.key.clone(), value: None }],
        }
    }

    /// When the first key ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ends.next()
    }

    /// Forgets what has ended; the endpoint forgets it by itself. Returns the deletions.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Write> {
        let mut deletions = Vec::new();
        while let Some((requester, id)) = self.ends.pop_due(now) {
            if let Some(keys) = self.held.get_mut(&requester) {
                keys.retain(|known| *known != id);
                if keys.is_empty() {
                    self.held.remove(&requester);
                }
            }
            deletions.push(deletion(self.what.table, id));
        }
        deletions
    }
}
