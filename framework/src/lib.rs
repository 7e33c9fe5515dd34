//! The face of the framework: prelude and tour, no logic.
