//! An RS's packet path alone, to be measured: tunnels installed from the command line, no signalling at all.
//!
//! `static_relay PORT THREADS TUNNELS MN CN` relays so many tunnels from MN to CN. Tunnel number n, from 0 on, has the SPI
//! (0x1000 + 2n) << 4 towards MN, whose port is n further than the one given, and (0x1001 + 2n) << 4 towards CN. Says "ready", answers
//! each line of standard input with the number of packets that it has forwarded, and ends with it; then it tells its counters.

use ntmobile_net::clock::OsClock;
use ntmobile_net::net::NetOptions;
use ntmobile_net::packet_path::PacketPath;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::packet::RelayTable;
use ntmobile_wire::identifier::{Session, Spi};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, threads, tunnels, mn, cn] = arguments.as_slice() else {
        return Err("usage: static_relay PORT THREADS TUNNELS MN CN".into());
    };
    let (tunnels, mn, cn): (u16, SocketAddr, SocketAddr) = (tunnels.parse()?, mn.parse()?, cn.parse()?);
    let table = Arc::new(RelayTable::new());
    for tunnel in 0..tunnels {
        let [to_mn, to_cn] = [0x1000, 0x1001].map(|first| Spi((first + u32::from(tunnel) * 2) << 4));
        table.install(OsClock.now(), to_mn, to_cn).ok_or("an SPI is in use")?;
        table.prove(to_mn, SocketAddr::new(mn.ip(), mn.port() + tunnel));
        table.prove(to_cn, cn);
    }
    let path = PacketPath::relay(&NetOptions::server(), port.parse()?, threads.parse()?, Arc::new(OsClock))?;
    path.forward_by(table, Session(1));
    println!("ready");
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", path.counters().sent.get());
    }
    for (name, count) in path.counters().named().filter(|(_, count)| *count > 0) {
        eprintln!("{name} {count}");
    }
    Ok(())
}
