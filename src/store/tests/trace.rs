//! Every kind of event is found by its token, in both kinds of store.

use super::conformance::{on_each, reopened};
use super::*;

fn prefix(text: &str) -> TokenPrefix {
    TokenPrefix::parse(text).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

/// What is shown for a row of [`batch`], or for `[7; 32]`.
fn traced(name: &str, token: &str, at: Timestamp, row: (u64, u32), event: Event) -> Traced {
    let row = Some((BatchId(row.0), row.1));
    Traced { timestamp: at, app: Some(app(name)), token: token.to_owned(), row, event }
}

#[tokio::test]
async fn each_kind_of_event_is_found_once_newest_last_and_what_waits_at_the_end() {
    on_each(async |place, store| {
        let (one, two, sevens) = (app("one"), app("two"), Event::Logged(Logged::Rejected(Reason::InvalidToken)));
        let batch = batch(0x0101, "{}");
        let id = commit(&store, &two, &batch).await;
        let rows = |rows| span(id, &batch, rows);
        store.log_outcome(&two, &rows(0x0100..0x0101), Logged::Unknown, at(1));
        store.log_outcome(&two, &rows(0..0x0101), Logged::Retried(Reason::ProcessingError), at(2));
        let deferred = store.defer(&two, &rows(0x0100..0x0101), at(99)).await.unwrap();
        commit(&store, &one, &batch).await;
        store.reject(vec![rejection(&one, 5), rejection(&one, 6)], &[]).await.unwrap();
        let logged = Span { id: BatchId(3), ..rows(6..7) };
        store.log_outcome(&one, &logged, Logged::Rejected(Reason::InvalidToken), at(0));
        store.append_feedback(&source("a"), vec![feedback(7), feedback(8)]).await.unwrap();
        let store = reopened(place, store).await;

        let long = prefix("00010000 00010000");
        let expected = [
            traced("two", "00010000…", at(1), (1, 0x0100), Event::Logged(Logged::Unknown)),
            traced("two", "00010000…", at(2), (1, 0x0100), Event::Logged(Logged::Retried(Reason::ProcessingError))),
            traced("two", "00010000…", at(0), (deferred.id.0, 0), Event::Due(at(99))),
            traced("one", "00010000…", at(0), (3, 0x0100), Event::Waiting),
        ];
        assert_eq!(store.trace(long.clone(), Visible::default(), 9).await.unwrap(), expected);
        assert_eq!(store.trace(long.clone(), Visible::default(), 2).await.unwrap(), expected[2..]);
        assert_eq!(store.trace(long.clone(), Visible::default(), 0).await.unwrap(), []);
        let of = |app: &str| Visible::of(&[app.to_owned()]);
        assert_eq!(store.trace(long.clone(), of("two"), 2).await.unwrap(), expected[1..3]);
        assert_eq!(store.trace(long.clone(), of("one"), 9).await.unwrap(), expected[3..]);
        assert_eq!(store.trace(long, of("three"), 9).await.unwrap(), []);

        let gone = Traced {
            timestamp: Timestamp::from_secs(7),
            app: None,
            token: "07070707…".to_owned(),
            row: None,
            event: Event::Feedback(source("a")),
        };
        let rejected = |row| traced("one", "07070707…", Timestamp::from_secs(7), (3, row), sevens.clone());
        let found = store.trace(prefix("<070707 0>"), Visible::default(), 9).await.unwrap();
        assert_eq!(found, [rejected(5), rejected(6), gone], "digits in halves");
        assert_eq!(store.trace(prefix("07070707"), of("one"), 1).await.unwrap(), [rejected(6)]);
        let sixes = traced("one", "06000000…", at(0), (3, 6), sevens.clone());
        assert!(store.trace(prefix("06000000"), Visible::default(), 9).await.unwrap().contains(&sixes));
    })
    .await;
}

#[tokio::test]
async fn a_rejection_that_was_logged_is_told_once() {
    on_each(async |_, store| {
        let one = app("one");
        store.reject(vec![rejection(&one, 0)], &[]).await.unwrap();
        let mut tokens = Tokens::default();
        tokens.push(&[7; 32]);
        let message = batch(1, "{}").messages()[0].clone();
        let sevens = Arc::new(Batch::broadcast(at(0), tokens, message));
        store.log_outcome(&one, &span(BatchId(3), &sevens, 0..1), Logged::Rejected(Reason::InvalidToken), at(5));
        let rejected = Event::Logged(Logged::Rejected(Reason::InvalidToken));
        let found = store.trace(prefix(&"07".repeat(32)), Visible::default(), 9).await.unwrap();
        assert_eq!(found, [traced("one", "07070707…", at(5), (3, 0), rejected)]);
        assert_eq!(
            store.trace(prefix(&"07".repeat(33)), Visible::default(), 9).await.unwrap().len(),
            1,
            "the log knows 8 digits"
        );
    })
    .await;
}

#[tokio::test]
async fn rows_that_are_settled_are_not_said_to_wait_also_in_a_large_batch() {
    on_each(async |_, store| {
        let (one, large) = (app("one"), batch(30_000, "{}"));
        let id = commit(&store, &one, &large).await;
        let last = prefix("2f75 0000 2f75");
        assert_eq!(
            store.trace(last.clone(), Visible::default(), 9).await.unwrap(),
            [traced("one", "2f750000…", at(0), (id.0, 0x752f), Event::Waiting)]
        );
        store.settle(&span(id, &large, 29_999..30_000));
        assert_eq!(store.trace(last, Visible::default(), 9).await.unwrap(), []);
        assert_eq!(store.trace(prefix("2e75 0000"), Visible::default(), 9).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_logged_when_it_is_turned_off() {
    let mut place = Place::new();
    place.settings.trace_max = 0;
    for store in [place.memory(), place.open()] {
        let (one, batch) = (app("one"), batch(1, "{}"));
        store.log_outcome(&one, &span(BatchId(1), &batch, 0..1), Logged::Accepted, at(0));
        assert_eq!(store.trace(prefix("0000"), Visible::default(), 9).await.unwrap(), []);
    }
    assert!(!place.settings.dir.join("apnsd.outcomes").exists());
}

#[test]
fn a_prefix_has_4_to_200_hex_digits_of_any_case() {
    assert_eq!(TokenPrefix::parse("<AB cd>").unwrap(), prefix("abCD"));
    assert_eq!(TokenPrefix::parse("abc").unwrap_err(), TokenPrefixError::Digits(3));
    assert!(TokenPrefix::parse(&"a".repeat(200)).is_ok());
    assert_eq!(TokenPrefix::parse(&"a".repeat(201)).unwrap_err(), TokenPrefixError::Digits(201));
    let error = TokenPrefix::parse("abcdxyz").unwrap_err();
    assert_eq!(error.to_string(), "a token is given by its first hex digits, `x` is none");
    assert_eq!(format!("{:?}", prefix(&"ab".repeat(32))), "TokenPrefix(abababab…)");
}
