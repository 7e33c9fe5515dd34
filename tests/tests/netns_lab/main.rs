//! Scenarios on the real kernel, by the command as people use it: the same decisions as in the simulator, and nothing left
//! behind whatever happens. Needs root.

mod standing;

use ntmobile_lab::compare::{Comparison, way};
use ntmobile_lab::digest::digest;
use ntmobile_lab::record::{RunDirectory, State};
use ntmobile_telemetry::read::Recording;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// One lab at a time: each wants the machine for itself.
static MACHINE: Mutex<()> = Mutex::new(());

/// How long anything may take that is not a scenario's own time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The machine, and a lab's name on it.
pub(crate) struct Bench {
    name: &'static str,
    pub(crate) home: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    pub(crate) fn new(name: &'static str) -> Self {
        let turn = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        Self { name, home: tempfile::tempdir().expect("a directory for the test"), _turn: turn }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ntm());
        command.args(["lab", "--name", self.name]).args(arguments).current_dir(self.home.path());
        command
    }

    pub(crate) fn lab(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("ntm starts")
    }

    /// The same, and it must succeed; what it says.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let output = self.lab(arguments);
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "ntm lab {arguments:?}: {said}{errors}");
        said.into_owned()
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ntm starts")
    }

    pub(crate) fn scenario(&self, text: &str) -> &'static str {
        std::fs::write(self.home.path().join("scenario.toml"), text).expect("written");
        "scenario.toml"
    }

    /// Waits until a process of the lab runs that is told this.
    fn await_process(&self, told: &str) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mine = processes(&format!("/run/ntm-lab/{}/", self.name));
            if let Some((pid, _)) = mine.iter().find(|(_, line)| line.contains(told)) {
                return *pid;
            }
            assert!(Instant::now() < deadline, "nobody runs that is told {told:?}: {mine:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// No namespace, process or file bears the lab's name.
    pub(crate) fn assert_gone(&self) {
        let prefix = format!("ntm-{}.", self.name);
        let named = |directory: &str| -> Vec<String> {
            let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        for directory in ["/run/netns", "/etc/netns"] {
            let left: Vec<String> = named(directory).into_iter().filter(|name| name.starts_with(&prefix)).collect();
            assert!(left.is_empty(), "{directory}: {left:?}");
        }
        let left: Vec<String> = named("/run/ntm-lab").into_iter().filter(|name| name.starts_with(self.name)).collect();
        assert!(left.is_empty(), "/run/ntm-lab: {left:?}");
        let left = processes(&format!("/run/ntm-lab/{}/", self.name));
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Nothing is there where the test has succeeded.
        let _ = self.lab(&["down"]);
    }
}

/// The command, built beside this test.
fn ntm() -> PathBuf {
    let own = std::env::current_exe().expect("we run");
    let program = own.ancestors().nth(2).expect("tests are two directories below the programs").join("ntm");
    assert!(program.exists(), "there is no {}: cargo build --workspace --bins", program.display());
    program
}

/// The processes on whose command line this stands; those that have ended and wait to be reaped have none.
fn processes(word: &str) -> Vec<(u32, String)> {
    let pids = std::fs::read_dir("/proc").expect("the kernel tells").filter_map(Result::ok);
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(word).then_some((pid, line))
    })
    .collect()
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.expect("kill starts").success(), "process {pid} is gone");
}

fn end(mut child: Child) -> (Option<i32>, String) {
    let mut errors = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        std::io::Read::read_to_string(&mut pipe, &mut errors).expect("text");
    }
    (child.wait().expect("it is our child").code(), errors)
}

fn open(path: &Path) -> RunDirectory {
    RunDirectory::open(path).expect("a run was written")
}

/// Two nodes behind the kernel's NATs and the model's; one moves, and everything that can happen to servers and links does.
const TROUBLED: &str = r#"
summary = "Two nodes and a day of trouble"
[world]
seed = 5
duration = "22 s"
[domain."u1.example"]
relays = 1
[network.home]
nat = "home"
link = { delay = "8 ms" }
[network.office]
nat = { preset = "symmetric", expiry = "60 s" }
link = { delay = "6 ms" }
[network.lte]
nat = "carrier"
link = { delay = "20 ms" }
[node.alice]
domain = "u1.example"
network = "home"
[node.bob]
domain = "u1.example"
network = "office"
[[traffic]]
from = "alice"
to = "bob"
start = "2 s"
kind = { udp = { every = "50 ms", bytes = "200 B", for = "16 s" } }
[[traffic]]
from = "bob"
to = "alice"
start = "3 s"
kind = { tcp = { bytes = "200 kB" } }
[[event]]
at = "5 s"
fail = { server = "dc.u1.example" }
[[event]]
at = "6 s"
restart = { server = "dc.u1.example" }
[[event]]
at = "9 s"
link-down = { network = "home" }
[[event]]
at = "10 s"
link-up = { network = "home" }
[[event]]
at = "13 s"
move = { node = "alice", to = "lte", offline = "200 ms" }
"#;

#[test]
#[ignore = "needs root and network namespaces"]
fn the_quickstart_takes_the_same_paths_on_the_real_kernel_as_in_the_simulator() {
    let bench = Bench::new("t-quickstart");
    bench.must(&["run", "quickstart", "--out", "real"]);
    bench.assert_gone();
    let real = open(&bench.home.path().join("real"));
    let simulated = open(&real.path().join("simulated"));
    let comparison = Comparison::of(&simulated, &real).expect("runs of one scenario");
    for row in &comparison.rows {
        let [ours, theirs] = row.measured.each_ref();
        let told = || format!("{} → {}, {}", ours.from, ours.to, ours.kind);
        assert_eq!((&theirs.failure, theirs.set_up.is_some()), (&None, true), "{}", told());
        assert_eq!(way(theirs.path.as_ref()), way(ours.path.as_ref()), "{}: {:?}", told(), row.because);
        assert!(theirs.bytes > 0, "{}", told());
    }
    let transfer =
        comparison.rows.iter().map(|row| &row.measured[1]).find(|row| row.from == "erin" && row.kind == "tcp");
    assert_eq!(transfer.map(|row| row.bytes), Some(6_000_000), "across the move");
    assert!(transfer.is_some_and(|row| row.gap.is_some()), "she moved while it ran");

    let lab = comparison.manifests[1].lab.as_ref().expect("it ran in a lab");
    let kernel: Vec<&str> = lab.kernel_nats.keys().map(String::as_str).collect();
    assert_eq!((lab.model.as_str(), kernel), ("library", vec!["home", "hotel", "office"]));
    assert!(lab.machine.packets > 1_000, "the emulated internet has carried it");
    // The files are those of any run.
    let recording = Recording::open(&real.trace_path()).expect("it reads back");
    let simulated = Recording::open(&simulated.trace_path()).expect("it reads back");
    assert_eq!(recording.conversations().len(), simulated.conversations().len());
    let report = digest(&real).expect("all files are there");
    assert!(report.conversations.iter().all(|row| row.reason.is_some()), "the trace tells why");
    assert!(std::fs::metadata(real.capture_path()).is_ok_and(|file| file.len() > 100_000));
    let events = std::fs::read_to_string(real.events_path()).expect("it has a log");
    assert!(events.contains("has logged in") && events.contains("has a tunnel to"), "{events}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn servers_links_and_nodes_do_as_the_scenario_says() {
    let bench = Bench::new("t-troubled");
    let scenario = bench.scenario(TROUBLED);
    bench.must(&["run", scenario, "--out", "real"]);
    bench.assert_gone();
    let real = open(&bench.home.path().join("real"));
    let rows = real.results().expect("it has results");
    assert_eq!(rows.iter().map(|row| row.failure.as_deref()).collect::<Vec<_>>(), [None, None]);
    assert_eq!(rows[1].bytes, 200_000);
    // A second without a link, 0.2 s without a network: a packet each 50 ms, and less than the rest of the time.
    assert!((20..160).contains(&rows[0].lost()), "{} lost", rows[0].lost());
    assert!(rows[0].gap.is_some_and(|gap| gap >= Duration::from_millis(200)), "{:?}", rows[0].gap);
    let comparison = Comparison::of(&open(&real.path().join("simulated")), &real).expect("runs of one scenario");
    assert!(comparison.paths_agree(), "{:?}", comparison.rows);
    let lives = std::fs::read_to_string(real.path().join("logs/dc.u1.example.log")).expect("it has a log");
    assert_eq!(lives.matches("\"ready\"").count(), 2, "it was started again");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_killed_lab_is_gone_after_down_and_before_the_next() {
    let bench = Bench::new("t-killed");
    let scenario = bench.scenario(TROUBLED);
    for by_next in [false, true] {
        let child = bench.start(&["run", scenario, "--out", "real", "--quiet", "--alone"]);
        bench.await_process("lab-resident");
        signal(child.id(), "KILL");
        assert_eq!(end(child).0, None, "it was killed");
        assert!(!processes("/run/ntm-lab/t-killed/").is_empty(), "its servers live on");
        if by_next {
            let quiet = TROUBLED.replace("\"22 s\"", "\"4 s\"");
            let short = bench.scenario(quiet.split("[[event]]").next().expect("what comes before the events"));
            bench.must(&["run", short, "--out", "next", "--alone"]);
        } else {
            let said = bench.must(&["down"]);
            assert!(said.contains("is gone"), "{said}");
        }
        bench.assert_gone();
    }
    let said = bench.must(&["down"]);
    assert!(said.contains("was not there"), "{said}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn ctrl_c_keeps_what_was_measured_and_nothing_else() {
    let bench = Bench::new("t-stopped");
    let scenario = bench.scenario(TROUBLED);
    let child = bench.start(&["run", scenario, "--out", "real", "--quiet", "--alone"]);
    bench.await_process("lab-resident");
    sleep(Duration::from_secs(6));
    signal(child.id(), "INT");
    let (code, errors) = end(child);
    assert_eq!(code, Some(130), "{errors}");
    bench.assert_gone();
    let real = open(&bench.home.path().join("real"));
    assert_eq!(real.manifest().expect("it has a manifest").state, State::Partial);
    assert!(real.results().expect("it has results")[0].sent > 0);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_server_that_dies_ends_the_run_with_its_last_words() {
    let bench = Bench::new("t-died");
    let scenario = bench.scenario(TROUBLED);
    let child = bench.start(&["run", scenario, "--out", "real", "--quiet", "--alone"]);
    bench.await_process("lab-resident");
    signal(bench.await_process("rs1.u1.example.toml"), "KILL");
    let (code, errors) = end(child);
    assert_eq!(code, Some(8), "{errors}");
    assert!(errors.contains("rs1.u1.example has ended") && errors.contains("signal: 9"), "{errors}");
    bench.assert_gone();
    let log = std::fs::read_to_string(bench.home.path().join("real/logs/rs1.u1.example.log"));
    assert!(log.is_ok_and(|log| log.contains("ready")), "what it said is kept");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_cannot_be_had_is_refused_before_anything_is_built() {
    let bench = Bench::new("t-refused");
    let disk = "[plugins]\nstorage = \"sled\"\n[domain.\"u1.example\"]\n[[event]]\nat = \"1 s\"\ndisk-full = { server = \"as\" }\n";
    let scenario = bench.scenario(disk);
    let output = bench.lab(&["run", scenario]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("scenario.toml:6") && errors.contains("no disk of its own"), "{errors}");
    let output = bench.lab(&["run", "quickstart", "--set", "node.alice.network=hoome"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && errors.contains("Did you mean \"home\"?"), "{errors}");
    bench.assert_gone();
}
