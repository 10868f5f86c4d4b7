//! `request_id`: a repeated call has no second effect. In memory; only success is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::OwnedMutexGuard;

use super::error::ServiceError;
use super::request::Notify;
use crate::clock::Instant;

/// A call is remembered at least this long.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// Calls remembered per app in one generation; one more starts the next generation early.
const REMEMBERED_MAX: usize = 100_000;

/// First half of the SHA-256 over what a call says.
type Digest = [u8; 16];

/// The calls of one app that named themselves, in two generations: the older is dropped whole.
#[derive(Debug, Default)]
pub(super) struct RequestIds(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    began: Instant,
    present: HashMap<Digest, Arc<Slot>>,
    previous: HashMap<Digest, Arc<Slot>>,
}

/// What a call said, once it succeeded. Locked while it is being carried out.
type Slot = tokio::sync::Mutex<Option<Digest>>;

/// The right to carry out a call, or the news that it was carried out before.
pub(super) enum Turn {
    /// Carry it out, then say so with [`Granted::succeeded`].
    First(Granted),
    /// The same call succeeded before.
    Repeated,
}

/// Dropped without success, the next call with this id is the first again.
pub(super) struct Granted {
    slot: OwnedMutexGuard<Option<Digest>>,
    content: Digest,
}

impl Granted {
    pub(super) fn succeeded(mut self) {
        *self.slot = Some(self.content);
    }
}

impl RequestIds {
    /// Waits for a call with the same id that is being carried out. The same id with other content is an error.
    pub(super) async fn turn(&self, id: &str, request: &Notify<'_>, now: Instant) -> Result<Turn, ServiceError> {
        let content = digest_of(request);
        let slot = self.slot(digest([id.as_bytes()]), now).lock_owned().await;
        match &*slot {
            None => Ok(Turn::First(Granted { slot, content })),
            Some(before) if *before == content => Ok(Turn::Repeated),
            Some(_) => {
                let text = "request_id: another call with other content had this id within the last 15 minutes";
                Err(ServiceError::InvalidArgument(text.to_owned()))
            }
        }
    }

    fn slot(&self, id: Digest, now: Instant) -> Arc<Slot> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = generations.present.len() >= REMEMBERED_MAX;
        if full || now.since(generations.began) >= REMEMBERED {
            generations.previous = std::mem::take(&mut generations.present);
            generations.began = now;
        }
        let slot = match generations.previous.get(&id) {
            Some(slot) => Arc::clone(slot),
            None => return Arc::clone(generations.present.entry(id).or_default()),
        };
        Arc::clone(generations.present.entry(id).or_insert(slot))
    }
}

fn digest_of(request: &Notify<'_>) -> Digest {
    let options = format!("{:?}", request.options);
    let tokens = request.tokens.iter().map(|token| token.as_bytes());
    let payloads = request.payloads.iter().map(|payload| &payload[..]);
    let order: Vec<u8> = request.payload_of.iter().flat_map(|index| index.to_be_bytes()).collect();
    digest(tokens.chain(payloads).chain([options.as_bytes(), &order]))
}

/// Each part goes in behind its length, so that no two lists of parts read alike.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut half = Digest::default();
    half.copy_from_slice(&context.finish().as_ref()[..size_of::<Digest>()]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::request::NotifyOptions;

    const NOW: Instant = Instant::from_start(Duration::ZERO);

    fn request(payload: &str) -> Notify<'static> {
        Notify {
            tokens: vec!["ab"],
            payloads: vec![payload.as_bytes().into()],
            payload_of: vec![],
            options: NotifyOptions::default(),
        }
    }

    async fn first(ids: &RequestIds, now: Instant) -> Granted {
        match ids.turn("id", &request("{}"), now).await.unwrap() {
            Turn::First(granted) => granted,
            Turn::Repeated => panic!("carried out before"),
        }
    }

    #[tokio::test]
    async fn a_repeated_call_is_recognised_for_fifteen_minutes_and_forgotten_after_thirty() {
        let ids = RequestIds::default();
        first(&ids, NOW).await.succeeded();
        let later = NOW + REMEMBERED - Duration::from_secs(1);
        assert!(matches!(ids.turn("id", &request("{}"), later).await, Ok(Turn::Repeated)));
        assert!(matches!(ids.turn("other", &request("{}"), later).await, Ok(Turn::First(_))));
        ids.turn("rotates", &request("{}"), NOW + REMEMBERED).await.unwrap();
        ids.turn("rotates", &request("{}"), NOW + 2 * REMEMBERED).await.unwrap();
        drop(first(&ids, NOW + 2 * REMEMBERED).await);
    }

    #[tokio::test]
    async fn the_same_id_with_other_content_is_an_error() {
        let ids = RequestIds::default();
        first(&ids, NOW).await.succeeded();
        assert!(ids.turn("id", &request("{\"a\":1}"), NOW).await.is_err());
    }

    #[tokio::test]
    async fn only_success_is_remembered_and_the_second_call_waits_for_it() {
        let ids = RequestIds::default();
        drop(first(&ids, NOW).await);
        let granted = first(&ids, NOW).await;
        let second = request("{}");
        let mut second = std::pin::pin!(ids.turn("id", &second, NOW));
        assert!(futures_util::poll!(&mut second).is_pending());
        granted.succeeded();
        assert!(matches!(second.await, Ok(Turn::Repeated)));
    }
}
