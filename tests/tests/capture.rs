//! Named suite `capture`: Wireshark reads a run's capture and, with the configuration beside it, the tunnels in it.
//!
//! It needs `tshark` and the directory of a run of `quickstart` in `NTM_RUN`; `.ci/run` installs the one and makes the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn run_directory() -> PathBuf {
    PathBuf::from(std::env::var_os("NTM_RUN").expect("NTM_RUN names the directory of a run of quickstart"))
}

/// How often each protocol stack occurs, with the run's own configuration or without any.
fn protocol_stacks(run: &Path, configured: bool) -> BTreeMap<String, usize> {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let configuration = if configured { run.join("wireshark") } else { empty.path().to_owned() };
    let output = Command::new("tshark")
        .env("WIRESHARK_CONFIG_DIR", configuration)
        .arg("-r")
        .arg(run.join("capture.pcapng"))
        .args(["-T", "fields", "-e", "frame.protocols"])
        .output()
        .expect("tshark is installed: apt-get install tshark");
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let mut stacks = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        *stacks.entry(line.to_owned()).or_default() += 1;
    }
    stacks
}

fn count(stacks: &BTreeMap<String, usize>, fits: impl Fn(&str) -> bool) -> usize {
    stacks.iter().filter(|(stack, _)| fits(stack)).map(|(_, count)| count).sum()
}

#[test]
#[ignore = "needs tshark and a run of quickstart in NTM_RUN; .ci/run provides and requires both"]
fn wireshark_reads_every_tunnel_of_quickstart_with_the_keys_beside_the_capture() {
    let run = run_directory();
    let with_keys = protocol_stacks(&run, true);
    let esp = count(&with_keys, |stack| stack.contains(":esp"));
    let decrypted = count(&with_keys, |stack| stack.contains(":esp:ip"));
    assert!(esp > 10_000, "quickstart sends tens of thousands of application packets, {esp} were found: {with_keys:?}");
    assert_eq!(decrypted, esp, "{with_keys:?}");
    assert!(count(&with_keys, |stack| stack.contains(":esp:ipv6:tcp")) > 0, "{with_keys:?}");
    assert!(count(&with_keys, |stack| stack.contains(":esp:ipv6:udp")) > 0, "{with_keys:?}");
    assert_eq!(count(&with_keys, |stack| stack.contains("malformed")), 0, "{with_keys:?}");
    let without_keys = protocol_stacks(&run, false);
    assert_eq!(count(&without_keys, |stack| stack.contains(":esp:ip")), 0, "read without any key: {without_keys:?}");
}
