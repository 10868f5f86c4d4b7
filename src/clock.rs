//! The only place that reads the time, so that tests can inject it.
//!
//! [`Instant`] is monotonic and measures; [`Timestamp`] is the wall clock and is stored and shown. They never mix.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use crate::domain::time::Timestamp;

/// A moment on the monotonic clock, counted from the clock's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The moment this long after the clock's start.
    pub const fn from_start(span: Duration) -> Self {
        Self(span)
    }

    /// How much later this moment is than `earlier`; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

/// Reads both clocks and sleeps. Cheap to clone; clones read the same clocks.
///
/// The monotonic side is the runtime's, so a test with paused time pauses it too; the wall side can be set.
#[derive(Clone, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
    wall: Wall,
}

#[derive(Clone, Debug)]
enum Wall {
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self { start: tokio_now(), wall: Wall::System }
    }

    /// The machine's monotonic clock, and a wall clock that stands still until [`Clock::set_wall`] moves it.
    pub fn with_wall(timestamp: Timestamp) -> Self {
        Self { start: tokio_now(), wall: Wall::Set(Arc::new(AtomicI64::new(timestamp.as_millis()))) }
    }

    /// Moves a wall clock made by [`Clock::with_wall`], in all its clones; the system's clock stays as it is.
    pub fn set_wall(&self, timestamp: Timestamp) {
        if let Wall::Set(millis) = &self.wall {
            millis.store(timestamp.as_millis(), Ordering::Relaxed);
        }
    }

    /// The monotonic clock.
    pub fn now(&self) -> Instant {
        Instant(tokio_now().saturating_duration_since(self.start))
    }

    /// The wall clock.
    pub fn timestamp(&self) -> Timestamp {
        match &self.wall {
            Wall::System => system_timestamp(),
            Wall::Set(millis) => Timestamp::from_millis(millis.load(Ordering::Relaxed)),
        }
    }

    /// Sleeps until a moment of this clock; for ever if there is none.
    pub async fn sleep_until(&self, deadline: Option<Instant>) {
        match deadline.and_then(|deadline| self.start.checked_add(deadline.0)) {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Sleeps for a while.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn system_timestamp() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn paused_time_moves_only_when_it_is_told_to() {
        let clock = Clock::with_wall(Timestamp::from_secs(100));
        let before = clock.now();
        clock.sleep_until(Some(before + Duration::from_secs(60))).await;
        assert_eq!(clock.now().since(before), Duration::from_secs(60));
        assert_eq!(clock.timestamp(), Timestamp::from_secs(100));
        clock.clone().set_wall(Timestamp::from_secs(200));
        assert_eq!(clock.timestamp(), Timestamp::from_secs(200));
    }
}
