//! Pages for operators, beside the calls: health, metrics and the status page. All of them are `GET` and change nothing.
//!
//! A user of the daemon sees the apps that it may use, here as in calls.

mod health;
mod local_name;
pub mod metrics;
pub mod page;

use std::sync::Arc;

use axum::Router;
use axum::http::Extensions;
use axum::middleware;

use self::metrics::Instruments;
use crate::clock::Clock;
use crate::listener::user::User;
use crate::service::PushService;
use crate::service::about::About;
use crate::service::status::AppStatus;
use crate::shutdown::Shutdown;

/// All pages. Their tasks, and the answers that go on for long, end with the owner's stop.
pub fn pages(
    service: PushService,
    instruments: Instruments,
    about: About,
    clock: Clock,
    shutdown: &Shutdown,
) -> Router {
    health::routes(service.clone())
        .merge(metrics::routes(service.clone(), instruments))
        .merge(page::routes(service, about, clock, shutdown))
        .route_layer(middleware::from_fn(local_name::guard))
}

/// Whether whoever asks may see an app.
fn may_see(asking: &Extensions, app: &AppStatus) -> bool {
    asking.get::<Arc<User>>().is_none_or(|user| user.may_use(app.app_id.as_str()))
}

/// The apps that whoever asks may see.
fn visible_apps(service: &PushService, asking: &Extensions) -> Vec<AppStatus> {
    let mut apps = service.apps();
    apps.retain(|app| may_see(asking, app));
    apps
}
