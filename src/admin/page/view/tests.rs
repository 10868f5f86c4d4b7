//! What is said of apps in each state.

use std::time::Duration;

use super::*;
use crate::admin::page::history::History;
use crate::clock::Instant;
use crate::domain::app::{AppId, AppState};
use crate::domain::batch::BatchId;
use crate::domain::outcome::Reason;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn app(state: AppState) -> AppStatus {
    AppStatus {
        app_id: AppId::parse("myapp").unwrap(),
        environment: "sandbox".into(),
        protocol: Some(Protocol::Http2),
        gateway: "https://api.sandbox.push.apple.com:443".into(),
        state,
        cause: String::new(),
        renewal: String::new(),
        since: NOW.minus(Duration::from_secs(3 * 60)),
        waiting: 0,
        in_flight: 0,
        oldest: None,
        deferred: 0,
        next_due: None,
        retries: Vec::new(),
        accepted: 0,
        delivered: 0,
        rejected: 0,
        subject: "Apple Push Services: com.example".into(),
        expires: Some(NOW.plus(DAY * 200)),
        secrets: "",
    }
}

fn view(app: &AppStatus) -> AppView {
    let start = Instant::default();
    AppView::new(app, Chart::new(&History::new(start), start), NOW)
}

fn light(level: Level, word: &str, detail: &str) -> Light {
    Light { level, word: word.into(), detail: detail.into() }
}

#[test]
fn every_state_has_a_level_and_words() {
    for (state, level, word) in [
        (AppState::Connected, Level::Good, "Connected"),
        (AppState::Connecting, Level::Good, "Connecting"),
        (AppState::Waiting, Level::Bad, "Gateway out of reach"),
        (AppState::Paused, Level::Bad, "Paused"),
        (AppState::Refused, Level::Bad, "Refused"),
    ] {
        assert_eq!(view(&app(state)).state, light(level, word, "for 3 min"));
        assert_eq!(app(state).state.can_send(), level != Level::Bad, "{state:?}");
    }
    let idle = light(Level::Good, "Idle", "for 3 min; connects with the next notification");
    assert_eq!(view(&app(AppState::Idle)).state, idle);
}

#[test]
fn a_certificate_is_a_light_that_turns_with_its_days() {
    let with_days =
        |days: u32| view(&AppStatus { expires: Some(NOW.plus(DAY * days)), ..app(AppState::Idle) }).credentials;
    let subject = "Apple Push Services: com.example";
    assert_eq!(with_days(31), light(Level::Good, "Valid until 2027-02-15", subject));
    let warn = light(Level::Warn, "Renew soon: 30 days left", &format!("{subject}, until 2027-02-14"));
    assert_eq!(with_days(30), warn);
    assert_eq!(with_days(8).level, Level::Warn);
    assert_eq!(with_days(7), light(Level::Bad, "Renew now: 7 days left", &format!("{subject}, until 2027-01-22")));
    assert_eq!(with_days(1).word, "Renew now: 1 day left");
    assert_eq!(with_days(0), light(Level::Bad, "Has ended", &format!("{subject}, ended 2027-01-15")));
}

#[test]
fn a_key_has_no_end_and_what_is_refused_is_not_in_use() {
    let key = AppStatus { expires: None, subject: "key ABC of team DEF".into(), ..app(AppState::Idle) };
    assert_eq!(view(&key).credentials, light(Level::Good, "No end date", "key ABC of team DEF"));
    let refused = AppStatus { expires: None, subject: String::new(), ..app(AppState::Refused) };
    assert_eq!(view(&refused).credentials, light(Level::Bad, "Not in use", ""));
    let ended = AppStatus { expires: Some(Timestamp::from_secs(1_577_836_800)), ..app(AppState::Refused) };
    let told = light(Level::Bad, "Not in use", "Apple Push Services: com.example, ended 2020-01-01");
    assert_eq!(view(&ended).credentials, told);
}

#[test]
fn causes_and_refused_renewals_are_told_in_one_line_each() {
    let ailing =
        AppStatus { cause: "expired\nrenew it".into(), renewal: "refused: no".into(), ..app(AppState::Paused) };
    let expected = [("Why it cannot send", "expired renew it".into()), ("Renewal refused", "refused: no".into())];
    assert_eq!(view(&ailing).notes, expected);
    let renewal = AppStatus { renewal: "refused: no".into(), ..app(AppState::Connected) };
    assert_eq!(view(&renewal).level, Level::Warn);
}

#[test]
fn a_queue_says_what_waits_since_when_and_what_is_due() {
    let queue = AppStatus {
        waiting: 1500,
        in_flight: 40,
        oldest: Some(NOW.minus(Duration::from_secs(75))),
        deferred: 3,
        next_due: Some(NOW.plus(Duration::from_secs(12))),
        retries: vec![(Reason::ProcessingError, 2000)],
        ..app(AppState::Connected)
    };
    let view = view(&queue);
    assert_eq!(view.waiting, "1,500");
    assert_eq!(view.queue, ["40 on their way", "oldest for 1 min", "3 tried again later, next in 12 s"]);
    assert_eq!(view.notes, [("Tried again since the start", "2,000 × processing error (1)".to_owned())]);
}

#[test]
fn a_rejection_shows_a_masked_token() {
    let rejection = Rejection {
        timestamp: NOW,
        app: AppId::parse("myapp").unwrap(),
        token: Box::new([0xab; 32]),
        reason: Reason::InvalidToken,
        batch: BatchId(7),
        row: 0,
    };
    let shown = RejectionView::new(&rejection);
    assert_eq!(shown.token, "abababab…");
    assert_eq!((shown.reason.as_str(), shown.blame), ("invalid token (8)", "this device's token"));
    assert_eq!(shown.at, "2027-01-15 08:00:00");
}

#[test]
fn the_verdict_is_one_sentence() {
    let (good, bad) = (app(AppState::Connected), app(AppState::Refused));
    let word = |apps: &[AppStatus], watched| {
        let verdict = verdict(apps, watched, None);
        (verdict.level, verdict.word)
    };
    assert_eq!(word(&[], 0), (Level::Quiet, "No apps yet".into()));
    assert_eq!(word(std::slice::from_ref(&good), 0), (Level::Good, "The app can send".into()));
    assert_eq!(word(std::slice::from_ref(&good), 1), (Level::Warn, "The app can send".into()));
    assert_eq!(word(std::slice::from_ref(&bad), 0), (Level::Bad, "The app cannot send".into()));
    assert_eq!(word(&[good.clone(), good.clone()], 0), (Level::Good, "All 2 apps can send".into()));
    assert_eq!(word(&[good.clone(), bad.clone()], 0), (Level::Bad, "1 of 2 apps cannot send".into()));
    assert_eq!(word(&[bad.clone(), bad], 0), (Level::Bad, "None of 2 apps can send".into()));
    let full = verdict(&[good], 0, Some("the disk is full".into()));
    assert_eq!(full, light(Level::Bad, "No notifications are accepted", "the disk is full"));
}
