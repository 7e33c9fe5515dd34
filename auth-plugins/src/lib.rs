//! The named ways to authenticate, one file each, and the registry that knows them by name.
//!
//! All of them look accounts up in the one [`AccountBook`] of the AS. What is not a plugin's kind of credential it leaves to
//! the next: an AS may offer several at once.

pub mod accounts;
pub mod hashing;
pub mod password;
pub mod public_key;
pub mod registry;

pub use accounts::{AccountBook, AccountError, Entry};
pub use hashing::{Cost, CostError, HashedPassword};
pub use password::Password;
pub use public_key::PublicKey;
pub use registry::{Ingredients, Registry, UnknownAuthenticator};
