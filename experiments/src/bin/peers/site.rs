//! What a run has to measure with: the network of the two ends, our programs, and the servers of NTMobile once they are wanted.

use crate::failure::Failure;
use crate::network::Network;
use crate::programs::Programs;
use crate::topology::Topology;
use std::cell::OnceCell;

/// The place of a run. Processes end before the namespaces that they are in.
#[derive(Debug)]
pub(crate) struct Site {
    network: OnceCell<Network>,
    pub(crate) programs: Programs,
    pub(crate) topology: Topology,
}

impl Site {
    /// One whose servers do not run yet.
    pub(crate) fn new(programs: Programs, topology: Topology) -> Self {
        Self { network: OnceCell::new(), programs, topology }
    }

    /// The servers: started at first use, and running until the end.
    pub(crate) fn network(&self) -> Result<&Network, Failure> {
        if let Some(network) = self.network.get() {
            return Ok(network);
        }
        let network = Network::start(&self.topology, &self.programs)?;
        Ok(self.network.get_or_init(|| network))
    }
}
