//! Which way a tunnel's packets go.

use ntmobile_wire::message::{DirectionReason, NodeInformation, TunnelEnd};
use std::net::SocketAddr;

/// What the DC of MN knows when it decides.
#[derive(Clone, Copy, Debug)]
pub struct PathQuestion<'a> {
    /// The end that starts.
    pub mn: &'a NodeInformation,
    /// The end that is called.
    pub cn: &'a NodeInformation,
    /// Why the tunnel is asked for; a direct path that failed must not be chosen again.
    pub reason: DirectionReason,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChoice {
    /// Straight from `sender` to the other end, at these addresses, best first.
    Direct {
        /// The end that sends Tunnel Request.
        sender: TunnelEnd,
        /// Where the other end is.
        candidates: Vec<SocketAddr>,
        /// For the trace: which rule decided.
        because: &'static str,
    },
    /// Through an RS.
    Relayed {
        /// For the trace: which rule decided.
        because: &'static str,
    },
}

/// A rule for the first path.
pub trait PathPolicy: Send + Sync {
    /// Its name in scenario files.
    fn name(&self) -> &'static str;

    /// Decides.
    fn choose(&self, question: PathQuestion<'_>) -> PathChoice;
}
