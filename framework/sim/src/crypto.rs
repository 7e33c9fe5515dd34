//! Cryptography for simulated worlds: real TLS whose chance comes from the run's seed.
//!
//! rustls asks for generators that live for ever, and a run does not. So the generators are numbered places that are made
//! once in a process and used again by every run; what a place draws from is the stream that the run on this thread has
//! given that number. Outside of a run they draw nothing, and TLS fails: nothing real can come to depend on them. For the
//! same reason they can be had from a [`World`] only.

mod agreement;

use crate::entropy::SimEntropy;
use crate::runtime;
use crate::world::World;
use agreement::SeededX25519;
use ntmobile_ports::quic::CryptoChoice;
use ntmobile_wire::entropy::Entropy;
use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom, aws_lc_rs};
use std::sync::{Arc, Mutex, PoisonError};

impl World {
    /// The cryptography for the TLS end called `label`: its own streams of chance, new ones each time.
    pub fn tls_crypto(&self, label: &str) -> CryptoChoice {
        let place = place(self.shared().add_tls_stream(self.entropy(&format!("{label} TLS"))));
        let provider =
            CryptoProvider { kx_groups: vec![&place.group], secure_random: place, ..aws_lc_rs::default_provider() };
        CryptoChoice::Injected {
            provider: Arc::new(provider),
            entropy: Box::new(self.entropy(&format!("{label} QUIC"))),
        }
    }
}

/// A generator for as long as the process lives.
#[derive(Debug)]
struct Place {
    number: usize,
    group: SeededX25519,
}

/// The place with this number, made if there is none.
fn place(number: usize) -> &'static Place {
    static PLACES: Mutex<Vec<&'static Place>> = Mutex::new(Vec::new());
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    while places.len() <= number {
        let number = places.len();
        // Never freed, and never more of them than the largest run has TLS ends.
        places.push(Box::leak(Box::new(Place { number, group: SeededX25519 { place: number } })));
    }
    places[number]
}

/// Draws from the stream that the run on this thread has given to a place.
fn fill(place: usize, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
    let shared = runtime::current().ok_or(GetRandomFailed)?;
    shared.with_tls_stream(place, |stream: &mut SimEntropy| stream.fill(bytes)).ok_or(GetRandomFailed)
}

impl SecureRandom for Place {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(self.number, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Simulation;

    #[test]
    fn the_seeded_provider_draws_within_its_run_only() {
        let draw = |simulation: &mut Simulation| {
            let CryptoChoice::Injected { provider, .. } = simulation.world().tls_crypto("end") else {
                panic!("the world injects its own")
            };
            let mut outside = [0; 32];
            assert!(provider.secure_random.fill(&mut outside).is_err());
            assert!(provider.kx_groups[0].start().is_err());
            simulation
                .run(async move {
                    let mut inside = [0; 32];
                    provider.secure_random.fill(&mut inside).unwrap();
                    (inside, provider.kx_groups[0].start().unwrap().pub_key().to_vec())
                })
                .unwrap()
        };
        assert_eq!(draw(&mut Simulation::new(1)), draw(&mut Simulation::new(1)));
        assert_ne!(draw(&mut Simulation::new(1)), draw(&mut Simulation::new(2)));
    }

    #[test]
    fn two_ends_agree_on_a_secret_and_a_broken_share_is_refused() {
        let mut simulation = Simulation::new(1);
        let CryptoChoice::Injected { provider, .. } = simulation.world().tls_crypto("end") else {
            panic!("the world injects its own")
        };
        simulation
            .run(async move {
                let group = provider.kx_groups[0];
                let (one, two) = (group.start().unwrap(), group.start().unwrap());
                let (one_public, two_public) = (one.pub_key().to_vec(), two.pub_key().to_vec());
                let secrets = (one.complete(&two_public).unwrap(), two.complete(&one_public).unwrap());
                assert_eq!(secrets.0.secret_bytes(), secrets.1.secret_bytes());
                assert!(group.start().unwrap().complete(&[0; 32]).is_err(), "a point of small order");
                assert!(group.start().unwrap().complete(&[1; 5]).is_err());
            })
            .unwrap();
    }
}
