//! How a node notices that it has moved.

/// Something a node noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The operating system, the host application or the simulator says that the addresses changed.
    AddressesChanged,
    /// So many keepalives in a row were not answered.
    KeepalivesLost(u32),
    /// The DC sees another outer address than at registration.
    OuterAddressChanged,
}

/// A rule for when to register again.
pub trait MovementDetection: Send + Sync {
    /// Its name in scenario files.
    fn name(&self) -> &'static str;

    /// Whether the observation means that the node has moved.
    fn has_moved(&self, observation: Observation) -> bool;
}
