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
use std::fmt;
use std::time::Duration;
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

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.application {
            ApplicationId(0) => self.name.fmt(f),
            application => write!(f, "{}/{application}", self.name),
        }
    }
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

/// Sessions of one role that may be challenged at once. Whoever replays old messages makes us challenge sessions that are long
/// over; with one place for all, that would push out the challenge of the session that is about to answer.
const CHALLENGES: usize = 8;
/// How long the answer to a challenge may take.
const CHALLENGE_PATIENCE: Duration = Duration::from_secs(30);

struct Challenge {
    session: Session,
    nonce: [u8; 16],
    until: Instant,
}

struct Speaker {
    role: Role,
    /// The newest last.
    sessions: Vec<KnownSession>,
    /// The newest last.
    challenges: Vec<Challenge>,
}

impl Speaker {
    /// The nonce that a session is to echo: one that it has been given already, or a new one; the oldest makes room.
    fn challenge(&mut self, now: Instant, session: Session, fresh: impl FnOnce() -> [u8; 16]) -> [u8; 16] {
        self.challenges.retain(|challenge| challenge.until > now);
        let until = now + CHALLENGE_PATIENCE;
        if let Some(known) = self.challenges.iter_mut().find(|challenge| challenge.session == session) {
            known.until = until;
            return known.nonce;
        }
        if self.challenges.len() >= CHALLENGES {
            self.challenges.remove(0);
        }
        let nonce = fresh();
        self.challenges.push(Challenge { session, nonce, until });
        nonce
    }

    /// Whether a session has echoed what it was given; it will not be asked again.
    fn is_proved_by(&mut self, now: Instant, session: Session, nonce: &[u8; 16]) -> bool {
        let fits = |challenge: &mut Challenge| {
            challenge.session == session && challenge.until > now && bool::from(challenge.nonce.ct_eq(nonce))
        };
        self.challenges.extract_if(.., fits).count() > 0
    }
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
    /// Our own role.
    role: Role,
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
        let association =
            Self { key, kind, role, sealing, next_sequence: 0, speakers: Vec::new(), peer, expires: None };
        association.with_speaker(speaker, speaker_session)
    }

    /// Lets a further role speak under this key.
    pub fn with_speaker(mut self, role: Role, session: Option<Session>) -> Self {
        self.speakers.push(Speaker { role, sessions: Vec::new(), challenges: Vec::new() });
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

    /// Whether messages under both are sealed with the same subkey.
    pub(super) fn seals_like(&self, other: &Self) -> bool {
        self.key == other.key && self.kind == other.kind && self.role == other.role
    }

    /// Takes over what is told anew of a key that is held already; sequences and windows go on where they are.
    pub(super) fn renew(&mut self, told: Self) {
        self.peer = told.peer;
        self.expires = told.expires;
        for Speaker { role, sessions, .. } in told.speakers {
            if self.speakers.iter().all(|speaker| speaker.role != role) {
                self.speakers.push(Speaker { role, sessions: Vec::new(), challenges: Vec::new() });
            }
            for known in sessions {
                self.learn_session(role, known.session);
            }
        }
    }

    /// How many sessions are being challenged.
    pub(super) fn challenges(&self) -> usize {
        self.speakers.iter().map(|speaker| speaker.challenges.len()).sum()
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
        self.add_session(role, session, Window::default());
    }

    /// A session has proved itself by its message of this sequence. What it said before was challenged, not heard: it will be
    /// said again, and whoever has kept a copy must not be able to say it later.
    fn session_proved(&mut self, role: Role, session: Session, sequence: u64) {
        self.add_session(role, session, Window::after(sequence));
    }

    fn add_session(&mut self, role: Role, session: Session, window: Window) {
        let opening = Subkey::derive(&self.key.secret, Purpose::Signalling(self.kind), role, session);
        let Some(speaker) = self.speakers.iter_mut().find(|speaker| speaker.role == role) else { return };
        if speaker.sessions.iter().any(|known| known.session == session) {
            return;
        }
        if speaker.sessions.len() >= SESSIONS {
            speaker.sessions.remove(0);
        }
        speaker.sessions.push(KnownSession { session, opening, window });
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
                // The session was announced meanwhile.
                Message::SessionEcho(_) => {
                    cx.count("signalling.late_echo");
                    Opened::Dropped
                }
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
                if speaker.is_proved_by(cx.now, header.session, &nonce) {
                    let role = speaker.role;
                    cx.count("signalling.session_proved");
                    self.session_proved(role, header.session, header.sequence);
                    Opened::Proved
                } else {
                    cx.count("signalling.not_authentic");
                    Opened::Dropped
                }
            }
            // Echoing proves nothing about ourselves that a replay could use: the nonce is not ours to judge.
            Message::SessionChallenge(challenge) => Opened::Challenged(challenge.nonce),
            _ => {
                let nonce = speaker.challenge(cx.now, header.session, || draw(cx.entropy));
                cx.count("signalling.session_challenged");
                Opened::Challenge(nonce)
            }
        }
    }
}
