//! The guest: Debian's kernel under emulation, with a root file system of this host's programs, and what it says.

use super::archive::Archive;
use ntmobile_testbed::program::program;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the guest may take: it is slow, and so may this machine be.
const PATIENCE: Duration = Duration::from_secs(900);

/// Programs of this host that the guest has under the same name.
const PROGRAMS: [&str; 6] = ["ip", "nft", "curl", "ping", "iperf3", "bash"];

/// What busybox does in the guest.
const BUSYBOX: [&str; 13] =
    ["sh", "mount", "mkdir", "modprobe", "kill", "sysctl", "cat", "poweroff", "ps", "dmesg", "sleep", "dd", "timeout"];

/// The modules that nothing loads by itself.
const MODULES: &str = "tun veth bridge";

/// Where `.ci/kernel-model` puts the kernel.
fn kernel() -> PathBuf {
    let place = program("ntm").ancestors().nth(2).expect("programs are in a profile's directory").join("kernel-model");
    let advice = "run .ci/kernel-model, which fetches it";
    assert!(place.join("modules/release").exists(), "there is no kernel in {}: {advice}", place.display());
    place
}

/// The path of a program of this host.
fn installed(name: &str) -> PathBuf {
    let directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = directories.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("this suite needs {name}: .ci/run installs it"))
}

/// Runs one of this program's tests in the guest.
///
/// # Panics
/// When the guest cannot be started, or the test in it fails.
pub(crate) fn run(test: &str) {
    let kernel = kernel();
    let home = tempfile::tempdir().expect("a directory for the test");
    let image = home.path().join("root.cpio");
    fs::write(&image, root(&kernel, test, home.path())).expect("written");
    let words = home.path().join("console.log");
    let mut emulator = Command::new("qemu-system-x86_64");
    emulator.args([
        "-machine",
        "q35",
        "-cpu",
        "max",
        "-m",
        "2048",
        "-smp",
        "2",
        "-nographic",
        "-no-reboot",
        "-nic",
        "none",
    ]);
    emulator.arg("-kernel").arg(kernel.join("vmlinuz")).arg("-initrd").arg(&image);
    emulator.args(["-append", "console=ttyS0 quiet panic=-1"]);
    emulator.stdin(Stdio::null()).stderr(Stdio::inherit()).stdout(File::create(&words).expect("a file"));
    let mut emulator = emulator.spawn().expect("QEMU starts: .ci/kernel-model installs it");
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        if let Some(status) = emulator.try_wait().expect("it is our child") {
            break status.success();
        }
        if Instant::now() > deadline {
            emulator.kill().expect("it is our child");
            break false;
        }
        sleep(Duration::from_millis(200));
    };
    let said = String::from_utf8_lossy(&fs::read(&words).expect("the console")).into_owned();
    assert!(ended && said.contains("test result: ok. 1 passed"), "the guest said:\n{said}");
    for line in said.lines().filter(|line| line.contains("guest: ")) {
        println!("{line}");
    }
}

/// The guest's root file system.
fn root(kernel: &Path, test: &str, scratch: &Path) -> Vec<u8> {
    let mut archive = Archive::default();
    for directory in ["proc", "sys", "dev", "run/netns", "tmp", "etc/netns", "var/tmp", "root"] {
        archive.directory(directory);
    }
    archive.program(&installed("busybox"), "bin/busybox").expect("busybox");
    for name in BUSYBOX {
        archive.link(&format!("bin/{name}"), "busybox");
    }
    archive.link("sbin/modprobe", "../bin/busybox");
    for name in PROGRAMS {
        archive.program(&installed(name), format!("bin/{name}")).expect("a program and its libraries");
    }
    archive.tree(&kernel.join("modules/lib/modules"), Path::new("lib/modules")).expect("the kernel's modules");
    // Without what debuggers need a program is a tenth of its size.
    let own = std::env::current_exe().expect("we run");
    for (from, to) in
        [(program("ntm"), "ntm/ntm"), (program("host_echo"), "ntm/host_echo"), (own, "ntm/deps/kernel_model")]
    {
        let stripped = scratch.join("stripped");
        let done = Command::new("strip").arg("-o").arg(&stripped).arg(&from).status().expect("strip starts");
        assert!(done.success(), "{} cannot be stripped", from.display());
        archive.program(&stripped, to).expect("a program and its libraries");
    }
    archive.text("etc/nsswitch.conf", 0o644, "hosts: files dns\n");
    archive.text("etc/hosts", 0o644, "127.0.0.1 localhost\n");
    archive.text("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n");
    archive.text("etc/resolv.conf", 0o644, "nameserver 203.0.113.53\n");
    archive.text("init", 0o755, &init(test));
    archive.finish()
}

/// The guest's first process.
fn init(test: &str) -> String {
    format!(
        "#!/bin/sh
export PATH=/bin:/sbin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /run
mkdir -p /run/netns
for module in {MODULES}; do modprobe $module; done
sysctl -qw net.ipv6.conf.default.accept_dad=0
NTM_IN_GUEST=1 RUST_BACKTRACE=0 /ntm/deps/kernel_model {test} --exact --ignored --nocapture --test-threads 1
poweroff -f
"
    )
}
