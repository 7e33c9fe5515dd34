//! A tunnel that somebody else carries: nothing is sealed here, every change is told, and what has passed is believed.

use super::*;
use crate::machine::PacketNotice;
use crate::packet::{Counters, InnerHeader, Mirror, OutboundRefusal, Passage};
use ntmobile_wire::esp::{EspKey, REKEY_DUE};
use std::net::IpAddr;
use std::sync::Mutex;

/// Writes down what it is told.
#[derive(Default)]
struct Written(Mutex<Vec<String>>);

impl Written {
    fn note(&self, text: String) {
        self.0.lock().expect("nobody panics").push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics"))
    }
}

impl Mirror for Written {
    fn installed(&self, settings: &TunnelSettings, _: &EspKey, _: &EspKey) {
        self.note(format!("installed {}", settings.spi_in.0));
    }

    fn accepts(&self, _: Spi, spi: Spi, _: &EspKey) {
        self.note(format!("accepts {}", spi.generation()));
    }

    fn sends(&self, _: Spi, spi: Spi, _: &EspKey) {
        self.note(format!("sends {}", spi.generation()));
    }

    fn moved(&self, _: Spi, next_hop: SocketAddr) {
        self.note(format!("moved {next_hop}"));
    }

    fn leads(&self, address: IpAddr, tunnel: Option<Spi>) {
        self.note(format!("{address} {}", tunnel.map_or("nowhere".to_owned(), |spi| spi.0.to_string())));
    }

    fn control(&self, tunnel: &TunnelSettings, message: &[u8]) -> bool {
        self.note(format!("says {} through {}", message.escape_ascii(), tunnel.spi_in.0));
        message != b"refused"
    }

    fn removed(&self, tunnel: Spi) {
        self.note(format!("removed {}", tunnel.0));
    }
}

fn mirrored() -> (TunnelTable, Arc<Written>, Arc<Tunnel>) {
    let (table, written) = (TunnelTable::new(), Arc::new(Written::default()));
    table.mirror(Arc::clone(&written) as Arc<dyn Mirror>);
    let tunnel = table.install(at(1), mn_settings(), &secret(1)).expect("installed");
    (table, written, tunnel)
}

#[test]
fn every_change_is_told_once() {
    let (table, written, tunnel) = mirrored();
    let name = SPI_MN.0;
    assert_eq!(written.take(), [format!("installed {name}")]);
    let again = table.install(at(1), mn_settings(), &secret(1));
    assert!(again.is_err() && written.take().is_empty(), "what is refused is not there");
    table.activate(&tunnel);
    let addresses = [IpAddr::from(addresses(2).v4), addresses(2).v6.into()];
    assert_eq!(written.take(), addresses.map(|address| format!("{address} {name}")));
    for _ in 0..2 {
        tunnel.accept_generation(1, &secret(2)).expect("known suite");
        tunnel.send_generation(1, &secret(2)).expect("known suite");
    }
    assert_eq!(written.take(), ["accepts 1", "sends 1"], "a repeated request resets nothing");
    tunnel.move_to(address("198.51.100.1:9"));
    assert_eq!(written.take(), ["moved 198.51.100.1:9"]);
    table.remove(&tunnel);
    table.remove(&tunnel);
    let [v4, v6] = addresses.map(|address| format!("{address} nowhere"));
    assert_eq!(written.take(), [v4, v6, format!("removed {name}")]);
}

#[test]
fn nothing_is_sealed_under_a_key_that_another_seals_under() {
    let (table, written, tunnel) = mirrored();
    table.activate(&tunnel);
    let packet = crate::packet::control_packet(&addresses(1), &addresses(2), b"hello").expect("it fits");
    let mut packet = packet.to_vec();
    packet[42..44].copy_from_slice(&9_u16.to_be_bytes());
    assert_eq!(table.outbound(at(2), &packet), Err(OutboundRefusal::CarriedElsewhere));
    let header = InnerHeader::parse(&packet).expect("a packet");
    let departed = tunnel.depart(at(2), &header, &mut packet, 1, |_, _| ());
    assert_eq!(departed, Err(OutboundRefusal::CarriedElsewhere));
    assert_eq!(tunnel.control(b"close"), Err(OutboundRefusal::CarriedElsewhere));
    // The mirror says signalling's own, and has when it is asked to end the tunnel.
    written.take();
    assert_eq!(tunnel.say(b"refused"), Err(OutboundRefusal::CarriedElsewhere));
    assert_eq!(tunnel.say(b"close"), Ok(None));
    table.remove(&tunnel);
    let told = written.take();
    assert_eq!(told[..2], ["refused", "close"].map(|what| format!("says {what} through {}", SPI_MN.0)));
    assert_eq!(told.last(), Some(&format!("removed {}", SPI_MN.0)));
}

#[test]
fn what_has_passed_is_use_life_and_proof() {
    let (_, _, tunnel) = mirrored();
    let out = |packets_out, packets_in| Counters { packets_out, packets_in, ..Counters::default() };
    let passage =
        |applications, received, newest_generation| Passage { applications, received, newest_generation, sealed: 0 };
    assert_eq!(tunnel.note_passage(at(2), &passage(out(0, 0), 0, 0)), []);
    assert_eq!((tunnel.last_used(), tunnel.unanswered_since()), (at(1), None));
    tunnel.note_passage(at(3), &passage(out(1, 0), 0, 0));
    tunnel.note_passage(at(4), &passage(out(2, 0), 0, 0));
    assert_eq!((tunnel.last_used(), tunnel.unanswered_since()), (at(4), Some(at(3))));
    // Signalling's answer: the peer is there, nobody has used the tunnel.
    let proved = PacketNotice::Proved { tunnel: SPI_MN };
    assert_eq!(tunnel.note_passage(at(5), &passage(out(2, 0), 1, 1)), [proved]);
    assert_eq!((tunnel.last_used(), tunnel.last_received(), tunnel.unanswered_since()), (at(4), at(5), None));
    assert_eq!(tunnel.note_passage(at(6), &passage(out(2, 1), 2, 2)), []);
    assert_eq!((tunnel.last_used(), tunnel.counters()), (at(6), out(2, 1)));
}

#[test]
fn a_key_is_renewed_in_time_whichever_end_has_used_it_up() {
    for (newest_generation, sealed) in [(REKEY_DUE, 0), (0, REKEY_DUE)] {
        let (_, _, tunnel) = mirrored();
        tunnel.note_passage(at(2), &Passage { newest_generation, sealed, ..Passage::default() });
        assert!(tunnel.is_rekey_due());
    }
}
