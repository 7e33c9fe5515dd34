//! The W3C trace context in its 26-byte binary form: what ties the spans of all entities into one conversation.

use crate::entropy::{Entropy, draw};
use std::fmt;

/// The identity of one span within one trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceContext {
    /// The conversation.
    pub trace: [u8; 16],
    /// The span that caused the message.
    pub span: [u8; 8],
}

impl TraceContext {
    /// Starts a new trace.
    pub fn root(entropy: &mut dyn Entropy) -> Self {
        Self { trace: draw(entropy), span: draw(entropy) }
    }

    /// A new span in the same trace.
    pub fn child(&self, entropy: &mut dyn Entropy) -> Self {
        Self { trace: self.trace, span: draw(entropy) }
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.trace.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…/")?;
        for byte in self.span.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
