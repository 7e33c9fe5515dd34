//! systemd's resolver: whom it asks, and having it ask us through our interface.
//!
//! Where it runs and `/etc/resolv.conf` is its own, nothing needs to be written there: the interface becomes a link with a name
//! server of its own, to which all names are routed (`~.`), since any domain may be one of the network. That holds for programs
//! that ask it past `/etc/resolv.conf` too, and ends with the interface whatever becomes of the node.

use super::resolver::name_servers;
use crate::links;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where it listens for programs that ask by DNS.
const STUBS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// Whether this is the resolver itself.
pub(super) fn is_stub(address: IpAddr) -> bool {
    STUBS.contains(&address)
}

/// Whom it asks outside this host; `directory` is where it keeps its files. Whatever listens on the host itself may ask it in
/// turn, as we do: two nodes beside each other would ask one another for ever.
pub(super) fn uplinks(directory: &Path, listener: IpAddr) -> Vec<SocketAddr> {
    let Ok(text) = fs::read_to_string(directory.join("resolv.conf")) else { return Vec::new() };
    let own = links::addresses().unwrap_or_else(|error| {
        tracing::warn!(%error, "the host's own addresses are not known");
        Vec::new()
    });
    outside(&text, listener, &own)
}

/// The servers of a resolver's configuration that are neither we nor anybody else on this host.
fn outside(text: &str, listener: IpAddr, own: &[IpAddr]) -> Vec<SocketAddr> {
    let mut servers = name_servers(text);
    servers.retain(|server| {
        let address = server.ip();
        address != listener && !address.is_loopback() && !own.contains(&address)
    });
    servers
}

/// Our interface as one of its links.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct SystemdLink {
    /// `resolvectl`, by its whole path.
    program: PathBuf,
    interface: String,
    listener: IpAddr,
}

impl SystemdLink {
    /// The link, if the resolver runs (`directory` is there), has a program to be told by, and the host's configuration is its own.
    pub(super) fn plan(
        (directory, program): (&Path, &Path),
        resolv_conf: &Path,
        interface: &str,
        listener: IpAddr,
    ) -> Option<Self> {
        let owner = fs::canonicalize(resolv_conf).ok()?;
        let is_its_own = owner.starts_with(fs::canonicalize(directory).ok()?);
        let link = Self { program: program.to_owned(), interface: interface.to_owned(), listener };
        (is_its_own && program.is_file()).then_some(link)
    }

    pub(super) fn listener(&self) -> IpAddr {
        self.listener
    }

    /// Has it ask us for all names.
    pub(super) fn put(&self) -> io::Result<()> {
        let listener = self.listener.to_string();
        // What we answer for the network's names nobody has signed, and the way to us is within this host.
        for order in [
            ["dnssec", "no"],
            ["dnsovertls", "no"],
            ["dns", listener.as_str()],
            ["domain", "~."],
            ["default-route", "yes"],
        ] {
            self.tell(&order)?;
        }
        Ok(())
    }

    /// Has it forget our interface.
    pub(super) fn undo(&self) -> io::Result<()> {
        self.tell(&["revert"])
    }

    fn tell(&self, order: &[&str]) -> io::Result<()> {
        let (verb, rest) = order.split_first().expect("an order has a verb");
        let mut command = Command::new(&self.program);
        let output = command.arg(verb).arg(&self.interface).args(rest).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{} {verb}: {}", self.program.display(), said.trim())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Footprint, FootprintOptions};
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    /// A host on which systemd's resolver seems to run; `told` is what its program was told.
    struct Host {
        home: TempDir,
        options: FootprintOptions,
    }

    impl Host {
        fn new(outcome: &str) -> Self {
            let home = TempDir::new().expect("a directory");
            let at = |name: &str| home.path().join(name);
            for directory in ["etc", "systemd", "journals"] {
                fs::create_dir(at(directory)).expect("made");
            }
            fs::write(at("systemd/stub-resolv.conf"), "nameserver 127.0.0.53\n").expect("written");
            fs::write(at("systemd/resolv.conf"), "nameserver 192.0.2.53\nnameserver 100.64.0.9\n").expect("written");
            symlink("../systemd/stub-resolv.conf", at("etc/resolv.conf")).expect("linked");
            let script = format!("#!/bin/sh\necho \"$@\" >> {}\n{outcome}\n", at("told").display());
            fs::write(at("resolvectl"), script).expect("written");
            fs::set_permissions(at("resolvectl"), PermissionsExt::from_mode(0o755)).expect("executable");
            fs::set_permissions(at("journals"), PermissionsExt::from_mode(0o700)).expect("ours");
            let options = FootprintOptions {
                directory: at("journals"),
                resolv_conf: at("etc/resolv.conf"),
                systemd_resolver: at("systemd"),
                resolvectl: at("resolvectl"),
                guardian: None,
            };
            Self { home, options }
        }

        fn told(&self) -> String {
            fs::read_to_string(self.home.path().join("told")).unwrap_or_default()
        }

        fn is_link(&self) -> bool {
            self.options.resolv_conf.is_symlink()
        }
    }

    #[test]
    fn it_is_told_of_the_link_and_its_file_stays() {
        let host = Host::new("exit 0");
        // An interface that there is on every host.
        let mut footprint = Footprint::begin("lo", host.options.clone()).expect("the journal is ours");
        let servers = footprint.hook_resolver([100, 64, 0, 9].into()).expect("it is told");
        assert_eq!(servers, ["192.0.2.53:53".parse().expect("an address")]);
        assert_eq!(footprint.name_servers().expect("they are known"), servers);
        assert!(host.is_link());
        assert!(host.told().contains("dns lo 100.64.0.9\ndomain lo ~.\n"), "{}", host.told());
        footprint.undo().expect("undone");
        assert!(host.is_link() && host.told().ends_with("revert lo\n"), "{}", host.told());
    }

    #[test]
    fn nobody_on_this_host_is_asked() {
        let text = "nameserver 100.64.0.9\nnameserver 100.64.0.10\nnameserver 127.0.0.53\nnameserver fd00::7\nnameserver 192.0.2.53\n";
        let another_node = [IpAddr::from([100, 64, 0, 10]), "fd00::7".parse().expect("an address")];
        let servers = outside(text, [100, 64, 0, 9].into(), &another_node);
        assert_eq!(servers, ["192.0.2.53:53".parse().expect("an address")]);
        assert!(links::addresses().expect("the kernel tells").contains(&Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn where_it_refuses_the_file_is_ours_as_elsewhere() {
        let host = Host::new("echo not permitted >&2; exit 1");
        let mut footprint = Footprint::begin("lo", host.options.clone()).expect("the journal is ours");
        let servers = footprint.hook_resolver([100, 64, 0, 9].into()).expect("the file is written");
        assert_eq!(servers, ["192.0.2.53:53".parse().expect("an address")], "not its stub, which would ask us");
        assert!(!host.is_link());
        footprint.undo().expect("undone");
        assert!(host.is_link());
    }
}
