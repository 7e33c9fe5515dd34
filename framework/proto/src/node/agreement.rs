//! K_mncn: sealed to the peer by the agreement of the direction, opened, and taken into use.

use super::negotiation::Negotiating;
use super::{ConnectError, Cx, Node};
use crate::endpoint::Association;
use crate::packet::{InstallError, TunnelSettings};
use crate::policy::{AgreementMaterial, InnerProtection, OuterKey};
use ntmobile_wire::identifier::{Negotiation, Session};
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{Refusal, RefusalCode, Route, RouteDirection};
use ntmobile_wire::subkey::{KeyKind, Role};

impl Node {
    /// What seals Tunnel Request itself.
    pub(super) fn outer_key(&self, direction: &RouteDirection) -> OuterKey {
        match (&direction.route, self.config.strategies.protection_of(direction.protection)) {
            (Route::Direct { .. }, Some(protection)) => protection.outer_when_direct(),
            _ => OuterKey::KTun,
        }
    }

    fn inner_protection(&self, direction: &RouteDirection) -> InnerProtection {
        match (&direction.route, self.config.strategies.protection_of(direction.protection)) {
            (Route::Direct { .. }, Some(protection)) => protection.inner_when_direct(),
            _ => InnerProtection::Wrapped,
        }
    }

    fn agreement_material<'a>(
        &'a self,
        negotiating: &'a Negotiating,
        sender: (Role, Session),
    ) -> AgreementMaterial<'a> {
        let direction = &negotiating.direction;
        AgreementMaterial {
            negotiation: direction.negotiation,
            sender,
            k_tmp: &direction.k_tmp,
            own: &self.agreement_key,
            peer: negotiating.peer_public_key.as_ref(),
            inner: self.inner_protection(direction),
        }
    }

    /// K_mncn as *Tunnel Request* carries it.
    pub(super) fn wrap_key(&self, cx: &mut Cx<'_>, id: Negotiation, key: &NamedKey) -> Result<Vec<u8>, ConnectError> {
        let Some(negotiating) = self.negotiations.get(&id) else { return Ok(Vec::new()) };
        let agreement = self.config.strategies.agreement_of(negotiating.direction.agreement);
        let Some(agreement) = agreement else { return Err(ConnectError::KeyAgreement("unknown agreement".into())) };
        let material = self.agreement_material(negotiating, (negotiating.roles().0, self.endpoint.session()));
        agreement.seal(material, key, cx.entropy).map_err(|error| ConnectError::KeyAgreement(error.to_string()))
    }

    /// K_mncn as the peer's message carries it.
    pub(super) fn unwrap_key(&self, id: Negotiation, wrapped: &[u8]) -> Result<NamedKey, ConnectError> {
        let failure = |text: &str| ConnectError::KeyAgreement(text.to_owned());
        let negotiating = self.negotiations.get(&id).ok_or_else(|| failure("no such negotiation"))?;
        let agreement = self.config.strategies.agreement_of(negotiating.direction.agreement);
        let agreement = agreement.ok_or_else(|| failure("unknown agreement"))?;
        let material =
            self.agreement_material(negotiating, (negotiating.roles().1, negotiating.direction.peer_session));
        agreement.open(material, wrapped).map_err(|error| failure(&error.to_string()))
    }

    /// Takes K_mncn into use for what comes in; what goes out waits for [`Node::built`].
    pub(super) fn learn_key(&mut self, cx: &mut Cx<'_>, id: Negotiation, key: NamedKey) -> Result<(), ConnectError> {
        let Some(negotiating) = self.negotiations.get(&id) else { return Ok(()) };
        let Some(registered) = &self.registered else { return Err(ConnectError::NotJoined) };
        if self.endpoint.association(key.id).is_some() {
            return Err(ConnectError::KeyAgreement("the key identifier is taken".into()));
        }
        let (own, other) = negotiating.roles();
        let direction = &negotiating.direction;
        let Some(next_hop) = self.next_hop(direction) else { return Err(ConnectError::NoRelay) };
        let settings = TunnelSettings {
            peer: negotiating.peer.name.clone(),
            application: negotiating.peer.application,
            local: registered.addresses,
            remote: direction.peer_addresses,
            alias: self.alias_for(&negotiating.peer.name, direction.peer_addresses, registered.addresses),
            next_hop,
            end: own,
            suite: direction.suite,
            spi_in: direction.spi_in,
            spi_out: direction.spi_out,
        };
        let tunnel = self.tunnels.install(cx.now, settings, &key.secret).map_err(|error| match error {
            InstallError::SpiInUse(_) => {
                let detail = "the SPI was taken meanwhile".to_owned();
                ConnectError::Refused(Refusal { code: RefusalCode::SpiInUse, detail, negotiation: Some(id) })
            }
            error => ConnectError::KeyAgreement(error.to_string()),
        })?;
        let session = self.endpoint.session();
        let speaker = (other, Some(direction.peer_session));
        let peer = negotiating.peer.clone();
        self.endpoint.add(Association::new(key.clone(), KeyKind::Mncn, (own, session), speaker, peer));
        if let Some(negotiating) = self.negotiations.get_mut(&id) {
            negotiating.k_mncn = Some(key);
            negotiating.tunnel = Some(tunnel);
        }
        Ok(())
    }
}
