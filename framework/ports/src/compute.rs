//! Work that takes long enough to hurt an actor: argon2, store flushes. Inline in the simulator, a worker pool on hosts.

use futures::future::BoxFuture;

/// A job and what it returns, type-erased; [`run`] gives it back its type.
pub type Job = Box<dyn FnOnce() + Send>;

/// Where long computations run.
pub trait Compute: Send + Sync {
    /// Runs the job; completes when it has run.
    fn run(&self, job: Job) -> BoxFuture<'static, ()>;
}

/// Runs `work` on `compute` and returns what it returns.
pub async fn run<T: Send + 'static>(compute: &dyn Compute, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    compute.run(Box::new(move || drop(sender.send(work())))).await;
    receiver.await.expect("a compute port runs the job before it completes")
}

/// Runs every job where it is called: the simulator's way, since virtual time stands still meanwhile.
#[derive(Debug, Default, Clone, Copy)]
pub struct Inline;

impl Compute for Inline {
    fn run(&self, job: Job) -> BoxFuture<'static, ()> {
        job();
        Box::pin(std::future::ready(()))
    }
}
