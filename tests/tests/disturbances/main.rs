//! Traffic between nodes comes back by itself from whatever happens to networks, servers and nodes, on the connections that
//! were open, and the host is clean afterwards. How soon is measured by `disturbances`, a program of the experiments.
//!
//! Needs root, `ip`, `nft`, `conntrack`, `ping` and `python3`, and the programs: `cargo build --workspace --bins`, then
//! `cargo test --workspace --test disturbances -- --include-ignored`.

mod names;

use ntmobile_testbed::disturbance::Disturbance;
use ntmobile_testbed::site::Site;

/// Has it happen once, in a network of its own.
fn survive(prefix: &str, name: &str) {
    let disturbance = Disturbance::named(name);
    let mut site = Site::start(prefix, disturbance.nat);
    let outcome = disturbance.happen(&mut site);
    println!("{name}: {outcome:?}");
    site.leave_no_trace();
}

macro_rules! survives {
    ($($test:ident: $prefix:literal, $name:literal;)*) => {
        $(
            #[test]
            #[ignore = "needs root and network namespaces"]
            fn $test() {
                survive($prefix, $name);
            }
        )*
    };
}

survives! {
    a_node_is_killed: "nda-", "node-killed";
    both_peers_are_killed: "ndb-", "peers-killed";
    the_as_is_killed: "ndc-", "as-killed";
    the_dc_is_killed: "ndd-", "dc-killed";
    the_peers_dc_is_killed: "nde-", "peers-dc-killed";
    the_rs_is_killed: "ndf-", "rs-killed";
    the_ns_is_killed: "ndg-", "ns-killed";
    the_root_name_server_is_killed: "ndh-", "names-killed";
    the_cable_is_out_for_a_minute: "ndi-", "cable-out";
    the_default_route_flaps: "ndj-", "route-flapping";
    the_address_is_renumbered: "ndk-", "renumbered";
    the_nat_forgets_its_mappings: "ndl-", "conntrack-flushed";
    the_nat_forgets_its_mappings_and_makes_others: "ndm-", "conntrack-flushed-random";
    the_path_becomes_as_narrow_as_ipv6_allows: "ndn-", "mtu-1280";
    the_path_becomes_narrower: "ndo-", "mtu-1124";
}
