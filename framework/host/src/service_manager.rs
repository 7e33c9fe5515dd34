//! Tells systemd, or whoever else set NOTIFY_SOCKET, how far the process is (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It does its duty.
    Ready,
    /// It is about to end.
    Stopping,
}

/// Tells it to whoever started the process, if they want to know.
pub fn tell(stage: Stage) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, stage) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

fn send(socket: &OsStr, stage: Stage) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let state: &[u8] = match stage {
        Stage::Ready => b"READY=1",
        Stage::Stopping => b"STOPPING=1",
    };
    UnixDatagram::unbound()?.send_to_addr(state, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_are_told() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let path = home.path().join("notify");
        let file = UnixDatagram::bind(&path).expect("a socket");
        let name = format!("ntm-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        let nameless = UnixDatagram::bind_addr(&abstract_address).expect("a socket");
        send(path.as_os_str(), Stage::Ready).expect("sent");
        send(OsStr::new(&format!("@{name}")), Stage::Stopping).expect("sent");
        let mut buffer = [0; 32];
        let length = file.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], b"READY=1");
        let length = nameless.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], b"STOPPING=1");
    }
}
