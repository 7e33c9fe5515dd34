//! Sealed messages on a byte stream: each behind a two-byte length.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// No sealed message is longer than one datagram.
const LONGEST: usize = 1_500;

/// The stream carries something else than sealed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a message of {0} bytes was announced, the longest has 1500")]
pub struct FramingError(usize);

/// Cuts a byte stream into sealed messages; holds at most one unfinished message.
#[derive(Debug, Default)]
pub struct StreamFraming {
    buffer: BytesMut,
}

impl StreamFraming {
    /// Takes some bytes and returns the messages they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Bytes>, FramingError> {
        self.buffer.extend_from_slice(bytes);
        let mut messages = Vec::new();
        while self.buffer.len() >= 2 {
            let length = usize::from(u16::from_be_bytes([self.buffer[0], self.buffer[1]]));
            if length > LONGEST {
                return Err(FramingError(length));
            }
            if self.buffer.len() < 2 + length {
                break;
            }
            self.buffer.advance(2);
            messages.push(self.buffer.split_to(length).freeze());
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cut_gives_the_same_messages(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            step in 1usize..50,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| super::super::framed(m).to_vec()).collect();
            let mut framing = StreamFraming::default();
            let mut found = Vec::new();
            for part in stream.chunks(step) {
                found.extend(framing.push(part).expect("well-formed").into_iter().map(|m| m.to_vec()));
            }
            prop_assert_eq!(found, messages);
        }

        #[test]
        fn garbage_is_refused_or_waits_but_never_grows(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
            let mut framing = StreamFraming::default();
            if framing.push(&bytes).is_ok() {
                prop_assert!(framing.buffer.len() < 2 + LONGEST);
            }
        }
    }
}
