//! Pages for operators, beside the calls: health, metrics, and what is to come. All of them are `GET` and change nothing.
//!
//! A user of the daemon sees the apps that it may use, here as in calls.

mod health;
pub mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::http::Extensions;

use crate::listener::user::User;
use crate::service::PushService;
use crate::service::status::AppStatus;
use crate::telemetry::metrics::calls::Calls;

/// All pages.
pub fn pages(service: PushService, calls: Arc<Calls>) -> Router {
    health::routes(service.clone()).merge(metrics::routes(service, calls))
}

/// The apps that whoever asks may see.
fn visible_apps(service: &PushService, asking: &Extensions) -> Vec<AppStatus> {
    let user = asking.get::<Arc<User>>();
    let mut apps = service.apps();
    apps.retain(|app| user.is_none_or(|user| user.may_use(app.app_id.as_str())));
    apps
}
