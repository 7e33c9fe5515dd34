//! `bob.u2.example:7000`: how an application says whom it wants to talk to.

use ntmobile_wire::name::{Fqdn, NameError};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A node by its permanent name, and a port on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The node.
    pub name: Fqdn,
    /// The port.
    pub port: u16,
}

/// Why a text is not a destination.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DestinationError {
    /// There is no port.
    #[error("a destination is written name:port, as in bob.u2.example:7000; {0:?} has no port")]
    NoPort(String),
    /// The port is no port number.
    #[error("{0:?} is not a port number between 1 and 65535")]
    Port(String),
    /// The name is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        let (name, port) = text.rsplit_once(':').ok_or_else(|| DestinationError::NoPort(shown(text)))?;
        let number = port.parse().ok().filter(|&number| number != 0);
        let port = number.ok_or_else(|| DestinationError::Port(shown(port)))?;
        Ok(Self { name: Fqdn::parse(name)?, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_reads_as_it_is_written() {
        let destination: Destination = "Bob.u2.example:7000".parse().unwrap();
        assert_eq!(destination.to_string(), "bob.u2.example:7000");
    }

    #[test]
    fn what_is_no_destination_is_refused_with_the_reason() {
        let error = |text: &str| text.parse::<Destination>().unwrap_err();
        assert_eq!(error("bob.u2.example"), DestinationError::NoPort("bob.u2.example".to_owned()));
        assert_eq!(error("bob.u2.example:0"), DestinationError::Port("0".to_owned()));
        assert_eq!(error("bob.u2.example:70000"), DestinationError::Port("70000".to_owned()));
        assert!(matches!(error("-bob:7"), DestinationError::Name(NameError::Label(_))));
    }
}
