//! Arguments of the commands that run a network on real hosts.

use clap::{Args, Subcommand, ValueEnum};
use ntmobile_host::credentials::ROLES;
use ntmobile_host::settings::LogForm;
use ntmobile_settings::units::TimeSpan;
use std::path::PathBuf;

const CA_EXAMPLES: &str = "\
Examples:
  ntm ca init                        a new authority in ca/; keep ca/authority.key to yourself
  ntm ca issue dc dc.u1.example      ca/issued/dc.u1.example/: certificate, key and authority.pem, to be copied to the host
  ntm ca issue node alice.u1.example for an account that logs in by its key (ntm account key)
  ntm ca show                        what was issued, and until when it holds";

/// `ntm ca`.
#[derive(Debug, Args)]
#[command(after_help = CA_EXAMPLES)]
pub struct CaArguments {
    /// The authority's directory.
    #[arg(long, value_name = "DIR", default_value = "ca", global = true)]
    pub(crate) dir: PathBuf,

    #[command(subcommand)]
    pub(crate) action: CaAction,
}

/// What the authority is to do.
#[derive(Debug, Subcommand)]
pub enum CaAction {
    /// Make a new authority: authority.pem for everybody, authority.key for nobody else.
    Init {
        /// How long its certificate holds, as in "7300 d".
        #[arg(long, value_name = "TIME", default_value = "7300 d")]
        lifetime: TimeSpan,
        /// Replace an authority that is there; whatever it has issued is worth nothing then.
        #[arg(long)]
        force: bool,
    },
    /// Issue a certificate and its key to a server or a node.
    Issue {
        /// The part that its bearer may play.
        #[arg(value_parser = role_names())]
        role: String,
        /// The name that it bears: a server's own, or account and domain of a node, as in alice.u1.example.
        name: String,
        /// Where to write NAME.pem, NAME.key and authority.pem. [default: DIR/issued/NAME]
        #[arg(long, value_name = "OUT")]
        out: Option<PathBuf>,
        /// How long it holds, as in "365 d".
        #[arg(long, value_name = "TIME", default_value = "365 d")]
        lifetime: TimeSpan,
        /// Replace files that are there.
        #[arg(long)]
        force: bool,
    },
    /// Show certificates: whose they are, until when, and their fingerprints.
    Show {
        /// A certificate or a directory of them. [default: the authority's and all that it has issued]
        path: Option<PathBuf>,
    },
}

fn role_names() -> Vec<&'static str> {
    ROLES.iter().map(|(name, _)| *name).collect()
}

const ACCOUNT_EXAMPLES: &str = "\
A password comes from --password-file, from a variable, or is asked for: on a terminal without showing it, else one line of
standard input. It is never an argument, where every user of the machine could read it.

Examples:
  ntm account add alice@u1.example                       asks for the password
  ntm account add bob@u2.example --password-env BOB      takes it from the variable BOB
  ntm account add sensor@u1.example --no-password        then: ntm account key sensor@u1.example sensor.u1.example.pem
  ntm account disable alice@u1.example                   no more logins; keys that she holds last until they expire

The AS may run or not: one that runs is asked over its socket, else its database is opened.";

/// `ntm account`.
#[derive(Debug, Args)]
#[command(after_help = ACCOUNT_EXAMPLES)]
pub struct AccountArguments {
    /// The AS's file, which says where its database is.
    #[arg(long, value_name = "FILE", default_value = "/etc/ntm/as.toml", global = true)]
    pub(crate) config: PathBuf,

    #[command(subcommand)]
    pub(crate) action: AccountAction,
}

/// What is to be done to accounts.
#[derive(Debug, Subcommand)]
pub enum AccountAction {
    /// Open an account; alice@u1.example becomes the node alice.u1.example.
    Add {
        /// The account.
        account: String,
        /// Where its password comes from.
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// Show every account.
    List {
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Close an account: it stays, and nothing opens it.
    Disable {
        /// The account.
        account: String,
    },
    /// Open an account again that was closed.
    Enable {
        /// The account.
        account: String,
    },
    /// Forget an account.
    Remove {
        /// The account.
        account: String,
    },
    /// Give an account another password.
    Password {
        /// The account.
        account: String,
        /// Where its password comes from.
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// Let a certificate log in to an account.
    Key {
        /// The account.
        account: String,
        /// The certificate's file, or its SHA-256 in hexadecimal.
        certificate: String,
        /// Let it log in no more.
        #[arg(long)]
        remove: bool,
    },
}

/// Where a password comes from.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct PasswordArguments {
    /// A file that holds it, and nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// A variable that holds it.
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) password_env: Option<String>,
    /// None at all: only a certificate opens the account.
    #[arg(long)]
    pub(crate) no_password: bool,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  ntm serve dc --example > /etc/ntm/dc.toml   a file that explains every option
  ntm serve dc --check                        is the file right?
  ntm serve dc                                reads /etc/ntm/dc.toml; SIGTERM or Ctrl-C stops it politely, twice at once
  NTM_HOST__LOG_FILTER=debug ntm serve dc     variables stand above the file

Certificates come from ntm ca issue; the book's chapter \"A network on three hosts\" goes through all of it.";

/// `ntm serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArguments {
    /// Which server.
    pub(crate) server: ServerKind,

    /// Its file. [default: /etc/ntm/SERVER.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// How log lines look. [default: as the file says]
    #[arg(long, value_name = "FORM")]
    pub(crate) log: Option<LogArgument>,

    /// Only say whether the file is right.
    #[arg(long, conflicts_with = "example")]
    pub(crate) check: bool,

    /// Only print a file that explains itself.
    #[arg(long)]
    pub(crate) example: bool,
}

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServerKind {
    /// An Account Server: accounts and logins.
    As,
    /// A Direction Coordinator: one domain's DNS, nodes and paths.
    Dc,
    /// A Relay Server.
    Rs,
    /// A Notification Server.
    Ns,
    /// A name server for a closed network: its root.
    Names,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogArgument {
    /// For people.
    Pretty,
    /// One JSON document in each line.
    Json,
}

impl From<LogArgument> for LogForm {
    fn from(argument: LogArgument) -> Self {
        match argument {
            LogArgument::Pretty => Self::Pretty,
            LogArgument::Json => Self::Json,
        }
    }
}

const UP_EXAMPLES: &str = "\
Examples:
  ntm up --example > /etc/ntm/node.toml   a file that explains every option
  ntm up                                  reads /etc/ntm/node.toml; then ping, curl, ssh bob.u2.example just work
  ntm up --config alice.toml              Ctrl-C or SIGTERM: leaves the network, and this host is as it was

Needs root or CAP_NET_ADMIN, and /dev/net/tun.";

/// `ntm up`.
#[derive(Debug, Args)]
#[command(after_help = UP_EXAMPLES)]
pub struct UpArguments {
    /// The node's file.
    #[arg(long, value_name = "FILE", default_value = "/etc/ntm/node.toml")]
    pub(crate) config: PathBuf,

    /// How log lines look. [default: as the file says]
    #[arg(long, value_name = "FORM")]
    pub(crate) log: Option<LogArgument>,

    /// Only say whether the file is right.
    #[arg(long, conflicts_with = "example")]
    pub(crate) check: bool,

    /// Only print a file that explains itself.
    #[arg(long)]
    pub(crate) example: bool,
}

const VPN_SERVICE_EXAMPLES: &str = "\
Examples:
  ntm vpn-service --socket /run/user/1000/ntm.sock   a host program connects, makes the device and hands it over
  ntm vpn-service --socket -                         a host program has started this with its socket as standard input

Needs no privilege. The file is that of ntm up (ntm up --example); what host programs say and hear is in the book's page \"A node
without privilege\".";

/// `ntm vpn-service`.
#[derive(Debug, Args)]
#[command(after_help = VPN_SERVICE_EXAMPLES)]
pub struct VpnServiceArguments {
    /// Where the host program is met: a path to listen at, or - for standard input.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,

    /// The node's file.
    #[arg(long, value_name = "FILE", default_value = "/etc/ntm/node.toml")]
    pub(crate) config: PathBuf,

    /// How log lines look. [default: as the file says]
    #[arg(long, value_name = "FORM")]
    pub(crate) log: Option<LogArgument>,
}

/// `ntm guard`: what `ntm up` starts to undo its changes should it be killed.
#[derive(Debug, Args)]
pub struct GuardArguments {
    /// The journal of what is changed.
    pub(crate) journal: PathBuf,
}

/// The usual directory, or on a host of a lab the host's own.
fn run_directory() -> PathBuf {
    std::env::var_os("NTM_RUN_DIRECTORY").map_or_else(|| PathBuf::from("/run/ntmobile"), PathBuf::from)
}

/// Which node that runs on this host.
#[derive(Debug, Args)]
pub struct NodeArguments {
    /// Its interface.
    #[arg(long, value_name = "NAME", default_value = "ntm0")]
    pub(crate) interface: String,

    /// The directory of its control socket, as run-directory in [tun] says.
    #[arg(long, value_name = "DIR", default_value_os_t = run_directory())]
    pub(crate) run_directory: PathBuf,
}

/// `ntm status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    #[command(flatten)]
    pub(crate) node: NodeArguments,

    /// As one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ntm path`.
#[derive(Debug, Args)]
pub struct PathArguments {
    #[command(flatten)]
    pub(crate) node: NodeArguments,

    /// The peer's name.
    pub(crate) name: String,

    /// As one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ntm ping`.
#[derive(Debug, Args)]
pub struct PingArguments {
    /// The node's name.
    pub(crate) name: String,

    /// How many round trips.
    #[arg(long, short, value_name = "N", default_value_t = 5)]
    pub(crate) count: u16,
}
