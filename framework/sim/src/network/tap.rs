//! The places where packets are copied into a capture: at interfaces, as they go out and as they come in.

use super::packet::Packet;
use super::{Interface, InterfaceId, Network};
use crate::capture::Capture;
use ntmobile_proto::time::Instant;
use std::io;

impl Network {
    /// Captures what passes these interfaces from now on. A capture that was running before is dropped unfinished.
    ///
    /// A packet that goes out is captured when the link's queue takes it: one that the queue drops does not show, one that
    /// the link loses does.
    pub fn start_capture(&mut self, mut capture: Capture, interfaces: impl IntoIterator<Item = InterfaceId>) {
        for interface in &mut self.interfaces {
            interface.captured_as = None;
        }
        for interface in interfaces {
            let interface = self.interface_mut(interface);
            interface.captured_as = Some(capture.add_interface(&interface.name));
        }
        self.capture = Some(capture);
    }

    /// Adds an interface to the capture that is running, if one is.
    pub fn capture_also(&mut self, interface: InterfaceId) {
        let place = &mut self.interfaces[interface.number()];
        if let Some(capture) = &mut self.capture
            && place.captured_as.is_none()
        {
            place.captured_as = Some(capture.add_interface(&place.name));
        }
    }

    /// Ends the capture; says whether all of it was written.
    pub fn finish_capture(&mut self) -> io::Result<()> {
        self.end_capture().map_or(Ok(()), Capture::finish)
    }

    /// Ends the capture, and leaves writing out the rest of it to the caller.
    pub fn end_capture(&mut self) -> Option<Capture> {
        for interface in &mut self.interfaces {
            interface.captured_as = None;
        }
        self.capture.take()
    }
}

/// Copies a packet into the capture, if its interface is captured.
pub(super) fn tap(
    capture: &mut Option<Capture>,
    interface: &Interface,
    at: Instant,
    is_inbound: bool,
    packet: &Packet,
) {
    if let (Some(number), Some(capture)) = (interface.captured_as, capture) {
        capture.packet(number, at, is_inbound, packet.wire_len(), |out| packet.encode(out));
    }
}
