//! What is left of a run: a directory with its manifest, trace, results, capture and report.

pub mod directory;
pub mod manifest;
pub mod results;

pub use directory::{RecordError, RunDirectory};
pub use manifest::{Manifest, State};
pub use results::{Conversation, Path, RoundTrips};
