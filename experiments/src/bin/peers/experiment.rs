//! The order of a run: look whether the machine is quiet, then every contestant in turn, round after round.

use crate::Arguments;
use crate::contestants::{self, Contestant};
use crate::crowd;
use crate::failure::Failure;
use crate::goodput::Stream;
use crate::load::Flows;
use crate::measures::datagrams::highest_rate;
use crate::measures::{Measure, ping, tcp};
use crate::plot::{self, Panel};
use crate::process::found;
use crate::programs::Programs;
use crate::quiet::Look;
use crate::record::{Record, Sample};
use crate::relays::{self, Relay};
use crate::site::Site;
use crate::table;
use crate::topology::{Side, Topology};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// The kinds of datagrams: octets, and between which rates the highest is searched. 40 to 5,000 Mb/s of the large ones.
const LARGE: (usize, (f64, f64)) = (1_340, (3_700.0, 470_000.0));
const SMALL: (usize, (f64, f64)) = (64, (10_000.0, 1_280_000.0));

/// A part of the experiment, a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Tools that carry packets.
    Tools,
    /// Relays.
    Relays,
    /// A thousand tunnels.
    Crowd,
    /// A stream of the library beside one of QUIC.
    Library,
}

impl Part {
    const ALL: [Self; 4] = [Self::Tools, Self::Relays, Self::Crowd, Self::Library];

    fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Relays => "relays",
            Self::Crowd => "crowd",
            Self::Library => "library",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Tools => "Tools, medians",
            Self::Relays => {
                "Relays: thousand packets for each second of processor time (rate: thousand packets/s), medians"
            }
            Self::Library => "One stream of an application that links its transport in: Mb/s at these losses, medians",
            Self::Crowd => "1,000 flows through one tunnel and through 1,000, medians",
        }
    }
}

/// A run under way.
pub(crate) struct Experiment<'a> {
    arguments: &'a Arguments,
    site: Site,
    contestants: Vec<Box<dyn Contestant>>,
    relays: Vec<Relay>,
    record: Record,
    /// The shortest calibration so far.
    best: Duration,
    round: u32,
    disturbed: bool,
}

impl<'a> Experiment<'a> {
    /// Builds programs and network, sees who is here, and refuses a machine that is not quiet.
    pub(crate) fn prepare(arguments: &'a Arguments) -> Result<Self, Failure> {
        for (program, package) in [("ip", "iproute2"), ("iperf3", "iperf3"), ("ping", "iputils-ping")] {
            found(program).ok_or_else(|| Failure::Missing(format!("no {program}: apt-get install {package}")))?;
        }
        eprintln!("building our own programs");
        let programs = Programs::build()?;
        let look = Look::take();
        eprintln!("the machine: {look}");
        let flaw = look.flaw(look.calibration);
        let mut record = Record { machine: machine(arguments), ..Record::default() };
        match flaw {
            Some(flaw) if !arguments.busy => return Err(Failure::Busy(flaw)),
            Some(flaw) => record.remarks.push(format!("NOT QUIET at the start: {flaw}")),
            None => {}
        }
        if arguments.busy {
            // One scheduling group of the highest priority; a kernel without such groups does without.
            let _ = fs::write("/proc/self/autogroup", "-19");
        }
        let wanted = |name: &str| {
            let always = ["raw veth", "bare forwarder"].contains(&name);
            always || arguments.only.is_empty() || arguments.only.iter().any(|only| name.contains(only.as_str()))
        };
        let mut contestants = contestants::all();
        for only in &arguments.only {
            if !contestants.iter().any(|contestant| contestant.name().contains(only.as_str())) {
                let names: Vec<_> = contestants.iter().map(|contestant| contestant.name()).collect();
                return Err(Failure::Missing(format!("{only} is none of {}", names.join(", "))));
            }
        }
        contestants.retain(|contestant| {
            wanted(contestant.name()) && is_here(&mut record, contestant.name(), contestant.probe())
        });
        let mut relays = Relay::ALL.to_vec();
        relays.retain(|relay| is_here(&mut record, relay.name(), relay.probe()));
        let site = Site::new(programs, Topology::build()?);
        let best = look.calibration;
        Ok(Self { arguments, site, contestants, relays, record, best, round: 0, disturbed: false })
    }

    /// Runs all rounds, shows the tables, and writes everything down.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let began = Instant::now();
        for round in 1..=self.arguments.rounds {
            self.round = round;
            self.look();
            for part in Part::ALL {
                if self.arguments.parts.is_empty() || self.arguments.parts.contains(&part) {
                    match part {
                        Part::Tools => self.tools(),
                        Part::Relays => self.relays(),
                        Part::Crowd => self.crowd(),
                        Part::Library => self.library(),
                    }
                }
            }
        }
        let seconds = began.elapsed().as_secs();
        self.record.machine.push(format!("{} rounds took {seconds} s", self.arguments.rounds));
        self.write()
    }

    fn look(&mut self) {
        let look = Look::take();
        self.best = self.best.min(look.calibration);
        let flaw = look.flaw(self.best);
        self.disturbed = flaw.is_some();
        eprintln!("round {}: {look}{}", self.round, if self.disturbed { " (NOT QUIET)" } else { "" });
        if let Some(flaw) = flaw {
            self.record.remarks.push(format!("NOT QUIET before round {}: {flaw}", self.round));
        }
    }

    fn note(&mut self, part: Part, row: &str, column: &str, value: f64) {
        let (part, round, disturbed) = (part.name(), self.round, self.disturbed);
        let (row, column) = (row.to_owned(), column.to_owned());
        self.record.samples.push(Sample { part, row, column, round, value, disturbed });
    }

    /// Keeps what failed: one tool that does not work is no reason to measure none.
    fn failed(&mut self, what: &str, failure: &Failure) {
        eprintln!("  {what}: {failure}");
        self.record.remarks.push(format!("{what}, round {}: {failure}", self.round));
    }

    fn tools(&mut self) {
        let contestants = std::mem::take(&mut self.contestants);
        for contestant in &contestants {
            let name = contestant.name();
            eprintln!("  {name}");
            match self.tool(contestant.as_ref()) {
                Ok(figures) => figures.into_iter().for_each(|(measure, value)| {
                    self.note(Part::Tools, name, &column(measure), value);
                }),
                Err(failure) => self.failed(name, &failure),
            }
        }
        self.contestants = contestants;
    }

    /// All figures of one tool, in the order of the table.
    fn tool(&self, contestant: &dyn Contestant) -> Result<Vec<(Measure, f64)>, Failure> {
        let Site { topology, programs, .. } = &self.site;
        let running = contestant.start(&self.site)?;
        let seconds = self.arguments.seconds;
        let idle = ping::idle(topology, &running.target)?;
        let one = tcp::measure(topology, &running, (1, seconds), true)?;
        let eight = tcp::measure(topology, &running, (8, seconds), false)?;
        let target: Ipv4Addr = running.target.parse().map_err(|_| Failure::Missing("no address".to_owned()))?;
        let datagrams = |(octets, rates): (usize, (f64, f64))| {
            let to = SocketAddrV4::new(target, 0);
            let flows = Flows { flows: 1, from: Ipv4Addr::UNSPECIFIED, to, step: 0, octets };
            highest_rate(topology, programs, flows, rates)
        };
        let (large, small) = (datagrams(LARGE)?, datagrams(SMALL)?);
        let mut figures = vec![
            (Measure::Tcp1, one.megabits),
            (Measure::Tcp1Tool, one.tool),
            (Measure::Tcp1Machine, one.machine),
            (Measure::Tcp8, eight.megabits),
            (Measure::Tcp8Tool, eight.tool),
            (Measure::UdpRate, large * LARGE.0 as f64 * 8.0 / 1e6),
            (Measure::SmallRate, small / 1e3),
            (Measure::PingIdle, idle.mean),
        ];
        if let Some(loaded) = one.round_trips {
            figures.extend([(Measure::PingLoaded, loaded.mean), (Measure::PingLoadedWorst, loaded.worst)]);
        }
        if running.processes.is_empty() {
            figures.retain(|(measure, _)| !matches!(measure, Measure::Tcp1Tool | Measure::Tcp8Tool));
        }
        Ok(figures)
    }

    fn relays(&mut self) {
        for load in relays::Load::ALL {
            for relay in self.relays.clone() {
                eprintln!("  {}, {}", relay.name(), load.title());
                match relay.measure(&self.site, load, self.arguments.seconds) {
                    Ok(done) => {
                        self.note(Part::Relays, relay.name(), &load.title(), done.per_second_of_processor / 1e3);
                        self.note(Part::Relays, relay.name(), &format!("{} rate", load.title()), done.rate / 1e3);
                    }
                    Err(failure) => self.failed(relay.name(), &failure),
                }
            }
        }
    }

    fn crowd(&mut self) {
        for tunnels in [1, crowd::FLOWS] {
            eprintln!("  {tunnels} tunnels");
            let row = format!("{tunnels} tunnels");
            match crowd::measure(&self.site, tunnels, self.arguments.seconds) {
                Ok(crowd) => {
                    self.note(Part::Crowd, &row, "TCP Mb/s", crowd.tcp_megabits);
                    self.note(Part::Crowd, &row, "UDP <1 % Mb/s", crowd.udp_megabits);
                    self.note(Part::Crowd, &row, "memory KiB", crowd.memory / 1_024.0);
                }
                Err(failure) => self.failed(&row, &failure),
            }
        }
    }

    fn library(&mut self) {
        for stream in Stream::ALL {
            eprintln!("  {}", stream.name());
            match stream.measure(&self.site, self.arguments.seconds) {
                Ok(goodputs) => goodputs.into_iter().for_each(|(loss, megabits)| {
                    self.note(Part::Library, stream.name(), loss.title(), megabits);
                }),
                Err(failure) => self.failed(stream.name(), &failure),
            }
        }
    }

    fn write(&self) -> Result<(), Failure> {
        let titles = Part::ALL.map(|part| (part.name(), part.title()));
        let text = table::tables(&self.record, &titles);
        print!("{text}");
        let columns = Measure::ALL.map(|measure| (column(measure), measure));
        let mut panels: Vec<_> = columns
            .iter()
            .map(|(column, measure)| Panel { part: Part::Tools.name(), column, caption: measure.caption() })
            .collect();
        let loads = relays::Load::ALL.map(|load| {
            let title = load.title();
            let caption = format!("relay, {title} (thousand packets per CPU second)");
            (title, caption)
        });
        panels.extend(loads.iter().map(|(column, caption)| Panel { part: Part::Relays.name(), column, caption }));
        panels.retain(|panel| self.record.columns(panel.part).contains(&panel.column));
        let remark = format!("medians of {} rounds; lines: least and most", self.arguments.rounds);
        let disturbed =
            if self.record.remarks.is_empty() { "" } else { " · the machine was not always quiet, see results.txt" };
        let svg = plot::draw(&self.record, "The data plane beside others", &(remark + disturbed), &panels);
        let json = self.record.json().map_err(|error| Failure::Missing(error.to_string()))?;
        let out = &self.arguments.out;
        fs::create_dir_all(out).map_err(|source| Failure::File { path: out.clone(), source })?;
        for (name, contents) in
            [("results.txt", text), ("results.csv", self.record.csv()), ("results.json", json), ("results.svg", svg)]
        {
            let path = out.join(name);
            fs::write(&path, contents).map_err(|source| Failure::File { path, source })?;
        }
        eprintln!("written to {}/", out.display());
        Ok(())
    }
}

impl Drop for Experiment<'_> {
    fn drop(&mut self) {
        if self.arguments.busy {
            let _ = fs::write("/proc/self/autogroup", "0");
        }
    }
}

/// The column of a measure: what, and its unit.
fn column(measure: Measure) -> String {
    let (title, unit) = measure.title();
    format!("{title} {unit}")
}

/// Keeps who is here in which version, or how to get it.
fn is_here(record: &mut Record, name: &str, probed: Result<String, &'static str>) -> bool {
    let here = probed.is_ok();
    let said = probed.unwrap_or_else(|how_to_get| format!("not here; to get it: {how_to_get}"));
    record.contestants.push((name.to_owned(), said));
    here
}

/// The machine and the settings.
fn machine(arguments: &Arguments) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let models: Vec<_> =
        processors.lines().filter_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1)).collect();
    let model = models.first().copied().unwrap_or("unknown processor");
    let kernel = read("/proc/sys/kernel/osrelease");
    vec![
        format!("{} × {model}, Linux {}", models.len(), kernel.trim()),
        format!("{} rounds, transfers of {} s; cable 1,500, devices 1,420 octets", arguments.rounds, arguments.seconds),
        format!("load on {} and {}", Side::Near.address(), Side::Far.address()),
    ]
}
