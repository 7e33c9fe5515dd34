//! Names: fully qualified domain names of nodes and servers, and account names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The name is empty or longer than DNS carries.
    #[error("a domain name has 1 to 253 characters, this one has {0}")]
    Length(usize),
    /// A label is empty, longer than 63 characters, or starts or ends with a hyphen.
    #[error("the label {0:?} is not a host name label (1 to 63 letters, digits, hyphens or underscores)")]
    Label(String),
    /// An account is `user@domain`.
    #[error("an account is written user@domain, not {0:?}")]
    Account(String),
    /// An account's user is one label, since its node lies directly in its domain.
    #[error("the user {0:?} of an account is one label, without dots")]
    User(String),
}

/// A fully qualified domain name in lower case, without the trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fqdn(Arc<str>);

impl Fqdn {
    /// Parses and normalises a name; a trailing dot is accepted.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || text.len() > 253 {
            return Err(NameError::Length(text.len()));
        }
        for label in text.split('.') {
            let sound = (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-');
            if !sound {
                return Err(NameError::Label(label.chars().take(64).collect()));
            }
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first label: the host's own name.
    pub fn host(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// The name above this one, or `None` at a top-level domain.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_once('.').map(|(_, parent)| Self(parent.into()))
    }

    /// Whether this name is `zone` itself or lies below it.
    pub fn is_within(&self, zone: &Fqdn) -> bool {
        self.0.strip_suffix(zone.as_str()).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    }

    /// Whether this server's name and that node's lie directly in the same domain. That is the network's naming rule: the DC
    /// of `u1.example` bears a name directly in it, as its nodes do, and speaks for no others.
    pub fn directs(&self, node: &Fqdn) -> bool {
        self.parent().is_some_and(|domain| node.parent() == Some(domain))
    }

    /// The name of `host` in this domain.
    pub fn child(&self, host: &str) -> Result<Self, NameError> {
        Self::parse(&format!("{host}.{}", self.0))
    }
}

impl fmt::Debug for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Fqdn {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// An account at the AS, `alice@u1.example`; its node is named `alice.u1.example`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    user: Arc<str>,
    domain: Fqdn,
}

impl Account {
    /// Parses `user@domain`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (user, domain) = text.split_once('@').ok_or_else(|| NameError::Account(text.chars().take(80).collect()))?;
        let domain = Fqdn::parse(domain)?;
        if user.contains('.') {
            // `alice.u1@example` would be the node of `alice@u1.example`.
            return Err(NameError::User(user.chars().take(64).collect()));
        }
        domain.child(user)?;
        Ok(Self { user: user.to_ascii_lowercase().into(), domain })
    }

    /// The domain of the account's DC.
    pub fn domain(&self) -> &Fqdn {
        &self.domain
    }

    /// The account's node.
    pub fn node(&self) -> Fqdn {
        Fqdn(format!("{}.{}", self.user, self.domain).into())
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.domain)
    }
}

impl FromStr for Account {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}
