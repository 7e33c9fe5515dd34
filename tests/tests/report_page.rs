//! Named suite `report_page`: a browser shows a run's report, without a network and without a complaint.
//!
//! It needs `chromium` and the directory of a run of `quickstart` in `NTM_RUN`; `.ci/run` installs the one and makes the other.

use std::path::PathBuf;
use std::process::Command;

fn browse(arguments: &[String]) -> std::process::Output {
    let profile = tempfile::tempdir().expect("a temporary directory");
    Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--window-size=1280,2400"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .output()
        .expect("chromium is installed: apt-get install chromium")
}

#[test]
#[ignore = "needs chromium and a run of quickstart in NTM_RUN; .ci/run provides and requires both"]
fn a_browser_shows_the_whole_report_of_quickstart() {
    let run = PathBuf::from(std::env::var_os("NTM_RUN").expect("NTM_RUN names the directory of a run of quickstart"));
    let page = run.join("report.html").canonicalize().expect("the run has a report");
    let address = format!("file://{}", page.display());
    let shown = browse(&["--dump-dom".to_owned(), address.clone()]);
    let (dom, log) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    for expected in ["quickstart", "Topology", "Conversations", "Sequences", "Direction Request", "Tunnel Response"] {
        assert!(dom.contains(expected), "{expected:?} is not on the page");
    }
    let complaints: Vec<_> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let picture = run.join("report.png");
    browse(&[format!("--screenshot={}", picture.display()), address]);
    let size = std::fs::metadata(&picture).expect("a picture was taken").len();
    assert!(size > 50_000, "a page that is all there makes a large picture, this one has {size} bytes");
}
