//! `apnsd.deprovision`, `apnsd.pause`, `apnsd.resume` and `apnsd.purge`: what operators do to one app.

use super::{Caller, Method};
use crate::rpc::fault::bad_argument;
use crate::rpc::values::count;
use crate::service::App;
use crate::xmlrpc::value::{Fault, Value};

pub(super) const DEPROVISION: Method = Method {
    name: "apnsd.deprovision",
    signatures: &[&["boolean", "string"]],
    help: "apnsd.deprovision(app_id): removes an app and returns true. Its waiting notifications become rejections, \
           which apnsd.rejections goes on telling.",
    run: |caller, params| Box::pin(async { done(caller.service.deprovision(&app(caller, params)?).await?) }),
};

pub(super) const PAUSE: Method = Method {
    name: "apnsd.pause",
    signatures: &[&["boolean", "string"]],
    help: "apnsd.pause(app_id): stops sending and returns true. notify goes on accepting; what it accepts waits.",
    run: |caller, params| Box::pin(async { done(caller.service.pause(&app(caller, params)?).await?) }),
};

pub(super) const RESUME: Method = Method {
    name: "apnsd.resume",
    signatures: &[&["boolean", "string"]],
    help: "apnsd.resume(app_id): sends again, whatever it was that paused the app, and returns true.",
    run: |caller, params| Box::pin(async { done(caller.service.resume(&app(caller, params)?).await?) }),
};

pub(super) const PURGE: Method = Method {
    name: "apnsd.purge",
    signatures: &[&["int", "string"]],
    help: "apnsd.purge(app_id): empties the queue of an app and returns how many notifications that were. They become \
           rejections with the reason Purged. What was handed to the gateway is on its way and stays there.",
    run: |caller, params| Box::pin(async { Ok(count(caller.service.purge(&app(caller, params)?).await?)) }),
};

fn app(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<App, Fault> {
    let [app] = params else { return Err(bad_argument("an app id is needed")) };
    caller.app(app)
}

fn done((): ()) -> Result<Value<'static>, Fault> {
    Ok(Value::Boolean(true))
}
