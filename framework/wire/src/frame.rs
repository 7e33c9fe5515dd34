//! A message in the clear: what travels inside TLS, on the reserved port inside a tunnel, and nowhere else.

use crate::codec::{Decode, DecodeError, Encode, Extensions, Reader, VERSION, Writer};
use crate::identifier::{Session, Transaction};
use crate::key::secret_bytes;
use crate::message::Message;
use crate::trace_context::TraceContext;
use bytes::Bytes;

/// A message with what relates it to others. Whatever carries it protects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Ties an answer to its request.
    pub transaction: Transaction,
    /// The sender's session.
    pub session: Session,
    /// What is said.
    pub message: Message,
    /// The span that caused it.
    pub trace: Option<TraceContext>,
}

impl Frame {
    /// The frame as bytes.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.put(&[VERSION, self.message.kind()]);
        writer.write(&self.transaction);
        writer.write(&self.session);
        encode_body(&mut writer, &self.message, self.trace);
        // Keys travel in frames.
        secret_bytes(writer.finish())
    }

    /// Reads a frame that fills `bytes` exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)?;
        let kind = reader.read()?;
        let transaction = reader.read()?;
        let session = reader.read()?;
        let (message, extensions) = decode_body(kind, reader)?;
        Ok(Self { transaction, session, message, trace: extensions.trace })
    }
}

/// Reads the version and refuses every other than ours.
pub(crate) fn read_version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match reader.read()? {
        VERSION => Ok(()),
        other => Err(DecodeError::UnsupportedVersion(other)),
    }
}

/// Writes what frames and datagrams have in common: fixed fields, then extensions.
pub(crate) fn encode_body(writer: &mut Writer, message: &Message, trace: Option<TraceContext>) {
    message.encode_fields(writer);
    Extensions { trace }.encode(writer);
}

/// Reads a body to its last byte.
pub(crate) fn decode_body(kind: u8, mut reader: Reader<'_>) -> Result<(Message, Extensions), DecodeError> {
    let message = Message::decode_fields(kind, &mut reader)?;
    let extensions = Extensions::decode(&mut reader)?;
    reader.finish()?;
    Ok((message, extensions))
}
