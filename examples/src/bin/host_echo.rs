//! An echo between real hosts: with a node's file alone it offers the service, with a peer's name too it talks to one.
//!
//! `host_echo bob.toml` on one host, `host_echo alice.toml bob.u2.example` on another.

use bytes::Bytes;
use ntmobile::host::node;
use ntmobile::prelude::*;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;

/// The port of the service, over TCP and over UDP.
const PORT: u16 = 7000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match node::run(echo(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn echo(arguments: &[String]) -> ntmobile::Result<()> {
    match arguments {
        [file] => serve(node::join(file).await?).await,
        [file, peer] => talk(node::join(file).await?, peer).await,
        _ => Err("usage: host_echo NODE.toml [PEER]".into()),
    }
}

/// Gives back whatever comes.
async fn serve(node: Node) -> ntmobile::Result<()> {
    println!("{} is {}", node.name(), node.addresses().v6);
    let (listener, socket) = (node.listen(PORT)?, node.bind_udp(PORT)?);
    tokio::select! {
        failed = streams(listener) => failed,
        failed = datagrams(socket) => failed,
    }
}

async fn streams(listener: VirtualTcpListener) -> ntmobile::Result<()> {
    loop {
        let (mut reader, mut writer) = tokio::io::split(listener.accept().await?);
        tokio::task::spawn_local(async move { tokio::io::copy(&mut reader, &mut writer).await });
    }
}

async fn datagrams(socket: VirtualUdpSocket) -> ntmobile::Result<()> {
    loop {
        let datagram = socket.recv_from().await?;
        // One that is too long for us to send, from a peer that sends longer ones, is no reason to serve the others no more.
        if let Err(error) = socket.send_to(&datagram.bytes, datagram.from) {
            eprintln!("not given back: {error}");
        }
    }
}

/// Says each line of standard input, over UDP and then over one TCP connection, and prints what comes back.
async fn talk(node: Node, peer: &str) -> ntmobile::Result<()> {
    let found = node.lookup(peer).await?;
    let way = found.relay.as_ref().map_or("directly".to_owned(), |relay| format!("through {relay}"));
    println!("{} is {}, reached {way}", found.name, found.addresses.v6);
    let socket = node.bind_udp(0)?;
    let mut stream = node.connect_to(found.at(PORT)).await?;
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        println!("udp: {}", String::from_utf8_lossy(&ask(&socket, line.as_bytes(), found.at(PORT)).await?));
        stream.write_all(line.as_bytes()).await?;
        let mut echo = vec![0; line.len()];
        stream.read_exact(&mut echo).await?;
        println!("tcp: {}", String::from_utf8_lossy(&echo));
    }
    node.leave().await;
    Ok(())
}

/// Sends a datagram until one comes back: the way there may lose some.
async fn ask(socket: &VirtualUdpSocket, question: &[u8], to: SocketAddr) -> ntmobile::Result<Bytes> {
    loop {
        socket.send_to(question, to)?;
        match tokio::time::timeout(Duration::from_secs(1), socket.recv_from()).await {
            Ok(answer) => return Ok(answer?.bytes),
            Err(_nothing_came) => continue,
        }
    }
}

/// Standard input, line by line, read by a thread of its own: it cannot be waited for otherwise.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}
