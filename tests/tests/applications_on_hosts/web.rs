//! A web site, a download by curl, and a page in Chromium that keeps a WebSocket.

use super::Application;
use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SERVER: &str = include_str!("web_server.py");

/// The site's server, whom everybody speaks to.
#[derive(Clone)]
pub(crate) struct Site(Rc<RefCell<Process>>);

impl Site {
    /// Starts it on a host.
    pub(crate) fn start(network: &Network, host: &str) -> Self {
        network.write("web_server.py", SERVER);
        let mut serve = network.world.command(host, Path::new("python3"));
        serve.args(["-u", "web_server.py"]).current_dir(network.home.path());
        let mut server = Process::start(serve, &network.home.path().join("web.log")).expect("python3 starts");
        server.await_word("serving", PATIENCE);
        Self(Rc::new(RefCell::new(server)))
    }

    /// Ends the downloads.
    pub(crate) fn finish(&self) {
        self.0.borrow_mut().say("finish");
    }
}

/// A download that has not ended.
pub(crate) struct Download {
    process: Process,
    file: PathBuf,
}

impl Download {
    /// Begins it on a host.
    pub(crate) fn begin(network: &Network, _site: &Site, host: &str, name: &str) -> Self {
        let file = network.home.path().join("downloaded");
        let mut fetch = network.world.command(host, Path::new("curl"));
        fetch.args(["-sS", "-N", "-o"]).arg(&file).arg(format!("http://{name}:8000/download"));
        let process = Process::start(fetch, &network.home.path().join("curl.log")).expect("curl starts");
        Self { process, file }
    }

    fn length(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |metadata| metadata.len())
    }
}

impl Application for Download {
    fn goes_on(&mut self, mark: &str) {
        let (before, deadline) = (self.length(), Instant::now() + PATIENCE);
        // More than was on its way.
        while self.length() < before + (1 << 20) {
            assert!(Instant::now() < deadline, "{mark}: the download does not come on: {}", self.process.words());
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Download {
    /// Once it was told to end, all of it is there.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.process.end(PATIENCE), Some(0), "{}", self.process.words());
        let content = std::fs::read(&self.file).expect("there");
        let numbers = content.chunks(4).map(|octets| octets.try_into().map_or(u32::MAX, u32::from_be_bytes));
        assert!(numbers.eq(0..(content.len() / 4) as u32), "what has come is what was sent");
    }
}

/// A page that is open in a browser.
pub(crate) struct Browser {
    site: Site,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    /// Opens the site's page on a host, and waits until all of it is there and its WebSocket open.
    pub(crate) fn open(network: &Network, site: &Site, host: &str, name: &str) -> Self {
        let profile = tempfile::tempdir().expect("a directory for the test");
        let mut browse = network.world.command(host, Path::new("chromium"));
        browse.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        browse.args(["--remote-debugging-port=0", "--disable-background-networking", "--disable-component-update"]);
        browse.arg(format!("--user-data-dir={}", profile.path().display())).arg(format!("http://{name}:8000/"));
        let process = Process::start(browse, &network.home.path().join("chromium.log")).expect("chromium starts");
        let mut server = site.0.borrow_mut();
        server.await_word("gave /\n", PATIENCE);
        server.await_word("socket 1 open", PATIENCE);
        for resource in ["/style.css", "/picture.svg", "/script.js"] {
            assert!(server.words().contains(&format!("gave {resource}")), "{}", server.words());
        }
        drop(server);
        Self { site: site.clone(), _process: process, _profile: profile }
    }
}

impl Application for Browser {
    fn goes_on(&mut self, mark: &str) {
        let mut server = self.site.0.borrow_mut();
        server.say(mark);
        server.await_word(&format!("socket 1 says {mark} and fetched"), PATIENCE);
        assert!(!server.words().contains("socket 1 closed"), "{}", server.words());
    }
}
