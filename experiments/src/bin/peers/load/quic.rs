//! A QUIC stream by quinn as a program has it that takes no particular care: its defaults, a certificate of its own.

use super::datagrams::answer;
use super::lines::{Count, requests, swallow};
use ntmobile_host::node;
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};
use tokio::time::{Instant, timeout_at};

pub(crate) const PORT: u16 = 7_005;
const NAME: &str = "far.example";
/// Octets written at a time.
const PIECE: usize = 64 << 10;

/// Swallows streams, or sends to a server.
pub(super) fn run(certificate: &Path, server: Option<SocketAddr>) -> io::Result<()> {
    let done: Result<(), Box<dyn Error>> = node::run(async {
        match server {
            None => serve(certificate).await,
            Some(server) => send(certificate, server).await,
        }
    });
    done.map_err(|error| io::Error::other(error.to_string()))
}

async fn serve(path: &Path) -> Result<(), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key = made.signing_key.serialize_der();
    let config = ServerConfig::with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key.into()))?;
    let endpoint = Endpoint::server(config, (Ipv4Addr::UNSPECIFIED, PORT).into())?;
    fs::write(path, made.cert.der())?;
    let count = Count::answered();
    answer("ready")?;
    while let Some(connecting) = endpoint.accept().await {
        let connection = connecting.await?;
        let count = count.clone();
        tokio::task::spawn_local(async move {
            while let Ok(stream) = connection.accept_uni().await {
                swallow(stream, count.clone()).await;
            }
        });
    }
    Ok(())
}

async fn send(path: &Path, server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(fs::read(path)?.into())?;
    let mut endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    endpoint.set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots))?);
    let mut requests = requests();
    answer("direct")?;
    let piece = vec![0; PIECE];
    while let Some(milliseconds) = requests.recv().await {
        let connection = endpoint.connect(server, NAME)?.await?;
        let mut stream = connection.open_uni().await?;
        let end = Instant::now() + Duration::from_millis(milliseconds);
        while let Ok(written) = timeout_at(end, stream.write_all(&piece)).await {
            written?;
        }
        connection.close(0_u8.into(), b"");
        answer("sent")?;
    }
    Ok(())
}
