//! A session with PostgreSQL in the middle of a transaction.

use super::Application;
use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// PostgreSQL refuses to run as root.
const UNPRIVILEGED: [&str; 4] = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"];

/// A transaction that stays open.
pub(crate) struct Database {
    session: Process,
    /// How many rows the transaction has put in.
    rows: u32,
    server: Process,
    _files: TempDir,
}

impl Database {
    /// Starts a server on one host, and a transaction in it on the other.
    pub(crate) fn open(network: &Network, server_host: &str, host: &str, name: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory for the test");
        std::fs::set_permissions(files.path(), Permissions::from_mode(0o777)).expect("ours");
        let data = files.path().join("data");
        let mut make = Command::new("setpriv");
        make.args(UNPRIVILEGED).arg(program("initdb")).arg("-D").arg(&data).current_dir(files.path());
        let made = make.args(["-U", "tester", "--auth=trust", "--no-sync"]).output().expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let access = "host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n";
        std::fs::write(data.join("pg_hba.conf"), access).expect("written");
        let mut serve = network.world.command(server_host, Path::new("setpriv"));
        serve.args(UNPRIVILEGED).arg(program("postgres")).arg("-D").arg(&data).current_dir(files.path());
        serve.args(["-c", "listen_addresses=*", "-c", "unix_socket_directories=", "-c", "fsync=off"]);
        let mut server = Process::start(serve, &network.home.path().join("postgres.log")).expect("postgres starts");
        server.await_word("ready to accept connections", PATIENCE);
        let mut connect = network.world.command(host, Path::new("psql"));
        connect.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "tester", "-h", name, "postgres"]);
        let mut session = Process::start(connect, &network.home.path().join("psql.log")).expect("psql starts");
        session.say("create table marks (mark text); begin;");
        Self { session, rows: 0, server, _files: files }
    }
}

impl Application for Database {
    fn goes_on(&mut self, mark: &str) {
        self.rows += 1;
        self.session.say(&format!("insert into marks values ('{mark}');"));
        // Its process has all the rows that nobody else can see yet.
        self.session.say("select txid_current_if_assigned() is not null, count(*), max(mark) from marks;");
        self.session.await_word(&format!("t|{}|", self.rows), PATIENCE);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.session.say("commit; select 'committed', count(*) from marks;");
        self.session.await_word(&format!("committed|{}", self.rows), PATIENCE);
        // Its processes must not write any more when their files go.
        self.server.signal("QUIT");
        self.server.end(PATIENCE);
    }
}

/// A program of PostgreSQL's, which Debian keeps out of the path.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| PathBuf::from(name))
}
