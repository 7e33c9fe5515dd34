//! The processes of a lab: servers that are ready before the run begins, and nodes that are told when it does.

use super::files::{config_name, trace_name};
use super::outfit::SCENARIO;
use super::plan::{Plan, PlannedNode, Server};
use super::process::{Process, ProcessError, Start};
use super::resident::{Findings, Order, Report};
use super::standing::LabName;
use ntmobile_proto::time::Instant as RunInstant;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long nodes may take to have what they need, and to tell what they have seen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody has died.
const PAUSE: Duration = Duration::from_millis(50);

/// Who reports, and what.
pub(super) type Told = (String, Report);

/// All processes of a lab.
pub(super) struct Crew {
    name: LabName,
    program: PathBuf,
    /// Where logs are kept.
    logs: PathBuf,
    servers: BTreeMap<String, Process>,
    residents: BTreeMap<String, Process>,
    /// How often each has been started: every life has a trace of its own.
    lives: BTreeMap<String, usize>,
    reports: (Sender<Told>, Receiver<Told>),
}

impl Crew {
    /// Nobody yet. `logs` is made if it is not there.
    pub(super) fn new(name: &LabName, program: PathBuf, logs: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&logs)?;
        Ok(Self {
            name: name.clone(),
            program,
            logs,
            servers: BTreeMap::new(),
            residents: BTreeMap::new(),
            lives: BTreeMap::new(),
            reports: channel(),
        })
    }

    /// Starts all servers, and waits until each is ready.
    pub(super) fn serve(&mut self, plan: &Plan) -> Result<(), ProcessError> {
        for server in &plan.servers {
            self.start_server(server)?;
        }
        self.servers.values_mut().try_for_each(Process::await_ready)
    }

    /// Starts a server; it is ready a little later.
    pub(super) fn start_server(&mut self, server: &Server) -> Result<(), ProcessError> {
        let config = config_name(&server.label);
        let arguments = ["serve".into(), server.kind.word().into(), "--config".into(), self.file(&config)];
        let process = self.start(&server.label, &arguments, |start| start.server())?;
        self.servers.insert(server.label.clone(), process);
        Ok(())
    }

    /// Kills a server without a word.
    pub(super) fn kill_server(&mut self, label: &str) {
        self.servers.remove(label);
    }

    /// Starts nodes that hold the scenario's conversations, and waits until each has what it needs.
    pub(super) fn settle(&mut self, nodes: &[PlannedNode]) -> Result<(), ProcessError> {
        for node in nodes {
            let scenario = self.file(SCENARIO);
            let config = self.file(&config_name(&node.label));
            let arguments = ["lab-resident".into(), scenario, node.label.clone(), config];
            let reports = self.reports.0.clone();
            let process = self.start(&node.label, &arguments, |start| start.resident(reports))?;
            self.residents.insert(node.label.clone(), process);
        }
        let mut waiting = self.residents.len();
        let deadline = Instant::now() + PATIENCE;
        while waiting > 0 {
            if let Some((_, Report::Ready)) = self.next_report(deadline)? {
                waiting -= 1;
            }
        }
        Ok(())
    }

    /// Starts nodes with a virtual interface, and waits until each has joined.
    pub(super) fn raise(&mut self, nodes: &[PlannedNode]) -> Result<(), ProcessError> {
        for node in nodes {
            let config = self.file(&config_name(&node.label));
            let arguments = ["up".into(), "--config".into(), config];
            let process = self.start(&node.label, &arguments, |start| start.server())?;
            self.servers.insert(node.label.clone(), process);
        }
        self.servers.values_mut().try_for_each(Process::await_ready)
    }

    /// Tells every node when the run begins, by the machine's clock.
    pub(super) fn begin(&mut self, origin: RunInstant) -> Result<(), ProcessError> {
        self.residents.values_mut().try_for_each(|resident| resident.tell(&Order::Begin(origin.0)))
    }

    /// An error if somebody has ended who should live.
    pub(super) fn check(&mut self) -> Result<(), ProcessError> {
        self.servers.values_mut().chain(self.residents.values_mut()).try_for_each(Process::check)
    }

    /// Has every node tell what it has seen, and end.
    pub(super) fn gather(&mut self) -> Result<BTreeMap<String, Findings>, ProcessError> {
        self.residents.values_mut().try_for_each(|resident| resident.tell(&Order::Finish))?;
        let mut found = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        while found.len() < self.residents.len() {
            if let Some((label, Report::Found(findings))) = self.next_report(deadline)? {
                found.insert(label, *findings);
            }
        }
        let deadline = Instant::now() + FAREWELL;
        for resident in self.residents.values_mut() {
            resident.ends_by(deadline);
        }
        self.residents.clear();
        Ok(found)
    }

    /// Ends all servers; those that do not end in time are killed.
    pub(super) fn dismiss(&mut self) {
        self.servers.values().for_each(Process::ask_to_end);
        let deadline = Instant::now() + FAREWELL;
        for server in self.servers.values_mut() {
            server.ends_by(deadline);
        }
        self.servers.clear();
    }

    /// The traces of all lives so far.
    pub(super) fn traces(&self) -> Vec<PathBuf> {
        let lives = self.lives.iter().flat_map(|(label, lives)| (1..=*lives).map(move |life| trace_name(label, life)));
        lives.map(|name| self.name.directory().join(name)).filter(|path| path.exists()).collect()
    }

    /// What everybody has said.
    pub(super) fn logs(&self) -> Vec<String> {
        let read = |label: &String| {
            let bytes = std::fs::read(self.log(label)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        self.lives.keys().map(read).collect()
    }

    /// The next report; `None` where something else has to be looked at first.
    fn next_report(&mut self, deadline: Instant) -> Result<Option<Told>, ProcessError> {
        match self.reports.1.recv_timeout(PAUSE) {
            Ok(report) => return Ok(Some(report)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        // A node that has told everything may end; the others may not.
        self.check()?;
        match self.residents.keys().next() {
            Some(label) if Instant::now() > deadline => {
                Err(ProcessError::Slow { label: label.clone(), log: self.log(label) })
            }
            _ => Ok(None),
        }
    }

    fn start(
        &mut self,
        label: &str,
        arguments: &[String],
        start: impl FnOnce(Start<'_>) -> Result<Process, ProcessError>,
    ) -> Result<Process, ProcessError> {
        let lives = self.lives.entry(label.to_owned()).or_default();
        *lives += 1;
        let trace = ("NTM_HOST__TRACE".to_owned(), self.file(&trace_name(label, self.lives[label])));
        let (namespace, log) = (self.name.namespace(label), self.log(label));
        start(Start { label, namespace: &namespace, program: &self.program, arguments, variables: &[trace], log: &log })
    }

    fn file(&self, name: &str) -> String {
        self.name.directory().join(name).display().to_string()
    }

    fn log(&self, label: &str) -> PathBuf {
        self.logs.join(format!("{label}.log"))
    }
}
