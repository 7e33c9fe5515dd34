//! Long computations on threads of their own, as many as there are processors: argon2 and store flushes never hold up the
//! actors, and no more of them run at once than the host can bear (each argon2 takes its megabytes).

use futures::future::BoxFuture;
use ntmobile_ports::compute::{Compute, Job};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::oneshot;

/// A job and who waits for it.
struct Task {
    job: Job,
    done: oneshot::Sender<()>,
}

/// Threads that run jobs in the order in which they come. They end when the pool is dropped, each after its job.
///
/// The queue is not bounded here: everyone who asks for a computation bounds the requests that lead to it.
#[derive(Debug)]
pub struct WorkerPool {
    queue: Sender<Task>,
}

impl WorkerPool {
    /// As many threads as the process may use processors.
    pub fn new() -> Self {
        Self::with_threads(thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN))
    }

    /// This many threads.
    ///
    /// # Panics
    /// When the operating system gives no thread.
    pub fn with_threads(threads: NonZero<usize>) -> Self {
        let (queue, tasks) = channel::<Task>();
        let tasks = Arc::new(Mutex::new(tasks));
        for number in 0..threads.get() {
            let tasks = Arc::clone(&tasks);
            thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || work(&tasks))
                .expect("a process that starts is given its threads");
        }
        Self { queue }
    }
}

impl Default for WorkerPool {
    fn default() -> Self {
        Self::new()
    }
}

impl Compute for WorkerPool {
    fn run(&self, job: Job) -> BoxFuture<'static, ()> {
        let (done, finished) = oneshot::channel();
        self.queue.send(Task { job, done }).expect("the threads last as long as the pool");
        Box::pin(async move {
            // A job that panicked has dropped what it was to answer with: whoever waits for that finds out.
            let _panicked = finished.await;
        })
    }
}

/// A thread's life.
fn work(tasks: &Mutex<Receiver<Task>>) {
    loop {
        let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Task { job, done }) = next else { return };
        // The panic's message has been printed by the hook; the thread is needed for the next job.
        if catch_unwind(AssertUnwindSafe(job)).is_ok() {
            let _nobody_waits = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_ports::compute::run;
    use std::sync::Barrier;

    fn pool(threads: usize) -> WorkerPool {
        WorkerPool::with_threads(NonZero::new(threads).unwrap())
    }

    #[tokio::test]
    async fn a_job_runs_elsewhere_and_its_result_comes_back() {
        let here = thread::current().id();
        let pool = pool(1);
        assert_ne!(run(&pool, || thread::current().id()).await, here);
    }

    #[tokio::test]
    async fn jobs_run_at_the_same_time() {
        let pool = pool(2);
        let barrier = Arc::new(Barrier::new(2));
        let other = Arc::clone(&barrier);
        let (one, two) = futures::join!(
            run(&pool, move || barrier.wait().is_leader()),
            run(&pool, move || other.wait().is_leader())
        );
        assert_ne!(one, two);
    }

    #[tokio::test]
    async fn a_job_that_panics_costs_the_pool_nothing() {
        let pool = pool(1);
        pool.run(Box::new(|| panic!("expected: the job of this test"))).await;
        assert_eq!(run(&pool, || 7).await, 7);
    }
}
