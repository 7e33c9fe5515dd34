//! What the scenario lets happen while the world lives: nodes move, servers fail, disks fill up, links go down.

use super::internet::Internet;
use super::servers::Servers;
use crate::scenario::Scenario;
use crate::scenario::event::{Action, Event, Move};
use ntmobile_ports::clock::Clock;
use ntmobile_proto::time::Instant;
use ntmobile_sim::network::Network;
use std::cell::RefCell;
use std::rc::Rc;

/// The times at which nodes moved, and what could not be done.
#[derive(Debug, Default)]
pub(super) struct Happenings {
    /// Who moved when: the moment it lost its old network.
    pub(super) moved: RefCell<Vec<(String, Instant)>>,
    /// What went wrong.
    pub(super) wrong: RefCell<Vec<String>>,
}

/// Lets every event happen at its time; returns at once.
pub(super) fn schedule(scenario: &Rc<Scenario>, internet: &Rc<Internet>, servers: &Rc<Servers>, log: &Rc<Happenings>) {
    for event in scenario.event.clone() {
        let scenario = Rc::clone(scenario);
        let (internet, servers, log) = (Rc::clone(internet), Rc::clone(servers), Rc::clone(log));
        actix::spawn(async move {
            internet.world.clock().sleep_until(Instant(event.at.as_nanos())).await;
            if let Err(why) = happen(&event, &scenario, &internet, &servers, &log).await {
                log.wrong.borrow_mut().push(why);
            }
        });
    }
}

async fn happen(
    event: &Event,
    scenario: &Scenario,
    internet: &Internet,
    servers: &Servers,
    log: &Happenings,
) -> Result<(), String> {
    match &event.action {
        Action::Move(action) => relocate(action, scenario, internet, log).await,
        Action::Fail(name) => servers.fail(&name.server).map_err(|error| error.to_string()),
        Action::Restart(name) => servers.restart(&name.server).await.map_err(|error| error.to_string()),
        Action::DiskFull(name) => servers.set_disk_full(&name.server, true).map_err(|error| error.to_string()),
        Action::DiskFree(name) => servers.set_disk_full(&name.server, false).map_err(|error| error.to_string()),
        Action::LinkDown(name) => set_link(internet, &name.network, false),
        Action::LinkUp(name) => set_link(internet, &name.network, true),
    }
}

fn set_link(internet: &Internet, network: &str, is_up: bool) -> Result<(), String> {
    let uplink = internet.topology.borrow().uplink(network).ok_or_else(|| format!("there is no network {network}"))?;
    internet.world.network(|network| network.set_link_up(uplink, is_up));
    Ok(())
}

async fn relocate(action: &Move, scenario: &Scenario, internet: &Internet, log: &Happenings) -> Result<(), String> {
    let host = format!("{}.{}", action.node, scenario.node[&action.node].domain);
    log.moved.borrow_mut().push((action.node.clone(), internet.world.now()));
    let leave = |network: &mut Network| {
        internet.topology.borrow_mut().detach(&host, network).map_err(|error| error.to_string())
    };
    let arrive = |network: &mut Network| {
        let mut topology = internet.topology.borrow_mut();
        let interface = topology.attach(&host, &action.to, network).map_err(|error| error.to_string())?;
        network.capture_also(interface);
        Ok(())
    };
    if action.offline.as_nanos() == 0 {
        // In one step: the host never sees itself without an address.
        return internet.world.network(|network| leave(network).and_then(|()| arrive(network)));
    }
    internet.world.network(leave)?;
    internet.world.clock().sleep(action.offline.duration()).await;
    internet.world.network(arrive)
}
