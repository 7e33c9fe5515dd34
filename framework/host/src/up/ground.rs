//! What a virtual interface stands on: who gives it addresses and leads peers' addresses into it. For `ntm up` that is this process, by
//! its footprint on the host.

use futures::future::BoxFuture;
use ntmobile_net::footprint::Footprint;
use std::net::IpAddr;

/// Why the ground does not change, in words.
pub(crate) type GroundError = Box<dyn std::error::Error>;

/// Changes what leads into an interface. Called by the node's actor: it must not wait.
pub(crate) trait Ground: Send + 'static {
    /// The interface has this address.
    fn add_address(&mut self, address: IpAddr) -> Result<(), GroundError>;

    /// A peer's address leads into the interface.
    fn lead(&mut self, address: IpAddr) -> Result<(), GroundError>;

    /// It does so no more.
    fn part(&mut self, address: IpAddr) -> Result<(), GroundError>;

    /// Completes when everything that was asked for until now is so.
    fn settled(&self) -> BoxFuture<'static, ()>;
}

impl Ground for Footprint {
    fn add_address(&mut self, address: IpAddr) -> Result<(), GroundError> {
        Ok(Self::add_address(self, address, bits(address))?)
    }

    fn lead(&mut self, address: IpAddr) -> Result<(), GroundError> {
        Ok(self.add_route(address, bits(address))?)
    }

    fn part(&mut self, address: IpAddr) -> Result<(), GroundError> {
        Ok(self.remove_route(address, bits(address))?)
    }

    fn settled(&self) -> BoxFuture<'static, ()> {
        // The kernel has answered already.
        Box::pin(std::future::ready(()))
    }
}

/// How many bits of an address count where it stands for nobody else.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
