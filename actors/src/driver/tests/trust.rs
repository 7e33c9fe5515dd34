//! TLS without cryptography for the driver's tests: ends that know each other by name.

use bytes::Bytes;
use futures::future::BoxFuture;
use ntmobile_ports::tls::{ServerIdentity, Tls, TlsRequest};
use ntmobile_proto::certificate::{CertificateRole, PeerCertificate};
use ntmobile_proto::machine::{CertificateFault, TlsFailure};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

type Incoming = mpsc::UnboundedSender<TlsRequest>;

/// Everyone who trusts everyone.
#[derive(Clone, Default)]
pub(super) struct Trust(Arc<Mutex<BTreeMap<Fqdn, Incoming>>>);

impl Trust {
    pub(super) fn end(&self, name: &str) -> Arc<TrustedEnd> {
        let name = Fqdn::parse(name).expect("a name");
        let (sender, incoming) = mpsc::unbounded_channel();
        self.0.lock().unwrap().insert(name.clone(), sender);
        Arc::new(TrustedEnd { trust: self.clone(), name, incoming: tokio::sync::Mutex::new(incoming) })
    }
}

/// One of them.
pub(super) struct TrustedEnd {
    trust: Trust,
    name: Fqdn,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<TlsRequest>>,
}

impl Tls for TrustedEnd {
    fn call(
        &self,
        server: ServerIdentity,
        _addresses: DualStack,
        frame: Bytes,
        mutual: bool,
    ) -> BoxFuture<'static, Result<Bytes, TlsFailure>> {
        let (answer, answered) = oneshot::channel();
        let certificate = mutual.then(|| PeerCertificate {
            name: self.name.clone(),
            role: CertificateRole::DirectionCoordinator,
            fingerprint: [7; 32],
        });
        let request = TlsRequest { from: ([10, 0, 0, 1], 4433).into(), certificate, frame, answer };
        let reached = self.trust.0.lock().unwrap().get(&server.name).is_some_and(|end| end.send(request).is_ok());
        Box::pin(async move {
            if reached {
                answered.await.map_err(|_| TlsFailure::Broken)
            } else {
                Err(TlsFailure::Certificate(CertificateFault::OtherBearer))
            }
        })
    }

    fn network_changed(&self) {}

    fn request(&self) -> BoxFuture<'_, Option<TlsRequest>> {
        Box::pin(async { self.incoming.lock().await.recv().await })
    }
}
