//! `ntm ping`: round trips to a node, inside the tunnel.

use crate::cli::host::PingArguments;
use crate::failure::Failure;
use ntmobile_net::echo::Echo;
use std::io::{Write, stdout};
use std::net::{IpAddr, Ipv6Addr, ToSocketAddrs};
use std::thread::sleep;
use std::time::Duration;
use thiserror::Error;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between requests.
const PAUSE: Duration = Duration::from_millis(500);

/// Why there is no round trip.
#[derive(Debug, Error)]
pub enum PingError {
    /// The name leads to no node.
    #[error("{0} cannot be found as a node ({1}): is ntm up running, and the name right?")]
    NotFound(String, String),
    /// Nothing can be sent.
    #[error("{0} cannot be asked: {1}; run as root or give the program CAP_NET_RAW")]
    Socket(String, std::io::Error),
    /// Nothing came back.
    #[error("{0} did not answer")]
    Silent(String),
}

/// Measures round trips.
pub fn ping(arguments: &PingArguments) -> Result<(), Failure> {
    let name = &arguments.name;
    let refused = |error| PingError::Socket(name.clone(), error);
    let echo = Echo::to(find(name)?).map_err(refused)?;
    let mut out = stdout().lock();
    let mut times = Vec::new();
    for sequence in 1..=arguments.count {
        match echo.round_trip(sequence, PATIENCE).map_err(refused)? {
            Some(time) => {
                writeln!(out, "{name}  {sequence}  {:.3} ms", milliseconds(time))?;
                times.push(time);
            }
            None => writeln!(out, "{name}  {sequence}  nothing within {} s", PATIENCE.as_secs())?,
        }
        if sequence < arguments.count {
            sleep(PAUSE);
        }
    }
    times.sort();
    let (Some(least), Some(most)) = (times.first(), times.last()) else {
        return Err(PingError::Silent(name.clone()).into());
    };
    let median = milliseconds(times[times.len() / 2]);
    let (least, most) = (milliseconds(*least), milliseconds(*most));
    writeln!(
        out,
        "{} of {} came back: least {least:.3}, median {median:.3}, most {most:.3} ms",
        times.len(),
        arguments.count
    )?;
    Ok(())
}

/// The node's virtual IPv6 address, as every program finds it; its tunnel is built on the way.
fn find(name: &str) -> Result<Ipv6Addr, PingError> {
    let not_found = |why: &dyn ToString| PingError::NotFound(name.to_owned(), why.to_string());
    let mut addresses = (name, 0).to_socket_addrs().map_err(|error| not_found(&error))?;
    addresses
        .find_map(|address| match address.ip() {
            // A node's is out of a random RFC 4193 prefix.
            IpAddr::V6(v6) if v6.is_unique_local() => Some(v6),
            _ => None,
        })
        .ok_or_else(|| not_found(&"it has no virtual address"))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
