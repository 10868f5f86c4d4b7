//! Counters become a history, and the newest rejections are found.

use super::*;
use crate::domain::app::AppState;
use crate::domain::batch::BatchId;
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;

fn app(name: &str, delivered: u64, rejected: u64) -> AppStatus {
    AppStatus {
        app_id: AppId::parse(name).unwrap(),
        environment: String::new(),
        protocol: None,
        gateway: String::new(),
        state: AppState::Idle,
        cause: String::new(),
        renewal: String::new(),
        since: Timestamp::default(),
        waiting: 0,
        in_flight: 0,
        oldest: None,
        deferred: 0,
        next_due: None,
        retries: Vec::new(),
        accepted: 0,
        delivered,
        rejected,
        subject: String::new(),
        expires: None,
        secrets: "",
    }
}

fn id(name: &str) -> AppId {
    AppId::parse(name).unwrap()
}

fn samples() -> Samples {
    Samples { shared: Arc::default(), ticks: watch::channel(0).1 }
}

fn at(secs: u64) -> Instant {
    Instant::from_start(Duration::from_secs(secs))
}

fn rejection(app: &str, secs: i64) -> Rejection {
    let (timestamp, app) = (Timestamp::from_secs(secs), id(app));
    Rejection { timestamp, app, token: Box::new([1; 32]), reason: Reason::InvalidToken, batch: BatchId(1), row: 0 }
}

#[test]
fn only_what_came_since_the_first_look_is_in_the_history() {
    let samples = samples();
    samples.count(&[app("a", 1000, 0)], at(0), 1);
    samples.count(&[app("a", 1007, 2)], at(1), 2);
    // What was presumed delivered may turn out to be rejected.
    samples.count(&[app("a", 1005, 4)], at(2), 3);
    let newest = samples.history([id("a")].iter(), at(2)).slots(at(2))[59];
    assert_eq!((newest.delivered, newest.rejected), (7, 4));
    assert_eq!(samples.history([id("other")].iter(), at(2)).slots(at(2))[59].delivered, 0);
}

#[test]
fn what_a_new_app_delivered_before_it_was_first_seen_is_in_the_history() {
    let samples = samples();
    samples.count(&[], at(0), 1);
    samples.count(&[app("a", 3, 1)], at(1), 2);
    let newest = samples.history([id("a")].iter(), at(1)).slots(at(1))[59];
    assert_eq!((newest.delivered, newest.rejected), (3, 1));
}

#[test]
fn rejections_are_read_at_first_and_when_there_are_new_ones() {
    let samples = samples();
    assert_eq!(samples.count(&[app("a", 0, 0), app("b", 0, 5)], at(0), 1), [id("a"), id("b")]);
    assert_eq!(samples.count(&[app("a", 0, 0), app("b", 0, 5)], at(1), 2), []);
    assert_eq!(samples.count(&[app("a", 0, 0), app("b", 0, 6)], at(2), 3), [id("b")]);
}

#[test]
fn an_app_that_rejects_all_the_time_does_not_take_the_turns_of_others() {
    let samples = samples();
    let names: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    let mut seen: HashSet<AppId> = HashSet::new();
    for tick in 1..3 {
        let apps: Vec<AppStatus> = names.iter().map(|name| app(name, 0, tick)).collect();
        let read = samples.count(&apps, at(tick), tick);
        assert_eq!(read.len(), READS_PER_TICK);
        seen.extend(read);
    }
    assert_eq!(seen.len(), 40);
}

#[test]
fn an_app_that_is_gone_is_forgotten_and_more_than_the_bound_are_not_kept() {
    let samples = samples();
    samples.count(&[app("a", 0, 0), app("b", 0, 0)], at(0), 1);
    samples.keep(&id("a"), vec![rejection("a", 1)]);
    samples.count(&[app("b", 0, 0)], at(1), 2);
    assert_eq!(samples.rejections([id("a")].iter()), []);
    let many: Vec<AppStatus> = (0..APPS_MAX + 5).map(|number| app(&number.to_string(), 0, 0)).collect();
    samples.count(&many, at(2), 3);
    assert_eq!(samples.lock().apps.len(), APPS_MAX);
}

#[test]
fn rejections_are_those_of_the_apps_that_are_asked_for_newest_first() {
    let samples = samples();
    samples.count(&[app("a", 0, 0), app("b", 0, 0), app("c", 0, 0)], at(0), 1);
    samples.keep(&id("a"), vec![rejection("a", 1), rejection("a", 4)]);
    samples.keep(&id("b"), vec![rejection("b", 2)]);
    samples.keep(&id("c"), (0..REJECTIONS_MAX as i64).map(|secs| rejection("c", secs)).collect());
    let shown = samples.rejections([id("a"), id("b")].iter());
    assert_eq!(shown, [rejection("a", 4), rejection("b", 2), rejection("a", 1)]);
    assert_eq!(samples.rejections([id("a"), id("c")].iter()).len(), REJECTIONS_MAX);
}
