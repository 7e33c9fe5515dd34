//! What follows the fixed fields of a message: optional values by number, so that the format can grow.

use super::{Decode, DecodeError, Encode, Reader, Writer};
use crate::trace_context::TraceContext;

/// An extension whose type has this bit must be understood, or the message is refused.
const CRITICAL: u16 = 0x8000;

/// The W3C trace context.
const TRACE_CONTEXT: u16 = 0x0001;

/// Version 0, trace 16, span 8, flags 1.
const TRACE_CONTEXT_LENGTH: usize = 26;

/// The flag that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// The extensions of a message that this version understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The span that caused the message.
    pub trace: Option<TraceContext>,
}

impl Encode for Extensions {
    fn encode(&self, writer: &mut Writer) {
        if let Some(TraceContext { trace, span }) = &self.trace {
            writer.put(&TRACE_CONTEXT.to_be_bytes());
            writer.put(&(TRACE_CONTEXT_LENGTH as u16).to_be_bytes());
            writer.put(&[0]);
            writer.put(trace);
            writer.put(span);
            writer.put(&[SAMPLED]);
        }
    }
}

impl Decode for Extensions {
    /// Reads to the end of the input: extensions close a message.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut extensions = Self::default();
        let mut trace_came = false;
        while !reader.is_empty() {
            let kind: u16 = reader.read()?;
            let length: u16 = reader.read()?;
            let value = reader.take(usize::from(length))?;
            match kind {
                TRACE_CONTEXT if trace_came => return Err(DecodeError::DuplicateExtension(kind)),
                TRACE_CONTEXT => {
                    trace_came = true;
                    extensions.trace = trace_context(value);
                }
                _ if kind & CRITICAL != 0 => return Err(DecodeError::CriticalExtension(kind)),
                _ => {}
            }
        }
        Ok(extensions)
    }
}

/// A context that is not understood is as good as none: tracing never costs a message.
fn trace_context(value: &[u8]) -> Option<TraceContext> {
    let value: &[u8; TRACE_CONTEXT_LENGTH] = value.try_into().ok()?;
    let (version, rest) = value.split_first()?;
    let (trace, rest) = rest.split_first_chunk()?;
    let span = rest.first_chunk()?;
    let sound = *version == 0 && trace.iter().any(|byte| *byte != 0) && span.iter().any(|byte| *byte != 0);
    sound.then_some(TraceContext { trace: *trace, span: *span })
}
