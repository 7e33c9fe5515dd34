//! Every combination of the plugins joins, talks and survives a move, on a direct path and through a relay.
//!
//! The worlds are generated from the kinds and names that scenarios know: a plugin that is added is tried here without a
//! change. By default as many worlds are run as it takes to see every three plugins of different kinds together; with
//! `NTM_ALL_COMBINATIONS` set, the full product.

use ntmobile_lab::record::{Conversation, Path};
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::event::TrafficKind;
use ntmobile_lab::scenario::network::{Family, Nat};
use ntmobile_lab::scenario::plugin::Kind;
use ntmobile_lab::scenario::units::{ms, secs};
use ntmobile_tests::simulated::simulate;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What is varied besides the plugins: whether the networks allow a direct path.
const PATHS: [&str; 2] = ["direct", "relayed"];

/// A world: the index of the chosen name for each kind that offers a choice, then of the path that networks allow.
type Choice = Vec<usize>;

/// The kinds that offer a choice.
fn kinds() -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|kind| kind.known().len() > 1).collect()
}

fn sizes() -> Vec<usize> {
    kinds().iter().map(|kind| kind.known().len()).chain([PATHS.len()]).collect()
}

/// Every choice there is.
fn product(sizes: &[usize]) -> Vec<Choice> {
    sizes.iter().fold(vec![Vec::new()], |choices, size| {
        choices.iter().flat_map(|choice| (0..*size).map(|next| [&choice[..], &[next]].concat())).collect()
    })
}

/// The triples of names, of different kinds, that a choice brings together.
fn triples(choice: &[usize]) -> Vec<[(usize, usize); 3]> {
    let all: Vec<(usize, usize)> = choice.iter().copied().enumerate().collect();
    let mut triples = Vec::new();
    for (one, first) in all.iter().enumerate() {
        for (two, second) in all.iter().enumerate().skip(one + 1) {
            triples.extend(all[two + 1..].iter().map(|third| [*first, *second, *third]));
        }
    }
    triples
}

/// Few choices that bring every triple of names together: whichever brings the most new ones comes next.
fn all_triples(sizes: &[usize]) -> Vec<Choice> {
    let candidates: Vec<_> = product(sizes).into_iter().map(|choice| (triples(&choice), choice)).collect();
    let mut missing: BTreeSet<_> = candidates.iter().flat_map(|(triples, _)| triples.iter().copied()).collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let new = |(triples, _): &&(Vec<_>, Choice)| triples.iter().filter(|triple| missing.contains(*triple)).count();
        let (brought, best) = candidates.iter().max_by_key(new).expect("there is a choice");
        for triple in brought {
            missing.remove(triple);
        }
        chosen.push(best.clone());
    }
    chosen
}

fn describe(choice: &[usize]) -> String {
    let names =
        kinds().into_iter().zip(choice).map(|(kind, index)| format!("{}={}", kind.key(), kind.known()[*index].0));
    let path = choice.last().map(|index| format!("networks={}", PATHS[*index]));
    names.chain(path).collect::<Vec<_>>().join(" ")
}

fn is_chosen(choice: &[usize], kind: Kind, name: &str) -> bool {
    kinds().iter().zip(choice).any(|(known, index)| *known == kind && known.known()[*index].0 == name)
}

/// Two nodes of two domains: alice calls bob, and moves while they talk.
fn world(choice: &[usize]) -> Scenario {
    let is_direct = choice.last() == Some(&0);
    let v4 = [Family::Ipv4];
    // Without a word from the host a move is noticed when keepalives stay unanswered.
    let duration = if is_chosen(choice, Kind::Movement, "event") { secs(12) } else { secs(70) };
    let mut scenario = Scenario::builder()
        .seed(choice.iter().fold(1, |seed, index| seed * 3 + *index as u64))
        .duration(duration)
        .domain("u1.example", |domain| domain.relays(1).notification_servers(1))
        .domain("u2.example", |domain| domain.relays(1).notification_servers(1))
        .network("home", |network| network.nat(Nat::home()).families(v4).delay(ms(3)))
        .network("lte", |network| network.nat(Nat::symmetric()).families(v4).delay(ms(7)))
        .network("office", |network| network.nat((!is_direct).then(Nat::home)).families(v4).delay(ms(5)))
        .node("alice", |node| node.domain("u1.example").network("home"))
        .node("bob", |node| node.domain("u2.example").network("office"))
        .traffic("alice", "bob", TrafficKind::udp(ms(500)))
        .moves(secs(8), "alice", "lte")
        .build()
        .expect("a sound scenario");
    for (kind, index) in kinds().into_iter().zip(choice) {
        choose(&mut scenario, kind, kind.known()[*index].0);
    }
    scenario.check().expect("a sound scenario");
    scenario
}

fn choose(scenario: &mut Scenario, kind: Kind, name: &str) {
    let plugins = std::mem::take(&mut scenario.plugins);
    scenario.plugins = match kind {
        Kind::Auth => plugins.auth(name),
        Kind::Login => plugins.login(name),
        Kind::Reachability => plugins.reachability(name),
        Kind::Movement => plugins.movement(name),
        Kind::Handover => plugins.handover(name),
        Kind::Agreement => plugins.agreement(name),
        Kind::Protection => plugins.protection(name),
        Kind::Suite => plugins.suite(name),
        Kind::Path => plugins.path(name),
        Kind::RelayHandshake => plugins.relay_handshake(name),
        Kind::Storage => plugins.storage(name),
    };
}

/// What is wrong with how it went.
fn judge(choice: &[usize], row: &Conversation) -> Option<String> {
    if let Some(failure) = &row.failure {
        return Some(failure.clone());
    }
    let direct = choice.last() == Some(&0) && !is_chosen(choice, Kind::Path, "always-relay");
    match &row.path {
        Some(Path::Direct) if direct => {}
        Some(Path::Relayed(_)) if !direct => {}
        path => return Some(format!("the path was {path:?}")),
    }
    if row.gap.is_none() {
        return Some(format!("nothing arrived after the move, {} of {} before", row.received, row.sent));
    }
    None
}

#[test]
fn every_combination_of_plugins_joins_talks_and_moves() {
    let sizes = sizes();
    let everything = std::env::var_os("NTM_ALL_COMBINATIONS").is_some();
    let choices = if everything { product(&sizes) } else { all_triples(&sizes) };
    println!("{} of {} combinations", choices.len(), product(&sizes).len());
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut wrong = Vec::new();
            while let Some(choice) = choices.get(next.fetch_add(1, Ordering::Relaxed)) {
                let complaint = match simulate(&world(choice)) {
                    Ok(run) => judge(choice, &run.conversations[0]),
                    Err(error) => Some(error.to_string()),
                };
                wrong.extend(complaint.map(|complaint| format!("{}: {complaint}", describe(choice))));
            }
            wrong
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a panic is a failure of the run")).collect()
    });
    assert!(wrong.is_empty(), "{} of {} failed:\n{}", wrong.len(), choices.len(), wrong.join("\n"));
}

#[test]
fn the_chosen_combinations_bring_every_three_plugins_together() {
    let sizes = sizes();
    let chosen: BTreeSet<_> = all_triples(&sizes).iter().flat_map(|choice| triples(choice)).collect();
    for choice in product(&sizes) {
        assert!(triples(&choice).iter().all(|triple| chosen.contains(triple)), "{}", describe(&choice));
    }
}
