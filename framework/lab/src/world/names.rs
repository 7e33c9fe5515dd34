//! The DNS above the domains: a root server, and a server for each top-level domain that delegates to the DCs.

use super::internet::{EquipmentError, Internet};
use super::topology::{ROOT_SERVER, top_level_server};
use crate::scenario::Scenario;
use ntmobile_actors::dns::ZoneRecords;
use ntmobile_actors::name_server::NameServer;
use ntmobile_actors::server::StartError;
use ntmobile_wire::name::Fqdn;
use thiserror::Error;

/// Why DNS cannot be started.
#[derive(Debug, Error)]
pub enum NamesError {
    /// A host lacks something.
    #[error(transparent)]
    Equipment(#[from] EquipmentError),
    /// A server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// The servers above the domains; they stop when this is dropped.
pub(super) struct Names {
    _servers: Vec<NameServer>,
}

impl Names {
    pub(super) fn start(scenario: &Scenario, internet: &Internet) -> Result<Self, NamesError> {
        let ttl = u32::try_from(scenario.dns.ttl.duration().as_secs()).unwrap_or(u32::MAX);
        let mut root = zone(None, ROOT_SERVER_NAME, ttl)?;
        root = root.with_host(&name(ROOT_SERVER_NAME)?, &internet.addresses(ROOT_SERVER)?);
        let mut servers = Vec::new();
        for top_level in scenario.top_level_domains() {
            let host = top_level_server(&top_level);
            let server = name(&format!("ns.{top_level}"))?;
            let addresses = internet.addresses(&host)?;
            root = root.with_delegation(&name(&top_level)?, &server, &addresses);
            let mut records = zone(Some(&top_level), server.as_str(), ttl)?.with_host(&server, &addresses);
            let account_server = scenario.account_server_name();
            if account_server.ends_with(&format!(".{top_level}")) {
                records = records.with_host(&name(&account_server)?, &internet.addresses(&account_server)?);
            }
            for domain in scenario.domain.keys().filter(|domain| domain.ends_with(&format!(".{top_level}"))) {
                let coordinator = format!("dc.{domain}");
                let addresses = internet.addresses(&coordinator)?;
                records = records.with_delegation(&name(domain)?, &name(&coordinator)?, &addresses);
            }
            servers.push(NameServer::start(&host, vec![records], &internet.host(&host)?)?);
        }
        servers.push(NameServer::start(ROOT_SERVER, vec![root], &internet.host(ROOT_SERVER)?)?);
        Ok(Self { _servers: servers })
    }
}

/// What the root's own server is called inside DNS.
const ROOT_SERVER_NAME: &str = "a.root-servers.net";

fn name(text: &str) -> Result<Fqdn, EquipmentError> {
    Ok(Fqdn::parse(text)?)
}

fn zone(apex: Option<&str>, server: &str, ttl: u32) -> Result<ZoneRecords, EquipmentError> {
    let mut zone = ZoneRecords::new(apex.map(name).transpose()?, vec![name(server)?]);
    zone.ttl_s = ttl;
    Ok(zone)
}
