//! The accounts of an AS, as whoever runs it sees them: opened, closed and listed, through the AS where it runs and in its
//! database where it does not.

mod office;
mod socket;

pub use office::Office;
pub(crate) use office::{from_hex, to_hex};
pub(crate) use socket::serve;

use crate::files::{self, FileError};
use crate::settings::AccountServerFile;
use ntmobile_auth_plugins::{AccountBook, AccountError};
use ntmobile_net::compute::WorkerPool;
use ntmobile_ports::stores::{OpenError, SledOptions, SledStore};
use ntmobile_wire::name::Account;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// The database of a server, inside its state directory.
pub(crate) const DATABASE: &str = "database";

/// The socket on which a running AS takes orders, inside its state directory.
const SOCKET: &str = "admin.sock";

/// A password on its way; never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Show every account.
    List,
    /// Open an account, with a password or without.
    Add {
        /// Its name.
        account: String,
        /// Its password.
        password: Option<Hidden>,
    },
    /// Forget an account.
    Remove {
        /// Its name.
        account: String,
    },
    /// Close or open an account.
    Disable {
        /// Its name.
        account: String,
        /// Whether it is to be closed.
        disabled: bool,
    },
    /// Give an account another password, or none.
    Password {
        /// Its name.
        account: String,
        /// The password.
        password: Option<Hidden>,
    },
    /// Bind a certificate to an account, or loosen it.
    Key {
        /// Its name.
        account: String,
        /// The certificate's SHA-256 in hexadecimal.
        fingerprint: String,
        /// Whether it is to be bound.
        bound: bool,
    },
}

/// One account, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub account: String,
    /// Whether it has a password.
    pub password: bool,
    /// The certificates bound to it: SHA-256, in hexadecimal.
    pub certificates: Vec<String>,
    /// Whether it is closed.
    pub disabled: bool,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// That is no account's name.
    #[error("{0}")]
    Name(String),
    /// There is one of this name.
    #[error("there is an account {0} already; ntm account password changes its password")]
    Exists(String),
    /// There is none of this name.
    #[error("there is no account {account}{}", nearest(.like))]
    Unknown {
        /// The name.
        account: String,
        /// The names most like it.
        like: Vec<String>,
    },
    /// That is no fingerprint.
    #[error("{0:?} is no SHA-256 in hexadecimal")]
    Fingerprint(String),
    /// A password must not be empty.
    #[error("a password must not be empty")]
    EmptyPassword,
    /// It could not be kept.
    #[error("{0}")]
    Store(String),
}

fn nearest(names: &[String]) -> String {
    match names {
        [] => "; ntm account list shows them".to_owned(),
        [name, ..] => format!(". Did you mean {name}?"),
    }
}

/// What came of an order: the accounts that it concerns.
pub type Outcome = Result<Vec<Listed>, Refusal>;

/// Why an order reached nobody, or was refused.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The AS runs, and does not let us speak to it.
    #[error("the AS that runs does not take orders at {path}: {source}; be its user, or root")]
    Socket {
        /// Its socket.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The AS has the database and listens nowhere.
    #[error(
        "the database is in use: {0}; it belongs to an AS that runs but takes no orders yet; try again in a moment"
    )]
    InUse(PathBuf),
    /// The AS broke off.
    #[error("the AS broke off before it had answered: {0}; see its log, and try again")]
    BrokenOff(String),
    /// The state directory cannot be used.
    #[error(transparent)]
    Directory(#[from] FileError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The accounts in it cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountError),
}

/// Has an order carried out: by the AS that runs on these settings, or else directly in its database.
pub async fn order(file: &AccountServerFile, order: Order) -> Result<Vec<Listed>, AccountsError> {
    let state = file.server.state();
    if let Some(outcome) = socket::ask(&state.join(SOCKET), &order).await? {
        return Ok(outcome?);
    }
    let office = office(file, &state).await?;
    Ok(office.carry_out(order).await?)
}

async fn office(file: &AccountServerFile, state: &Path) -> Result<Office, AccountsError> {
    files::private_directory(state)?;
    let compute = Arc::new(WorkerPool::new());
    let options = SledOptions { reserve: file.server.reserve.0, ..SledOptions::new(state.join(DATABASE)) };
    let store = SledStore::open(options, compute.clone()).await.map_err(|error| match error {
        OpenError::Locked(path) => AccountsError::InUse(path),
        error => AccountsError::Store(error),
    })?;
    let book = AccountBook::load(Arc::new(store)).await?;
    let cost = file.accounts.cost().unwrap_or_default();
    Ok(Office::new(Arc::new(book), compute, cost))
}

/// Whether this text is an account's name.
fn parse(account: &str) -> Result<Account, Refusal> {
    Account::parse(account).map_err(|error| Refusal::Name(error.to_string()))
}
