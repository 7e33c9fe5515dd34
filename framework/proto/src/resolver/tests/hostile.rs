//! Servers and strangers that lie.

use super::world::*;
use crate::machine::{Lookup, LookupFailure};
use crate::resolver::{TIME_OUT, Wanted};
use hickory_proto::op::{Message, MessageType, ResponseCode};

/// Starts looking for alice's DC and returns the query to the root with an honest answer to it.
fn first_query(world: &mut World) -> (std::net::SocketAddr, Message) {
    let wanted = Wanted::Server(Lookup::DirectionCoordinator(fqdn("alice.u1.example")));
    world.resolver.start(world.now, &mut world.chance, wanted);
    let transmit = world.resolver.poll_transmit().expect("the root is asked");
    let query = Message::from_vec(&transmit.bytes).expect("a query");
    let reply = honest(".", &["example. NS ns.example.", "ns.example. A 192.0.2.1"])(&query).expect("a reply");
    (transmit.to, Message::from_vec(&reply).expect("a reply"))
}

#[test]
fn an_answer_counts_only_with_the_right_id_address_question_and_direction() {
    let mut world = two_domains(BOTH);
    let (root, honest) = first_query(&mut world);
    let bytes = |message: &Message| message.to_vec().expect("a message");
    let mut wrong_id = honest.clone();
    wrong_id.metadata.id = honest.metadata.id.wrapping_add(1);
    assert!(!world.deliver(root, &bytes(&wrong_id)));
    assert!(!world.deliver(address("203.0.113.66"), &bytes(&honest)));
    let mut wrong_question = honest.clone();
    wrong_question.queries[0].set_name(name("mallory.u1.example."));
    assert!(!world.deliver(root, &bytes(&wrong_question)));
    let mut no_response = honest.clone();
    no_response.metadata.message_type = MessageType::Query;
    assert!(!world.deliver(root, &bytes(&no_response)));
    assert_eq!(world.resolver.poll_transmit(), None, "nothing has moved");
    assert!(world.deliver(root, &bytes(&honest)));
    assert!(world.resolver.poll_transmit().is_some_and(|transmit| transmit.to == address("192.0.2.1")));
    assert!(!world.deliver(root, &bytes(&honest)), "a second answer finds no open query");
}

#[test]
fn addresses_for_names_outside_the_servers_zone_are_ignored() {
    let mut world = two_domains(BOTH);
    // u2's DC claims that u1's DC is elsewhere, as an additional and as the target of its own service.
    world.serve(
        "192.0.2.12",
        honest(
            "u2.example.",
            &[
                "_ntm._udp.u2.example. SRV 0 0 4510 dc.u1.example.",
                "dc.u1.example. A 203.0.113.66",
                "dc.u1.example. AAAA 2001:db8::66",
            ],
        ),
    );
    let redirected = world.dc("mallory.u2.example").expect("found");
    assert_eq!(redirected.signalling.v4.map(|v4| v4.ip().to_string()).as_deref(), Some("192.0.2.11"));
    let server = world.dc("alice.u1.example").expect("found");
    assert_eq!(server.signalling.v4, Some("192.0.2.11:4510".parse().expect("an address")));
    assert!(world.asked.iter().all(|(to, _)| *to != address("203.0.113.66")));
}

#[test]
fn a_server_cannot_delegate_a_zone_that_is_not_below_its_own() {
    let mut world = two_domains(V4);
    for cut in ["example.", "u2.example.", "u1.example.", "bob.u1.example."] {
        world.serve(
            "192.0.2.11",
            Box::new(move |query| {
                let mut reply = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
                reply.add_query(query.queries[0].clone());
                reply.add_authority(record(&format!("{cut} NS evil.u1.example.")));
                reply.add_additional(record("evil.u1.example. A 203.0.113.66"));
                reply.to_vec().ok()
            }),
        );
        assert_eq!(world.dc("alice.u1.example"), Err(LookupFailure::Broken), "{cut}");
    }
    assert!(world.dc("carol.u2.example").is_ok());
    assert!(world.asked.iter().all(|(to, _)| *to != address("203.0.113.66")));
}

#[test]
fn a_circle_of_delegations_without_glue_fails_typed_and_bounded() {
    let mut world = two_domains(BOTH);
    world.serve("192.0.2.1", honest("example.", &["a.example. NS ns.b.example.", "b.example. NS ns.a.example."]));
    assert_eq!(world.dc("alice.a.example"), Err(LookupFailure::Broken));
    world.serve("192.0.2.1", honest("example.", &["c.example. NS ns.c.example."]));
    assert_eq!(world.dc("alice.c.example"), Err(LookupFailure::Broken));
    assert!(world.queries < 40, "{} queries", world.queries);
    assert_eq!(world.resolver.deadline(), None, "nothing is left under way");
}

#[test]
fn a_zone_with_many_unknown_servers_does_not_make_us_flood() {
    let mut world = two_domains(BOTH);
    let mut records: Vec<String> = (0..13).map(|n| format!("bomb.example. NS ns.x{n}.example.")).collect();
    for outer in 0..13 {
        records.extend((0..13).map(|inner| format!("x{outer}.example. NS ns.y{outer}-{inner}.example.")));
        records.extend((0..13).map(|inner| format!("y{outer}-{inner}.example. NS ns.bomb.example.")));
    }
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    world.serve("192.0.2.1", honest("example.", &records));
    assert_eq!(world.dc("alice.bomb.example"), Err(LookupFailure::Broken));
    assert!(world.queries < 80, "{} queries", world.queries);
}

#[test]
fn a_chain_of_ever_deeper_delegations_ends() {
    let mut world = World::new(&["198.41.0.4"], V4);
    world.serve(
        "198.41.0.4",
        Box::new(|query| {
            // However deep the name asked, one more label of it is delegated back to the same server.
            let asked = query.queries[0].name().clone();
            let mut reply = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
            reply.add_query(query.queries[0].clone());
            let depth = asked.num_labels().min(1);
            reply.add_authority(hickory_proto::rr::Record::from_rdata(
                asked.trim_to(depth.into()),
                300,
                record("x. NS ns.u1.").data,
            ));
            reply.add_additional(record("ns.u1. A 198.41.0.4"));
            reply.to_vec().ok()
        }),
    );
    assert_eq!(world.dc("alice.u1"), Err(LookupFailure::Broken));
}

#[test]
fn an_alias_is_refused_as_the_target_of_a_name_server_or_service() {
    let mut world = two_domains(BOTH);
    let zone = ["_ntm._udp.u1.example. SRV 0 0 4510 alias.u1.example.", "alias.u1.example. CNAME dc.u1.example."];
    world.serve("192.0.2.11", honest("u1.example.", &zone));
    assert_eq!(world.dc("alice.u1.example"), Err(LookupFailure::Broken));
}

#[test]
fn a_circle_of_aliases_fails_typed() {
    let mut world = two_domains(BOTH);
    let zone = ["a.u1.example. CNAME b.u1.example.", "b.u1.example. CNAME a.u1.example."];
    world.serve("192.0.2.11", honest("u1.example.", &zone));
    assert_eq!(world.look_up(Wanted::Host(fqdn("a.u1.example"))), Err(LookupFailure::Broken));
}

#[test]
fn servers_that_answer_uselessly_make_the_look_up_fail_at_once() {
    let useless: [fn(&mut Message); 4] = [
        |reply| reply.metadata.response_code = ResponseCode::ServFail,
        |reply| reply.metadata.response_code = ResponseCode::Refused,
        |reply| reply.authorities.clear(),
        |reply| reply.metadata.truncation = true,
    ];
    // The last one is cut over TCP, too.
    for (spoil, expected) in useless.into_iter().zip([1, 1, 1, 2]) {
        let mut world = two_domains(BOTH);
        let root = honest(".", &["example. NS ns.example.", "ns.example. A 192.0.2.1"]);
        world.serve(
            "198.41.0.4",
            Box::new(move |query| {
                let mut reply = Message::from_vec(&root(query)?).ok()?;
                spoil(&mut reply);
                reply.to_vec().ok()
            }),
        );
        let (result, trips) = world.round_trips(|world| world.dc("alice.u1.example"));
        assert_eq!((result, trips), (Err(LookupFailure::Broken), expected));
    }
}

#[test]
fn of_two_servers_the_useless_one_is_passed_over() {
    let mut world = two_domains(V4);
    let tld =
        ["example. NS a.example.", "a.example. A 192.0.2.250", "example. NS b.example.", "b.example. A 192.0.2.1"];
    world.serve("198.41.0.4", honest(".", &tld));
    world.serve("192.0.2.250", Box::new(|query| Some(query.metadata.id.to_be_bytes().to_vec())));
    let (result, trips) = world.round_trips(|world| world.dc("alice.u1.example"));
    assert!(result.is_ok());
    assert_eq!(trips, 4);
}

#[test]
fn without_any_answer_nothing_remains() {
    let mut world = World::new(&["198.41.0.4"], V4);
    assert_eq!(world.dc("alice.u1.example"), Err(LookupFailure::TimedOut));
    assert_eq!(world.now.since(crate::time::Instant::ORIGIN), TIME_OUT);
    assert_eq!(world.resolver.deadline(), None);
}
