//! Files are read, refused with their lines, and the examples tell the truth.

use super::*;
use ntmobile_settings::units::{Size, secs};
use ntmobile_wire::message::CipherSuite;
use std::fmt::Debug;

fn read<F: SettingsFile>(text: &str, variables: &[(&str, &str)]) -> Result<F, SettingsError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    F::read("file.toml", text, variables)
}

fn refused<F: SettingsFile + Debug>(text: &str) -> String {
    read::<F>(text, &[]).expect_err("it is wrong").to_string()
}

/// Every key of an example with its comment mark taken away.
fn uncommented(example: &str) -> String {
    let is_setting = |line: &str| {
        let key = line.split_once(" = ").map_or("", |(key, _)| key);
        line.starts_with('[')
            || (!key.is_empty()
                && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit()))
    };
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) => rest.to_owned(),
        _ => line.to_owned(),
    };
    example.lines().map(|text| line(text) + "\n").collect()
}

/// An example as it comes and with everything written out; `forget` takes out what has no default but the example's.
fn assert_true<F: SettingsFile + Debug + PartialEq>(forget: impl Fn(&mut F)) {
    let mut plain: F = read(F::EXAMPLE, &[]).expect("the example can be used");
    let text = uncommented(F::EXAMPLE);
    let mut whole: F = read(&text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
    forget(&mut plain);
    forget(&mut whole);
    assert_eq!(plain, whole, "a default that the example tells is another");
}

fn forget_host(host: &mut HostSettings) {
    assert!(host.otlp.take().is_none_or(|url| url.starts_with("http://")));
    host.health = None;
    host.trace = None;
}

#[test]
fn every_example_is_whole_and_its_defaults_are_the_defaults() {
    assert_true(|file: &mut AccountServerFile| {
        file.server.state = None;
        forget_host(&mut file.host);
    });
    assert_true(|file: &mut CoordinatorFile| {
        file.server.state = None;
        file.domain.virtual_ipv4 = None;
        file.domain.virtual_ipv6 = None;
        file.notification_server.clear();
        forget_host(&mut file.host);
    });
    assert_true(|file: &mut RelayServerFile| {
        file.server.state = None;
        forget_host(&mut file.host);
    });
    assert_true(|file: &mut NotificationServerFile| {
        file.server.state = None;
        forget_host(&mut file.host);
    });
    assert_true(|file: &mut NamesFile| {
        file.names.zone = None;
        forget_host(&mut file.host);
    });
    assert_true(|file: &mut NodeFile| {
        file.node.state = None;
        file.node.password_file = None;
        forget_host(&mut file.host);
    });
}

#[test]
fn mistakes_are_told_with_line_and_nearest_name() {
    let said =
        refused::<RelayServerFile>("[server]\nname = \"rs.u1.example\"\nstat = \"/x\"\n[relay]\ncoordinators = []\n");
    assert!(said.contains("unknown key \"stat\" in server (file.toml:3). Did you mean \"state\"?"), "{said}");
    let said = refused::<RelayServerFile>("[server]\nname = \"rs.u1.example\"\n[relay]\ncoordinators = []\n");
    assert!(said.starts_with("relay.coordinators: it works for nobody") && said.contains("(file.toml:4)"), "{said}");
    let said = refused::<RelayServerFile>("[server]\nname = \"-rs\"\n");
    assert!(said.contains("server.name") && said.contains("(file.toml:2)"), "{said}");
    let said = refused::<RelayServerFile>("[relay]\ncoordinators = [\"dc.u1.example\"]\n");
    assert!(said.contains("lacks \"server\""), "{said}");
    let node =
        "[node]\naccount = \"alice@u1.example\"\naccount-server = \"as.example\"\n[plugins]\nlogin = \"via-sa\"\n";
    let said = refused::<NodeFile>(node);
    assert!(
        said.contains("unknown name \"via-sa\" for plugins.login (file.toml:5). Did you mean \"via-as\"?"),
        "{said}"
    );
    let said =
        refused::<AccountServerFile>("[server]\nname = \"as.example\"\n[accounts]\nhashing-memory = \"1 KiB\"\n");
    assert!(said.contains("argon2id") && said.contains("(file.toml:4)"), "{said}");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let file = |own: &str, relay: &str, path: &str| {
        format!(
            "[server]\nname = \"{own}\"\n[domain]\nname = \"u1.example\"\n[account-server]\nname = \"as.example\"\naddresses = []\n\
             {relay}\n[plugins]\npath = \"{path}\"\n"
        )
    };
    let relay = "[[relay]]\nname = \"rs.u1.example\"\naddresses = [\"203.0.113.4\"]";
    assert!(read::<CoordinatorFile>(&file("dc.u1.example", relay, "always-relay"), &[]).is_ok());
    assert!(
        refused::<CoordinatorFile>(&file("dc.u2.example", relay, "paper"))
            .contains("directly in the domain u1.example")
    );
    assert!(refused::<CoordinatorFile>(&file("dc.u1.example", "", "always-relay")).contains("needs a [[relay]]"));
    let nowhere = "[[relay]]\nname = \"rs.u1.example\"\naddresses = []";
    assert!(refused::<CoordinatorFile>(&file("dc.u1.example", nowhere, "paper")).contains("relay[0].addresses"));
    let outside =
        "[names]\nserver = \"ns.example\"\nzone = \"example\"\n[[entry]]\nname = \"as.test\"\naddresses = []\n";
    assert!(refused::<NamesFile>(outside).contains("as.test is not inside the zone example (file.toml:5)"));
}

#[test]
fn a_named_cipher_is_that_and_any_other_name_is_refused() {
    let file = |suite: &str| {
        format!(
            "[node]\naccount = \"alice@u1.example\"\naccount-server = \"as.example\"\n[plugins]\nsuite = \"{suite}\"\n"
        )
    };
    let suite = |name: &str| read::<NodeFile>(&file(name), &[]).expect("it can be used").plugins.suite();
    assert_eq!(suite("aes-128-gcm"), CipherSuite::Aes128Gcm);
    assert_eq!(suite("chacha20-poly1305"), CipherSuite::ChaCha20Poly1305);
    assert_eq!(suite("auto"), NodePlugins::default().suite());
    assert!(refused::<NodeFile>(&file("rot13")).contains("rot13"));
}

#[test]
fn the_environment_stands_above_the_file() {
    let text = "[server]\nname = \"as.example\"\nstate = \"state\"\n";
    let variables = [
        ("NTM_SERVER__TLS_PORT", "14433"),
        ("NTM_HOST__ROOT_SERVERS", "[\"203.0.113.53\"]"),
        ("NTM_ACCOUNTS__HASHING_MEMORY", "64 MiB"),
        ("NTM_PASSWORD", "not ours"),
    ];
    let mut file: AccountServerFile = read(text, &variables).expect("it can be used");
    file.resolve(Path::new("/etc/ntm"));
    assert_eq!(file.server.tls_port, 14_433);
    assert_eq!(file.host.root_servers(), ["203.0.113.53:53".parse().expect("an address")]);
    assert_eq!(file.accounts.hashing_memory, Size(64 << 20));
    assert_eq!(file.host.otlp_every, secs(10));
    assert_eq!(file.server.state(), Path::new("/etc/ntm/state"));
    assert_eq!(file.server.certificates, Path::new("/etc/ntm/."));
    let said = read::<AccountServerFile>(text, &[("NTM_SERVER__STAT", "x")]).expect_err("it is wrong").to_string();
    assert!(said.contains("(NTM_SERVER__STAT)"), "{said}");
}
