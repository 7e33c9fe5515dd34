//! A session of OpenSSH, with keys that are thrown away.

use super::Application;
use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use std::path::Path;
use std::process::Command;

/// A remote program that says what it is told.
pub(crate) struct Shell {
    session: Process,
    _server: Process,
}

impl Shell {
    /// Starts a server on one host, and a session with it on the other.
    pub(crate) fn open(network: &Network, server_host: &str, host: &str, name: &str) -> Self {
        let home = network.home.path().join("ssh");
        std::fs::create_dir(&home).expect("made");
        for key in ["host", "user"] {
            let mut make = Command::new("ssh-keygen");
            let made = make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(home.join(key)).status();
            assert!(made.expect("ssh-keygen starts").success());
        }
        let home = home.display();
        let settings = format!(
            "Port 22\nHostKey {home}/host\nAuthorizedKeysFile {home}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\n"
        );
        network.write("ssh/sshd_config", &settings);
        // sshd keeps an empty directory for its unprivileged half.
        std::fs::create_dir_all("/run/sshd").expect("this needs root");
        let mut serve = network.world.command(server_host, Path::new("/usr/sbin/sshd"));
        serve.args(["-D", "-e", "-f", &format!("{home}/sshd_config")]);
        let mut server = Process::start(serve, &network.home.path().join("sshd.log")).expect("sshd starts");
        server.await_word("Server listening on :: port 22", PATIENCE);
        let mut connect = network.world.command(host, Path::new("ssh"));
        connect.args(["-F", "none", "-i", &format!("{home}/user"), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]);
        connect.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        connect.args([&format!("root@{name}"), "cat"]);
        let session = Process::start(connect, &network.home.path().join("ssh.log")).expect("ssh starts");
        Self { session, _server: server }
    }
}

impl Application for Shell {
    fn goes_on(&mut self, mark: &str) {
        self.session.say(mark);
        self.session.await_word(mark, PATIENCE);
    }
}
