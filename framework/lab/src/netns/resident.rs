//! A node in its namespace: the process that the lab starts there. It joins the network over the host's sockets, and holds the
//! scenario's conversations with the code with which the simulator's nodes do.
//!
//! It is told what to do in lines of JSON on standard input (`Order`) and answers in lines on standard output (`Report`).
//! When nobody speaks to it any more, it ends.

use crate::scenario::Scenario;
use crate::world::keys::{KeyRing, Keys};
use crate::world::measure::observation::Observation;
use crate::world::nodes::{Presence, watch_tunnels};
use crate::world::traffic::{Board, converse, services};
use futures::future::BoxFuture;
use ntmobile_actors::library::Node;
use ntmobile_host::node::{self, NodeError};
use ntmobile_host::settings::{LoadError, LogForm, NodeFile, SettingsFile};
use ntmobile_net::clock::OsClock;
use ntmobile_net::net::NetOptions;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::packet::KeyLog;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_wire::identifier::ApplicationId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// How long a node may take to leave the network.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a resident is to be.
#[derive(Clone, Debug)]
pub struct Resident {
    /// The scenario's file.
    pub scenario: PathBuf,
    /// The node, by its name in the scenario.
    pub node: String,
    /// The node's own file.
    pub config: PathBuf,
}

/// What the lab tells a resident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// The run begins at this time by the machine's clock, in nanoseconds.
    Begin(u64),
    /// The run is over: tell everything, and end.
    Finish,
}

/// What a resident tells the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// It has what it needs, and waits for the beginning.
    Ready,
    /// The network has let it in.
    Joined,
    /// The network has not let it in, for this reason.
    Refused(String),
    /// What it has seen.
    Found(Box<Findings>),
}

/// Everything that a resident has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Findings {
    /// Its share of each conversation, by the conversation's number.
    pub(crate) conversations: BTreeMap<usize, Observation>,
    /// The keys of its packets.
    pub(crate) keys: Keys,
}

/// Why a resident has ended.
#[derive(Debug, Error)]
pub enum ResidentError {
    /// The scenario cannot be read.
    #[error("{path}: {source}")]
    Scenario {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The scenario is wrong.
    #[error(transparent)]
    Wrong(#[from] crate::scenario::problem::ScenarioError),
    /// The scenario has no such node.
    #[error("the scenario has no node {0:?}")]
    NoNode(String),
    /// The node's file is wrong.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Log lines cannot be written.
    #[error(transparent)]
    Log(#[from] ntmobile_host::logging::FilterError),
    /// The node lacks something.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The lab has gone.
    #[error("nobody speaks to this node any more")]
    Alone,
    /// The lab cannot be told.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Resident {
    /// Lives until the run is over.
    pub fn live(&self) -> Result<(), ResidentError> {
        let unreadable = |source| ResidentError::Scenario { path: self.scenario.clone(), source };
        let text = std::fs::read_to_string(&self.scenario).map_err(unreadable)?;
        let scenario = Scenario::from_toml("scenario", &text)?;
        if !scenario.node.contains_key(&self.node) {
            return Err(ResidentError::NoNode(self.node.clone()));
        }
        let file = NodeFile::load(&self.config)?;
        ntmobile_host::logging::start(LogForm::Json, &file.host.log_filter)?;
        node::run(reside(&self.node, &scenario, &file))
    }
}

async fn reside(name: &str, scenario: &Scenario, file: &NodeFile) -> Result<(), ResidentError> {
    let mut orders = orders();
    let keys = Arc::new(KeyRing::default());
    let mut device = node::device(file, NetOptions::default(), ApplicationId(0)).await?;
    device.key_log = Some(Arc::clone(&keys) as Arc<dyn KeyLog>);
    let credential = node::credential(file)?;
    tell(&Report::Ready)?;
    let Some(Order::Begin(origin)) = orders.recv().await else { return Err(ResidentError::Alone) };
    let clock = Arc::new(RunClock { origin: Instant(origin) });
    let board = Board::new(clock.clone(), &scenario.traffic);
    let start = scenario.node[name].start.unwrap_or_default();
    let (present, presence) = watch::channel(Presence::Absent);
    let life = {
        let (clock, board, keys, device) = (clock.clone(), board.clone(), Arc::clone(&keys), device.clone());
        let (account, name) = (file.node.account.to_string(), name.to_owned());
        async move {
            clock.sleep_until(Instant(start.as_nanos())).await;
            let arrived = match Node::join(&device, &account, credential).await {
                Ok(node) => {
                    services(&node, &board);
                    actix::spawn(watch_tunnels(name, node.events(), board, Some(keys)));
                    present.send_replace(Presence::Joined(node));
                    Report::Joined
                }
                Err(error) => {
                    let why = format!("could not join: {error}");
                    present.send_replace(Presence::Refused(why.as_str().into()));
                    Report::Refused(why)
                }
            };
            // The lab reads whatever it is told; if it is gone, orders end too.
            let _ = tell(&arrived);
            // Whoever waits for the node finds it for as long as this is there.
            present
        }
    };
    let life = actix::spawn(life);
    for (number, traffic) in scenario.traffic.iter().enumerate().filter(|(_, traffic)| traffic.from == name) {
        let callee = format!("{}.{}", traffic.to, scenario.node[&traffic.to].domain);
        actix::spawn(converse(number, traffic.clone(), callee, joined(presence.clone()), board.clone()));
    }
    let Some(Order::Finish) = orders.recv().await else { return Err(ResidentError::Alone) };
    let ours = |(number, _): &(usize, _)| {
        let traffic = &scenario.traffic[*number];
        traffic.from == name || traffic.to == name
    };
    let rows = board.rows();
    let conversations = rows.iter().enumerate().filter(ours).map(|(number, row)| (number, row.observed())).collect();
    let findings = Findings { conversations, keys: keys.told() };
    if let Err(error) = device.host.recorder().finish(device.host.clock().now()) {
        tracing::warn!(%error, "not everything was recorded");
    }
    tell(&Report::Found(Box::new(findings)))?;
    life.abort();
    let present = presence.borrow().clone();
    if let Presence::Joined(node) = present {
        tokio::select! {
            () = node.leave() => {}
            () = clock.sleep(PATIENCE) => {}
        }
    }
    Ok(())
}

/// Waits until the node has joined, and returns it, or why it did not.
async fn joined(mut presence: watch::Receiver<Presence>) -> Result<Node, Arc<str>> {
    match presence.wait_for(|presence| !matches!(presence, Presence::Absent)).await.map(|presence| presence.clone()) {
        Ok(Presence::Joined(node)) => Ok(node),
        Ok(Presence::Refused(why)) => Err(why),
        Ok(Presence::Absent) | Err(_) => Err("the node never started".into()),
    }
}

/// The lines of standard input as they come; it ends with them, or with the first that is no order.
fn orders() -> mpsc::UnboundedReceiver<Order> {
    let (give, orders) = mpsc::unbounded_channel();
    // A thread: reading standard input cannot be waited for otherwise.
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Some(order) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { return };
            if give.send(order).is_err() {
                return;
            }
        }
    });
    orders
}

fn tell(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_string(report).map_err(io::Error::other)?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// The machine's clock, counted from the beginning of the run.
#[derive(Clone, Copy, Debug)]
struct RunClock {
    origin: Instant,
}

impl Clock for RunClock {
    fn now(&self) -> Instant {
        Instant::ORIGIN + OsClock.now().since(self.origin)
    }

    fn wall(&self) -> UnixTime {
        OsClock.wall()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        OsClock.sleep_until(self.origin + at.since(Instant::ORIGIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_reports_survive_the_pipe() {
        for order in [Order::Begin(7), Order::Finish] {
            let line = serde_json::to_string(&order).expect("plain values");
            assert_eq!(serde_json::from_str::<Order>(&line).expect("it reads back"), order);
        }
        let found = Report::Found(Box::new(Findings {
            conversations: BTreeMap::from([(3, Observation::default())]),
            keys: Keys::default(),
        }));
        let line = serde_json::to_string(&found).expect("plain values");
        assert!(!line.contains('\n'), "a report is a line");
        assert_eq!(serde_json::from_str::<Report>(&line).expect("it reads back"), found);
    }

    #[test]
    fn the_run_s_clock_counts_from_its_beginning() {
        let origin = OsClock.now();
        let clock = RunClock { origin };
        assert!(clock.now() <= Instant::ORIGIN + OsClock.now().since(origin));
        assert!(RunClock { origin: origin + Duration::from_secs(60) }.now() == Instant::ORIGIN, "not before it");
    }
}
