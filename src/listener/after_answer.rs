//! Runs something once the whole answer to a request has left the process.

use super::progress::SharedProgress;

/// Found in the extensions of every request that a listener serves.
///
/// "Left the process" means that all bytes of the answer, head and body, were written to the socket and flushed: they
/// are with the kernel. Whether the peer read them is not known.
#[derive(Clone, Debug)]
pub struct AfterAnswer {
    progress: SharedProgress,
    request: u64,
}

impl AfterAnswer {
    pub(super) fn new(progress: SharedProgress, request: u64) -> Self {
        Self { progress, request }
    }

    /// Runs the action once this request's whole answer has left; drops it if the connection breaks before. It runs on
    /// the connection's task and must not block.
    pub fn run(&self, action: impl FnOnce() + Send + 'static) {
        // What is refused is dropped here, after the lock was released.
        let refused = self.progress.lock().register(self.request, Box::new(action));
        drop(refused);
    }
}
