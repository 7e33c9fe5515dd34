//! What a node does about its tunnels when it has moved and registered again.

/// The step to take for one tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverStep {
    /// Run the full signalling of a start again, with new keys.
    Resignal,
}

/// A way to hand tunnels over.
pub trait HandoverStrategy: Send + Sync {
    /// Its name in scenario files.
    fn name(&self) -> &'static str;

    /// What to do for a tunnel, given whether it goes through an RS.
    fn step(&self, relayed: bool) -> HandoverStep;
}
