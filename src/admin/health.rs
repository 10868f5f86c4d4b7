//! `/healthz`: the daemon is alive. `/readyz`: whether it accepts notifications, and which apps can send. Both JSON.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::visible_apps;
use crate::service::PushService;
use crate::service::status::AppStatus;

pub(super) fn routes(service: PushService) -> Router {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(service)
}

async fn alive() -> Response {
    answer(StatusCode::OK, &json!({"status": "alive", "version": env!("CARGO_PKG_VERSION")}))
}

/// 503 only where nothing would be accepted: one app's certificate must not take the others out of a load balancer.
async fn ready(State(service): State<PushService>, request: Request) -> Response {
    let apps: Vec<Value> = visible_apps(&service, request.extensions()).iter().map(app).collect();
    match service.trouble() {
        None => answer(StatusCode::OK, &json!({"ready": true, "apps": apps})),
        Some(cause) => answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"ready": false, "cause": cause, "apps": apps})),
    }
}

fn app(app: &AppStatus) -> Value {
    let can_send = app.state.can_send();
    let mut value = json!({"app_id": app.app_id.as_str(), "can_send": can_send, "state": app.state.word()});
    if !app.cause.is_empty() {
        value["cause"] = app.cause.clone().into();
    }
    value
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}
