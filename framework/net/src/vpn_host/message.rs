//! The messages, and how they are written. Either end takes nothing for granted of what the other sends.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// What both ends say first. Another version has other messages; within one, what a message has besides is skipped.
pub const VERSION: u32 = 1;
/// The longest message in octets.
pub const LONGEST: usize = 65_536;
/// The most addresses that a message lists at once.
pub const MOST_ADDRESSES: usize = 64;
/// The most routes that a message adds or removes.
pub const MOST_ROUTES: usize = 512;

/// What the node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineMessage {
    /// The first word.
    Hello {
        /// What it speaks.
        version: u32,
    },
    /// What is sent on the socket that comes with this is to leave the device, whatever is routed into the TUN device.
    Protect {
        /// What the answer refers to.
        request: u64,
    },
    /// The TUN device is to be like this; its descriptor comes with the answer.
    Device {
        /// What the answer refers to.
        request: u64,
        /// What it is to be like.
        device: Device,
    },
    /// Other destinations are to lead into the device; where that takes a new device, its descriptor comes with the answer.
    Routes {
        /// What the answer refers to.
        request: u64,
        /// Those that do not yet.
        add: Vec<Subnet>,
        /// Those that need not any more.
        remove: Vec<Subnet>,
    },
    /// How the node is, for the user to see.
    State(State),
}

/// What the host program says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostMessage {
    /// The first word.
    Hello {
        /// What it speaks.
        version: u32,
        /// Where the device is.
        network: Network,
    },
    /// The device is elsewhere.
    Network(Network),
    /// It is done.
    Done {
        /// What.
        request: u64,
    },
    /// It is not done.
    Refused {
        /// What.
        request: u64,
        /// Why not.
        why: String,
    },
    /// The node is to leave the network and end.
    Stop,
}

/// The physical network that a device is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Network {
    /// What the way out is called, in whatever words: when it is another the device has moved, though its addresses be the same.
    pub interface: String,
    /// The device's own addresses there, the preferred one first. None while there is no network.
    pub addresses: Vec<IpAddr>,
    /// Whom to ask for names that are not the network's.
    pub name_servers: Vec<SocketAddr>,
}

/// What a TUN device is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// What it may be called.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<Subnet>,
    /// The largest packet.
    pub mtu: u16,
    /// The largest super-packet, where packets cross it by the dozen (`IFF_VNET_HDR`).
    pub largest: u32,
    /// What leads into it.
    pub routes: Vec<Subnet>,
    /// Whom programs are to ask for names; none where the node answers no such questions.
    pub name_servers: Vec<IpAddr>,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is joining the network.
    Joining,
    /// It has joined, and packets pass.
    Up {
        /// Its name.
        name: String,
    },
    /// It has moved, and its coordinator has seen it there.
    Moved {
        /// Where it was seen.
        seen_at: SocketAddr,
    },
    /// It cannot do something; it goes on unless it says that it is down.
    Trouble {
        /// What is wrong.
        why: String,
    },
    /// It has left the network. This is its last word.
    Down,
}

/// An address and how many of its bits count: `100.64.0.1/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    /// The address.
    pub address: IpAddr,
    /// How many bits.
    pub prefix: u8,
}

/// Why a text is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an address and a number of bits, as in 100.64.0.1/32")]
pub struct SubnetError(String);

/// Why a message was not understood.
#[derive(Debug, Error)]
pub enum MessageError {
    /// It is not JSON of this kind.
    #[error("a message was not understood: {0}")]
    Form(#[from] serde_json::Error),
    /// There is more of it than anybody has to say.
    #[error("a message has {0} octets, more than {LONGEST}")]
    TooLong(usize),
    /// It lists too much.
    #[error("a message lists {count} {what}, more than {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are allowed.
        most: usize,
    },
}

impl Subnet {
    /// One address and no other.
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let subnet = Self { address: address.parse().ok()?, prefix: prefix.parse().ok()? };
            (subnet.prefix <= Self::host(subnet.address).prefix).then_some(subnet)
        };
        parse().ok_or_else(|| SubnetError(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl EngineMessage {
    /// Reads a message of the node's.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let message = read(bytes)?;
        match &message {
            Self::Device { device, .. } => {
                within("addresses", device.addresses.len(), MOST_ADDRESSES)?;
                within("name servers", device.name_servers.len(), MOST_ADDRESSES)?;
                within("routes", device.routes.len(), MOST_ROUTES)?;
            }
            Self::Routes { add, remove, .. } => {
                within("routes", add.len(), MOST_ROUTES)?;
                within("routes", remove.len(), MOST_ROUTES)?;
            }
            Self::Hello { .. } | Self::Protect { .. } | Self::State(_) => {}
        }
        Ok(message)
    }

    /// Writes a message.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        write(self)
    }
}

impl HostMessage {
    /// Reads a message of the host program's.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let message = read(bytes)?;
        if let Self::Hello { network, .. } | Self::Network(network) = &message {
            within("addresses", network.addresses.len(), MOST_ADDRESSES)?;
            within("name servers", network.name_servers.len(), MOST_ADDRESSES)?;
        }
        Ok(message)
    }

    /// Writes a message.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        write(self)
    }
}

fn read<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, MessageError> {
    fits(bytes)?;
    Ok(serde_json::from_slice(bytes)?)
}

fn write(message: &impl Serialize) -> Result<Vec<u8>, MessageError> {
    let bytes = serde_json::to_vec(message)?;
    fits(&bytes)?;
    Ok(bytes)
}

fn fits(bytes: &[u8]) -> Result<(), MessageError> {
    if bytes.len() > LONGEST { Err(MessageError::TooLong(bytes.len())) } else { Ok(()) }
}

fn within(what: &'static str, count: usize, most: usize) -> Result<(), MessageError> {
    if count > most { Err(MessageError::TooMany { what, count, most }) } else { Ok(()) }
}
