//! The admin socket of a running AS: one order a connection, one line of JSON each way. Only the AS's own user and root may
//! connect.

use super::{AccountsError, Office, Order, Outcome, SOCKET};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// The longest order; names and passwords are short.
const LONGEST_ORDER: u64 = 16 * 1024;

/// How long somebody who has connected may take to say what for.
const PATIENCE: Duration = Duration::from_secs(5);

/// After a failure to take a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the socket in a state directory and takes orders for as long as the returned future is polled. The directory is
/// this process's alone: a socket that is there was left behind.
pub(crate) fn serve(state: &Path, office: Office) -> io::Result<impl Future<Output = ()> + use<>> {
    let path = state.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(async move {
        loop {
            match listener.accept().await {
                // One after the other: orders are rare, and each waits for the disk.
                Ok((stream, _)) => match tokio::time::timeout(PATIENCE, take(stream, &office)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "an order was not understood"),
                    Err(_) => tracing::warn!("an order did not come in time"),
                },
                Err(error) => {
                    tracing::warn!(%error, "the admin socket took no connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
}

async fn take(stream: UnixStream, office: &Office) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(LONGEST_ORDER).read_line(&mut line).await?;
    let order: Order = serde_json::from_str(&line)?;
    tracing::info!(?order, "order");
    let outcome = office.carry_out(order).await;
    let mut answer = serde_json::to_string(&outcome)?;
    answer.push('\n');
    stream.get_mut().write_all(answer.as_bytes()).await
}

/// Asks the AS that listens at `path`; `None` if none does.
pub(super) async fn ask(path: &Path, order: &Order) -> Result<Option<Outcome>, AccountsError> {
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => BufReader::new(stream),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(source) => return Err(AccountsError::Socket { path: path.to_owned(), source }),
    };
    let broken_off = |error: io::Error| AccountsError::BrokenOff(error.to_string());
    let mut line = serde_json::to_string(order).map_err(|error| broken_off(error.into()))?;
    line.push('\n');
    stream.get_mut().write_all(line.as_bytes()).await.map_err(broken_off)?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await.map_err(broken_off)?;
    serde_json::from_str(&answer).map(Some).map_err(|error| broken_off(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_auth_plugins::{AccountBook, Cost};
    use ntmobile_ports::compute::Inline;
    use ntmobile_ports::stores::MemoryStore;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_running_server_takes_orders_over_its_socket_and_a_stopped_one_is_noticed() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let path = home.path().join(SOCKET);
        assert!(ask(&path, &Order::List).await.expect("nobody is there").is_none());
        let book = AccountBook::load(Arc::new(MemoryStore::new())).await.expect("a book");
        let office = Office::new(Arc::new(book), Arc::new(Inline), Cost::SIMULATION);
        let serving = serve(home.path(), office).expect("a socket");
        let asking = async {
            let add = Order::Add { account: "alice@u1.example".to_owned(), password: None };
            let added = ask(&path, &add).await.expect("asked").expect("somebody is there");
            assert_eq!(added.expect("added")[0].account, "alice@u1.example");
            let again = ask(&path, &add).await.expect("asked").expect("somebody is there");
            assert!(again.is_err(), "it is there already");
            let mut nonsense = UnixStream::connect(&path).await.expect("connected");
            nonsense.write_all(b"open sesame\n").await.expect("sent");
            let mut nothing = Vec::new();
            nonsense.read_to_end(&mut nothing).await.expect("closed");
            assert!(nothing.is_empty());
            let list = ask(&path, &Order::List).await.expect("asked").expect("it is still there");
            assert_eq!(list.expect("a list").len(), 1);
            assert_eq!(path.metadata().expect("a socket").permissions().mode() & 0o777, 0o600);
        };
        tokio::select! {
            () = serving => panic!("it serves for ever"),
            () = asking => {}
        }
        // The socket's file is left behind; nobody listens.
        assert!(ask(&path, &Order::List).await.expect("nobody is there").is_none());
    }
}
