//! What happens during a run: movement, failures, and the traffic that measures their effect.

use super::units::{Size, TimeSpan, ms};
use serde::{Deserialize, Serialize};

/// `[[event]]`: something happens at a time. Exactly one of the actions is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "EventTable", into = "EventTable")]
pub struct Event {
    /// When, from the start of the run.
    pub at: TimeSpan,
    /// What.
    pub action: Action,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node leaves its network for another.
    Move(Move),
    /// A server stops answering, as when its power goes out.
    Fail(ServerName),
    /// A server that failed starts again from its store.
    Restart(ServerName),
    /// Something else on a server's host fills its disk to the last byte.
    DiskFull(ServerName),
    /// What had filled the disk is gone.
    DiskFree(ServerName),
    /// A network loses its link to the internet.
    LinkDown(NetworkName),
    /// The link is back.
    LinkUp(NetworkName),
}

/// A node changes its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Move {
    /// Who.
    pub node: String,
    /// The network it goes to.
    pub to: String,
    /// How long it is without any network in between.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offline: TimeSpan,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands skip_serializing_if a reference")]
fn is_zero(span: &TimeSpan) -> bool {
    *span == TimeSpan::ZERO
}

/// A server by name: `as`, `dc.u1.example`, `rs1.u1.example`, `ns1.u1.example`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerName {
    /// Its name.
    pub server: String,
}

/// A network by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NetworkName {
    /// Its name.
    pub network: String,
}

/// The table as it is written.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct EventTable {
    at: TimeSpan,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#move: Option<Move>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fail: Option<ServerName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restart: Option<ServerName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk_full: Option<ServerName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk_free: Option<ServerName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_down: Option<NetworkName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_up: Option<NetworkName>,
}

impl TryFrom<EventTable> for Event {
    type Error = &'static str;

    fn try_from(table: EventTable) -> Result<Self, Self::Error> {
        let actions = [
            table.r#move.map(Action::Move),
            table.fail.map(Action::Fail),
            table.restart.map(Action::Restart),
            table.disk_full.map(Action::DiskFull),
            table.disk_free.map(Action::DiskFree),
            table.link_down.map(Action::LinkDown),
            table.link_up.map(Action::LinkUp),
        ];
        let mut given = actions.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(action), None) => Ok(Self { at: table.at, action }),
            _ => Err(
                "an event has exactly one of move, fail, restart, disk-full, disk-free, link-down, link-up; write one \
                 [[event]] for each",
            ),
        }
    }
}

impl From<Event> for EventTable {
    fn from(event: Event) -> Self {
        let mut table = Self { at: event.at, ..Self::default() };
        match event.action {
            Action::Move(action) => table.r#move = Some(action),
            Action::Fail(action) => table.fail = Some(action),
            Action::Restart(action) => table.restart = Some(action),
            Action::DiskFull(action) => table.disk_full = Some(action),
            Action::DiskFree(action) => table.disk_free = Some(action),
            Action::LinkDown(action) => table.link_down = Some(action),
            Action::LinkUp(action) => table.link_up = Some(action),
        }
        table
    }
}

/// `[[traffic]]`: one conversation between two nodes, from the name look-up on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Traffic {
    /// Who starts (MN).
    pub from: String,
    /// Who is called (CN).
    pub to: String,
    /// When it starts, from the start of the run.
    #[serde(default = "default_start")]
    pub start: TimeSpan,
    /// What is sent.
    pub kind: TrafficKind,
}

/// Conversations start when every node has had time to log in and register.
const fn default_start() -> TimeSpan {
    ms(2_000)
}

/// What one conversation sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficKind {
    /// Datagrams at a steady pace; each is echoed, so that loss and round trips are measured.
    Udp(Udp),
    /// One TCP connection that carries so many bytes to CN.
    Tcp(Tcp),
    /// A few small datagrams, each after the answer to the last, to measure the round trip.
    Ping(Ping),
}

/// Datagrams at a steady pace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Udp {
    /// The pace.
    pub every: TimeSpan,
    /// The payload of each.
    pub bytes: Size,
    /// How many; until the run ends where neither this nor `for` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// For how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#for: Option<TimeSpan>,
}

impl Default for Udp {
    fn default() -> Self {
        Self { every: ms(20), bytes: Size(200), count: None, r#for: None }
    }
}

/// A transfer over TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tcp {
    /// How much.
    pub bytes: Size,
}

/// Round trips, one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Ping {
    /// The pause between two.
    pub every: TimeSpan,
    /// How many.
    pub count: u32,
}

impl Default for Ping {
    fn default() -> Self {
        Self { every: ms(1_000), count: 5 }
    }
}
