//! What an entity is given on a real host: its ports on the operating system, telemetry, TLS end and store.

use crate::accounts::DATABASE;
use crate::credentials::{self, CredentialsError, Held, SOON};
use crate::files::{self, FileError};
use crate::settings::{HostSettings, ServerSettings};
use crate::validity::{Span, Written};
use ntmobile_actors::events::EntityEvent;
use ntmobile_actors::host::{Host, HostParts};
use ntmobile_actors::server::ServerParts;
use ntmobile_actors::supervise::{PanicPolicy, RestartPolicy};
use ntmobile_net::addresses::ReadError;
use ntmobile_net::clock::OsClock;
use ntmobile_net::compute::WorkerPool;
use ntmobile_net::entropy::SystemEntropy;
use ntmobile_net::net::{NetOptions, OsNet};
use ntmobile_ports::certificate::Identity;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::compute::Compute;
use ntmobile_ports::net::NetError;
use ntmobile_ports::quic::{CryptoChoice, TlsEndpoint, TlsOptions, TlsSetupError};
use ntmobile_ports::store::Store;
use ntmobile_ports::stores::{OpenError, SledOptions, SledStore};
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::machine::StoreFailure;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_settings::units::Size;
use ntmobile_telemetry::export::Exporter;
use ntmobile_telemetry::upload::{Collector, UploadError};
use ntmobile_telemetry::{Recorder, Timeline, TimelineError};
use rustls::RootCertStore;
use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long the collector may take for one request.
const COLLECTOR_PATIENCE: Duration = Duration::from_secs(10);
/// How long the last requests to the collector may take when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Why an entity does not get what it needs.
#[derive(Debug, Error)]
pub enum EquipmentError {
    /// The host's addresses cannot be read.
    #[error("this host's addresses cannot be read: {0}")]
    Addresses(#[from] ReadError),
    /// The clock has not been set.
    #[error("this host's clock stands before 1970 was over; set it: {0}")]
    Clock(#[from] TimelineError),
    /// A certificate is missing, wrong or out of date.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The TLS port is taken.
    #[error("the TLS port could not be opened: {0}")]
    TlsPort(#[source] NetError),
    /// TLS refused.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The state directory or the trace's file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The collector has no address.
    #[error("otlp: {0}")]
    Collector(#[from] UploadError),
}

/// A process's share of its host.
pub(crate) struct Equipment {
    pub(crate) host: Host,
    pub(crate) net: Arc<OsNet>,
    pub(crate) compute: Arc<dyn Compute>,
    exporter: Option<Exporter>,
    /// How often metrics are collected, where they go anywhere.
    export_every: Option<Duration>,
}

impl Equipment {
    /// Looks at the host; must be called within an actix system.
    pub(crate) fn new(name: &str, settings: &HostSettings, options: NetOptions) -> Result<Self, EquipmentError> {
        let clock = OsClock;
        // The world begins when the host did, as the clock counts.
        let started = clock.now().since(Instant::ORIGIN).as_secs();
        let timeline = Timeline::open_ended(UnixTime(clock.wall().0.saturating_sub(started)))?;
        let (recorder, exporter) = recorder(name, settings, timeline)?;
        let options = NetOptions { allow_loopback: settings.loopback, ..options };
        let net = Arc::new(OsNet::new(options)?);
        let host = Host::start(HostParts {
            name: name.into(),
            clock: Arc::new(clock),
            net: net.clone(),
            entropy: SystemEntropy::source(),
            recorder,
            root_servers: settings.root_servers(),
            panics: PanicPolicy::Restart(RestartPolicy::default()),
        });
        let host = host.with_listener(Arc::new(log));
        let export_every =
            (settings.otlp.is_some() || settings.trace.is_some()).then(|| settings.otlp_every.duration());
        Ok(Self { host, net, compute: Arc::new(WorkerPool::new()), exporter, export_every })
    }

    /// Collects metrics for the collector and the file, for as long as it is polled; for ever idle where there are none.
    pub(crate) fn export(&self) -> impl Future<Output = ()> + use<> {
        let (clock, recorder, every) = (Arc::clone(self.host.clock()), self.host.recorder().clone(), self.export_every);
        async move {
            let Some(every) = every else { return std::future::pending().await };
            loop {
                clock.sleep(every).await;
                recorder.collect(clock.now());
            }
        }
    }

    /// Sends what is left for the collector.
    pub(crate) fn finish(self) {
        if let Err(error) = self.host.recorder().finish(self.host.clock().now()) {
            tracing::warn!(%error, "not everything was recorded");
        }
        if let Some(exporter) = self.exporter {
            if exporter.dropped() > 0 {
                tracing::warn!(lines = exporter.dropped(), "the collector could not keep up, and lines were dropped");
            }
            if !exporter.finish(LAST_WORDS) {
                tracing::warn!("the collector did not take the last requests in time");
            }
        }
    }

    /// What every server is given, with its certificate checked and its database open.
    pub(crate) async fn server(
        &self,
        settings: &ServerSettings,
        role: CertificateRole,
    ) -> Result<ServerParts, EquipmentError> {
        let now = self.host.clock().wall();
        let trusted = credentials::trusted(&settings.certificates, now)?;
        let held = credentials::identity(&settings.certificates, (&settings.name, role), &trusted, now)?;
        tell_of_certificate(&held, now);
        let tls = self.tls(settings.tls_port, Some(held.identity), trusted.roots, true)?;
        files::private_directory(&settings.state())?;
        let store = self.store(&settings.state(), settings.reserve.0).await?;
        Ok(ServerParts { signalling_port: settings.signalling_port, tls, store })
    }

    /// An end of TLS legs.
    pub(crate) fn tls(
        &self,
        port: u16,
        identity: Option<Identity>,
        trust: RootCertStore,
        serve: bool,
    ) -> Result<Arc<TlsEndpoint>, EquipmentError> {
        let port = self.host.net().bind_udp(port).map_err(EquipmentError::TlsPort)?;
        let options = TlsOptions { serve, ..TlsOptions::default() };
        let clock = Arc::clone(self.host.clock());
        let endpoint = TlsEndpoint::new(port, clock, identity, trust, CryptoChoice::System, options)?;
        let (recorder, name) = (self.host.recorder().clone(), Arc::clone(self.host.name()));
        endpoint.tell_strangers(move || recorder.count(&name, "tls.stranger", 1));
        Ok(Arc::new(endpoint))
    }

    /// The database in a state directory.
    pub(crate) async fn store(&self, state: &Path, reserve: u64) -> Result<Arc<dyn Store>, EquipmentError> {
        let options = SledOptions { reserve, ..SledOptions::new(state.join(DATABASE)) };
        let store = SledStore::open(options, Arc::clone(&self.compute)).await?;
        // A batch of nothing tells whether there is room: what is stored can be read on a full disk too.
        if store.commit(Vec::new()).await == Err(StoreFailure::Full) {
            let (directory, held_back) = (state.display(), Size(reserve));
            tracing::error!(
                "the disk of {directory} is full: what is stored is served, but nothing new is kept; make room for the {held_back} \
                 that are held back (reserve in [server])"
            );
        }
        Ok(Arc::new(store))
    }
}

/// Where the process's spans and counts go.
fn recorder(
    name: &str,
    settings: &HostSettings,
    timeline: Timeline,
) -> Result<(Recorder, Option<Exporter>), EquipmentError> {
    let mut sinks: Vec<Box<dyn Write + Send>> = Vec::new();
    if let Some(path) = &settings.trace {
        let refused = |source| FileError::Refused { path: path.clone(), what: "written", source };
        sinks.push(Box::new(LineWriter::new(File::create(path).map_err(refused)?)));
    }
    let mut exporter = None;
    if let Some(url) = &settings.otlp {
        let failed = |error| tracing::warn!(%error, "the collector did not take a request");
        let (queue, started) = Exporter::start(Collector::new(url, COLLECTOR_PATIENCE)?, failed);
        sinks.push(Box::new(queue));
        exporter = Some(started);
    }
    if sinks.is_empty() {
        return Ok((Recorder::counting(timeline), None));
    }
    let recorder = Recorder::new(timeline, Everywhere(sinks));
    // So that every recording holds a metric, and with it the origin of its times.
    recorder.count(name, "host.starts", 1);
    Ok((recorder, exporter))
}

/// Writes to all of them.
struct Everywhere(Vec<Box<dyn Write + Send>>);

impl Write for Everywhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.iter_mut().try_for_each(|sink| sink.write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(Write::flush)
    }
}

fn tell_of_certificate(held: &Held, now: UnixTime) {
    let left = Duration::from_secs(held.until.0.saturating_sub(now.0));
    let until = Written(held.until);
    if left < SOON {
        tracing::warn!(%until, left = %Span(left), "the certificate expires soon; issue another and restart");
    } else {
        tracing::info!(%until, left = %Span(left), "certificate");
    }
}

/// Logs what an entity tells: at *debug* what repeats by itself, at *warn* where somebody did not get what they wanted.
fn log(entity: &str, event: &EntityEvent) {
    if event.is_trouble() {
        tracing::warn!(entity, "{event}");
    } else if event.is_routine() {
        tracing::debug!(entity, "{event}");
    } else {
        tracing::info!(entity, "{event}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_settings::units::ms;
    use std::io::Read;
    use std::net::TcpListener;
    use std::sync::mpsc;

    #[test]
    fn what_is_counted_reaches_the_collector_while_the_host_runs() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let otlp = Some(format!("http://{}", listener.local_addr().expect("an address")));
        let (taken, requests) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut buffer = [0; 4_096];
            let length = stream.read(&mut buffer).expect("a request");
            taken.send(buffer[..length].to_vec()).expect("the test waits");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("answered");
        });
        let settings = HostSettings { otlp, otlp_every: ms(10), loopback: true, ..HostSettings::default() };
        actix_rt::System::new().block_on(async {
            let equipment = Equipment::new("dc.u1.example", &settings, NetOptions::server()).expect("equipment");
            equipment.host.recorder().count("dc.u1.example", "dc.registered", 1);
            let came = async {
                loop {
                    if let Ok(request) = requests.try_recv() {
                        return request;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let request = tokio::select! {
                request = came => request,
                () = equipment.export() => panic!("it exports for ever"),
            };
            assert!(request.starts_with(b"POST /v1/metrics "), "{}", String::from_utf8_lossy(&request));
        });
    }

    #[test]
    fn what_is_recorded_is_in_the_file_while_the_host_runs() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let path = home.path().join("trace.otlp.jsonl");
        let trace = Some(path.clone());
        let settings = HostSettings { trace, otlp_every: ms(10), loopback: true, ..HostSettings::default() };
        actix_rt::System::new().block_on(async {
            let equipment = Equipment::new("dc.u1.example", &settings, NetOptions::server()).expect("equipment");
            equipment.host.recorder().count("dc.u1.example", "dc.registered", 1);
            let came = async {
                while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains("dc.registered")) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                () = came => {}
                () = equipment.export() => panic!("it exports for ever"),
            }
        });
        let recording = ntmobile_telemetry::read::Recording::open(&path).expect("it reads back");
        assert!(recording.epoch.is_some(), "the origin of its times is known");
    }
}
