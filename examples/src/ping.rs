//! How far away is a peer? Datagrams there and back through the tunnel, timed.
//!
//! Alice is behind the NAT at home and Bob in the open, so the tunnel is direct: a round trip takes exactly the delays of
//! the path, since in this world nothing else takes time.

use ntmobile::lab::scenario::network::Nat;
use ntmobile::lab::scenario::units::ms;
use ntmobile::lab::world::stage::{Stage, play};
use ntmobile::prelude::*;
use std::time::Duration;

/// The port that answers.
const PORT: u16 = 7001;

/// Gives every datagram back to where it came from.
async fn answer(socket: VirtualUdpSocket) -> ntmobile::Result<()> {
    loop {
        let ping = socket.recv_from().await?;
        socket.send_to(&ping.bytes, ping.from)?;
    }
}

/// Sends `count` datagrams, one after the other, and returns how long each took.
async fn ping(alice: &Node, peer: &str, count: u8, clock: impl Clock) -> ntmobile::Result<Vec<Duration>> {
    let peer = alice.lookup(peer).await?; // the tunnel stands when this returns
    let socket = alice.bind_udp(0)?;
    let mut round_trips = Vec::new();
    for number in 0..count {
        let sent = clock.now();
        socket.send_to(&[number], peer.at(PORT))?;
        socket.recv_from().await?;
        round_trips.push(clock.now() - sent);
    }
    Ok(round_trips)
}

/// Plays it in a world of one domain.
pub fn run() -> ntmobile::Result<Vec<Duration>> {
    let world = Scenario::builder()
        .domain("u1.example", |domain| domain)
        .network("home", |network| network.nat(Nat::home()).delay(ms(8)))
        .network("office", |network| network.delay(ms(3)))
        .node("alice", |node| node.domain("u1.example").network("home"))
        .node("bob", |node| node.domain("u1.example").network("office"))
        .build()?;
    play(&world, |stage: Stage| async move {
        let (alice, bob) = (stage.node("alice").await?, stage.node("bob").await?);
        let socket = bob.bind_udp(PORT)?;
        tokio::select! {
            failed = answer(socket) => failed.map(|()| Vec::new()),
            round_trips = ping(&alice, "bob.u1.example", 4, stage.clock()) => round_trips,
        }
    })?
}
