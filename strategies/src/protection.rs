//! Which key seals Tunnel Request, and whether K_mncn is wrapped once more inside.

mod one_key;
mod two_keys;

pub use one_key::OneKey;
pub use two_keys::TwoKeys;
