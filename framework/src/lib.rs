//! NTMobile: applications talk to permanent virtual addresses, wherever their devices are and however they move.
//!
//! Packets travel inside UDP between the real addresses of the moment, so that anyone can start a conversation with anyone,
//! through NATs and across IPv4 and IPv6, keep it while either end moves, and have it go end to end whenever possible.
//!
//! # An application is ten lines
//!
//! On a real host, with a file that says whose node it is ([`host::settings::NodeFile`]):
//!
//! ```no_run
//! use ntmobile::prelude::*;
//!
//! fn main() -> ntmobile::Result<()> {
//!     ntmobile::host::node::run(async {
//!         let node = ntmobile::host::node::join("alice.toml").await?;
//!         let mut stream = node.connect("bob.u2.example:7000").await?; // through any NAT, across any move
//!         stream.write_all(b"hello").await?;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! and the one it talks to, on whatever device, real or simulated
//!
//! ```no_run
//! use ntmobile::prelude::*;
//!
//! # async fn application(device: &Device) -> ntmobile::Result<()> {
//! let node = Node::join(device, "bob@u2.example", Password::from_env("NTM_PASSWORD")?).await?;
//! let listener = node.listen(7000)?;
//! let mut stream = listener.accept().await?;
//! let mut word = [0; 5];
//! stream.read_exact(&mut word).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The tour, from the inside out
//!
//! | crate | what is there |
//! | --- | --- |
//! | [`wire`] | names, addresses, keys, every message and its bytes, ESP framing |
//! | [`proto`] | the protocol as machines without sockets, clocks or chance; the policies that experiments vary |
//! | [`ports`] | what an entity needs of its world, as traits: network, clock, store, TLS, authentication |
//! | [`stack`] | TCP and UDP in user space, for virtual sockets and simulated hosts |
//! | [`strategies`], [`auth_plugins`] | the named plugins |
//! | [`actors`] | every entity as an actor around its machine; the node's [`library`](actors::library) model |
//! | [`sim`] | a whole internet in one process, in virtual time: links, NATs, firewalls, captures |
//! | [`telemetry`] | traces and metrics under explicit time, sequence diagrams |
//! | [`net`] | the same ports on the operating system |
//! | [`lab`] | from a scenario to a world, a run, a record and a report |
//! | [`host`] | servers and nodes on real hosts: files, certificates, accounts, health, shutdown |
//! | [`settings`] | layered settings and quantities with units, for scenarios and hosts |
//!
//! The same actors and machines run in the simulator and on hosts; only what stands behind the ports differs.

pub use ntmobile_actors as actors;
pub use ntmobile_auth_plugins as auth_plugins;
pub use ntmobile_host as host;
pub use ntmobile_lab as lab;
pub use ntmobile_net as net;
pub use ntmobile_ports as ports;
pub use ntmobile_proto as proto;
pub use ntmobile_settings as settings;
pub use ntmobile_sim as sim;
pub use ntmobile_stack as stack;
pub use ntmobile_strategies as strategies;
pub use ntmobile_telemetry as telemetry;
pub use ntmobile_wire as wire;

/// Any of the framework's errors, for programs that only report them.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The outcome of a program that only reports its errors.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an application needs, in one line.
pub mod prelude {
    pub use ntmobile_actors::library::{
        ConnectError, Destination, Device, JoinError, LookupError, Node, Password, Peer, VirtualTcpListener,
        VirtualTcpStream, VirtualUdpSocket,
    };
    pub use ntmobile_lab::scenario::Scenario;
    pub use ntmobile_ports::clock::Clock;
    pub use ntmobile_proto::node::NodeEvent;
    pub use ntmobile_wire::identifier::ApplicationId;
    pub use ntmobile_wire::name::{Account, Fqdn};
    pub use tokio::io::{AsyncReadExt, AsyncWriteExt};
}
