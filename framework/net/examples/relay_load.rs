//! An RS's packet path alone, and load for it.
//!
//! `relay_load serve PORT THREADS TUNNELS MN CN` relays so many tunnels between these two addresses until its standard input ends,
//! then tells what it forwarded and the processor time that took. `relay_load send PORT RELAY SECONDS OCTETS TUNNELS [train]` sends
//! packets from MN, with or without UDP_SEGMENT; `relay_load sink PORT` swallows them at CN.

use ntmobile_net::clock::OsClock;
use ntmobile_net::net::NetOptions;
use ntmobile_net::packet_path::PacketPath;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::packet::RelayTable;
use ntmobile_wire::identifier::{Session, Spi};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::error::Error;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest train that fits one call.
const LONGEST: usize = 65_507;
const MOST: usize = 64;

fn spis(tunnel: u32) -> [Spi; 2] {
    [Spi((0x1000 + tunnel * 2) << 4), Spi((0x1001 + tunnel * 2) << 4)]
}

/// Processor time of this process, in and out of the kernel.
fn processor_time() -> Duration {
    // SAFETY: a rusage is plain data that the call fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn serve(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [port, threads, tunnels, mn, cn] = arguments else { return Err("serve PORT THREADS TUNNELS MN CN".into()) };
    let (tunnels, mn, cn): (u32, SocketAddr, SocketAddr) = (tunnels.parse()?, mn.parse()?, cn.parse()?);
    let table = Arc::new(RelayTable::new());
    for tunnel in 0..tunnels {
        let [to_mn, to_cn] = spis(tunnel);
        table.install(OsClock.now(), to_mn, to_cn).ok_or("an SPI is in use")?;
        table.prove(to_mn, mn);
        table.prove(to_cn, cn);
    }
    let path = PacketPath::relay(&NetOptions::server(), port.parse()?, threads.parse()?, Arc::new(OsClock))?;
    path.forward_by(table, Session(1));
    std::io::read_to_string(std::io::stdin())?;
    let (sent, seconds) = (path.counters().sent.get(), processor_time().as_secs_f64());
    let microseconds = seconds * 1e6 / sent as f64;
    println!("{sent} packets in {seconds:.2} s of processor time: {microseconds:.3} µs each");
    for (name, count) in path.counters().named().filter(|(_, count)| *count > 0) {
        eprintln!("{name} {count}");
    }
    Ok(())
}

fn send(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [port, relay, seconds, octets, tunnels, rest @ ..] = arguments else {
        return Err("send PORT RELAY SECONDS OCTETS TUNNELS [train]".into());
    };
    let (relay, octets, tunnels): (SocketAddr, usize, u32) = (relay.parse()?, octets.parse()?, tunnels.parse()?);
    let socket = UdpSocket::bind(("0.0.0.0", port.parse()?))?;
    let state = UdpSocketState::new((&socket).into())?;
    socket.set_nonblocking(false)?;
    let count = if rest.is_empty() { 1 } else { (LONGEST / octets).min(MOST) };
    let trains: Vec<Vec<u8>> = (0..tunnels)
        .map(|tunnel| {
            let mut packet = vec![0; octets];
            packet[..4].copy_from_slice(&spis(tunnel)[1].0.to_be_bytes());
            packet.repeat(count)
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let mut sent = 0;
    'sending: loop {
        for contents in &trains {
            let segment_size = (count > 1).then_some(octets);
            let transmit = Transmit { destination: relay, ecn: None, contents, segment_size, src_ip: None };
            if state.try_send((&socket).into(), &transmit).is_ok() {
                sent += count;
            }
            if Instant::now() >= end {
                break 'sending;
            }
        }
    }
    println!("{sent} packets sent");
    Ok(())
}

fn sink(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [port] = arguments else { return Err("sink PORT".into()) };
    let socket = UdpSocket::bind(("0.0.0.0", port.parse()?))?;
    let state = UdpSocketState::new((&socket).into())?;
    socket.set_nonblocking(false)?;
    let mut buffer = vec![0; LONGEST];
    loop {
        state.recv((&socket).into(), &mut [IoSliceMut::new(&mut buffer)], &mut [RecvMeta::default()])?;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((verb, rest)) if verb == "serve" => serve(rest),
        Some((verb, rest)) if verb == "send" => send(rest),
        Some((verb, rest)) if verb == "sink" => sink(rest),
        _ => Err("relay_load serve|send|sink …".into()),
    }
}
