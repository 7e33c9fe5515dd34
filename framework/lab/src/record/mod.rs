//! What is left of a run: a directory with its manifest, trace, results, capture, log of events and report.

pub mod directory;
pub(crate) mod events;
pub mod manifest;
pub mod results;

pub use directory::{RecordError, RunDirectory};
pub use manifest::{Manifest, State};
pub use results::{Conversation, Path, RoundTrips};
