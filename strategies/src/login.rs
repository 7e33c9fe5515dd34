//! In which order a node asks whom for its key.

mod via_as;
mod via_dc;

pub use via_as::ViaAs;
pub use via_dc::ViaDc;
