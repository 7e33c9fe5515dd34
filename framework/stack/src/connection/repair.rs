//! What smoltcp 0.14 lacks under loss, added on the way out: two ways in which it can stall for ever, and one in which it is
//! slow.
//!
//! - When it retransmits it forgets how far it had sent, and gives its acknowledgements the sequence number of the
//!   retransmission. The other end has received further and must disregard such a segment (RFC 9293 §3.10.7.4). When both
//!   ends do this at once, neither hears the other's acknowledgement again. Here every segment without content gets the
//!   highest sequence number sent so far, as RFC 9293 §3.10.7.4 has it.
//! - Duplicate acknowledgements of a lost FIN stop its retransmission timer and send nothing. Here the FIN is kept and
//!   sent again.
//! - It waits a second before it sends the last segment again, then two, then four: a request that is lost twice is late by
//!   three seconds. Here the last segment is sent again after two round trips, and a few times more (tail loss probes, RFC 8985 §7).

mod probe;

use bytes::Bytes;
use ntmobile_proto::time::Instant;
use probe::TailLoss;
use smoltcp::wire::{IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber};
use std::time::Duration;

/// How often a FIN is sent again for which no timer runs.
const FIN_INTERVAL: Duration = Duration::from_secs(3);

/// What one connection has sent.
#[derive(Default)]
pub(super) struct Repair {
    /// The sequence number after the last octet sent.
    highest: Option<TcpSeqNumber>,
    fin: Option<Bytes>,
    fin_again: Option<Instant>,
    tail: TailLoss,
}

impl Repair {
    /// Looks at a packet that has come.
    pub(super) fn incoming(&mut self, packet: &Bytes, now: Instant) {
        let Some((_, _, header)) = addresses(packet) else { return };
        if let Ok(segment) = TcpPacket::new_checked(&packet[header..])
            && segment.ack()
        {
            self.tail.acknowledged(segment.ack_number(), now);
        }
    }

    /// Looks at a packet before it leaves.
    pub(super) fn outgoing(&mut self, packet: Bytes, now: Instant) -> Bytes {
        let Some((source, destination, header)) = addresses(&packet) else { return packet };
        let Ok(segment) = TcpPacket::new_checked(&packet[header..]) else { return packet };
        let sequence = segment.seq_number();
        let length = segment.segment_len();
        if segment.fin() {
            self.fin = Some(packet.clone());
        }
        if segment.syn() {
            self.tail.opening(sequence + length, now);
        } else if segment.rst() {
            self.tail.forget();
        } else if length > 0 {
            self.tail.sent(&packet, sequence + length, now);
        }
        match self.highest {
            Some(highest) if length == 0 && !segment.rst() && sequence < highest => {
                let mut repaired = packet.to_vec();
                let mut segment = TcpPacket::new_unchecked(&mut repaired[header..]);
                segment.set_seq_number(highest);
                segment.fill_checksum(&source, &destination);
                repaired.into()
            }
            Some(highest) if sequence + length < highest => packet,
            _ => {
                self.highest = Some(sequence + length);
                packet
            }
        }
    }

    /// The FIN, when it is time to send it again: it is owed an answer and nothing else will ask for that.
    pub(super) fn fin_due(&mut self, is_stalled: bool, now: Instant) -> Option<Bytes> {
        if !is_stalled || self.fin.is_none() {
            self.fin_again = None;
            return None;
        }
        match self.fin_again {
            Some(at) if at > now => None,
            waited => {
                self.fin_again = Some(now + FIN_INTERVAL);
                waited.and(self.fin.clone())
            }
        }
    }

    /// The last segment, when it is time to send it again.
    pub(super) fn probe_due(&mut self, now: Instant) -> Option<Bytes> {
        self.tail.due(now)
    }

    /// The connection is over: nothing is owed any more.
    pub(super) fn over(&mut self) {
        self.tail.forget();
    }

    /// When [`Repair::fin_due`] or [`Repair::probe_due`] has something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.fin_again, self.tail.deadline()].into_iter().flatten().min()
    }
}

/// The addresses of a packet that smoltcp made, and where its TCP segment begins.
fn addresses(packet: &[u8]) -> Option<(IpAddress, IpAddress, usize)> {
    match packet.first()? >> 4 {
        4 => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            Some((ip.src_addr().into(), ip.dst_addr().into(), usize::from(ip.header_len())))
        }
        _ => {
            let ip = Ipv6Packet::new_checked(packet).ok()?;
            Some((ip.src_addr().into(), ip.dst_addr().into(), ip.header_len()))
        }
    }
}
