//! Certificates that end soon: said in the log once each, 30, 7 and 1 days before, and when they have ended.

use std::time::Duration;

use tracing::warn;

use super::PushService;
use super::entry::{Entry, Standing};
use crate::credentials::CertificateFacts;
use crate::domain::app::RENEW_DAYS;
use crate::domain::time::Timestamp;

/// So many days before its end a certificate is spoken of; 0: it has ended.
const DAYS: [i64; 4] = [0, 1, 7, RENEW_DAYS];

/// How often all certificates are looked at. A day has one look at least, whatever the clock does meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// What was said of an app's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    not_after: Timestamp,
    /// One of [`DAYS`].
    days: i64,
}

impl PushService {
    /// Looks after the ends of all certificates from now on, until the daemon stops.
    pub fn watch_expiry(&self) {
        let service = self.clone();
        self.0.delivery.shutdown.spawn(async move {
            let shutdown = service.0.delivery.shutdown.clone();
            let watch = async {
                loop {
                    service.0.clock.sleep(LOOK_EVERY).await;
                    service.look_at_expiry();
                }
            };
            tokio::select! {
                () = watch => (),
                () = shutdown.requested() => (),
            }
        });
    }

    /// Speaks of all certificates that are worth it.
    pub(super) fn look_at_expiry(&self) {
        for entry in self.0.apps.iter() {
            if let Some(Standing::Accepted { route, .. }) = entry.provisioned().map(|present| present.standing)
                && let Some(certificate) = route.credentials.certificate()
            {
                self.tell_expiry(&entry, certificate);
            }
        }
    }

    /// Speaks of an app's certificate, if that is worth it and was not said yet.
    pub(super) fn tell_expiry(&self, entry: &Entry, certificate: &CertificateFacts) {
        let now = self.0.clock.timestamp();
        let Some(told) = news(entry.told_expiry(), certificate.not_after, now) else { return };
        entry.set_told_expiry(Some(told));
        let ends = words(certificate.not_after, now);
        warn!(
            app = %entry.id,
            "certificate `{}` {ends}: renew it in Apple's developer account and provision it again, or replace its file",
            certificate.subject
        );
    }
}

/// What is to be said of a certificate, if it was not said before.
fn news(told: Option<Told>, not_after: Timestamp, now: Timestamp) -> Option<Told> {
    let left = not_after.days_since(now);
    let days = DAYS.into_iter().find(|days| left <= *days)?;
    Some(Told { not_after, days }).filter(|news| Some(*news) != told)
}

fn words(not_after: Timestamp, now: Timestamp) -> String {
    match not_after.days_since(now) {
        ..=0 => format!("expired on {not_after}; its connection lasts only until it is closed"),
        1 => format!("expires within a day ({not_after})"),
        days => format!("expires in {days} days ({not_after})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn days_before(days: u64) -> Timestamp {
        END.minus(Duration::from_secs(days * 24 * 60 * 60))
    }

    #[test]
    fn each_threshold_is_said_once_however_often_it_is_looked_at() {
        let (mut told, mut said) = (None, Vec::new());
        let mut now = days_before(40);
        while now < END.plus(Duration::from_secs(100 * 60 * 60)) {
            if let Some(news) = news(told, END, now) {
                told = Some(news);
                said.push(words(END, now));
            }
            now = now.plus(LOOK_EVERY);
        }
        let expected = [
            "expires in 30 days (2027-01-15T08:00:00Z)",
            "expires in 7 days (2027-01-15T08:00:00Z)",
            "expires within a day (2027-01-15T08:00:00Z)",
            "expired on 2027-01-15T08:00:00Z; its connection lasts only until it is closed",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_daemon_that_starts_late_says_how_many_days_are_left() {
        let now = days_before(12);
        let told = news(None, END, now);
        assert_eq!(told, Some(Told { not_after: END, days: 30 }));
        assert_eq!(words(END, now), "expires in 12 days (2027-01-15T08:00:00Z)");
        assert_eq!(news(told, END, now), None);
        assert_eq!(news(None, END, days_before(31)), None);
    }

    #[test]
    fn another_certificate_is_spoken_of_anew() {
        let told = news(None, END, days_before(12));
        let earlier = days_before(4);
        assert_eq!(news(told, earlier, days_before(12)), Some(Told { not_after: earlier, days: 30 }));
    }
}
