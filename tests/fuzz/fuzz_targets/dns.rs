//! Whatever DNS servers answer, a look-up ends in its time, floods nobody and leaves nothing behind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntmobile_proto::machine::Lookup;
use ntmobile_proto::resolver::{Families, Resolver, TIME_OUT, Wanted};
use ntmobile_proto::time::Instant;
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::name::Fqdn;

struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

fuzz_target!(|answers: Vec<(bool, Vec<u8>)>| {
    let mut entropy = Counter(0);
    let mut now = Instant::ORIGIN;
    let root = "198.41.0.4:53".parse().expect("an address");
    let mut resolver = Resolver::new(vec![root], Families { v4: true, v6: true });
    let name = Fqdn::parse("alice.u1.example").expect("a name");
    resolver.start(now, &mut entropy, Wanted::Server(Lookup::DirectionCoordinator(name)));
    let mut answers = answers.into_iter();
    let mut queries = 0;
    while resolver.poll_finished().is_none() {
        while let Some(query) = resolver.poll_transmit() {
            queries += 1;
            assert!(queries < 2_000, "the resolver floods");
            let Some((repeats_question, tail)) = answers.next() else { continue };
            // The header's first bytes are the query's, and its question if the input says so; the rest is free.
            let kept = if repeats_question { query.bytes.len() - 11 } else { 2 };
            let mut answer = query.bytes[..kept].to_vec();
            if repeats_question {
                for (place, byte) in answer[2..12].iter_mut().zip(&tail) {
                    *place = *byte;
                }
                answer[4..6].copy_from_slice(&[0, 1]);
            }
            answer.extend(tail.iter().skip(if repeats_question { 10 } else { 0 }));
            resolver.handle_response(now, &mut entropy, query.to, &answer);
        }
        let Some(deadline) = resolver.deadline() else { continue };
        now = deadline;
        resolver.expire(now, &mut entropy);
    }
    assert!(now.since(Instant::ORIGIN) <= TIME_OUT);
    assert_eq!(resolver.deadline(), None);
});
