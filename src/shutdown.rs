//! Stop, drain, deadline: the one owner of every task.
//!
//! Tasks are spawned here and nowhere else. [`Shutdown::stop`] asks all of them to stop, [`Shutdown::finish`] waits for
//! them up to a deadline and says whether they made it.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks, tells them to stop and joins them. Clones share the same tasks.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// An owner without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task until it ends by itself; it should end soon after [`Shutdown::requested`] resolves.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.tasks.spawn(task));
    }

    /// An owner whose stop follows this one's but which can be stopped, and waited for, on its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { stop: self.stop.child_token(), tasks: TaskTracker::new() }
    }

    /// Asks all tasks to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether they were asked to.
    pub fn is_requested(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves once [`Shutdown::stop`] was called.
    pub async fn requested(&self) {
        self.stop.cancelled().await;
    }

    /// Asks all tasks to stop and waits for them, at most until the deadline. Whether all of them ended in time.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.stop();
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finishing_waits_for_tasks_up_to_the_deadline() {
        let owner = Shutdown::new();
        let stop = owner.clone();
        owner.spawn(async move { stop.requested().await });
        assert!(owner.finish(Duration::from_secs(1)).await);

        let owner = Shutdown::new();
        owner.spawn(std::future::pending());
        assert!(!owner.finish(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_child_stops_with_its_parent_and_not_the_other_way() {
        let parent = Shutdown::new();
        let child = parent.child();
        child.stop();
        assert!(!parent.is_requested());
        let child = parent.child();
        parent.stop();
        assert!(child.is_requested());
    }
}
