//! What a node changes on its host (addresses, routes, the resolver), written down before it is done, so that it is undone
//! whatever becomes of the node.
//!
//! **Who undoes.** The node itself when it ends. If it is killed, its *guardian*: a small process that holds the reading end
//! of a pipe, sees it close, and undoes what is written down. If that one is killed too, whoever comes next: the node's next
//! start, or [`undo_stale`] (`ntm down`). Only one process at a time does: the file is locked by whoever owns it.
//!
//! **Invariant:** nothing is changed that is not in the journal first, and undoing what was never done, or has been undone,
//! or has been changed by somebody else since, changes nothing. So it does not matter where a process was killed.
//!
//! **The resolver.** Where a node serves names it puts a file of its own in the place of `/etc/resolv.conf`, which names
//! nobody but the node's listener: with a second name server, programs that ask all at once would take whichever answer
//! comes first. What was there (text, a symbolic link, nothing) comes back in the end, unless somebody else has written the
//! file meanwhile. [`Footprint::name_servers`] tells who else is to be asked, follows the file that a symbolic link led to,
//! and takes the place back when a DHCP client has taken it.
//!
//! **systemd's resolver**, where it runs and `/etc/resolv.conf` is its own, is told that our interface is a link whose name server
//! is the node's listener, for all names; nothing is written then. Where it does not take that, its file is replaced as any other,
//! and those are asked whom it would ask, never itself: it takes our file for the site's, and would ask us. Only where
//! `/etc/nsswitch.conf` sends programs to it past `/etc/resolv.conf` do they not find the network's names then, and the log says so.
//!
//! ```no_run
//! use ntmobile_net::footprint::{Footprint, FootprintOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut footprint = Footprint::begin("ntm0", FootprintOptions::default())?;
//! // …the interface is made here; when the node is killed it goes with it…
//! footprint.set_up(1_280)?;
//! footprint.add_address("100.64.0.9".parse()?, 32)?;
//! footprint.add_route("100.64.0.0".parse()?, 10)?;
//! let others = footprint.hook_resolver("100.64.0.9".parse()?)?;
//! # drop(others);
//! footprint.undo()?;
//! # Ok(())
//! # }
//! ```

mod guardian;
mod journal;
mod remnant;
mod resolver;
mod systemd;

pub use guardian::{GuardianProgram, guard};
pub use remnant::Remnant;

use crate::links;
use guardian::Guardian;
use journal::{Journal, Step};
use resolver::Hook;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use systemd::SystemdLink;
use thiserror::Error;

/// Where the C library's programs are told whom to ask for what.
const NAME_SERVICE_SWITCH: &str = "/etc/nsswitch.conf";

/// Where things are.
#[derive(Clone, Debug)]
pub struct FootprintOptions {
    /// The directory of the journals, on a file system that does not outlive the host's next start: neither do the changes.
    pub directory: PathBuf,
    /// The host's resolver configuration.
    pub resolv_conf: PathBuf,
    /// What is there while systemd's resolver runs.
    pub systemd_resolver: PathBuf,
    /// The program by which it is told what to do.
    pub resolvectl: PathBuf,
    /// How to start the guardian; without one, a killed node's changes last until the next start.
    pub guardian: Option<GuardianProgram>,
}

impl Default for FootprintOptions {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/run/ntmobile"),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            systemd_resolver: PathBuf::from("/run/systemd/resolve"),
            resolvectl: PathBuf::from("/usr/bin/resolvectl"),
            guardian: None,
        }
    }
}

/// Why a change could not be made or undone.
#[derive(Debug, Error)]
pub enum FootprintError {
    /// No interface can be called so.
    #[error("{0:?} cannot be the name of an interface: 1 to 15 letters, digits, and a few signs")]
    Name(String),
    /// The journal cannot be kept.
    #[error("{path}: {source}; without a note of what is changed nothing is: {}", remedy(.source))]
    Journal {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Somebody else could have written what would be done as root.
    #[error("{path} is not believed: {why}; remove it, or choose a directory that only root can write to")]
    Foreign {
        /// The journal, or its directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another process owns the interface.
    #[error("a node is already running on {interface} (process {process}); stop it first, or choose another interface")]
    Running {
        /// The interface.
        interface: String,
        /// The process.
        process: u32,
    },
    /// The guardian cannot be started.
    #[error("the guardian process cannot be started: {0}")]
    Guardian(#[source] io::Error),
    /// There is no such interface.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// The kernel cannot carry the packets.
    #[error(
        "this kernel has no interfaces for IPsec (xfrm_interface): load or build the module in, or use the model \"tun\", which needs \
         none"
    )]
    NoKernelInterfaces,
    /// Changing the network is the administrator's.
    #[error("changing addresses and routes needs privilege; run as root or give the program CAP_NET_ADMIN")]
    NeedsNetAdmin,
    /// Somebody else routes this network.
    #[error(
        "{0}/{1} is already routed elsewhere; another tunnel may be using it: stop that one or choose another prefix"
    )]
    RouteTaken(IpAddr, u8),
    /// The kernel refuses a change.
    #[error("{what} cannot be changed on {interface}: {source}")]
    Kernel {
        /// What was to be changed.
        what: String,
        /// The interface.
        interface: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// The resolver is another node's, or was and nobody knows what was before.
    #[error("{0} is another node's; stop that node first, or if none is running put the host's own name servers there")]
    ResolverTaken(PathBuf),
    /// The resolver's configuration cannot be changed.
    #[error("{path} cannot be changed: {source}; run as root, or do without names and give addresses")]
    Resolver {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Some of it is still there.
    #[error("not everything could be undone: {0}; it is tried again at the next start")]
    Undo(String),
}

/// One node's changes. Dropping it undoes them, as [`Self::undo`] does, and can only log what fails.
#[derive(Debug)]
pub struct Footprint {
    interface: String,
    options: FootprintOptions,
    /// `None` once everything is undone.
    journal: Option<Journal>,
    hook: Option<Hook>,
    link: Option<SystemdLink>,
    guardian: Option<Guardian>,
}

impl Footprint {
    /// Begins the changes for `interface` (which need not exist yet): undoes those of a predecessor that was killed, and
    /// starts the guardian.
    pub fn begin(interface: &str, options: FootprintOptions) -> Result<Self, FootprintError> {
        // The guardian is at its post before there is anything to be undone.
        let path = Journal::prepare(&options.directory, interface)?;
        let guardian = options.guardian.as_ref().map(|program| Guardian::start(program, &path)).transpose()?;
        let journal = Journal::begin(path, interface)?;
        Ok(Self { interface: interface.to_owned(), options, journal: Some(journal), hook: None, link: None, guardian })
    }

    /// Makes the interface, as one whose packets the kernel carries by its IPsec tables; returns the number by which these
    /// know it. What they hold under that number goes with it.
    pub fn make_kernel_interface(&mut self) -> Result<u32, FootprintError> {
        let number = links::kernel_number(&self.interface);
        let name = self.interface.clone();
        let step = Step::KernelInterface { number };
        match self.change(step, "the interface itself", || links::make_kernel_interface(&name, number)) {
            Err(FootprintError::Kernel { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                Err(FootprintError::NoKernelInterfaces)
            }
            outcome => outcome.map(|()| number),
        }
    }

    /// Gives the interface this MTU and starts it.
    pub fn set_up(&mut self, mtu: u32) -> Result<(), FootprintError> {
        let index = self.index()?;
        let refused = |error| refusal("the state", &self.interface, error);
        let before = links::state(index).map_err(refused)?;
        self.change(Step::Link { is_up: before.is_up, mtu: before.mtu }, "the state", || {
            links::set_state(index, &links::State { is_up: true, mtu })
        })
    }

    /// Gives the interface an address, with a route to the rest of its network.
    pub fn add_address(&mut self, address: IpAddr, prefix: u8) -> Result<(), FootprintError> {
        let index = self.index()?;
        let what = format!("the address {address}/{prefix}");
        self.change(Step::Address { address, prefix }, &what, || links::add_address(index, address, prefix))
    }

    /// Routes a network to the interface.
    pub fn add_route(&mut self, network: IpAddr, prefix: u8) -> Result<(), FootprintError> {
        let index = self.index()?;
        let what = format!("the route to {network}/{prefix}");
        match self.change(Step::Route { network, prefix }, &what, || links::add_route(index, network, prefix)) {
            Err(FootprintError::Kernel { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(FootprintError::RouteTaken(network, prefix))
            }
            outcome => outcome,
        }
    }

    /// Takes a route away again that was made here.
    pub fn remove_route(&mut self, network: IpAddr, prefix: u8) -> Result<(), FootprintError> {
        let index = self.index()?;
        let Some(journal) = &mut self.journal else { return Ok(()) };
        links::remove_route(index, network, prefix)
            .map_err(|error| refusal(&format!("the route to {network}/{prefix}"), &self.interface, error))?;
        journal.forget(Step::Route { network, prefix });
        Ok(())
    }

    /// Has the host's programs ask `listener` (port 53) for names; returns whom to ask for names that are not the network's.
    pub fn hook_resolver(&mut self, listener: IpAddr) -> Result<Vec<SocketAddr>, FootprintError> {
        let FootprintOptions { systemd_resolver, resolvectl, resolv_conf, .. } = &self.options;
        let link = SystemdLink::plan((systemd_resolver, resolvectl), resolv_conf, &self.interface, listener);
        if let Some(link) = link {
            match self.put_link(&link) {
                Ok(()) => {
                    self.link = Some(link);
                    return Ok(systemd::uplinks(&self.options.systemd_resolver, listener));
                }
                Err(FootprintError::Resolver { source, .. }) => {
                    tracing::warn!(error = %source, "systemd-resolved takes no name server for the interface: its file is replaced");
                }
                Err(error) => return Err(error),
            }
        }
        let is_bypassed = fs::read_to_string(NAME_SERVICE_SWITCH).is_ok_and(|text| resolver::is_bypassed(&text));
        if is_bypassed && self.options.systemd_resolver.exists() {
            tracing::warn!(
                "programs that use the C library ask systemd-resolved here, which knows none of the network's names: put dns before \
                 resolve in the line hosts of {NAME_SERVICE_SWITCH}"
            );
        }
        let hook = Hook::plan(&self.options.resolv_conf, listener)?;
        self.put(hook)
    }

    /// Whom to ask for names that are not the network's, now: to be called when addresses have changed and every
    /// second. Takes the host's resolver back if somebody else has written it since, and follows what they wrote.
    pub fn name_servers(&mut self) -> Result<Vec<SocketAddr>, FootprintError> {
        let systemd = &self.options.systemd_resolver;
        if let Some(link) = &self.link {
            return Ok(systemd::uplinks(systemd, link.listener()));
        }
        let Some(hook) = &self.hook else { return Ok(Vec::new()) };
        if hook.is_in_place() || hook.is_being_written() {
            return Ok(hook.name_servers(systemd));
        }
        let again = Hook::plan(&self.options.resolv_conf, hook.listener())?;
        self.put(again)
    }

    /// Undoes everything.
    pub fn undo(mut self) -> Result<(), FootprintError> {
        self.undo_all()
    }

    fn put(&mut self, hook: Hook) -> Result<Vec<SocketAddr>, FootprintError> {
        if let Some(journal) = &mut self.journal {
            journal.append(&Step::Resolver(hook.clone()))?;
        }
        hook.put()?;
        let name_servers = hook.name_servers(&self.options.systemd_resolver);
        self.hook = Some(hook);
        Ok(name_servers)
    }

    fn put_link(&mut self, link: &SystemdLink) -> Result<(), FootprintError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.append(&Step::SystemdLink(link.clone()))?;
        link.put().map_err(|source| {
            // Some of it may have been taken.
            let _it_may_refuse_that_too = link.undo();
            journal.take_back();
            FootprintError::Resolver { path: self.options.resolvectl.clone(), source }
        })
    }

    fn index(&self) -> Result<u32, FootprintError> {
        links::index(&self.interface).ok_or_else(|| FootprintError::NoInterface(self.interface.clone()))
    }

    fn change(&mut self, step: Step, what: &str, make: impl FnOnce() -> io::Result<()>) -> Result<(), FootprintError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.append(&step)?;
        make().map_err(|error| {
            // The kernel makes a change or does not; what it refused need not be undone, and could not be either.
            journal.take_back();
            refusal(what, &self.interface, error)
        })
    }

    fn undo_all(&mut self) -> Result<(), FootprintError> {
        let Some(journal) = self.journal.take() else { return Ok(()) };
        let undone = journal.undo().map(drop);
        // The guardian sees its pipe close and finds nothing left to do, or what could not be done just now.
        self.guardian = None;
        undone
    }
}

impl Drop for Footprint {
    fn drop(&mut self) {
        if let Err(error) = self.undo_all() {
            tracing::error!(%error, "the host is not as it was");
        }
    }
}

/// Undoes what a killed node has left on `interface`, and does `also` before a next node can begin; what there was, or `None` if
/// there is no note of any change. Fails if that node is running.
pub fn undo_stale(
    interface: &str,
    options: &FootprintOptions,
    also: impl FnOnce(),
) -> Result<Option<BTreeSet<Remnant>>, FootprintError> {
    Journal::undo_stale(&options.directory, interface, also)
}

/// The interfaces of this network namespace that a node has left changes on, or is running on.
pub fn interfaces(options: &FootprintOptions) -> Vec<String> {
    journal::interfaces(&options.directory)
}

/// What to do where the journal cannot be kept.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there or choose another directory",
        _ => "run as root or choose another directory",
    }
}

fn refusal(what: &str, interface: &str, source: io::Error) -> FootprintError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => FootprintError::NeedsNetAdmin,
        _ => FootprintError::Kernel { what: what.to_owned(), interface: interface.to_owned(), source },
    }
}
