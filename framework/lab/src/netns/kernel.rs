//! What the lab has the kernel do: network namespaces, links, addresses, routes and NATs, by `ip`, `sysctl` and `nft`.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use thiserror::Error;

/// Where `ip netns` keeps the namespaces that have a name.
const NAMESPACES: &str = "/run/netns";

/// Why the kernel did not do it.
#[derive(Debug, Error)]
pub enum KernelError {
    /// A program is not there.
    #[error("the lab needs `{program}`, which cannot be started: {source}; Debian has it in the package {package}")]
    Missing {
        /// Which.
        program: &'static str,
        /// The package that it comes with.
        package: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// It was refused.
    #[error("{command}: {said}")]
    Refused {
        /// What was asked.
        command: String,
        /// The answer.
        said: String,
    },
}

/// A program and the package that it comes with.
type Tool = (&'static str, &'static str);
const IP: Tool = ("ip", "iproute2");
const NFT: Tool = ("nft", "nftables");
const SYSCTL: Tool = ("sysctl", "procps");

/// Whether all programs are there.
pub(super) fn check_tools() -> Result<(), KernelError> {
    for (tool, argument) in [(IP, "-V"), (NFT, "-v"), (SYSCTL, "-V")] {
        run(Command::new(tool.0).arg(argument), tool, "")?;
    }
    Ok(())
}

/// The namespaces whose names begin so.
pub(super) fn namespaces(prefix: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

/// Makes a namespace with nothing in it but its own loopback.
pub(super) fn add_namespace(name: &str) -> Result<(), KernelError> {
    ip(&["netns", "add", name])?;
    // A second's wait for duplicates of every IPv6 address would make each move a second longer than it is.
    let settings = ["net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"];
    sysctl(name, &settings)?;
    ip_in(name, "link set lo up\n")
}

/// Removes a namespace with every process in it; nothing where it is gone already.
pub(super) fn remove_namespace(name: &str) -> Result<(), KernelError> {
    if !Path::new(NAMESPACES).join(name).exists() {
        return Ok(());
    }
    // A namespace lives on while a process is in it. One that is being started may come while others are killed.
    for _ in 0..10 {
        let pids = ip(&["netns", "pids", name])?;
        let pids: Vec<&str> = pids.split_whitespace().collect();
        if pids.is_empty() {
            break;
        }
        // Those that have ended meanwhile are what was wanted.
        let _ = Command::new("kill").arg("-KILL").args(&pids).stderr(Stdio::null()).status();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ip(&["netns", "del", name]).map(drop)
}

/// Lines for `ip` in a namespace, carried out in one go.
pub(super) fn ip_in(namespace: &str, lines: &str) -> Result<(), KernelError> {
    let mut command = Command::new(IP.0);
    command.args(["-n", namespace, "-batch", "-"]);
    run(&mut command, IP, lines).map(drop)
}

/// The same for one address family, `-4` or `-6`.
pub(super) fn ip_family_in(namespace: &str, family: &str, lines: &str) -> Result<(), KernelError> {
    let mut command = Command::new(IP.0);
    command.args([family, "-n", namespace, "-batch", "-"]);
    run(&mut command, IP, lines).map(drop)
}

/// Sets kernel parameters in a namespace.
pub(super) fn sysctl<S: AsRef<str>>(namespace: &str, settings: &[S]) -> Result<(), KernelError> {
    let mut command = Command::new(IP.0);
    command.args(["netns", "exec", namespace, SYSCTL.0, "-qw"]).args(settings.iter().map(AsRef::as_ref));
    run(&mut command, IP, "").map(drop)
}

/// Puts rules for nftables in force in a namespace.
pub(super) fn nft(namespace: &str, rules: &str) -> Result<(), KernelError> {
    let mut command = Command::new(IP.0);
    command.args(["netns", "exec", namespace, NFT.0, "-f", "-"]);
    run(&mut command, IP, rules).map(drop)
}

fn ip(arguments: &[&str]) -> Result<String, KernelError> {
    run(Command::new(IP.0).args(arguments), IP, "")
}

fn run(command: &mut Command, (program, package): Tool, input: &str) -> Result<String, KernelError> {
    let missing = |source| KernelError::Missing { program, package, source };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(missing)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that reads nothing says why by its exit code.
        let _ = pipe.write_all(input.as_bytes());
    }
    let Output { status, stdout, stderr } = child.wait_with_output().map_err(missing)?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    Err(KernelError::Refused { command: words.join(" "), said: said.trim().to_owned() })
}
