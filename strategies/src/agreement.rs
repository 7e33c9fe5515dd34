//! How K_mncn travels inside Tunnel Request.

mod k_tmp;
mod public_key;
#[cfg(test)]
mod tests;

pub use k_tmp::KTmp;
pub use public_key::SealedToPublicKey;
