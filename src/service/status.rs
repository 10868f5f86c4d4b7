//! What an app looks like from outside.

use crate::domain::app::{AppId, AppState, Protocol};
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;

/// One app at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppStatus {
    /// The app.
    pub app_id: AppId,
    /// The environment that it was provisioned for.
    pub environment: String,
    /// The protocol of that environment's gateway; `None` where the environment is not in the configuration any more.
    pub protocol: Option<Protocol>,
    /// Address of that gateway; empty where there is none.
    pub gateway: String,
    /// Whether it sends.
    pub state: AppState,
    /// Why it cannot send, in words with the cure; empty when it can.
    pub cause: String,
    /// New credentials that were refused while it works with its present ones: when, and why, in words. Empty where
    /// there are none.
    pub renewal: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Notifications accepted and not yet handed to the gateway.
    pub waiting: u64,
    /// Notifications handed to the gateway and without an outcome yet.
    pub in_flight: u64,
    /// When the oldest waiting notification was accepted.
    pub oldest: Option<Timestamp>,
    /// Of the waiting ones: those that are not tried again before a time.
    pub deferred: u64,
    /// When the next of those is due.
    pub next_due: Option<Timestamp>,
    /// Why rows went back to the queue, and how many, since the daemon started; each reason once.
    pub retries: Vec<(Reason, u64)>,
    /// Notifications that callers were told are accepted, since the daemon started.
    pub accepted: u64,
    /// Of those: delivered (accepted by the provider or presumed so).
    pub delivered: u64,
    /// Of those: rejected or expired.
    pub rejected: u64,
    /// What the certificate says it is for; empty where the app has none.
    pub subject: String,
    /// When the credentials end.
    pub expires: Option<Timestamp>,
    /// How the store holds the credentials' text and passphrase: `sealed`, `plain`; empty where it holds neither.
    pub secrets: &'static str,
}
