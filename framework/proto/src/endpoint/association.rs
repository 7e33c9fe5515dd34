//! One named key and everything seen under it: who may speak, in which sessions, and which messages were seen.

use super::window::Window;
use crate::machine::Context;
use crate::time::Instant;
use ntmobile_wire::codec::Extensions;
use ntmobile_wire::datagram::{self, Header};
use ntmobile_wire::entropy::draw;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Session};
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{Message, SessionEcho};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use subtle::ConstantTimeEq;

/// Sessions kept per role: the current one and the one before it, whose last messages may still arrive.
const SESSIONS: usize = 2;

/// Who is at the other end of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its name.
    pub name: Fqdn,
    /// Which of its applications; the default one for servers.
    pub application: ApplicationId,
}

impl Peer {
    /// A server, or the default application of a node.
    pub fn named(name: Fqdn) -> Self {
        Self { name, application: ApplicationId(0) }
    }
}

struct KnownSession {
    session: Session,
    opening: Subkey,
    window: Window,
}

struct Challenge {
    session: Session,
    nonce: [u8; 16],
}

struct Speaker {
    role: Role,
    /// The newest last.
    sessions: Vec<KnownSession>,
    challenge: Option<Challenge>,
}

/// What came of opening a datagram.
pub(super) enum Opened {
    /// A fresh message from a proved session.
    Message { role: Role, message: Box<Message>, extensions: Extensions },
    /// The session is new: challenge it.
    Challenge([u8; 16]),
    /// We are challenged ourselves: echo.
    Challenged([u8; 16]),
    /// A session has proved itself; what it sent before was dropped and is to be asked for again.
    Proved,
    /// Counted and dropped, or settled.
    Dropped,
}

/// A key in use.
pub struct Association {
    key: NamedKey,
    kind: KeyKind,
    sealing: Subkey,
    next_sequence: u64,
    speakers: Vec<Speaker>,
    peer: Peer,
    expires: Option<Instant>,
}

impl Association {
    /// A key that we use in `role` and `session`, with whoever else holds it in the role of `speaker`; the speaker's session
    /// is given where a message that handed out the key told it, otherwise it will be challenged.
    pub fn new(
        key: NamedKey,
        kind: KeyKind,
        (role, session): (Role, Session),
        (speaker, speaker_session): (Role, Option<Session>),
        peer: Peer,
    ) -> Self {
        let sealing = Subkey::derive(&key.secret, Purpose::Signalling(kind), role, session);
        let association = Self { key, kind, sealing, next_sequence: 0, speakers: Vec::new(), peer, expires: None };
        association.with_speaker(speaker, speaker_session)
    }

    /// Lets a further role speak under this key.
    pub fn with_speaker(mut self, role: Role, session: Option<Session>) -> Self {
        self.speakers.push(Speaker { role, sessions: Vec::new(), challenge: None });
        if let Some(session) = session {
            self.learn_session(role, session);
        }
        self
    }

    /// Ends the key at this time.
    pub fn expiring(mut self, at: Instant) -> Self {
        self.expires = Some(at);
        self
    }

    /// The key's identifier.
    pub fn id(&self) -> KeyId {
        self.key.id
    }

    /// The key itself.
    pub fn key(&self) -> &NamedKey {
        &self.key
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// When the key ends.
    pub fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// The newest session in which a role has proved itself or been announced.
    pub fn session_of(&self, role: Role) -> Option<Session> {
        self.speakers.iter().find(|speaker| speaker.role == role)?.sessions.last().map(|known| known.session)
    }

    /// Believes a session that a trusted message announced.
    pub fn learn_session(&mut self, role: Role, session: Session) {
        let opening = Subkey::derive(&self.key.secret, Purpose::Signalling(self.kind), role, session);
        let Some(speaker) = self.speakers.iter_mut().find(|speaker| speaker.role == role) else { return };
        if speaker.sessions.iter().any(|known| known.session == session) {
            return;
        }
        if speaker.sessions.len() >= SESSIONS {
            speaker.sessions.remove(0);
        }
        speaker.sessions.push(KnownSession { session, opening, window: Window::default() });
    }

    pub(super) fn sealing(&self) -> &Subkey {
        &self.sealing
    }

    pub(super) fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    pub(super) fn open<E>(&mut self, cx: &mut Context<'_, E>, header: &Header, bytes: &[u8]) -> Opened {
        for speaker in &mut self.speakers {
            let role = speaker.role;
            let Some(known) = speaker.sessions.iter_mut().find(|known| known.session == header.session) else {
                continue;
            };
            if !known.window.is_fresh(header.sequence) {
                cx.count("signalling.replayed");
                return Opened::Dropped;
            }
            let Ok((_, message, extensions)) = datagram::open(&known.opening, bytes) else {
                // Two roles never share a session, so no other subkey can fit.
                cx.count("signalling.not_authentic");
                return Opened::Dropped;
            };
            known.window.accept(header.sequence);
            return match message {
                Message::SessionChallenge(challenge) => Opened::Challenged(challenge.nonce),
                // The echo arrived twice, or the session was announced meanwhile.
                Message::SessionEcho(_) => Opened::Dropped,
                message => Opened::Message { role, message: Box::new(message), extensions },
            };
        }
        self.open_from_new_session(cx, header, bytes)
    }

    /// A session not seen before: whoever speaks in it must hold the key, and must be alive now.
    fn open_from_new_session<E>(&mut self, cx: &mut Context<'_, E>, header: &Header, bytes: &[u8]) -> Opened {
        let mut authentic = None;
        for (index, speaker) in self.speakers.iter().enumerate() {
            let opening =
                Subkey::derive(&self.key.secret, Purpose::Signalling(self.kind), speaker.role, header.session);
            if let Ok((_, message, _)) = datagram::open(&opening, bytes) {
                authentic = Some((index, message));
                break;
            }
        }
        let Some((index, message)) = authentic else {
            cx.count("signalling.not_authentic");
            return Opened::Dropped;
        };
        let speaker = &mut self.speakers[index];
        match message {
            Message::SessionEcho(SessionEcho { nonce }) => {
                let proved = speaker.challenge.as_ref().is_some_and(|challenge| {
                    challenge.session == header.session && bool::from(challenge.nonce.ct_eq(&nonce))
                });
                if proved {
                    speaker.challenge = None;
                    let role = speaker.role;
                    cx.count("signalling.session_proved");
                    self.learn_session(role, header.session);
                    Opened::Proved
                } else {
                    cx.count("signalling.not_authentic");
                    Opened::Dropped
                }
            }
            // Echoing proves nothing about ourselves that a replay could use: the nonce is not ours to judge.
            Message::SessionChallenge(challenge) => Opened::Challenged(challenge.nonce),
            _ => {
                let nonce = match &speaker.challenge {
                    Some(challenge) if challenge.session == header.session => challenge.nonce,
                    _ => draw(cx.entropy),
                };
                speaker.challenge = Some(Challenge { session: header.session, nonce });
                cx.count("signalling.session_challenged");
                Opened::Challenge(nonce)
            }
        }
    }
}
