//! An echo over TCP that goes on while its user travels.
//!
//! Bob offers the service from behind the NAT of his office. Alice connects to him by name from behind the NAT at home,
//! says something, boards a train, and goes on talking over the same connection: the virtual addresses stay what they
//! are, and the tunnel below is built again on the new network.

use ntmobile::lab::scenario::network::Nat;
use ntmobile::lab::scenario::units::{ms, secs};
use ntmobile::lab::world::stage::{Stage, play};
use ntmobile::prelude::*;
use std::time::Duration;

/// The service: gives every byte of one connection back.
async fn serve(bob: Node) -> ntmobile::Result<()> {
    let listener = bob.listen(7000)?;
    let (mut reader, mut writer) = tokio::io::split(listener.accept().await?);
    tokio::io::copy(&mut reader, &mut writer).await?;
    Ok(())
}

/// The user: says a word before, during and after the move at 10 s, and returns what came back.
async fn talk(alice: Node, clock: impl Clock) -> ntmobile::Result<Vec<String>> {
    let mut stream = alice.connect("bob.u2.example:7000").await?;
    let mut heard = Vec::new();
    for word in ["from home", "boarding", "from the train"] {
        stream.write_all(word.as_bytes()).await?;
        let mut echo = vec![0; word.len()];
        stream.read_exact(&mut echo).await?;
        heard.push(String::from_utf8(echo)?);
        clock.sleep(Duration::from_secs(8)).await;
    }
    stream.shutdown().await?;
    Ok(heard)
}

/// Plays both in a world of two domains.
pub fn run() -> ntmobile::Result<Vec<String>> {
    let world = Scenario::builder()
        .domain("u1.example", |domain| domain.relays(1))
        .domain("u2.example", |domain| domain.relays(1))
        .network("home", |network| network.nat(Nat::home()).delay(ms(8)))
        .network("office", |network| network.nat(Nat::home()).delay(ms(3)))
        .network("train", |network| network.nat(Nat::home()).delay(ms(30)))
        .node("alice", |node| node.domain("u1.example").network("home"))
        .node("bob", |node| node.domain("u2.example").network("office"))
        .moves(secs(10), "alice", "train")
        .build()?;
    play(&world, |stage: Stage| async move {
        let (alice, bob) = (stage.node("alice").await?, stage.node("bob").await?);
        let (heard, served) = tokio::join!(talk(alice, stage.clock()), serve(bob));
        served.and(heard)
    })?
}
