//! Whom a node takes for its host program.

use super::*;
use ntmobile_net::vpn_host::{EngineMessage, HostMessage, LONGEST, Network, VERSION};

/// Connects as soon as somebody listens.
fn connect(path: &std::path::Path) -> HostSocket {
    loop {
        match HostSocket::connect(path) {
            Ok(socket) => return socket,
            Err(_nobody) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[tokio::test]
async fn whoever_goes_away_at_once_is_no_host_program() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("socket");
    let there = path.clone();
    let program = std::thread::spawn(move || {
        drop(connect(&there));
        let socket = connect(&there);
        let hello = HostMessage::Hello { version: VERSION, network: Network::default() };
        socket.send(&hello.encode().expect("short"), None).expect("the node listens");
        let mut buffer = vec![0; LONGEST];
        let (length, _) = socket.receive(&mut buffer).expect("the node talks").expect("it has not gone");
        let said = EngineMessage::decode(&buffer[..length]).expect("understood");
        assert_eq!(said, EngineMessage::Hello { version: VERSION });
        socket
    });
    let line = meet(Meeting::Path(path)).await.expect("the second is one");
    drop(program.join().expect("it was talked to"));
    assert_eq!(line.ended().await, LineEnd::Gone);
}
