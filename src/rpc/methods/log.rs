//! `apnsd.log`: how much is written about one app.

use super::{Caller, Method};
use crate::rpc::arguments::{at, text};
use crate::rpc::fault::{FaultCode, bad_argument};
use crate::rpc::values::structure;
use crate::telemetry;
use crate::telemetry::level::AppLevel;
use crate::xmlrpc::value::{Fault, Value};

pub(super) const LOG: Method = Method {
    name: "apnsd.log",
    signatures: &[&["struct"], &["struct", "string"], &["struct", "string", "string"]],
    help: "apnsd.log(app_id, level): from now until the daemon ends, as much is written about an app as a level says: \
           off, error, warn, info, debug or trace; an empty one takes that back. Returns a struct with level, which is \
           log.level, that of all others, and apps, a struct of the apps that the caller may use and that have a level of \
           their own; apnsd.log() changes nothing, apnsd.log(app_id) tells of one app alone. At debug: each attempt to \
           connect, what is handed to the gateway, each answer; tokens as their first 8 digits, payloads never.",
    run: |caller, params| Box::pin(async { log(caller, params) }),
};

fn log(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let app = params.first().map(|app| caller.app(app)).transpose()?;
    if let (Some(app), Some(level)) = (&app, params.get(1)) {
        let level = match text(level).map_err(at("level"))? {
            "" => None,
            word => Some(word.parse::<AppLevel>().map_err(|error| bad_argument(error.to_string()))?),
        };
        telemetry::set_app_level(app.id(), level).map_err(|error| FaultCode::NotSent.fault(error.to_string()))?;
    }
    let is_asked_for = |id: &str| app.as_ref().map_or_else(|| caller.may_see(Some(id)), |app| app.id().as_str() == id);
    let levels = telemetry::app_levels().into_iter().filter(|(id, _)| is_asked_for(id.as_str()));
    let apps = levels.map(|(id, level)| (id.to_string().into(), Value::string(level.word()))).collect();
    Ok(structure([("level", Some(Value::string(telemetry::level().to_string()))), ("apps", Some(Value::Struct(apps)))]))
}
