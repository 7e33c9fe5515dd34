//! What is planned for whom.

use super::*;
use crate::scenario::builtin::BUILTIN;
use crate::scenario::load::Layers;

fn quickstart() -> Scenario {
    BUILTIN[0].scenario().expect("a sound scenario")
}

#[test]
fn the_kernel_translates_where_it_can_and_the_model_elsewhere() {
    let plan = Plan::of(&quickstart(), Translators::Kernel).expect("it can be built");
    let kernel: Vec<&str> = plan.routers.keys().map(String::as_str).collect();
    // A carrier's NAT has four addresses, and another network is behind it; the hotel's router is behind the model's.
    assert_eq!(kernel, ["home", "hotel", "office"]);
    let model = Plan::of(&quickstart(), Translators::Model).expect("it can be built");
    assert!(model.routers.is_empty());
}

#[test]
fn addresses_are_the_simulator_s_whoever_translates() {
    let scenario = quickstart();
    let mut network = Network::new(scenario.world.seed);
    let whole = Topology::build(&scenario, &mut network).expect("it can be built");
    let plan = Plan::of(&scenario, Translators::Kernel).expect("it can be built");
    for (name, place) in whole.hosts() {
        let planned = plan.topology.host(name).expect("it is in both").node;
        let planned = plan.network.addresses(planned);
        let addresses = network.addresses(place.node);
        let behind = plan.routers.values().find(|router| router.inside.contains(addresses[0]));
        match behind {
            Some(router) => assert!(planned.is_empty(), "{name} is in {}", router.network),
            None => assert_eq!(planned, addresses, "{name}"),
        }
    }
}

#[test]
fn every_server_is_planned_with_its_addresses_and_those_that_are_asked_first() {
    let plan = Plan::of(&quickstart(), Translators::Kernel).expect("it can be built");
    let labels: Vec<&str> = plan.servers.iter().map(|server| server.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "root-server",
            "top-level-server.example",
            "as",
            "rs1.u1.example",
            "ns1.u1.example",
            "rs1.u2.example",
            "dc.u1.example",
            "dc.u2.example"
        ]
    );
    assert!(plan.servers.iter().all(|server| server.addresses.len() == 2), "dual stack");
}

#[test]
fn what_cannot_be_had_is_refused_with_its_line() {
    let text = "[world]\nduration = \"9 s\"\n[plugins]\nstorage = \"sled\"\n[domain.\"u1.example\"]\n\n[[event]]\nat = \"1 s\"\n\
                disk-full = { server = \"as\" }\n";
    assert!(Layers::new("x.toml", text).expect("TOML").read().is_ok(), "the simulator runs it");
    let error = Layers::new("x.toml", text).expect("TOML").read_for(unfit).expect_err("a lab has no such disk");
    let error = error.to_string();
    assert!(error.contains("x.toml:9") && error.contains("no disk of its own for as"), "{error}");
    let scenario = Scenario::from_toml("x.toml", text).expect("sound");
    assert!(matches!(Plan::of(&scenario, Translators::Kernel), Err(PlanError::Unfit(_))), "and without its text too");
}
