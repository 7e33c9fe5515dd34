//! The node model `kernel`, where it can be: in a guest with Debian's kernel, under emulation, since a kernel without ESP cannot
//! carry the packets. A node that the kernel carries for talks to one with a TUN device and to one in an application.
//!
//! Needs the programs (`cargo build --workspace --bins`), root's `ip`, `nft`, `curl`, `iperf3` and `bash`, and what
//! `.ci/kernel-model` fetches. The guest runs this same program: [`guest_scenario`] and [`guest_echo`] are the parts that run in it,
//! and do nothing elsewhere.

mod archive;
mod guest;
mod scenario;

/// Set in the guest alone.
const IN_GUEST: &str = "NTM_IN_GUEST";

fn is_guest() -> bool {
    std::env::var_os(IN_GUEST).is_some()
}

#[test]
#[ignore = "needs QEMU and Debian's cloud kernel"]
fn a_kernel_carries_the_packets_of_a_node_and_those_of_the_other_models_understand_them() {
    if !is_guest() {
        guest::run("guest_scenario");
    }
}

#[test]
#[ignore = "a part of the guest"]
fn guest_scenario() {
    if is_guest() {
        scenario::run();
    }
}

#[test]
#[ignore = "a part of the guest"]
fn guest_echo() {
    if is_guest() {
        scenario::echo();
    }
}
