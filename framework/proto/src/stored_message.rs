//! A message that must outlive the process: stored as it was told, with who told it and until when it holds.

use crate::machine::Write;
use crate::time::{Instant, UnixTime};
use bytes::{BufMut, Bytes};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Session, Transaction};
use ntmobile_wire::key::secret_bytes;
use ntmobile_wire::message::Message;
use ntmobile_wire::name::Fqdn;
use std::time::Duration;

/// What is in the store: the end as seconds since the Unix epoch (8 octets), the teller's name behind its length (1 octet),
/// the message in its frame.
#[derive(Debug)]
pub(crate) struct StoredMessage {
    /// Who told it.
    pub(crate) teller: Fqdn,
    /// When it ends.
    pub(crate) ends: UnixTime,
    /// What was told.
    pub(crate) message: Message,
}

impl StoredMessage {
    /// A message that holds for `lifetime_s` from now on.
    pub(crate) fn new(teller: Fqdn, wall: UnixTime, lifetime_s: u32, message: impl Into<Message>) -> Self {
        Self { teller, ends: UnixTime(wall.0.saturating_add(lifetime_s.into())), message: message.into() }
    }

    /// The record to write, under the key that the message hands out.
    pub(crate) fn write(self, table: &'static str, key: KeyId) -> Write {
        let frame = Frame { transaction: Transaction(0), session: Session(0), message: self.message, trace: None };
        let frame = frame.encode();
        let mut value = Vec::with_capacity(9 + self.teller.as_str().len() + frame.len());
        value.put_u64(self.ends.0);
        let name = self.teller.as_str().as_bytes();
        value.put_u8(u8::try_from(name.len()).expect("a name has at most 253 characters"));
        value.put_slice(name);
        value.put_slice(&frame);
        Write { table, key: record_key(key), value: Some(secret_bytes(value)) }
    }

    /// Reads a record; `None` if it is not one.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (ends, value) = value.split_first_chunk()?;
        let (length, value) = value.split_first()?;
        let (teller, frame) = value.split_at_checked(usize::from(*length))?;
        let teller = Fqdn::parse(std::str::from_utf8(teller).ok()?).ok()?;
        let message = Frame::decode(frame).ok()?.message;
        Some(Self { teller, ends: UnixTime(u64::from_be_bytes(*ends)), message })
    }

    /// When it ends, in the machine's time; `None` if that has passed.
    pub(crate) fn ends_at(&self, now: Instant, wall: UnixTime) -> Option<Instant> {
        let left = self.ends.0.checked_sub(wall.0).filter(|left| *left > 0)?;
        Some(now + Duration::from_secs(left))
    }
}

/// The deletion of a record.
pub(crate) fn deletion(table: &'static str, key: KeyId) -> Write {
    Write { table, key: record_key(key), value: None }
}

fn record_key(key: KeyId) -> Bytes {
    Bytes::copy_from_slice(&key.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_wire::identifier::Negotiation;
    use ntmobile_wire::message::RelayResponse;
    use proptest::prelude::*;

    fn stored() -> (StoredMessage, Bytes) {
        let teller = Fqdn::parse("dc.u1.example").expect("a sound name");
        let stored = || {
            let message = RelayResponse { negotiation: Negotiation(7) };
            StoredMessage::new(teller.clone(), UnixTime(1_000), 60, message)
        };
        (stored(), stored().write("table", KeyId(3)).value.expect("a value is written"))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (written, value) = stored();
        let read = StoredMessage::read(&value).expect("it was just written");
        assert_eq!((read.teller, read.ends, read.message), (written.teller, written.ends, written.message));
    }

    #[test]
    fn it_ends_on_the_wall_clock_however_long_the_process_was_away() {
        let (written, _) = stored();
        let now = Instant::ORIGIN;
        assert_eq!(written.ends_at(now, UnixTime(1_059)), Some(now + Duration::from_secs(1)));
        assert_eq!(written.ends_at(now, UnixTime(1_060)), None);
        assert_eq!(written.ends_at(now, UnixTime(9_999)), None);
    }

    proptest! {
        #[test]
        fn a_damaged_record_is_refused_or_read_but_never_panics(cut in 0usize..200, at in 0usize..200, xor in 1u8..) {
            let (_, value) = stored();
            let mut value = value.to_vec();
            let at = at % value.len();
            value[at] ^= xor;
            value.truncate(cut);
            let _ = StoredMessage::read(&value);
        }
    }
}
