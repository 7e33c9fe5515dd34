//! What smoltcp 0.14 lacks under loss: three ways in which it can stall for ever, and one in which it is slow.
//!
//! - When it retransmits it forgets how far it had sent, and gives its acknowledgements the sequence number of the
//!   retransmission. The other end has received further and must disregard such a segment (RFC 9293 §3.10.7.4). When both
//!   ends do this at once, neither hears the other's acknowledgement again. Here every segment without content gets the
//!   highest sequence number sent so far, as RFC 9293 §3.10.7.4 has it.
//! - Duplicate acknowledgements of a lost FIN stop its retransmission timer and send nothing. Here the FIN is kept and
//!   sent again.
//! - A FIN that comes again behind content that has all been received already is disregarded with that content. Here it
//!   is handed on alone.
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
    /// The sequence number of the other end up to which everything has been received and acknowledged.
    received: Option<TcpSeqNumber>,
    fin: Option<Bytes>,
    fin_again: Option<Instant>,
    tail: TailLoss,
}

impl Repair {
    /// Looks at a packet that has come; returns what is to be handed on.
    pub(super) fn incoming(&mut self, packet: Bytes, now: Instant) -> Bytes {
        let Some((source, destination, header)) = addresses(&packet) else { return packet };
        let Ok(segment) = TcpPacket::new_checked(&packet[header..]) else { return packet };
        if segment.ack() {
            self.tail.acknowledged(segment.ack_number(), now);
        }
        let content = segment.payload().len();
        let end = segment.seq_number() + content;
        if segment.fin() && content > 0 && self.received == Some(end) && segment.verify_checksum(&source, &destination)
        {
            without_content(&packet, header, end)
        } else {
            packet
        }
    }

    /// Looks at a packet before it leaves.
    pub(super) fn outgoing(&mut self, packet: Bytes, now: Instant) -> Bytes {
        let Some((source, destination, header)) = addresses(&packet) else { return packet };
        let Ok(segment) = TcpPacket::new_checked(&packet[header..]) else { return packet };
        if segment.ack() && self.received.is_none_or(|received| received < segment.ack_number()) {
            self.received = Some(segment.ack_number());
        }
        let sequence = segment.seq_number();
        let length = segment.segment_len();
        if segment.fin() {
            self.fin = Some(packet.clone());
        }
        if segment.syn() {
            self.tail.opening(sequence + length, now);
        } else if segment.rst() || segment.fin() {
            self.tail.forget();
        } else if length > 0 {
            self.tail.sent(&packet, (sequence, sequence + length), now);
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

/// The packet without its segment's content, which ends before `end`.
fn without_content(packet: &[u8], header: usize, end: TcpSeqNumber) -> Bytes {
    let control = usize::from(TcpPacket::new_unchecked(&packet[header..]).header_len());
    let mut bare = packet[..header + control].to_vec();
    let ends = if bare[0] >> 4 == 4 {
        let mut ip = Ipv4Packet::new_unchecked(&mut bare);
        ip.set_total_len(u16::try_from(header + control).expect("two headers are less than a packet"));
        ip.fill_checksum();
        (ip.src_addr().into(), ip.dst_addr().into())
    } else {
        let mut ip = Ipv6Packet::new_unchecked(&mut bare);
        ip.set_payload_len(u16::try_from(control).expect("a header is less than a packet"));
        (ip.src_addr().into(), ip.dst_addr().into())
    };
    let mut segment = TcpPacket::new_unchecked(&mut bare[header..]);
    segment.set_seq_number(end);
    segment.fill_checksum(&ends.0, &ends.1);
    bare.into()
}

/// The addresses of a packet, and where its TCP segment begins.
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
