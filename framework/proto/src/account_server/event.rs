//! What an AS tells whoever runs it.

use ntmobile_wire::message::RefusalCode;
use ntmobile_wire::name::Account;
use std::fmt;

/// What an AS tells whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountServerEvent {
    /// A node has logged in here: its DC holds its key (`via-as`).
    LoggedIn {
        /// By which account.
        account: Account,
    },
    /// A DC was told that a node which logs in there is who it says (`via-dc`).
    Vouched {
        /// For which account.
        account: Account,
    },
    /// A login was refused.
    Refused {
        /// Which account was claimed. Nobody has proved anything.
        account: Account,
        /// Why.
        code: RefusalCode,
        /// Why, for people.
        detail: String,
    },
}

impl fmt::Display for AccountServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggedIn { account } => write!(f, "{account} has logged in"),
            Self::Vouched { account } => write!(f, "{account} was vouched for to its Direction Coordinator"),
            Self::Refused { account, code, detail } => write!(f, "{account} was refused: {detail} ({code:?})"),
        }
    }
}
