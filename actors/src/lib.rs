//! Every entity of NTMobile as an actix actor.

pub mod dns;
pub mod driver;
pub mod host;
pub mod resolution;
pub mod supervise;
