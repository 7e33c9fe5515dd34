use super::*;
use tempfile::TempDir;

/// Where no resolver of systemd is.
const NOWHERE: &str = "/nonexistent";
const BEFORE: &str =
    "# the site's\nsearch example.org\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions edns0\n";

fn listener() -> IpAddr {
    "100.64.0.9".parse().unwrap()
}

/// A directory like `/etc`.
struct Etc(TempDir);

impl Etc {
    fn new(text: &str) -> Self {
        let etc = Self(TempDir::new().unwrap());
        fs::write(etc.path(), text).unwrap();
        etc
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("resolv.conf")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn hook(&self) -> Hook {
        let hook = Hook::plan(&self.path(), listener()).unwrap();
        hook.put().unwrap();
        hook
    }

    fn files(&self) -> usize {
        fs::read_dir(self.0.path()).unwrap().count()
    }
}

fn servers(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn our_file_names_us_alone_and_keeps_the_rest() {
    let etc = Etc::new(BEFORE);
    let hook = etc.hook();
    assert!(hook.is_in_place());
    assert_eq!(etc.text(), format!("{MARK}nameserver 100.64.0.9\nsearch example.org\noptions edns0\n"));
    assert_eq!(hook.name_servers(NOWHERE.as_ref()), servers(&["192.0.2.53:53", "[2001:db8::53]:53"]));
    hook.undo().unwrap();
    assert_eq!((etc.text().as_str(), etc.files()), (BEFORE, 1));
    hook.undo().unwrap();
    assert_eq!(etc.text(), BEFORE);
}

#[test]
fn the_file_s_mode_comes_back_with_it() {
    let etc = Etc::new(BEFORE);
    fs::set_permissions(etc.path(), Permissions::from_mode(0o640)).unwrap();
    let hook = etc.hook();
    assert_eq!(fs::metadata(etc.path()).unwrap().permissions().mode() & 0o777, 0o644, "everybody asks us");
    hook.undo().unwrap();
    assert_eq!(fs::metadata(etc.path()).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_symbolic_link_comes_back_and_what_it_leads_to_is_never_written() {
    let etc = Etc::new("");
    fs::remove_file(etc.path()).unwrap();
    let stub = etc.0.path().join("stub.conf");
    fs::write(&stub, BEFORE).unwrap();
    symlink("stub.conf", etc.path()).unwrap();
    let hook = etc.hook();
    assert_eq!(fs::read_to_string(&stub).unwrap(), BEFORE);
    // Its owner goes on writing it, and we go on reading it.
    fs::write(&stub, "nameserver 198.51.100.1\n").unwrap();
    assert!(hook.is_in_place());
    assert_eq!(hook.name_servers(NOWHERE.as_ref()), servers(&["198.51.100.1:53"]));
    hook.undo().unwrap();
    assert_eq!(fs::read_link(etc.path()).unwrap(), Path::new("stub.conf"));
}

#[test]
fn where_nothing_was_nothing_stays() {
    let etc = Etc::new("");
    fs::remove_file(etc.path()).unwrap();
    let hook = etc.hook();
    assert_eq!(
        hook.name_servers(NOWHERE.as_ref()),
        servers(&["127.0.0.1:53"]),
        "what a resolver without a configuration asks"
    );
    hook.undo().unwrap();
    assert_eq!(etc.files(), 0);
}

#[test]
fn what_somebody_else_has_written_meanwhile_stays() {
    let etc = Etc::new(BEFORE);
    let hook = etc.hook();
    fs::write(etc.path(), "nameserver 203.0.113.1\n").unwrap();
    assert!(!hook.is_in_place());
    hook.undo().unwrap();
    assert_eq!(etc.text(), "nameserver 203.0.113.1\n");
}

#[test]
fn a_file_that_was_not_written_to_its_end_is_ours_and_one_that_was_not_begun_is_not() {
    let etc = Etc::new(BEFORE);
    let hook = Hook::plan(&etc.path(), listener()).unwrap();
    hook.undo().unwrap();
    assert_eq!(etc.text(), BEFORE);
    for length in [10, hook.ours.len() - 1] {
        fs::write(etc.path(), &hook.ours[..length]).unwrap();
        hook.undo().unwrap();
        assert_eq!(etc.text(), BEFORE);
    }
}

#[test]
fn another_node_s_file_is_left_to_it() {
    let etc = Etc::new(BEFORE);
    let _theirs = etc.hook();
    assert!(matches!(Hook::plan(&etc.path(), listener()), Err(FootprintError::ResolverTaken(_))));
}

#[test]
fn only_name_servers_are_asked() {
    let text = "nameserver\nnameserver nonsense\n#nameserver 192.0.2.1\nnameserver fe80::1%no-such-link\n\
                nameserver 100.64.0.9 \n\tnameserver 192.0.2.2 # second\n";
    assert_eq!(name_servers(text), servers(&["100.64.0.9:53", "192.0.2.2:53"]));
    let etc = Etc::new(text);
    assert_eq!(etc.hook().name_servers(NOWHERE.as_ref()), servers(&["192.0.2.2:53"]), "we do not ask ourselves");
}

#[test]
fn a_host_that_asks_past_its_configuration_is_known_by_its_name_service_switch() {
    for (text, expected) in [
        ("passwd: files\nhosts: files dns\n", false),
        ("hosts: files mdns4_minimal [NOTFOUND=return] dns resolve", false),
        ("hosts: files myhostname resolve [!UNAVAIL=return] dns", true),
        ("  hosts:\tresolve\n", true),
        ("hosts: files # resolve\n", false),
        ("", false),
    ] {
        assert_eq!(is_bypassed(text), expected, "{text}");
    }
}

#[test]
fn what_was_there_comes_back_after_a_loss_of_power() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let place = directory.path().join("resolv.conf");
    let listener = IpAddr::from([100, 64, 0, 1]);
    let original = "nameserver 192.0.2.53\nsearch example\n";
    fs::write(&place, original).expect("written");
    Hook::plan(&place, listener).expect("a plan").put().expect("in its place");
    // Neither undone nor in a journal, in this run of the host: another node may be there.
    assert!(matches!(Hook::plan(&place, listener), Err(FootprintError::ResolverTaken(_))));

    let keepsake = keepsake::file_of(&place);
    let text = fs::read_to_string(&keepsake).expect("a keepsake");
    let earlier = text.replacen("\"boot\":\"", "\"boot\":\"an earlier run ", 1);
    assert_ne!(earlier, text);
    fs::write(&keepsake, earlier).expect("written");
    let hook = Hook::plan(&place, listener).expect("the place is nobody's");
    assert_eq!(hook.name_servers(NOWHERE.as_ref()), [SocketAddr::from(([192, 0, 2, 53], 53))]);
    hook.put().expect("in its place");
    hook.undo().expect("undone");
    assert_eq!(fs::read_to_string(&place).expect("there"), original);
    assert!(!keepsake.exists());
}

#[test]
fn an_emptied_file_is_somebody_elses_and_half_of_ours_is_ours() {
    let etc = Etc::new(BEFORE);
    let hook = etc.hook();
    fs::write(etc.path(), "").unwrap();
    hook.undo().unwrap();
    assert_eq!(etc.text(), "", "whoever emptied it meant it");

    // Killed while it was written over what was there.
    for written in 1..hook.ours.len() {
        let half = [&hook.ours.as_bytes()[..written], BEFORE.as_bytes().get(written..).unwrap_or_default()].concat();
        fs::write(etc.path(), half).unwrap();
        hook.undo().unwrap();
        assert_eq!(etc.text(), BEFORE, "after {written} octets");
    }
}

#[test]
fn behind_systemd_s_stub_those_are_asked_whom_it_would_ask() {
    let etc = Etc::new("nameserver 127.0.0.53\noptions edns0 trust-ad\n");
    let systemd = TempDir::new().unwrap();
    let hook = etc.hook();
    assert_eq!(hook.name_servers(systemd.path()), servers(&["127.0.0.53:53"]), "nothing else is known");
    let uplinks = "nameserver 100.64.0.9\nnameserver 192.0.2.53\nnameserver 127.0.0.54\nnameserver 2001:db8::53\n";
    fs::write(systemd.path().join("resolv.conf"), uplinks).unwrap();
    assert_eq!(hook.name_servers(systemd.path()), servers(&["192.0.2.53:53", "[2001:db8::53]:53"]));
}
