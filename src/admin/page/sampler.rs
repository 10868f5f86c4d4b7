//! The one task behind all viewers: every second it notes what each app delivered, reads the newest rejections where
//! there are new ones, and wakes the viewers. It sees all apps; whoever shows something picks what may be seen.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::debug;

use super::history::History;
use crate::admin::metrics::process::resident_memory;
use crate::clock::{Clock, Instant};
use crate::domain::app::AppId;
use crate::domain::feedback::Rejection;
use crate::service::PushService;
use crate::service::status::AppStatus;
use crate::shutdown::Shutdown;

/// How often it looks.
const TICK: Duration = Duration::from_secs(1);
/// Apps of which it keeps anything; the page shows fewer.
const APPS_MAX: usize = 1000;
/// Apps whose rejections it reads in one tick.
const READS_PER_TICK: usize = 32;
/// Rejections that it keeps of an app.
pub(super) const REJECTIONS_MAX: usize = 10;

/// What was sampled. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    shared: Arc<Mutex<Shared>>,
    ticks: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    apps: BTreeMap<AppId, Sampled>,
    memory: Option<u64>,
    /// Whether there ever were more apps than it keeps: then one that it first sees may be an old one.
    overflowed: bool,
}

/// What is kept of an app.
#[derive(Debug)]
struct Sampled {
    history: History,
    /// Its counters at the last look.
    delivered: u64,
    rejected: u64,
    rejections: Vec<Rejection>,
    /// The counter of rejections when they were read last, and the tick of that; `None` before the first reading.
    read: Option<(u64, u64)>,
}

impl Samples {
    /// Begins to sample; ends with the owner's stop.
    pub(super) fn start(service: PushService, clock: Clock, shutdown: &Shutdown) -> Self {
        let (tell, ticks) = watch::channel(0);
        let samples = Self { shared: Arc::default(), ticks };
        let (task, stop) = (samples.clone(), shutdown.clone());
        shutdown.spawn(async move {
            tokio::select! {
                biased;
                () = stop.requested() => (),
                () = task.run(&service, &clock, &tell) => (),
            }
        });
        samples
    }

    /// Changes with every tick; closed once no more come.
    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.clone()
    }

    /// What these apps together delivered in the last minutes; nothing, of those that are not known yet.
    pub(super) fn history<'a>(&self, apps: impl Iterator<Item = &'a AppId>, now: Instant) -> History {
        let shared = self.lock();
        let mut sum = History::new(now);
        apps.filter_map(|app| shared.apps.get(app)).for_each(|sampled| sum.merge(&sampled.history, now));
        sum
    }

    /// The newest rejections of these apps, newest first.
    pub(super) fn rejections<'a>(&self, apps: impl Iterator<Item = &'a AppId>) -> Vec<Rejection> {
        let shared = self.lock();
        let sampled = apps.filter_map(|app| shared.apps.get(app));
        let mut rejections: Vec<Rejection> = sampled.flat_map(|sampled| sampled.rejections.iter().cloned()).collect();
        drop(shared);
        rejections.sort_by_key(|rejection| std::cmp::Reverse((rejection.timestamp, rejection.batch, rejection.row)));
        rejections.truncate(REJECTIONS_MAX);
        rejections
    }

    /// Bytes of memory that the process held at the last tick.
    pub(super) fn memory(&self) -> Option<u64> {
        self.lock().memory
    }

    async fn run(&self, service: &PushService, clock: &Clock, tell: &watch::Sender<u64>) {
        for tick in 1.. {
            let apps = service.apps();
            for app in self.count(&apps, clock.now(), tick) {
                match service.latest_rejections(&app, REJECTIONS_MAX).await {
                    Ok(rejections) => self.keep(&app, rejections),
                    // It is read again with the next rejection; `apnsd rejections` says what is wrong.
                    Err(error) => debug!(%app, %error, "the status page could not read rejections"),
                }
            }
            tell.send_replace(tick);
            clock.sleep(TICK).await;
        }
    }

    /// Enters the counters of all apps. Those whose rejections are to be read, longest unread first.
    fn count(&self, apps: &[AppStatus], now: Instant, tick: u64) -> Vec<AppId> {
        let mut shared = self.lock();
        shared.memory = resident_memory();
        let present: HashSet<&AppId> = apps.iter().map(|app| &app.app_id).collect();
        shared.apps.retain(|app, _| present.contains(app));
        shared.overflowed |= apps.len() > APPS_MAX;
        for app in apps {
            if !shared.apps.contains_key(&app.app_id) && shared.apps.len() < APPS_MAX {
                let is_new = tick > 1 && !shared.overflowed;
                shared.apps.insert(app.app_id.clone(), Sampled::new(app, is_new, now));
            }
            if let Some(sampled) = shared.apps.get_mut(&app.app_id) {
                sampled.count(app, now);
            }
        }
        let unread = shared.apps.iter_mut().filter(|(_, sampled)| sampled.is_unread());
        let mut unread: Vec<(&AppId, &mut Sampled)> = unread.collect();
        unread.sort_by_key(|(_, sampled)| sampled.read.map(|(_, tick)| tick));
        unread.truncate(READS_PER_TICK);
        let mark = |(app, sampled): (&AppId, &mut Sampled)| {
            sampled.read = Some((sampled.rejected, tick));
            app.clone()
        };
        unread.into_iter().map(mark).collect()
    }

    fn keep(&self, app: &AppId, rejections: Vec<Rejection>) {
        if let Some(sampled) = self.lock().apps.get_mut(app) {
            sampled.rejections = rejections;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sampled {
    /// All that a new app has counted came since the look before.
    fn new(app: &AppStatus, is_new: bool, now: Instant) -> Self {
        let (delivered, rejected) = if is_new { (0, 0) } else { (app.delivered, app.rejected) };
        Self { history: History::new(now), delivered, rejected, rejections: Vec::new(), read: None }
    }

    fn count(&mut self, app: &AppStatus, now: Instant) {
        self.history.add(now, more(self.delivered, app.delivered), more(self.rejected, app.rejected));
        (self.delivered, self.rejected) = (app.delivered, app.rejected);
    }

    fn is_unread(&self) -> bool {
        self.read.is_none_or(|(rejected, _)| rejected != self.rejected)
    }
}

/// What a counter has grown by. One that is lower than before is that of an app that was provisioned anew, or takes back
/// what was presumed: the former begins at 0 and is seldom far above it by the next look.
fn more(before: u64, now: u64) -> u64 {
    now.saturating_sub(before)
}

#[cfg(test)]
mod tests;
