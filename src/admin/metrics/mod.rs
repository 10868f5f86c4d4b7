//! `/metrics`: what monitoring reads. What is counted elsewhere is read and written out here, when somebody asks.
//!
//! A user of some apps sees those apps' series, and nothing of the process: what all calls come to is not its business.

pub mod catalogue;
mod exposition;
pub(in crate::admin) mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use self::catalogue::{
    ACCEPTED, BUILD, CALLERS, CALLERS_ENDED, CALLERS_OPENED, CALLS, COMMIT_REQUESTS, COMMIT_SECONDS, CONNECTIONS,
    DEFERRED, ENDED, EXPIRY, FAILED_LOGINS, IN_FLIGHT, Metric, OLDEST, OPENED, OUTCOME_SECONDS, OUTCOMES, READY,
    REFUSED, RETRIED, REVISED, STATE, STREAMS, TOKEN_ISSUED, WAITING,
};
use self::exposition::{CLASSIC, Families, OPEN_METRICS, Samples, classic, open_metrics};
use self::process::ProcessSample;
use super::may_see;
use crate::domain::app::AppState;
use crate::domain::outcome::{Blame, Reason};
use crate::domain::time::Timestamp;
use crate::listener::user::User;
use crate::service::PushService;
use crate::service::samples::AppSample;
use crate::telemetry::metrics::callers::Callers;
use crate::telemetry::metrics::calls::Calls;
use crate::telemetry::metrics::tally::Tally;

pub(super) fn routes(service: PushService, instruments: Instruments) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(Source { service, instruments })
}

/// What is counted of callers and what they ask for.
#[derive(Clone, Debug)]
pub struct Instruments {
    /// Calls, by method and fault.
    pub calls: Arc<Calls>,
    /// Connections, and requests that were refused.
    pub callers: Arc<Callers>,
    /// Requests that proved no user, by why.
    pub failed_logins: Arc<Tally>,
}

/// Where everything is read.
#[derive(Clone, Debug)]
struct Source {
    service: PushService,
    instruments: Instruments,
}

/// Written away from the runtime's threads: with thousands of apps it takes a while.
async fn metrics(State(source): State<Source>, request: Request) -> Response {
    let snapshot = Snapshot { apps: visible_samples(&source.service, request.extensions()), process: None };
    let sees_all = request.extensions().get::<Arc<User>>().is_none_or(|user| user.apps.is_none());
    let wants_classic = wants_classic(request.headers());
    let written = tokio::task::spawn_blocking(move || {
        let process = sees_all.then(|| ProcessFacts { source, sample: ProcessSample::take() });
        let page = open_metrics(Snapshot { process, ..snapshot })?;
        Ok::<_, fmt::Error>(if wants_classic { (CLASSIC, classic(&page)) } else { (OPEN_METRICS, page) })
    });
    match written.await {
        Ok(Ok((content_type, page))) => {
            ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], page).into_response()
        }
        Ok(Err(fmt::Error)) | Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written: please report it.\n").into_response()
        }
    }
}

/// Whether whoever asks knows the older format and not OpenMetrics.
fn wants_classic(headers: &HeaderMap) -> bool {
    let accepts = |kind: &str| {
        let values = headers.get_all(header::ACCEPT).into_iter();
        values.filter_map(|value| value.to_str().ok()).any(|value| value.contains(kind))
    };
    accepts("text/plain") && !accepts("application/openmetrics-text")
}

/// The apps that whoever asks may see.
fn visible_samples(service: &PushService, asking: &Extensions) -> Vec<AppSample> {
    let mut samples = service.samples();
    samples.retain(|sample| may_see(asking, &sample.status));
    samples
}

/// What is written out.
#[derive(Debug)]
struct Snapshot {
    apps: Vec<AppSample>,
    /// `None` where that is not to be shown.
    process: Option<ProcessFacts>,
}

#[derive(Debug)]
struct ProcessFacts {
    source: Source,
    sample: Option<ProcessSample>,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.encode_notifications(&mut families)?;
        self.encode_queues(&mut families)?;
        self.encode_connections(&mut families)?;
        match &self.process {
            Some(process) => process.encode(&mut families),
            None => Ok(()),
        }
    }
}

impl Snapshot {
    fn encode_notifications(&self, families: &mut Families<'_>) -> fmt::Result {
        self.counters(families, &ACCEPTED, |app| app.status.accepted)?;
        self.of_apps(families, &OUTCOMES, |samples, app, name| {
            samples.counter(&[name, "accepted", "none", "none"], app.counters.confirmed())?;
            samples.counter(&[name, "presumed", "none", "none"], app.counters.presumed())?;
            by_reason(app.counters.rejected_for())
                .into_iter()
                .try_for_each(|((blame, reason), rows)| samples.counter(&[name, "rejected", blame, reason], rows))
        })?;
        self.counters(families, &REVISED, |app| app.counters.revised())?;
        self.of_apps(families, &RETRIED, |samples, app, name| {
            samples.counter(&[name, "provider", "Unanswered"], app.counters.unanswered())?;
            by_reason(app.counters.retried())
                .into_iter()
                .try_for_each(|((blame, reason), rows)| samples.counter(&[name, blame, reason], rows))
        })?;
        self.of_apps(families, &OUTCOME_SECONDS, |samples, app, name| {
            samples.histogram(&[name], app.counters.outcome_seconds())
        })
    }

    fn encode_queues(&self, families: &mut Families<'_>) -> fmt::Result {
        self.gauges(families, &WAITING, |app| Some(app.status.waiting as f64))?;
        self.gauges(families, &DEFERRED, |app| Some(app.status.deferred as f64))?;
        self.gauges(families, &OLDEST, |app| Some(app.oldest_age.as_secs_f64()))?;
        self.gauges(families, &IN_FLIGHT, |app| Some(app.status.in_flight as f64))
    }

    fn encode_connections(&self, families: &mut Families<'_>) -> fmt::Result {
        self.of_apps(families, &STATE, |samples, app, name| {
            let is = |state| if app.status.state == state { 1.0 } else { 0.0 };
            AppState::ALL.into_iter().try_for_each(|state| samples.gauge(&[name, state.word()], is(state)))
        })?;
        self.gauges(families, &CONNECTIONS, |app| Some(app.counters.connections.open() as f64))?;
        self.counters(families, &OPENED, |app| app.counters.connections.opened())?;
        self.of_apps(families, &ENDED, |samples, app, name| {
            let mut ended = app.counters.connections.ended();
            ended.try_for_each(|(cause, count)| samples.counter(&[name, cause], count))
        })?;
        self.gauges(families, &STREAMS, |app| Some(app.counters.connections.streams() as f64))?;
        self.gauges(families, &TOKEN_ISSUED, |app| app.token_issued.map(seconds))?;
        self.gauges(families, &EXPIRY, |app| app.status.expires.map(seconds))
    }

    fn counters(&self, families: &mut Families<'_>, metric: &Metric, value: impl Fn(&AppSample) -> u64) -> fmt::Result {
        self.of_apps(families, metric, |samples, app, name| samples.counter(&[name], value(app)))
    }

    /// An app without a value has no sample.
    fn gauges(
        &self,
        families: &mut Families<'_>,
        metric: &Metric,
        value: impl Fn(&AppSample) -> Option<f64>,
    ) -> fmt::Result {
        self.of_apps(families, metric, |samples, app, name| match value(app) {
            Some(value) => samples.gauge(&[name], value),
            None => Ok(()),
        })
    }

    fn of_apps(
        &self,
        families: &mut Families<'_>,
        metric: &Metric,
        write: impl Fn(&mut Samples<'_>, &AppSample, &str) -> fmt::Result,
    ) -> fmt::Result {
        families.metric(metric, |samples| {
            self.apps.iter().try_for_each(|app| write(samples, app, app.status.app_id.as_str()))
        })
    }
}

impl Instruments {
    fn encode(&self, families: &mut Families<'_>) -> fmt::Result {
        let Self { calls, callers, failed_logins } = self;
        families.metric(&CALLS, |samples| {
            calls.counts().try_for_each(|(method, fault, count)| samples.counter(&[method, fault], count))
        })?;
        let mut counts = |metric, counts: Vec<(&'static str, u64)>| {
            families.metric(metric, |samples| {
                counts.into_iter().try_for_each(|(label, count)| samples.counter(&[label], count))
            })
        };
        counts(&REFUSED, callers.refused().collect())?;
        counts(&FAILED_LOGINS, failed_logins.counts().collect())?;
        families.metric(&CALLERS, |samples| samples.gauge(&[], callers.open() as f64))?;
        families.metric(&CALLERS_OPENED, |samples| samples.counter(&[], callers.opened()))?;
        families.metric(&CALLERS_ENDED, |samples| {
            callers.ended().try_for_each(|(cause, count)| samples.counter(&[cause], count))
        })
    }
}

impl ProcessFacts {
    fn encode(&self, families: &mut Families<'_>) -> fmt::Result {
        let Source { service, instruments } = &self.source;
        instruments.encode(families)?;
        families.metric(&READY, |samples| samples.gauge(&[], if service.trouble().is_none() { 1.0 } else { 0.0 }))?;
        if let Some(commits) = service.commits() {
            families.metric(&COMMIT_REQUESTS, |samples| samples.histogram(&[], &commits.requests))?;
            families.metric(&COMMIT_SECONDS, |samples| samples.histogram(&[], &commits.seconds))?;
        }
        families.metric(&BUILD, |samples| samples.info(&[env!("CARGO_PKG_VERSION")]))?;
        match &self.sample {
            Some(sample) => sample.encode(families),
            None => Ok(()),
        }
    }
}

/// Rows by whom a reason blames and its name: numbers that a provider made up share one.
fn by_reason(counts: Vec<(Reason, u64)>) -> BTreeMap<(&'static str, &'static str), u64> {
    let mut rows = BTreeMap::new();
    for (reason, count) in counts {
        *rows.entry((blame(reason), reason.name())).or_default() += count;
    }
    rows
}

fn blame(reason: Reason) -> &'static str {
    match reason.blame() {
        Blame::Token => "token",
        Blame::Message => "message",
        Blame::App => "app",
        Blame::Provider => "provider",
        Blame::Operator => "operator",
    }
}

fn seconds(timestamp: Timestamp) -> f64 {
    timestamp.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::apns::ApnsReason;

    #[test]
    fn reasons_that_a_provider_made_up_share_a_series() {
        let made_up = (1..=200).map(|status| (Reason::UnknownStatus(status), 1));
        let known = (Reason::Apns(ApnsReason::BadDeviceToken), 7);
        let rows = by_reason(made_up.chain([known]).collect());
        assert_eq!(rows, BTreeMap::from([(("provider", "UnknownStatus"), 200), (("token", "BadDeviceToken"), 7)]));
    }

    #[test]
    fn the_older_format_is_for_those_who_ask_for_it_alone() {
        let wants = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_classic(&headers)
        };
        assert!(wants("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
        assert!(!wants("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
        assert!(!wants("*/*"));
        assert!(!wants_classic(&HeaderMap::new()));
    }
}
