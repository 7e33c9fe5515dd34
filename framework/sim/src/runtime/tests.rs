//! Time moves only when nobody is ready, and a run that cannot end says so.

use super::*;
use actix::{Actor, Handler, Message};
use futures::future::{Either, select};
use ntmobile_ports::clock::Clock;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const FAR: Duration = Duration::from_secs(1_000);

#[test]
fn ready_tasks_beside_a_far_timer_are_all_polled_before_time_moves() {
    let mut simulation = Simulation::new(0);
    let clock = simulation.world().clock();
    let polled_at = Rc::new(RefCell::new(Vec::new()));
    let seen = polled_at.clone();
    simulation
        .run(async move {
            let far = actix::spawn(clock.sleep(FAR));
            for _ in 0..500 {
                let (clock, seen) = (clock.clone(), seen.clone());
                actix::spawn(async move {
                    tokio::task::yield_now().await;
                    seen.borrow_mut().push(clock.now());
                });
            }
            far.await.unwrap();
        })
        .unwrap();
    assert_eq!(*polled_at.borrow(), vec![Instant::ORIGIN; 500]);
}

#[test]
fn a_task_of_the_runtime_wakes_a_local_one_before_time_moves() {
    let mut simulation = Simulation::new(0);
    let clock = simulation.world().clock();
    let at = simulation.run(async move {
        let far = actix::spawn(clock.sleep(FAR));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let local = actix::spawn({
            let clock = clock.clone();
            async move {
                receiver.await.unwrap();
                clock.now()
            }
        });
        tokio::spawn(async move {
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            sender.send(()).unwrap();
        });
        let at = local.await.unwrap();
        far.await.unwrap();
        at
    });
    assert_eq!(at, Ok(Instant::ORIGIN));
}

struct Counter(Rc<Cell<u64>>);

impl Actor for Counter {
    type Context = actix::Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Packet;

impl Handler<Packet> for Counter {
    type Result = ();
    fn handle(&mut self, _: Packet, _: &mut Self::Context) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_thousand_actors_with_a_thousand_timers_each_end_at_the_exact_nanosecond() {
    let mut simulation = Simulation::new(0);
    let world = simulation.world();
    let received = Rc::new(Cell::new(0));
    let counter = received.clone();
    let clock = world.clock();
    simulation
        .run(async move {
            let senders: Vec<_> = (0..1_000)
                .map(|i| {
                    let actor = Counter(counter.clone()).start();
                    let clock = clock.clone();
                    actix::spawn(async move {
                        for _ in 0..1_000 {
                            clock.sleep(Duration::from_nanos(1_500 + i)).await;
                            actor.do_send(Packet);
                        }
                    })
                })
                .collect();
            for sender in senders {
                sender.await.unwrap();
            }
            clock.sleep(Duration::from_nanos(1)).await;
        })
        .unwrap();
    assert_eq!((received.get(), world.now().0), (1_000_000, 1_000 * 2_499 + 1));
}

#[test]
fn a_dropped_sleep_does_not_move_time() {
    let mut simulation = Simulation::new(0);
    let world = simulation.world();
    let clock = world.clock();
    simulation
        .run(async move {
            let near = clock.sleep(Duration::from_micros(3));
            let Either::Right((_, far)) = select(clock.sleep(FAR), near).await else {
                panic!("the far one came first")
            };
            drop(far);
        })
        .unwrap();
    assert_eq!(world.now().0, 3_000);

    let clock = world.clock();
    assert!(matches!(
        simulation.run(async move {
            drop(clock.sleep(FAR));
            std::future::pending::<()>().await;
        }),
        Err(SimulationFailure::Deadlock { at: Instant(3_000), .. })
    ));
}

#[test]
fn a_sleep_that_moved_to_another_task_wakes_that_one() {
    let mut simulation = Simulation::new(0);
    let clock = simulation.world().clock();
    let at = simulation.run(async move {
        let mut sleep = clock.sleep(Duration::from_nanos(10));
        let pending = std::future::poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context).is_pending())).await;
        assert!(pending);
        actix::spawn(sleep).await.unwrap();
        clock.now()
    });
    assert_eq!(at, Ok(Instant(10)));
}

#[test]
fn a_deadlock_names_who_waits() {
    let mut simulation = Simulation::new(0);
    let world = simulation.world();
    let failure = simulation.run(async move {
        world.waiting("this one is over").during(world.clock().sleep(Duration::from_nanos(5))).await;
        let waits = world.waiting("alice waits for Login Response");
        actix::spawn(waits.during(std::future::pending::<()>()));
        world.waiting("the experiment waits for alice").during(std::future::pending::<()>()).await;
    });
    assert_eq!(
        failure,
        Err(SimulationFailure::Deadlock {
            at: Instant(5),
            waiting: vec!["alice waits for Login Response".to_owned(), "the experiment waits for alice".to_owned()],
        })
    );
}

fn message(failure: Result<(), SimulationFailure>) -> (Instant, String) {
    match failure {
        Err(SimulationFailure::Panicked { at, message, location }) => {
            assert!(location.contains("tests.rs"), "{location}");
            (at, message)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_panic_in_any_task_or_actor_fails_the_run_with_its_message() {
    let pending = std::future::pending::<()>;
    let mut simulation = Simulation::new(0);
    let clock = simulation.world().clock();
    let failure = simulation.run(async move {
        actix::spawn(async move {
            clock.sleep(Duration::from_nanos(7)).await;
            panic!("broken at {}", clock.now().0);
        });
        pending().await;
    });
    assert_eq!(message(failure), (Instant(7), "broken at 7".to_owned()));

    let failure = Simulation::new(0).run(async move {
        tokio::spawn(async { panic!("in a task of the runtime") });
        pending().await;
    });
    assert_eq!(message(failure).1, "in a task of the runtime");

    struct Fragile;
    impl Actor for Fragile {
        type Context = actix::Context<Self>;
    }
    impl Handler<Packet> for Fragile {
        type Result = ();
        fn handle(&mut self, _: Packet, _: &mut Self::Context) {
            panic!("in an actor");
        }
    }
    let failure = Simulation::new(0).run(async move {
        Fragile.start().do_send(Packet);
        pending().await;
    });
    assert_eq!(message(failure).1, "in an actor");

    let failure: Result<(), _> = Simulation::new(0).run(async { panic!("in the main future") });
    assert_eq!(message(failure).1, "in the main future");
}

#[test]
fn a_run_without_end_stops_at_its_limit() {
    let mut simulation = Simulation::new(0).with_time_limit(Duration::from_secs(60));
    let clock = simulation.world().clock();
    let failure = simulation.run(async move {
        loop {
            clock.sleep(Duration::from_secs(7)).await;
        }
    });
    assert_eq!(failure, Err::<(), _>(SimulationFailure::TimeLimit { limit: Instant(60_000_000_000), waiting: vec![] }));
}

#[test]
fn a_waker_that_leads_nowhere_does_not_stop_the_world() {
    let mut simulation = Simulation::new(0);
    let clock = simulation.world().clock();
    let at = simulation.run(async move {
        let mut forgotten = clock.sleep(Duration::from_nanos(10));
        let polled_once = actix::spawn(async move {
            let pending =
                std::future::poll_fn(|context| Poll::Ready(forgotten.as_mut().poll(context).is_pending())).await;
            assert!(pending);
            Some(forgotten)
        });
        // The sleep still knows the finished task, and nobody polls it again.
        let _kept = polled_once.await.unwrap();
        clock.sleep(Duration::from_nanos(20)).await;
        clock.now()
    });
    assert_eq!(at, Ok(Instant(20)));
}

fn order_of_wakes(seed: u64) -> Vec<u64> {
    let mut simulation = Simulation::new(seed);
    let clock = simulation.world().clock();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = order.clone();
    simulation
        .run(async move {
            let tasks: Vec<_> = (0..100u64)
                .map(|i| {
                    let (clock, seen) = (clock.clone(), seen.clone());
                    tokio::spawn(async move {
                        clock.sleep(Duration::from_nanos((i * 7919) % 13)).await;
                        seen.lock().unwrap().push(i);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        })
        .unwrap();
    order.lock().unwrap().clone()
}

#[test]
fn simulations_run_one_after_another_and_side_by_side() {
    let expected = order_of_wakes(1);
    assert_eq!(expected, order_of_wakes(1));
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| order_of_wakes(1))).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), expected);
    }
}

#[test]
fn wall_time_is_the_epoch_and_the_time_since() {
    let mut simulation = Simulation::new(0);
    let clock = simulation.world().clock();
    assert_eq!(clock.wall(), UnixTime(1_893_456_000));
    let later = clock.clone();
    simulation.run(async move { later.sleep(Duration::from_millis(90_500)).await }).unwrap();
    assert_eq!(clock.wall(), UnixTime(1_893_456_090));
    assert_eq!(Simulation::new(0).with_epoch(UnixTime(5)).world().clock().wall(), UnixTime(5));
}
