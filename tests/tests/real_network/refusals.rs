//! What cannot run says what to do.

use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use ntmobile_testbed::program::program;
use std::path::Path;
use std::time::Duration;

/// Starts a server that must not come up; what it says.
fn refused(network: &Network, server: &str, file: &str, variables: &[(&str, &str)]) -> String {
    let mut process = network.process(server, file, variables);
    assert_eq!(process.end(PATIENCE), Some(8), "{}", process.words());
    process.words()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn servers_that_cannot_run_say_why_and_what_to_do() {
    let mut network = Network::without_servers("ntmx-");

    // Twice the same: ports are taken, and so is the database.
    network.serve("dc1");
    let said = refused(&network, "dc1", "dc1", &[]);
    assert!(said.contains("health port 127.0.0.1:9464") && said.contains("choose another"), "{said}");
    let health = ("NTM_HOST__HEALTH", "127.0.0.1:9465");
    let said = refused(&network, "dc1", "dc1", &[health]);
    assert!(said.contains("port 4433 is already in use"), "{said}");
    let said = refused(&network, "dc1", "dc1", &[health, ("NTM_SERVER__TLS_PORT", "14433")]);
    assert!(said.contains("in use by another process"), "{said}");
    let other = [health, ("NTM_SERVER__TLS_PORT", "14433"), ("NTM_SERVER__STATE", "other")];
    let said = refused(&network, "dc1", "dc1", &other);
    assert!(said.contains("signalling port") && said.contains("port 4500 is already in use"), "{said}");

    // Somebody else's certificate, one that expired, none at all.
    let with = |name: &str| {
        format!("[server]\nname = \"{name}\"\nstate = \"other\"\n[relay]\ncoordinators = [\"dc.u1.example\"]\n")
    };
    network.write("wrong.toml", &with("dc.u1.example"));
    let said = refused(&network, "rs1", "wrong", &[]);
    assert!(said.contains("is the certificate of the direction-coordinator dc.u1.example"), "{said}");
    network.write("none.toml", &with("rs9.u1.example"));
    let said = refused(&network, "rs1", "none", &[]);
    assert!(said.contains("rs9.u1.example.pem cannot be read") && said.contains("ntm ca issue"), "{said}");
    network.ntm(&["ca", "issue", "rs", "rs8.u1.example", "--out", ".", "--lifetime", "0 s"]);
    std::thread::sleep(Duration::from_secs(1));
    network.write("late.toml", &with("rs8.u1.example"));
    let said = refused(&network, "rs1", "late", &[]);
    assert!(said.contains("expired") && said.contains("issue another"), "{said}");

    // A file with a slip.
    network.write("slip.toml", &with("rs1.u1.example").replace("state", "sttae"));
    let mut slip = network.process("rs1", "slip", &[]);
    assert_eq!(slip.end(PATIENCE), Some(3));
    assert!(
        slip.words().contains("slip.toml:3") && slip.words().contains("Did you mean \"state\"?"),
        "{}",
        slip.words()
    );

    // A full disk: what is there is served, and whoever looks is told.
    network.world.must("rs1", &format!("mkdir -p {}/full", network.home.path().display()));
    let mut full = network.world.command("rs1", Path::new("unshare"));
    let ntm = program("ntm");
    let script = format!("mount -t tmpfs -o size=1m none full && exec {} serve rs --config rs1.toml", ntm.display());
    full.args(["-m", "sh", "-c", &script]).current_dir(network.home.path()).env("NTM_SERVER__STATE", "full");
    let mut full = Process::start(full, &network.home.path().join("full.log")).expect("it starts");
    full.await_word("the disk of full is full", PATIENCE);
    full.await_word("ready", PATIENCE);
    drop(full);

    // Without the privilege for port 53.
    let mut bare = network.world.command("dc2", Path::new("setpriv"));
    bare.args(["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]).arg(program("ntm"));
    bare.args(["serve", "dc", "--config", "dc2.toml"]).current_dir(network.home.path());
    let mut bare = Process::start(bare, &network.home.path().join("bare.log")).expect("it starts");
    assert_eq!(bare.end(PATIENCE), Some(8), "{}", bare.words());
    assert!(bare.words().contains("53") && bare.words().contains("CAP_NET_BIND_SERVICE"), "{}", bare.words());
}

#[test]
#[ignore = "needs root and network namespaces"]
fn accounts_are_kept_while_the_server_runs_and_while_it_does_not() {
    let mut network = Network::without_servers("ntma-");
    network.add_account("alice@u1.example");
    for server in ["root", "as", "dc1"] {
        network.serve(server);
    }
    network.add_account("bob@u1.example");
    let list = network.account(&["list"]);
    assert!(list.contains("alice@u1.example") && list.contains("bob@u1.example"), "{list}");
    let mut bob = network.echo("bob", "bob@u1.example", None);
    bob.await_word("bob.u1.example is fd", PATIENCE);
    drop(bob);

    network.account(&["disable", "bob@u1.example"]);
    let mut bob = network.echo("bob", "bob@u1.example", None);
    assert_eq!(bob.end(PATIENCE), Some(1), "{}", bob.words());
    assert!(
        bob.words().contains("error: ") && bob.words().contains("the account or its credential is wrong"),
        "{}",
        bob.words()
    );
    network.account(&["enable", "bob@u1.example"]);

    // A node that logs in by its certificate.
    network.account(&["add", "sensor@u1.example", "--no-password"]);
    network.ntm(&["ca", "issue", "node", "sensor.u1.example", "--out", "."]);
    network.account(&["key", "sensor@u1.example", "sensor.u1.example.pem"]);
    network.write(
        "sensor.toml",
        "[node]\naccount = \"sensor@u1.example\"\nauthentication = \"public-key\"\naccount-server = \"as.example\"\n\
         [host]\nroot-servers = [\"203.0.113.53\"]\n",
    );
    let mut sensor = network.world.command("carol", &program("host_echo"));
    sensor.arg("sensor.toml").current_dir(network.home.path());
    let mut sensor = Process::start(sensor, &network.home.path().join("sensor.log")).expect("it starts");
    sensor.await_word("sensor.u1.example is fd", PATIENCE);

    let output = network.try_ntm(&["account", "--config", "as.toml", "remove", "bbo@u1.example"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("Did you mean bob@u1.example?"), "{errors}");
    network.account(&["remove", "bob@u1.example"]);
    assert!(!network.account(&["list"]).contains("bob@"));
    let metrics = network.world.must("as", "curl -s http://127.0.0.1:9464/metrics");
    assert!(metrics.contains("ntm_account_logged_in_total{entity=\"as.example\"}"), "{metrics}");
}
