//! A lab that is left standing: one process keeps it, and takes orders over a socket until it is told to end.

use super::crew::Crew;
use super::grounds::Grounds;
use super::outfit::Outfit;
use super::plan::Plan;
use super::run::{LabError, LabOptions};
use super::standing::{Description, LabName, Standing, StandingError};
use crate::progress::Progress;
use crate::scenario::Scenario;
use ntmobile_settings::Problem;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;
use thiserror::Error;

/// The socket on which orders are taken, in the lab's directory.
const SOCKET: &str = "keeper.sock";
/// How often it is looked whether there is one, or an end.
const PAUSE: Duration = Duration::from_millis(50);
/// How long whoever gives an order may take to say it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a standing lab can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// A node leaves its network for another.
    Move {
        /// Who.
        node: String,
        /// Where to.
        to: String,
    },
    /// A network loses its link, or has it back.
    Link {
        /// Which.
        network: String,
        /// Whether it is to carry anything.
        up: bool,
    },
}

/// Why a standing lab did not do as it was told.
#[derive(Debug, Error)]
pub enum OrderError {
    /// There is no lab.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// It does not listen.
    #[error("the lab does not take orders: {0}")]
    Socket(#[from] io::Error),
    /// It was refused.
    #[error("{0}")]
    Refused(String),
    /// There is no host of this name.
    #[error("{0}")]
    Unknown(Problem),
}

/// Builds a lab, and keeps it until `progress` is told to stop. `ready` is told when everybody is there.
pub fn keep(
    scenario: &Scenario,
    options: &LabOptions,
    progress: &Progress,
    ready: impl FnOnce(&Description),
) -> Result<(), LabError> {
    scenario.check()?;
    let mut plan = Plan::of(scenario, options.translators)?;
    let standing = Standing::claim(&options.lab)?;
    let directory = options.lab.directory();
    let unusable = |source| StandingError::Directory { path: directory.clone(), source };
    let outfit = Outfit::write(&standing, scenario, &plan, options.model)?;
    let mut crew = Crew::new(&options.lab, options.executable.clone(), directory.join("logs")).map_err(unusable)?;
    // Dropped in the order of their making turned round: processes before what they stand on.
    let mut grounds = Grounds::build(standing, scenario, &options.name, &mut plan)?;
    let outcome = (|| {
        crew.serve(&plan)?;
        outfit.open_accounts(&plan)?;
        crew.raise(&plan.nodes)?;
        let listener = UnixListener::bind(directory.join(SOCKET)).map_err(unusable)?;
        listener.set_nonblocking(true).map_err(unusable)?;
        ready(&options.lab.description()?);
        while !progress.is_stopping() {
            match listener.accept() {
                // One that goes away before it has said anything wanted nothing.
                Ok((stream, _)) => drop(take_order(stream, scenario, &mut grounds)),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        Ok(())
    })();
    crew.dismiss();
    drop(crew);
    grounds.take_down()?;
    outcome
}

fn take_order(stream: UnixStream, scenario: &Scenario, grounds: &mut Grounds) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let answer: Result<(), String> = match serde_json::from_str(&line) {
        Ok(order) => carry_out(order, scenario, grounds),
        Err(_) => Err("that is no order".to_owned()),
    };
    writeln!(&stream, "{}", serde_json::to_string(&answer).map_err(io::Error::other)?)
}

fn carry_out(order: Order, scenario: &Scenario, grounds: &mut Grounds) -> Result<(), String> {
    let networks = || scenario.network.keys().map(String::as_str);
    match order {
        Order::Move { node, to } => {
            known("node", &node, scenario.node.keys().map(String::as_str)).map_err(|problem| problem.to_string())?;
            known("network", &to, networks()).map_err(|problem| problem.to_string())?;
            let moved = grounds.leave(&node).and_then(|()| grounds.arrive(&node, &to));
            moved.map_err(|error| error.to_string())
        }
        Order::Link { network, up } => {
            known("network", &network, networks()).map_err(|problem| problem.to_string())?;
            grounds.set_link(&network, up);
            Ok(())
        }
    }
}

fn known<'k>(noun: &str, name: &str, mut all: impl Iterator<Item = &'k str> + Clone) -> Result<(), Problem> {
    let names = all.clone();
    if all.any(|known| known == name) {
        return Ok(());
    }
    Err(Problem::unknown(format!("the lab has no {noun} {name:?}"), name, names))
}

impl LabName {
    /// Tells the lab of this name something, and waits until it is done.
    pub fn order(&self, order: &Order) -> Result<(), OrderError> {
        self.description()?;
        let stream = UnixStream::connect(self.directory().join(SOCKET))?;
        let line = serde_json::to_string(order).map_err(io::Error::other)?;
        writeln!(&stream, "{line}")?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        let answer: Result<(), String> = serde_json::from_str(&answer).map_err(io::Error::other)?;
        answer.map_err(OrderError::Refused)
    }

    /// The namespace of a host that stands in this lab.
    pub fn namespace_of(&self, host: &str) -> Result<String, OrderError> {
        let description = self.description()?;
        known("host", host, description.hosts.iter().map(String::as_str)).map_err(OrderError::Unknown)?;
        Ok(self.namespace(host))
    }
}
