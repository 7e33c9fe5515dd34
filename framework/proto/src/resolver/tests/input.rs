//! Arbitrary bytes, and honest answers with arbitrary damage.

use super::world::*;
use crate::machine::Lookup;
use crate::resolver::Wanted;
use hickory_proto::op::Message;
use proptest::prelude::*;

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_end_a_look_up(tail in proptest::collection::vec(any::<u8>(), 0..1_400)) {
        let mut world = two_domains(BOTH);
        let wanted = Wanted::Server(Lookup::DirectionCoordinator(fqdn("alice.u1.example")));
        let id = world.resolver.start(world.now, &mut world.chance, wanted);
        let query = world.resolver.poll_transmit().expect("the root is asked");
        world.deliver(query.to, &tail);
        // With the right identifier in front, whatever follows is read.
        let mut bytes = query.bytes[..2].to_vec();
        bytes.extend(&tail);
        world.deliver(query.to, &bytes);
        let _either_way_it_ends = world.run(id);
        prop_assert_eq!(world.resolver.deadline(), None);
    }

    #[test]
    fn damaged_answers_never_panic_nor_leave_anything_behind(
        damage in proptest::collection::vec((0_usize..200, any::<u8>()), 1..6),
        cut in 0_usize..200,
    ) {
        let mut world = two_domains(BOTH);
        let tld = honest("example.", &["u1.example. NS dc.u1.example.", "dc.u1.example. A 192.0.2.11"]);
        world.serve("192.0.2.1", Box::new(move |query: &Message| {
            let mut reply = tld(query)?;
            for (at, byte) in &damage {
                if let Some(place) = reply.get_mut(2 + at) {
                    *place ^= byte;
                }
            }
            reply.truncate(reply.len().saturating_sub(cut % 7));
            Some(reply)
        }));
        let _either_way_it_ends = world.dc("alice.u1.example");
        prop_assert_eq!(world.resolver.deadline(), None);
    }
}
