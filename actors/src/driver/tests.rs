//! The driver between an ideal network and a machine that repeats what it hears.

mod parrot;
mod trust;

use super::*;
use crate::host::HostParts;
use crate::ideal_network::{Switch, SwitchedNet};
use crate::supervise::{PanicPolicy, RestartPolicy};
use async_trait::async_trait;
use bytes::Bytes;
use ntmobile_ports::authenticator::Authenticator;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::Net;
use ntmobile_ports::store::Store;
use ntmobile_proto::machine::{CallId, CertificateFault, Record, StoreFailure, StreamId, TlsFailure, Verdict, Write};
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_sim::{Simulation, SimulationFailure, World};
use ntmobile_telemetry::{MemoryFile, Recorder, Timeline};
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::Account;
use parrot::{Command, Parrot, Seen};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;
use trust::Trust;

/// A store that keeps a word, forgets none, and can be full.
#[derive(Default)]
struct Words {
    words: Mutex<BTreeMap<Bytes, Bytes>>,
    broken: bool,
}

#[async_trait]
impl Store for Words {
    async fn load(&self) -> Result<Vec<Record>, StoreFailure> {
        if self.broken {
            return Err(StoreFailure::Failed("the disk is gone".to_owned()));
        }
        let words = self.words.lock().unwrap();
        let record = |(key, value): (&Bytes, &Bytes)| Record {
            table: "words".to_owned(),
            key: key.clone(),
            value: value.clone(),
        };
        Ok(words.iter().map(record).collect())
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreFailure> {
        // Durable only after others have had their turn, as with a real disk.
        tokio::task::yield_now().await;
        let mut words = self.words.lock().unwrap();
        for write in writes {
            match write.value {
                Some(value) => words.insert(write.key, value),
                None => words.remove(&write.key),
            };
        }
        Ok(())
    }
}

struct OneWord(&'static str);

#[async_trait]
impl Authenticator for OneWord {
    fn name(&self) -> &'static str {
        "one-word"
    }

    async fn verify(&self, _account: &Account, credential: &Credential, _certificate: Option<[u8; 32]>) -> Verdict {
        match credential {
            Credential::Password(password) if password.expose() == self.0 => Verdict::Accepted,
            Credential::Password(_) => Verdict::Refused,
            _ => Verdict::NotSupported,
        }
    }
}

struct CertificatesOnly;

#[async_trait]
impl Authenticator for CertificatesOnly {
    fn name(&self) -> &'static str {
        "certificates-only"
    }

    async fn verify(&self, _account: &Account, _credential: &Credential, _certificate: Option<[u8; 32]>) -> Verdict {
        Verdict::NotSupported
    }
}

/// One parrot and all that is around it.
struct Perch {
    net: Arc<SwitchedNet>,
    clock: Arc<dyn Clock>,
    store: Arc<Words>,
    records: MemoryFile,
    recorder: Recorder,
    handle: Handle<Parrot>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Perch {
    async fn with(world: &World, net: Arc<SwitchedNet>, store: Words, panics: PanicPolicy) -> Result<Self, End> {
        Self::trusting(world, net, store, panics, None).await
    }

    async fn trusting(
        world: &World,
        net: Arc<SwitchedNet>,
        store: Words,
        panics: PanicPolicy,
        tls: Option<Arc<dyn Tls>>,
    ) -> Result<Self, End> {
        let store = Arc::new(store);
        let timeline = Timeline::new(UnixTime(1_900_000_000), Duration::from_secs(86_400)).unwrap();
        let (recorder, records) = Recorder::in_memory(timeline);
        let (sender, seen) = mpsc::unbounded_channel();
        let blueprint = Blueprint {
            name: "parrot".into(),
            machine: Box::new(|_entropy| Parrot::default()),
            signalling: net.bind_udp(4500).unwrap(),
            packet_path: None,
            tls,
            tcp: Some(Arc::from(net.listen_tcp(4501).unwrap())),
            subscriber: Box::new(move |event| drop(sender.send(event))),
            store: store.clone(),
            authenticators: vec![Arc::new(CertificatesOnly), Arc::new(OneWord("cracker"))],
        };
        let entropy_world = world.clone();
        let clock: Arc<dyn Clock> = Arc::new(world.clock());
        let host = Host::start(HostParts {
            name: "perch".into(),
            clock: clock.clone(),
            net: net.clone(),
            entropy: Arc::new(move |who| Box::new(entropy_world.entropy(who))),
            recorder: recorder.clone(),
            root_servers: Vec::new(),
            panics,
        });
        let handle = start(blueprint, host).await?;
        Ok(Self { clock, net, store, records, recorder, handle, seen })
    }

    async fn new(world: &World, net: Arc<SwitchedNet>) -> Self {
        let restart = PanicPolicy::Restart(RestartPolicy::default());
        let mut perch = Self::with(world, net, Words::default(), restart).await.expect("it starts");
        assert!(matches!(perch.next().await, Seen::Started(records, _) if records.is_empty()));
        perch
    }

    async fn next(&mut self) -> Seen {
        self.seen.recv().await.expect("the parrot lives")
    }

    async fn ask(&self, command: Command) {
        self.handle.ask(command).await.expect("the parrot lives");
    }

    /// What was counted under this name so far.
    fn counted(&self, name: &str) -> bool {
        self.recorder.collect(self.clock.now());
        self.recorder.finish(self.clock.now()).expect("all is recorded");
        String::from_utf8(self.records.bytes()).unwrap().contains(name)
    }
}

fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(World) -> F) -> Result<(), SimulationFailure> {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    simulation.run(test(world))
}

#[test]
fn datagrams_come_in_and_answers_go_out() {
    run(|world| async move {
        let switch = Switch::default();
        let mut polly = Perch::new(&world, switch.host("10.0.0.1")).await;
        let mut rio = Perch::new(&world, switch.host("10.0.0.2")).await;
        polly.ask(Command::Send("10.0.0.2:4500".parse().unwrap(), &[0, 0, 0, 0, 7])).await;
        assert_eq!(rio.next().await, Seen::Datagram(Bytes::from_static(&[0, 0, 0, 0, 7])));
        assert_eq!(polly.next().await, Seen::Datagram(Bytes::from_static(&[0, 0, 0, 0, 0])));
    })
    .unwrap();
}

#[test]
fn what_is_not_signalling_never_reaches_the_machine() {
    run(|world| async move {
        let switch = Switch::default();
        let mut polly = Perch::new(&world, switch.host("10.0.0.1")).await;
        let stranger = switch.host("10.0.0.9").bind_udp(0).unwrap();
        let to = "10.0.0.1:4500".parse().unwrap();
        for datagram in [&[0xFF][..], &[0, 0], &[1; 36], &[0, 0, 0, 0, 0]] {
            stranger.send(to, Bytes::from_static(datagram)).unwrap();
        }
        assert_eq!(polly.next().await, Seen::Datagram(Bytes::from_static(&[0, 0, 0, 0, 0])));
        assert!(polly.counted("datagram.malformed"));
        assert!(polly.counted("esp.unexpected"));
    })
    .unwrap();
}

#[test]
fn deadlines_are_met_to_the_nanosecond_wherever_they_move() {
    run(|world| async move {
        let mut polly = Perch::new(&world, Switch::default().host("10.0.0.1")).await;
        let at = |nanos| Instant::ORIGIN + Duration::from_nanos(nanos);
        polly.ask(Command::WakeAt(vec![at(5_000)])).await;
        polly.clock.sleep_until(at(1_000)).await;
        polly.ask(Command::WakeAt(vec![at(9_001), at(70_000)])).await;
        assert_eq!(polly.next().await, Seen::Expired(at(9_001)));
        polly.ask(Command::WakeAt(vec![at(20_000)])).await;
        assert_eq!(polly.next().await, Seen::Expired(at(20_000)));
        polly.ask(Command::WakeAt(vec![at(3)])).await;
        assert_eq!(polly.next().await, Seen::Expired(at(20_000)), "a past deadline is due at once");
    })
    .unwrap();
}

#[test]
fn what_was_acknowledged_survives_a_restart_and_a_crash() {
    run(|world| async move {
        let mut polly = Perch::new(&world, Switch::default().host("10.0.0.1")).await;
        polly.ask(Command::Persist(CallId(1), "pretty", "bird")).await;
        assert_eq!(polly.next().await, Seen::Persisted(CallId(1), true));
        let record = |key: &'static str, value: &'static str| (Bytes::from(key), Bytes::from(value));

        polly.ask(Command::Persist(CallId(2), "unheard", "word")).await;
        polly.handle.restart();
        let all = vec![record("pretty", "bird"), record("unheard", "word")];
        assert!(matches!(polly.next().await, Seen::Started(records, _) if records == all));

        // The answer to this one would belong to a life that is over.
        polly.ask(Command::Persist(CallId(3), "dying", "word")).await;
        polly.ask(Command::PanicQuietly).await;
        let all = vec![record("dying", "word"), record("pretty", "bird"), record("unheard", "word")];
        assert!(matches!(polly.next().await, Seen::Started(records, _) if records == all));
        assert!(polly.counted("entity.stale_outcome"));
    })
    .unwrap();
}

#[test]
fn panics_are_survived_after_growing_pauses_until_there_are_too_many() {
    run(|world| async move {
        let policy = RestartPolicy { limit: 2, ..RestartPolicy::default() };
        let host = Switch::default().host("10.0.0.1");
        let mut polly =
            Perch::with(&world, host, Words::default(), PanicPolicy::Restart(policy)).await.expect("it starts");
        for pause in [Duration::ZERO, policy.first_pause, policy.first_pause * 2] {
            let before = polly.clock.now();
            assert!(matches!(polly.next().await, Seen::Started(..)));
            assert_eq!(polly.clock.now() - before, pause);
            polly.ask(Command::PanicQuietly).await;
        }
        assert_eq!(polly.handle.ended().await, End::Panicked("the parrot fell silent".to_owned()));
        assert_eq!(polly.seen.recv().await, None);
    })
    .unwrap();
}

#[test]
fn stopping_lets_the_store_finish_and_frees_the_port() {
    run(|world| async move {
        let switch = Switch::default();
        let polly = Perch::new(&world, switch.host("10.0.0.1")).await;
        polly.ask(Command::Persist(CallId(1), "last", "word")).await;
        polly.handle.stop().await;
        assert_eq!(polly.handle.ended().await, End::Stopped);
        assert_eq!(polly.store.words.lock().unwrap().get(&b"last"[..]), Some(&Bytes::from("word")));
        assert_eq!(polly.handle.ask(Command::Panic).await, Err(Gone(End::Stopped)));
        tokio::task::yield_now().await;
        polly.net.bind_udp(4500).expect("the port is free again");
    })
    .unwrap();
}

#[test]
fn dropping_the_last_handle_stops_the_entity() {
    run(|world| async move {
        let polly = Perch::new(&world, Switch::default().host("10.0.0.1")).await;
        let Perch { handle, net, clock, mut seen, .. } = polly;
        drop(handle);
        assert_eq!(seen.recv().await, None);
        clock.sleep(Duration::from_secs(1)).await;
        net.bind_udp(4500).expect("the port is free again");
    })
    .unwrap();
}

#[test]
fn a_store_that_cannot_be_read_is_a_typed_failure_of_the_start() {
    run(|world| async move {
        let store = Words { broken: true, ..Words::default() };
        let start = Perch::with(&world, Switch::default().host("10.0.0.1"), store, PanicPolicy::FailRun).await;
        let failure = StoreFailure::Failed("the disk is gone".to_owned());
        assert_eq!(start.err(), Some(End::Store(failure)));
    })
    .unwrap();
}

#[test]
fn the_first_authenticator_that_takes_the_kind_decides() {
    run(|world| async move {
        let mut polly = Perch::new(&world, Switch::default().host("10.0.0.1")).await;
        polly.ask(Command::Verify(CallId(1), "cracker")).await;
        assert_eq!(polly.next().await, Seen::Verified(CallId(1), Verdict::Accepted));
        polly.ask(Command::Verify(CallId(2), "seed")).await;
        assert_eq!(polly.next().await, Seen::Verified(CallId(2), Verdict::Refused));
    })
    .unwrap();
}

#[test]
fn streams_are_opened_carried_and_closed() {
    run(|world| async move {
        let switch = Switch::default();
        let mut polly = Perch::new(&world, switch.host("10.0.0.1")).await;
        let mut rio = Perch::new(&world, switch.host("10.0.0.2")).await;
        let stream = StreamId(3);
        polly.ask(Command::Connect(stream, "10.0.0.2:4501".parse().unwrap())).await;
        let accepted = StreamId(1 << 63);
        assert_eq!(rio.next().await, Seen::Opened(accepted));
        assert_eq!(rio.next().await, Seen::Received(accepted, Bytes::from("hello")));
        assert_eq!(polly.next().await, Seen::Opened(stream));
        assert_eq!(polly.next().await, Seen::Received(stream, Bytes::from("hello")));
        assert_eq!(polly.next().await, Seen::Closed(stream));

        polly.ask(Command::Connect(StreamId(4), "10.0.0.3:4501".parse().unwrap())).await;
        assert_eq!(polly.next().await, Seen::Closed(StreamId(4)), "nobody listens there");
    })
    .unwrap();
}

#[test]
fn tls_requests_are_answered_or_fail_in_time() {
    run(|world| async move {
        let (switch, trust) = (Switch::default(), Trust::default());
        let mut perches = Vec::new();
        for (address, name) in [("10.0.0.1", "polly.example"), ("10.0.0.2", "rio.example")] {
            let (net, tls) = (switch.host(address), trust.end(name));
            let perch = Perch::trusting(&world, net, Words::default(), PanicPolicy::FailRun, Some(tls)).await;
            perches.push(perch.unwrap());
        }
        let [polly, rio] = &mut perches[..] else { unreachable!("two were made") };
        assert!(matches!((polly.next().await, rio.next().await), (Seen::Started(..), Seen::Started(..))));

        polly.ask(Command::Call(CallId(1), "rio.example", "who is pretty?")).await;
        assert_eq!(rio.next().await, Seen::Asked(Bytes::from("who is pretty?")));
        assert_eq!(polly.next().await, Seen::Answered(CallId(1), Ok(Bytes::from("who is pretty?"))));

        let asked = polly.clock.now();
        polly.ask(Command::Call(CallId(2), "rio.example", "say nothing")).await;
        assert_eq!(polly.next().await, Seen::Answered(CallId(2), Err(TlsFailure::TimedOut)));
        assert_eq!(polly.clock.now() - asked, Duration::from_secs(10));

        polly.ask(Command::Call(CallId(3), "cat.example", "hello")).await;
        assert_eq!(
            polly.next().await,
            Seen::Answered(CallId(3), Err(TlsFailure::Certificate(CertificateFault::OtherBearer)))
        );
    })
    .unwrap();
}

#[test]
fn changed_addresses_are_told_once() {
    run(|world| async move {
        let mut polly = Perch::new(&world, Switch::default().host("10.0.0.1")).await;
        let (old, new) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        polly.net.set_addresses(vec![old]);
        polly.net.set_addresses(vec![old]);
        polly.net.set_addresses(vec![new, old]);
        assert_eq!(polly.next().await, Seen::Addresses(vec![new, old]));
        polly.clock.sleep(Duration::from_secs(1)).await;
        assert!(polly.seen.try_recv().is_err());
    })
    .unwrap();
}

#[test]
fn in_a_simulation_a_panic_fails_the_run() {
    let failure = run(|world| async move {
        let host = Switch::default().host("10.0.0.1");
        let polly = Perch::with(&world, host, Words::default(), PanicPolicy::FailRun).await.unwrap();
        polly.ask(Command::Panic).await;
        polly.handle.ended().await;
        std::future::pending::<()>().await;
    })
    .unwrap_err();
    assert!(failure.to_string().contains("the parrot was asked to panic"), "{failure}");
}

#[test]
fn a_machine_that_is_never_done_is_stopped_by_name() {
    let failure = run(|world| async move {
        let polly = Perch::new(&world, Switch::default().host("10.0.0.1")).await;
        polly.ask(Command::NeverBeDone).await;
        std::future::pending::<()>().await;
    })
    .unwrap_err();
    assert!(failure.to_string().contains("deadline stays due"), "{failure}");
}
